"""Time: variable rates, offsets, equal and missing timestamps, frames that are never shown."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from clips import write_video
from video_reference import numbered, plain_frames, read_number

from onevision_encoder.video import Sampling, probe, read_video
from onevision_encoder.video.bitstream import shows_nothing

X264 = {"preset": "veryfast", "g": "12", "bf": "2", "threads": "1"}


def remux(source: Path, target: Path, change: Callable[[int, av.Packet], bytes | None]) -> Path:
    """Copy the packets of ``source``; ``change`` may edit a packet in place, or give new content for it."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(p for p in old.demux(video=0) if p.size):
            content = change(number, packet)
            if content is not None:
                fresh = av.Packet(content)
                fresh.pts, fresh.dts, fresh.time_base = packet.pts, packet.dts, packet.time_base
                fresh.is_keyframe, packet = packet.is_keyframe, fresh
            packet.stream = stream
            new.mux(packet)
    return target


def test_variable_rate_keeps_its_times(tmp_path: Path) -> None:
    ticks = np.cumsum([0, *np.random.default_rng(0).integers(5, 300, 39)])
    path = write_video(tmp_path / "vfr.mkv", numbered(40), options=X264, pts=ticks.tolist())
    frames = read_video(path)
    np.testing.assert_allclose(frames.pts_seconds_T, ticks / 1000, atol=1e-9)
    assert frames.source.timestamps == "container"
    window = read_video(path, sampling=Sampling(start_seconds=1.0, end_seconds=2.0))
    inside = np.flatnonzero((ticks >= 1000) & (ticks < 2000))
    np.testing.assert_array_equal(window.frame_index_T, inside)
    assert [read_number(rgb) for rgb in window.rgb_THW3] == inside.tolist()


@pytest.mark.parametrize("name", ["offset.mkv", "offset.ts", "offset.mp4"])
def test_start_offsets_are_removed(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name, numbered(20), options=X264, pts=[5000 + 40 * i for i in range(20)])
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).time > 1  # the offset is there
    frames = read_video(path)
    np.testing.assert_allclose(frames.pts_seconds_T, np.arange(20) * 0.04, atol=1e-4)


def test_equal_timestamps_stay_apart(tmp_path: Path) -> None:
    """Frames 5 and 6 share a pts, as broken muxers write them: both stay, each with a time of its own."""
    plain = write_video(tmp_path / "plain.mkv", numbered(20), options={**X264, "bf": "0"})

    def merge(number: int, packet: av.Packet) -> None:
        if number == 6:
            packet.pts = packet.dts = 200

    path = remux(plain, tmp_path / "equal.mkv", merge)
    frames = read_video(path)
    assert [read_number(rgb) for rgb in frames.rgb_THW3] == list(range(20))
    np.testing.assert_allclose(frames.pts_seconds_T[4:8], [0.16, 0.2, 0.24, 0.28], atol=1e-9)
    assert "spread" in frames.provenance["timestamps"]


def test_streams_without_times_get_them_from_the_rate(tmp_path: Path) -> None:
    path = write_video(tmp_path / "raw.h264", numbered(50), options=X264, fps=50)
    frames = read_video(path, sampling=Sampling(num_frames=10))
    assert frames.source.timestamps == probe(path).source.timestamps == "frame_rate"
    assert [read_number(rgb) for rgb in frames.rgb_THW3] == frames.frame_index_T.tolist()
    np.testing.assert_allclose(frames.pts_seconds_T, frames.frame_index_T / (frames.source.fps or 0))


def test_unordered_timestamps(media: Path) -> None:
    path = media / "edge/decord_unordered.mov"
    with av.open(str(path)) as container:
        stored = [packet.pts for packet in container.demux(video=0) if packet.size]
    assert stored != sorted(stored)
    frames = read_video(path)
    assert frames.frame_index_T.tolist() == [0, 1, 2, 3]
    plain = [float(frame.time) for frame in plain_frames(path)]
    np.testing.assert_allclose(frames.pts_seconds_T, np.array(plain) - plain[0])


