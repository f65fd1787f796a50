"""Formats with a catch: pictures in sequence, rates that only headers state, grey, EXIF beside decoded frames."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from clips import moving_square, textured, write_video
from PIL import Image, features
from video_reference import numbered, read_number

from onevision_encoder.errors import DecodeError, InvalidArgumentError, UnreadableMediaError
from onevision_encoder.video import Sampling, Sizing, is_still_image, read_media, read_video, side_data
from onevision_encoder.video.bitstream import is_restart
from onevision_encoder.video.decode import plan_runs
from onevision_encoder.video.index import PacketTable, read_table
from onevision_encoder.video.source import OpenedSource


def pictures(count: int = 5) -> list[Image.Image]:
    return [Image.fromarray(rgb) for rgb in numbered(count)]


def animation(kind: str, **options: object) -> bytes:
    file, (first, *rest) = io.BytesIO(), pictures()
    first.save(file, kind, save_all=True, append_images=rest, **options)
    return file.getvalue()


def jpeg(picture: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=95, **options)
    return file.getvalue()


@pytest.mark.skipif("not features.check('avif')", reason="this Pillow writes no AVIF")
def test_animated_avif_is_its_sequence() -> None:
    assert features.check("avif")
    data = animation("AVIF", duration=100)
    with av.open(io.BytesIO(data)) as container:  # the catch: a picture and a sequence, both marked as default
        assert [s.frames for s in container.streams.video if s.disposition & Disposition.default] == [1, 5]
    frames = read_media(data)
    assert [read_number(rgb) for rgb in frames.rgb_THW3] == list(range(5))
    np.testing.assert_allclose(frames.pts_seconds_T, np.arange(5) * 0.1, atol=1e-6)
    assert frames.provenance["video_stream"] == {"read": 1, "of": [0, 1]}


@pytest.mark.parametrize("delay", ["none", "zero", "half"])
def test_gif_without_delays_gives_every_frame(tmp_path: Path, delay: str) -> None:
    data = bytearray(animation("GIF", **({} if delay == "none" else {"duration": 100})))
    controls = [at for at in range(len(data)) if data[at : at + 3] == b"\x21\xf9\x04"]
    assert (len(controls) < 5) == (delay == "none")
    for at in controls[: {"none": 0, "zero": 5, "half": 2}[delay]]:
        data[at + 4 : at + 6] = b"\x00\x00"
    path = tmp_path / "clip.gif"
    path.write_bytes(data)
    for source in (path, bytes(data), io.BytesIO(data)):
        frames = read_media(source)
        assert [read_number(rgb) for rgb in frames.rgb_THW3] == list(range(5))
        np.testing.assert_allclose(frames.pts_seconds_T, np.arange(5) * 0.1, atol=1e-6)
        undelayed = 2 if delay == "half" else 5
        assert frames.provenance["timestamps"].startswith(f"{undelayed} frames of the GIF state no delay")
    assert "timestamps" not in read_media(animation("GIF", duration=100)).provenance


def test_gif_frames_that_do_not_come_apart_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a URL, whose bytes are left alone."""
    monkeypatch.setattr("onevision_encoder.video.source.with_controls", lambda data: (data, 0, 0))
    data = animation("GIF")
    packets = len(read_table(OpenedSource(data)).rank_P)
    assert packets < 5
    assert read_media(data).source.frames_lost == 5 - packets


def test_cut_gifs_are_read_as_far_as_they_go() -> None:
    data = animation("GIF")
    for length in range(20, len(data), 997):
        try:
            frames = read_video(data[:length])
        except (UnreadableMediaError, DecodeError):
            continue
        numbers = [read_number(rgb) for rgb in frames.rgb_THW3]
        assert numbers[:-1] == list(range(len(numbers) - 1))


def test_jpegs_end_to_end_are_a_video(tmp_path: Path) -> None:
    path = tmp_path / "camera.jpg"
    thumbnail = Image.Exif()
    thumbnail[0x010E] = "\xff\xd9\xff\xd8\xff inside a segment"
    whole = b"".join(jpeg(picture, exif=thumbnail) for picture in pictures())
    for data in (whole, whole.replace(b"\xff\xd9\xff\xd8", b"\xff\xd9\x00\x00\xff\xd8")):
        path.write_bytes(data)
        assert not is_still_image(path)
        frames = read_media(path)
        assert [read_number(rgb) for rgb in frames.rgb_THW3] == list(range(5))
        assert frames.source.timestamps == "frame_rate"
        assert "25 a second are assumed" in frames.provenance["timestamps"]
    one = jpeg(pictures()[0], exif=thumbnail, progressive=True, restart_marker_rows=1)
    for data in (one, one + b"\x00" * 100, one + b"trailer", one[:-2]):
        assert is_still_image(data)


