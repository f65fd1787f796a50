"""interval="frame": since the frame before in the source. Truth: every frame decoded, then coded by hand.

Axes: T sampled frames, H W pixels, y x cells of 8 x 8 pixels.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from clips import moving_square, write_video
from PIL import Image
from scenes import cut, moving_object, pan, to_rgb

from onevision_encoder import tokenize
from onevision_encoder.cli import main
from onevision_encoder.codec import blockcoder_signals, compute_signals, get_provider, patch_scores, read_with_signals
from onevision_encoder.codec.proxy import proxy_signals
from onevision_encoder.errors import InvalidArgumentError, SignalUnavailableError
from onevision_encoder.tokens import load_tokens
from onevision_encoder.types import CodecSignals
from onevision_encoder.video import FramesBefore, Sampling, Sizing, frames_from_array, luma_from_rgb, read_media, reader
from onevision_encoder.video.color import RgbConverter, orientation
from onevision_encoder.video.geometry import display_size, plan_size

OURS = {"blockcoder": blockcoder_signals, "x264proxy": proxy_signals}
FIELDS = ("residual_Tyx", "motion_Tyx2", "intra_Tyx", "cut_T", "valid_T", "bits_Tyx")
FINE = {"crf": "10", "threads": "1"}


def assert_same(signals: CodecSignals, truth: CodecSignals, rows: Any = slice(None)) -> None:
    for name in FIELDS:
        ours, theirs = getattr(signals, name), getattr(truth, name)
        assert (ours is None) == (theirs is None)
        if theirs is not None:
            np.testing.assert_array_equal(ours, theirs[rows], err_msg=name)


def plain_frames(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def all_luma(path: Path, sizing: Sizing) -> np.ndarray:
    """Luma of every frame by a plain decode, sized by the same formula as sampled frames."""
    frames, converter = plain_frames(path), RgbConverter()
    matrix = frames[0].side_data.get("DISPLAYMATRIX")
    turns, mirror = orientation(None if matrix is None else bytes(matrix))
    shown = display_size(frames[0].height, frames[0].width, sample_aspect=None, quarter_turns=turns)
    plan = plan_size(*shown, sizing)
    return luma_from_rgb(np.stack([converter.sized(frame, plan, turns, mirror) for frame in frames]))


def interleaved(frame_index_T: Iterable[int]) -> tuple[list[int], list[int]]:
    """Indices of the frames that are coded, and which rows of them are the sampled ones."""
    order: list[int] = []
    rows = []
    for index in frame_index_T:
        if order and order[-1] != index - 1:
            order.append(index - 1)
        rows.append(len(order))
        order.append(index)
    return order, rows


H264_B = {**FINE, "bf": "3", "b-pyramid": "normal", "b_strategy": "0", "g": "15"}
FILES: dict[str, dict[str, Any]] = {
    "b.mp4": {"options": H264_B},
    "vfr.mkv": {"options": H264_B, "pts": [0, *np.cumsum(np.random.default_rng(1).integers(5, 120, 40)).tolist()]},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"b": "4M", "g": "12"}},
    "raw.h264": {"options": H264_B},
    "vp8.webm": {"codec": "libvpx", "options": {"deadline": "realtime", "cpu-used": "8", "g": "15", "b": "2M"}},
    "lossless.mkv": {"codec": "ffv1", "pix_fmt": "yuv444p"},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, scene = tmp_path_factory.mktemp("frames"), moving_object((2.0, 1.0), 41, 96, 128)[0]
    return {name: write_video(folder / name, to_rgb(scene), **how) for name, how in FILES.items()}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    "sampling",
    [Sampling(num_frames=7), Sampling(num_frames=33), Sampling(fps=6, start_seconds=0.5, end_seconds=1.2)],
    ids=["sparse", "mixed", "window"],
)
def test_equals_coding_the_decoded_frames_by_hand(files: dict[str, Path], name: str, sampling: Sampling) -> None:
    sizing = Sizing(max_patches=48)
    frames, signals = read_with_signals(files[name], sampling=sampling, sizing=sizing, interval="frame")
    luma = all_luma(files[name], sizing)
    assert len(luma) == 41
    np.testing.assert_array_equal(frames.luma_THW, luma[frames.frame_index_T])
    order, rows = interleaved(frames.frame_index_T.tolist())
    assert len(frames.luma_THW) < len(order) < 2 * len(frames.luma_THW)
    assert_same(signals, blockcoder_signals(luma[order]), rows)
    assert signals.interval == "frame"
    assert signals.provenance["frames_before_coded"] == len(order) - len(rows)


def test_x264proxy_too(files: dict[str, Path]) -> None:
    sizing = Sizing(max_patches=48)
    how: dict[str, Any] = {"sampling": Sampling(num_frames=7), "sizing": sizing, "provider": "x264proxy"}
    frames, signals = read_with_signals(files["b.mp4"], interval="frame", **how)
    order, rows = interleaved(frames.frame_index_T.tolist())
    assert_same(signals, proxy_signals(all_luma(files["b.mp4"], sizing)[order]), rows)


def test_a_turned_video_is_turned_before_and_after(tmp_path: Path) -> None:
    upright, path = tmp_path / "flat.mp4", tmp_path / "turned.mp4"
    write_video(upright, to_rgb(moving_object((2.0, 0.0), 20, 84, 140)[0]), options=FINE)
    with av.open(str(upright)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    data = bytearray(path.read_bytes())  # the display matrix of the track header, turned by a quarter
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = np.array([0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30], ">i4").tobytes()
    path.write_bytes(data)
    frames, signals = read_with_signals(path, sampling=Sampling(num_frames=4), interval="frame")
    assert frames.grid[0] > frames.grid[1]
    luma = all_luma(path, Sizing())
    order, rows = interleaved(frames.frame_index_T.tolist())
    assert_same(signals, blockcoder_signals(luma[order]), rows)


@pytest.mark.parametrize("provider", OURS)
def test_every_frame_sampled_makes_no_difference(files: dict[str, Path], provider: Any) -> None:
    for source in (files["b.mp4"], to_rgb(moving_object((2.0, 1.0), 12)[0])):
        frames, since_frame = read_with_signals(source, provider=provider, interval="frame")
        _, since_sample = read_with_signals(source, provider=provider, interval="sample")
        assert len(frames.frame_index_T) == frames.source.num_frames
        assert_same(since_frame, since_sample)
        assert_same(compute_signals(frames, provider=provider, interval="frame"), since_sample)
        assert_same(compute_signals(frames.luma_THW, provider=provider, interval="frame"), since_sample)
        assert since_frame.provenance["frames_before_coded"] == 0


@pytest.mark.parametrize("provider", OURS)
def test_motion_is_that_of_one_source_frame(tmp_path: Path, provider: Any) -> None:
    luma, inside = moving_object((2.0, 0.0), 33, 96, 144, side=48)
    path = write_video(tmp_path / "clip.mkv", to_rgb(luma), codec="ffv1", pix_fmt="yuv444p")
    for interval, expected in (("frame", 2.0), ("sample", 16.0)):
        how: dict[str, Any] = {"provider": provider, "interval": interval, "sizing": Sizing(patch=16)}
        frames, signals = read_with_signals(path, sampling=Sampling(num_frames=5), **how)
        assert frames.frame_index_T.tolist() == [0, 8, 16, 24, 32]
        for t in range(1, 5):
            moving_yx = inside[frames.frame_index_T[t]].reshape(12, 8, 18, 8).all((1, 3))
            core_yx = moving_yx & ~signals.intra_Tyx[t]
            assert core_yx.sum() > 8
            np.testing.assert_allclose(np.median(signals.motion_Tyx2[t][core_yx], 0), (expected, 0), atol=0.25)
        assert signals.valid_T.all()


@pytest.mark.parametrize("provider", OURS)
@pytest.mark.parametrize(("at", "cuts"), [(16, [0, 2]), (15, [0]), (12, [0])])
def test_only_a_cut_in_the_last_step_is_a_cut(provider: Any, at: int, cuts: list[int]) -> None:
    """Sampled: 0, 8, 16, 24. Frame 16 starts the scene, or the frame before it did, or one further back."""
    rgb = to_rgb(cut(at, 25))
    _, signals = read_with_signals(rgb, sampling=Sampling(num_frames=4), provider=provider, interval="frame")
    assert np.flatnonzero(signals.cut_T).tolist() == cuts
    assert signals.provenance["scene_started_since_sample"] == ([] if at == 16 else [16])
    assert signals.intra_Tyx[2].all() == (at == 16)
    for t in (2, 3) if at < 16 else (3,):  # nothing moves after the cut; x264 goes on polishing what it coded
        assert signals.residual_Tyx[t].mean() <= (0 if provider == "blockcoder" else 0.2)


def test_arrays_and_lists_keep_what_is_not_sampled() -> None:
    rgb = to_rgb(pan((1.5, -0.5), 17))
    for source in (rgb, list(rgb), [Image.fromarray(picture) for picture in rgb]):
        frames, signals = read_with_signals(source, sampling=Sampling(num_frames=3), interval="frame")
        assert frames.frame_index_T.tolist() == [0, 8, 16]
        luma = frames_from_array(rgb).luma_THW
        assert_same(signals, blockcoder_signals(luma[[0, 7, 8, 15, 16]]), [0, 2, 4])


def test_frames_that_were_sampled_before_are_refused(files: dict[str, Path]) -> None:
    frames, _ = read_with_signals(files["b.mp4"], sampling=Sampling(num_frames=7))
    for call in (lambda: compute_signals(frames, interval="frame"), lambda: patch_scores(frames, interval="frame")):
        with pytest.raises(SignalUnavailableError, match="frame 5, just before frame 6, was not kept") as caught:
            call()
        assert "interval='sample'" in str(caught.value)


def test_the_first_frame_of_a_window_is_intra_and_nothing_before_it_is_kept(files: dict[str, Path]) -> None:
    kept = FramesBefore()
    frames = reader.read_video(files["b.mp4"], sampling=Sampling(fps=5, start_seconds=0.4), observer=kept)
    first = int(frames.frame_index_T[0])
    assert first > 0
    assert kept.luma(first - 1) is None
    assert kept.luma(int(frames.frame_index_T[1]) - 1) is not None
    signals = get_provider().signals(frames, interval="frame", observer=kept)
    assert signals.intra_Tyx[0].all()
    assert signals.valid_T.all()
    assert "not looked at" in signals.provenance["first"]


def test_no_more_is_kept_than_one_picture_a_sample(files: dict[str, Path]) -> None:
    kept = FramesBefore()
    frames = reader.read_video(files["b.mp4"], sampling=Sampling(num_frames=7), observer=kept)
    held = [index for index in range(41) if kept.luma(index) is not None]
    assert held == [int(index) - 1 for index in frames.frame_index_T[1:]]


@pytest.mark.parametrize("second", ["video", "video again", "video without its frame 5", "array", "image"])
def test_nothing_of_an_earlier_source_is_left(
    files: dict[str, Path], second: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One object for two reads: the second source is another, and its own frame 5 may be lost."""
    decode_runs = reader.decode_runs

    def lossy(opened: Any, table: Any, runs: Any, log: Any, **how: Any) -> Any:
        for index, frame in decode_runs(opened, table, runs, log, **how):
            if index == 5:
                log.delivered.discard(5)
            else:
                yield index, frame

    kept, sampling = FramesBefore(), Sampling(num_frames=7)
    read_media(files["b.mp4"], sampling=sampling, observer=kept)
    assert kept.luma(5) is not None
    rgb = moving_square(frames=13)
    if second == "image":
        read_media(rgb[0], observer=kept)
        assert [index for index in range(41) if kept.luma(index) is not None] == []
    elif second == "array":
        read_media(rgb, sampling=Sampling(num_frames=4), observer=kept)
        assert [index for index in range(41) if kept.luma(index) is not None] == [3, 7, 11]
    elif second == "video":
        read_media(files["b.mp4"], sampling=Sampling(num_frames=3), observer=kept)
        assert [index for index in range(41) if kept.luma(index) is not None] == [19, 39]
    else:
        if "without" in second:
            monkeypatch.setattr(reader, "decode_runs", lossy)
        frames = read_media(files["b.mp4"], sampling=sampling, observer=kept)
        assert (kept.luma(5) is None) == ("without" in second)
        signals = get_provider().signals(frames, interval="frame", observer=kept)
        assert frames.frame_index_T[~signals.valid_T].tolist() == ([6] if "without" in second else [])