def test_hidden_vp8_packets_are_no_frames(tmp_path: Path) -> None:
    """show_frame cleared in some packets, as an encoder does for alternate references."""
    options = {"deadline": "realtime", "cpu-used": "8", "g": "10", "b": "300k"}
    plain = write_video(tmp_path / "plain.webm", numbered(40), codec="libvpx", options=options)
    hidden = {7, 15, 33}

    def hide(number: int, packet: av.Packet) -> bytes | None:
        data = bytes(packet)
        return bytes([data[0] & ~0x10]) + data[1:] if number in hidden else None

    path = remux(plain, tmp_path / "hidden.webm", hide)
    assert len(plain_frames(path)) == 37
    frames = read_video(path)
    assert (frames.source.num_frames, frames.num_frames, frames.source.frames_lost) == (37, 37, 0)
    assert [read_number(rgb) for rgb in frames.rgb_THW3] == [i for i in range(40) if i not in hidden]


@pytest.mark.parametrize("profile", [0, 1, 2, 3])
@pytest.mark.parametrize(("existing", "key", "shown"), [(1, 0, 0), (0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)])
def test_hidden_vp9_frames_by_their_header(profile: int, existing: int, key: int, shown: int) -> None:
    """Headers written bit by bit as the VP9 specification has them (6.2)."""
    bits = "10" + f"{profile & 1}{profile >> 1}" + ("0" if profile == 3 else "") + str(existing)
    bits += "010" if existing else f"{1 - key}{shown}1"
    data = int(bits.ljust(16, "0"), 2).to_bytes(2, "big") + b"\x12\x34"
    assert shows_nothing("vp9", memoryview(data)) == (not existing and not shown)
    superframe = data + bytes([0b11000000])  # its index at the end: the last frame in it is shown
    assert not shows_nothing("vp9", memoryview(superframe))


def test_repeated_vp9_frames_count(tmp_path: Path) -> None:
    """A one-byte packet that shows a frame again (show_existing_frame) is a frame."""
    options = {"deadline": "realtime", "cpu-used": "8", "g": "99"}
    plain = write_video(tmp_path / "plain.webm", numbered(30), codec="libvpx-vp9", options=options)

    def repeat(number: int, packet: av.Packet) -> bytes | None:
        return bytes([0b10001000]) if number == 29 else None

    path = remux(plain, tmp_path / "again.webm", repeat)
    assert len(plain_frames(path)) == 30
    frames = read_video(path)
    assert (frames.num_frames, frames.source.frames_lost) == (30, 0)


def test_metadata_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    plain = write_video(tmp_path / "plain.mkv", numbered(5), options=X264)
    with av.open(str(plain)) as old, av.open(str(path), "w") as new:
        new.metadata["title"] = "MARKER"
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    path.write_bytes(path.read_bytes().replace(b"MARKER", b"\xe9\xe8\xff\xfe\xe9."))  # Latin-1, no UTF-8
    with pytest.raises(UnicodeDecodeError):
        av.open(str(path), metadata_errors="strict")
    assert read_video(path).num_frames == 5


def test_odd_sizes_and_single_frames(tmp_path: Path) -> None:
    for height, width in ((63, 97), (1, 1), (15, 400)):
        clip = np.full((1, height, width, 3), 200, np.uint8)
        path = write_video(tmp_path / "odd.mkv", clip, codec="ffv1", pix_fmt="yuv444p")
        frames = read_video(path)
        assert (frames.source.height, frames.source.width, frames.num_frames) == (height, width, 1)
        assert np.abs(frames.rgb_THW3.astype(int) - 200).max() <= 1


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p10le"])
def test_pixel_formats(tmp_path: Path, pix_fmt: str) -> None:
    path = write_video(tmp_path / "clip.mp4", numbered(6), pix_fmt=pix_fmt, options={**X264, "qp": "4"})
    frames = read_video(path)
    assert frames.source.pixel_format == pix_fmt
    assert [read_number(rgb) for rgb in frames.rgb_THW3] == list(range(6))