@pytest.mark.parametrize(("suffix", "codec"), [("h264", "libx264"), ("hevc", "libx265"), ("m2v", "mpeg2video")])
def test_raw_streams_run_at_the_rate_that_they_state(tmp_path: Path, suffix: str, codec: str) -> None:
    options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = write_video(tmp_path / f"clip.{suffix}", numbered(10), codec=codec, fps=50, options=options)
    frames = read_video(path)
    np.testing.assert_allclose(frames.pts_seconds_T, np.arange(10) / 50)
    assert (frames.source.fps, frames.source.timestamps) == (50, "frame_rate")
    assert "timestamps" not in frames.provenance


def test_a_rate_that_nothing_states_is_recorded(tmp_path: Path) -> None:
    options = {"x265-params": "log-level=none:vui-timing-info=0"}
    path = write_video(tmp_path / "clip.hevc", numbered(10), codec="libx265", fps=50, options=options)
    frames = read_video(path)
    np.testing.assert_allclose(frames.pts_seconds_T, np.arange(10) / 25)
    assert "nothing in the stream states a frame rate" in frames.provenance["timestamps"]


@pytest.mark.parametrize("pix_fmt", ["gray", "gray10le", "gray16le", "ya8"])
@pytest.mark.parametrize("tag", ["none", "full", "limited"])
def test_grey_is_read_as_labelled(tmp_path: Path, pix_fmt: str, tag: str) -> None:
    path, ramp = tmp_path / "grey.mkv", np.repeat(np.arange(0, 256, 5, dtype=np.uint8), 8)[:406]
    picture = np.tile(ramp, (56, 1))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 406, 56, pix_fmt
        if tag != "none":
            stream.codec_context.color_range = {"full": 2, "limited": 1}[tag]
        frame = av.VideoFrame(406, 56, pix_fmt)
        codes = picture.astype(np.uint16)
        if tag == "limited":
            codes = codes << {"gray10le": 2, "gray16le": 8}.get(pix_fmt, 0)
        else:
            codes = {"gray10le": codes << 2 | codes >> 6, "gray16le": codes * 257}.get(pix_fmt, codes)
        samples = np.stack([picture, np.full_like(picture, 255)], 2) if pix_fmt == "ya8" else codes
        bytes_ = samples.astype(np.uint16 if "16" in pix_fmt or "10" in pix_fmt else np.uint8).reshape(56, -1)
        lines = np.zeros((56, frame.planes[0].line_size), np.uint8)
        lines[:, : bytes_.view(np.uint8).shape[1]] = bytes_.view(np.uint8)
        frame.planes[0].update(lines.tobytes())
        if tag != "none":
            frame.color_range = {"full": 2, "limited": 1}[tag]
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    frames = read_video(path)
    expanded = np.clip((ramp.astype(float) - 16) * 255 / 219, 0, 255)
    labels = {"none": "unspecified (read as full)", "full": "full", "limited": "limited"}
    assert frames.source.color_range == labels[tag]
    expected = expanded if tag == "limited" else ramp.astype(float)
    assert np.abs(frames.rgb_THW3[0, 28, :, 1] - expected).max() <= (2 if tag == "limited" else 1)
    assert frames.provenance.get("alpha") == ("dropped" if pix_fmt == "ya8" else None)


def test_the_filter_that_ran_is_recorded(tmp_path: Path) -> None:
    path = write_video(tmp_path / "wide.mkv", np.full((1, 1400, 1400, 3), 90, np.uint8), codec="ffv1", pix_fmt="bgr0")
    for sizing, ran in (
        (Sizing(), "swscale area"),
        (Sizing(max_patches=1), "pillow box from full resolution"),
        (Sizing(recipe="crop224"), "pillow bicubic from full resolution"),
    ):
        assert read_video(path, sizing=sizing).provenance["resize"] == ran


def motion_jpeg(path: Path, orientation: int) -> Path:
    exif = Image.Exif()
    exif[0x0112] = orientation
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 84, 56, "yuvj420p"
        for t in range(3):
            packet = av.Packet(jpeg(Image.fromarray(textured(56, 84, t)), exif=exif))
            packet.pts = packet.dts = t
            packet.time_base, packet.is_keyframe, packet.stream = Fraction(1, 10), True, stream
            container.mux(packet)
    return path