def test_nothing_of_an_earlier_image_file_is_left(files: dict[str, Path], tmp_path: Path) -> None:
    kept = FramesBefore()
    read_media(files["b.mp4"], sampling=Sampling(num_frames=7), observer=kept)
    Image.fromarray(moving_square(frames=1)[0]).save(tmp_path / "a.png")
    read_media(tmp_path / "a.png", observer=kept)
    assert kept.luma(5) is None


def test_a_second_try_keeps_nothing_of_the_first(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Frame 5 comes, another does not; read again from the front, frame 5 is the one that is lost."""
    decode_runs, tries = reader.decode_runs, []

    def lossy(opened: Any, table: Any, runs: Any, log: Any, **how: Any) -> Any:
        tries.append(how)
        lost = 40 if len(tries) == 1 else 5
        for index, frame in decode_runs(opened, table, runs, log, **how):
            if index == lost:
                log.delivered.discard(lost)
            else:
                yield index, frame

    monkeypatch.setattr(reader, "decode_runs", lossy)
    kept = FramesBefore()
    frames = read_media(files["b.mp4"], sampling=Sampling(num_frames=7), observer=kept)
    assert len(tries) == 2
    assert frames.frame_index_T.tolist() == [0, 6, 13, 20, 26, 33, 40]
    assert kept.luma(5) is None
    assert kept.luma(12) is not None


@pytest.mark.parametrize("kind", ["lost", "corrupt"])
def test_without_the_frame_before_there_is_no_signal(
    files: dict[str, Path], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frame 12 is sampled, frame 11 does not come out of the decoder, or is flagged; also when read again."""
    decode_runs = reader.decode_runs

    class Flagged:
        def __init__(self, frame: av.VideoFrame) -> None:
            self._frame, self.is_corrupt = frame, True

        def __getattr__(self, name: str) -> Any:
            return getattr(self._frame, name)

    def damaged(opened: Any, table: Any, runs: Any, log: Any, **how: Any) -> Any:
        for index, frame in decode_runs(opened, table, runs, log, **how):
            if index != 11:
                yield index, frame
            elif kind == "corrupt":
                log.corrupt += 1
                yield index, Flagged(frame)
            else:
                log.delivered.discard(11)

    sampling, sizing = Sampling(num_frames=11), Sizing(max_patches=48)
    _, clean = read_with_signals(files["b.mp4"], sampling=sampling, sizing=sizing, interval="frame")
    monkeypatch.setattr(reader, "decode_runs", damaged)
    frames, signals = read_with_signals(files["b.mp4"], sampling=sampling, sizing=sizing, interval="frame")
    assert frames.frame_index_T[3] == 12
    assert np.flatnonzero(~signals.valid_T).tolist() == [3]
    assert signals.provenance["frame_before_missing"] == [12]
    assert (frames.source.frames_lost, frames.source.frames_corrupt) == ((1, 0) if kind == "lost" else (0, 1))
    assert signals.intra_Tyx[3].all()
    assert not signals.cut_T[3]
    assert clean.valid_T.all()
    order, rows = interleaved(frames.frame_index_T.tolist())
    rows = [row - (row > order.index(11)) for row in rows]
    truth = blockcoder_signals(all_luma(files["b.mp4"], sizing)[[i for i in order if i != 11]])
    keep = np.arange(11) != 3
    for name in ("residual_Tyx", "motion_Tyx2", "bits_Tyx", "intra_Tyx"):
        np.testing.assert_array_equal(getattr(signals, name)[keep], getattr(truth, name)[rows][keep])


def test_a_sampled_frame_that_is_lost_is_nobodys_predecessor(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every frame sampled and frame 9 lost, frame 10 has no frame before it; 9 must not be replaced by 8."""
    decode_runs = reader.decode_runs

    def lossy(opened: Any, table: Any, runs: Any, log: Any, **how: Any) -> Any:
        for index, frame in decode_runs(opened, table, runs, log, **how):
            if index == 9:
                log.delivered.discard(9)
            else:
                yield index, frame

    monkeypatch.setattr(reader, "decode_runs", lossy)
    frames, signals = read_with_signals(files["b.mp4"], sampling=Sampling(num_frames=None), interval="frame")
    assert frames.frame_index_T[~signals.valid_T].tolist() == [10]


def test_the_pixels_are_those_of_the_other_interval(files: dict[str, Path]) -> None:
    for path in files.values():
        sampling = Sampling(num_frames=9)
        one, _ = read_with_signals(path, sampling=sampling, interval="sample")
        other, _ = read_with_signals(path, sampling=sampling, interval="frame")
        np.testing.assert_array_equal(one.rgb_THW3, other.rgb_THW3)
        assert one.source == other.source
        assert one.provenance == other.provenance


def test_images_have_no_frame_before(tmp_path: Path) -> None:
    Image.fromarray(moving_square(frames=1)[0]).save(tmp_path / "a.png")
    for source in (tmp_path / "a.png", moving_square(frames=1)[0]):
        frames, signals = read_with_signals(source, interval="frame")
        assert frames.num_frames == 1
        assert signals.intra_Tyx.all()


def test_scores_of_a_file_and_the_whole_pipeline(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = files["b.mp4"]
    how: dict[str, Any] = {"sampling": Sampling(num_frames=6), "score": "bits"}
    assert not np.array_equal(patch_scores(path, interval="frame", **how), patch_scores(path, **how))
    for source in (path, moving_object(frames=3)[0]):
        with pytest.raises(InvalidArgumentError, match="compares sampled frames"):
            patch_scores(source, score="frame_difference", interval="frame")
    by_interval = {}
    for interval in ("sample", "frame"):
        tokens = tokenize(path, budget=64, num_frames=6, interval=interval, score="bits")
        assert len(tokens) == 64
        facts = tokens.clips[0].provenance
        assert facts["request"]["signals"]["interval"] == interval
        assert facts["signals"].get("interval", "sample") == interval
        by_interval[interval] = tokens
    assert not np.array_equal(by_interval["frame"].positions_N3, by_interval["sample"].positions_N3)
    options = ["--budget", "64", "--num-frames", "6", "--score", "bits", "--interval", "frame", "--json"]
    assert main(["tokens", str(path), "--out", str(tmp_path), *options]) == 0
    row = json.loads(capsys.readouterr().out)["done"][0]
    stored = load_tokens(tmp_path / row["file"])
    np.testing.assert_array_equal(stored.positions_N3, by_interval["frame"].positions_N3)
    assert stored.clips[0].provenance["signals"]["frame_before_missing"] == []
    assert main(["inspect", str(path), *options]) == 0
    assert json.loads(capsys.readouterr().out)["signals"]["interval"] == "frame"


def test_the_help_no_longer_says_native_only(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["tokens", "--help"])
    text = capsys.readouterr().out
    assert "--interval {sample,frame}" in text
    assert "native only" not in text