@pytest.mark.parametrize("suffix", ["avi", "mov", "mkv"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_beside_a_frame_is_no_obstacle(tmp_path: Path, suffix: str, orientation: int) -> None:
    """Every orientation comes out as Pillow's reader, which knows nothing of FFmpeg, shows it."""
    path = motion_jpeg(tmp_path / f"clip.{suffix}", orientation)
    frames = read_video(path)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for t in range(3):
        expected = read_media(jpeg(Image.fromarray(textured(56, 84, t)), exif=exif)).rgb_THW3[0]
        assert expected.shape == frames.rgb_THW3[t].shape
        assert np.abs(frames.rgb_THW3[t].astype(int) - expected).mean() < 4
    assert frames.provenance["mirrored"] == (orientation in (2, 4, 5, 7))


def test_exif_in_an_animation() -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description"
    assert read_media(animation("PNG", duration=100, exif=exif)).num_frames == 5


class Frame:
    """A frame whose side data this PyAV cannot read, nor this FFmpeg take apart."""

    width = height = 8
    time_base = None

    @property
    def side_data(self) -> object:
        raise ValueError("31 is not a valid Type")

    @property
    def format(self) -> object:
        raise ValueError("no such format")


def test_side_data_survives_unknown_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert side_data(Frame(), "DISPLAYMATRIX") is None  # type: ignore[arg-type]
    with av.open(str(motion_jpeg(tmp_path / "clip.mkv", 7))) as container:
        frame = next(container.decode(video=0))
    assert len(bytes(side_data(frame, "DISPLAYMATRIX"))) == 36
    assert side_data(frame, "MOTION_VECTORS") is None
    monkeypatch.setattr("onevision_encoder.video.reader.side_data", lambda *_: None)  # only the rotation is left
    frames = read_video(motion_jpeg(tmp_path / "clip.avi", 6))
    assert (frames.source.rotation, frames.rgb_THW3.shape[1:3]) == (270, (84, 56))
    assert "mirroring unknown" in str(frames.provenance["mirrored"])


@pytest.mark.parametrize(
    ("codec", "pix_fmt"), [("mjpeg", "yuvj420p"), ("ffv1", "yuv420p"), ("prores_ks", "yuv422p10le"), ("png", "rgb24")]
)
def test_intra_streams_are_entered_anywhere(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    options, suffix = ({"g": "1"}, "mkv") if codec == "ffv1" else ({}, "mov")
    path = write_video(tmp_path / f"clip.{suffix}", numbered(40), codec=codec, pix_fmt=pix_fmt, options=options)
    table = read_table(OpenedSource(path))
    assert table.restart_P.all()
    runs = plan_runs(table, [3, 20, 39])
    assert [(run.start, run.end) for run in runs] == [(3, 3), (20, 20), (39, 39)]
    frames = read_video(path, sampling=Sampling(num_frames=4))
    assert [read_number(rgb) for rgb in frames.rgb_THW3] == frames.frame_index_T.tolist() == [0, 13, 26, 39]
    assert not is_restart("h263", memoryview(b""), None)


def long_table(count: int, every: int, tmp_path: Path) -> PacketTable:
    table = read_table(OpenedSource(write_video(tmp_path / "clip.mp4", moving_square(4))))
    number = np.arange(count)
    return replace(table, packet_N=number, rank_P=number, restart_P=number % every == 0, pts_N=number)


def test_planning_hours_of_keyframes_is_fast(tmp_path: Path) -> None:
    table = long_table(1_000_000, 1, tmp_path)
    started = time.process_time()
    assert len(plan_runs(table, range(0, 1_000_000, 100))) == 10_000
    assert time.process_time() - started < 2  # the quadratic way: over 10 s


def test_runs_follow_the_rule_written_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        order = np.argsort(np.arange(60) + rng.integers(0, 4, 60), kind="stable")  # packets near their place
        restart_P = rng.random(60) < 0.2
        rank_P = np.empty(60, np.int64)
        rank_P[order] = np.arange(60)
        table = replace(long_table(60, 1, tmp_path), packet_N=order, rank_P=rank_P, restart_P=restart_P)
        for frame in range(60):
            usable = [r for r in np.flatnonzero(restart_P) if r <= order[frame] and rank_P[r] <= frame]
            later = [r for r in usable if all(rank_P[s] > rank_P[r] for s in np.flatnonzero(restart_P) if s > r)]
            (run,) = plan_runs(table, [frame])
            assert run.start == (later[-1] if later else 0)
            assert run.start in usable or run.start == 0


def test_sources_that_are_none(tmp_path: Path) -> None:
    header = b'{"__metadata__":{"format":"pt"}}'
    for name in ("tokens.safetensors", "renamed.mp4"):
        path = tmp_path / name
        path.write_bytes(len(header).to_bytes(8, "little") + header + b"\x00" * 64)
        with pytest.raises(UnreadableMediaError, match=f"{name}: is a safetensors file, not media; `ove encode`"):
            read_media(path)
    with pytest.raises(InvalidArgumentError, match="empty string"):
        read_media("")
    with pytest.raises(InvalidArgumentError, match=r"a URL, bytes, .* numpy array \[T, H, W, 3\].* PIL image"):
        read_media(3.5)  # type: ignore[arg-type]
