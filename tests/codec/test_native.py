"""native on files made by PyAV's encoders from scenes with known motion. Axes: T frames, y x cells of 8 pixels."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from clips import write_video
from PIL import Image
from scenes import cut, moving_object, pan, still, to_rgb, zoom, zoom_motion

from onevision_encoder.codec import compute_signals, get_provider, read_with_signals
from onevision_encoder.codec.observer import VectorObserver
from onevision_encoder.codec.vectors import exported_vectors, vector_field
from onevision_encoder.errors import SignalUnavailableError
from onevision_encoder.types import CodecSignals
from onevision_encoder.video import Sampling, Sizing, read_video

FINE = {"crf": "10", "refs": "1", "weightp": "0"}
ENCODERS = {
    "h264, no B": ("libx264", "mp4", FINE | {"bf": "0"}),
    "h264, B": ("libx264", "mp4", FINE | {"bf": "2", "b-pyramid": "none", "b_strategy": "0"}),
    "h264, B pyramid": ("libx264", "mp4", FINE | {"bf": "3", "b-pyramid": "normal", "b_strategy": "0"}),
    "mpeg4": ("mpeg4", "mp4", {"b": "8M", "g": "100"}),
    "mpeg4, B": ("mpeg4", "mp4", {"b": "8M", "g": "100", "bf": "2"}),
    "mpeg2, B": ("mpeg2video", "ts", {"b": "8M", "g": "100", "bf": "2"}),
    "mpeg2": ("mpeg2video", "ts", {"b": "8M", "g": "100"}),
    "mpeg1": ("mpeg1video", "mpg", {"b": "8M", "g": "100"}),
    "msmpeg4v3": ("msmpeg4", "avi", {"b": "8M", "g": "100"}),
    "wmv2": ("wmv2", "avi", {"b": "8M", "g": "100"}),
}


def encode(folder: Path, luma_THW: np.ndarray, encoder: str) -> Path:
    codec, suffix, options = ENCODERS[encoder]
    return write_video(folder / f"clip.{suffix}", to_rgb(luma_THW), codec=codec, options=options)


def native(path: Path, frames: int, interval: str = "sample", **sizing: object) -> CodecSignals:
    _, signals = read_with_signals(
        path,
        sampling=Sampling(num_frames=frames),
        sizing=Sizing(**sizing),
        provider="native",
        interval=interval,
    )
    return signals


def typical(signals: CodecSignals, rows: object = np.s_[1:]) -> np.ndarray:
    """Median vector of the inner cells that have one, per frame."""
    motion, intra = signals.motion_Tyx2[rows][:, 3:-3, 3:-3], signals.intra_Tyx[rows][:, 3:-3, 3:-3]
    return np.stack([np.median(m[~i], 0) for m, i in zip(motion, intra, strict=True)])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_pan_is_recovered_in_sign_and_size(tmp_path: Path, encoder: str) -> None:
    """FFmpeg exports only zeros for B frames of MPEG-4; what they hold is taken from the P frame after them."""
    path = encode(tmp_path, pan((2.0, -1.0), 17, 112, 112), encoder)
    since_sample = native(path, 5)  # frames 0, 4, 8, 12, 16
    np.testing.assert_allclose(typical(since_sample), np.tile((8.0, -4.0), (4, 1)), atol=0.5)
    assert since_sample.interval == "sample"
    assert since_sample.valid_T.all()
    assert np.flatnonzero(since_sample.cut_T).tolist() == [0]
    assert since_sample.intra_Tyx[1:, 3:-3, 3:-3].mean() < 0.1
    since_frame = native(path, 5, "frame")
    # FFmpeg exports nothing for the frame that these decoders hold back until the end of the stream.
    held_back = encoder in ("mpeg1", "mpeg2", "mpeg2, B", "mpeg4, B")
    assert since_frame.valid_T.tolist() == [True] * 4 + [not held_back]
    rows = np.s_[1:4] if held_back else np.s_[1:5]
    np.testing.assert_allclose(typical(since_frame, rows), np.tile((2.0, -1.0), (rows.stop - 1, 1)), atol=0.25)
    assert since_frame.interval == "frame"


@pytest.mark.parametrize("encoder", ["h264, no B", "h264, B", "mpeg4", "mpeg2"])
def test_exported_vectors_are_those_of_a_plain_one_thread_read(tmp_path: Path, encoder: str) -> None:
    path = encode(tmp_path, moving_object((3.0, 1.0), 10)[0], encoder)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.thread_count = "SLICE", 1
        stream.codec_context.options = {"flags2": "+export_mvs"}
        plain = [exported_vectors(frame) for frame in container.decode(stream)]

    class Tables(VectorObserver):
        def __call__(self, frame: av.VideoFrame, *, frame_index: int, sampled: bool) -> None:
            seen.append(exported_vectors(frame))
            super().__call__(frame, frame_index=frame_index, sampled=sampled)

    seen: list[np.ndarray | None] = []
    read_video(path, sampling=Sampling(num_frames=3), observer=Tables(interval="sample"))
    assert len(seen) == len(plain) == 10
    assert sum(table is not None for table in plain) >= 8
    for ours, theirs in zip(seen, plain, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None and theirs is not None:
            for name in theirs.dtype.names:  # field by field: padding bytes are not initialised
                np.testing.assert_array_equal(ours[name], theirs[name])


def test_dense_field_equals_painting_every_pixel(tmp_path: Path) -> None:
    path = encode(tmp_path, moving_object((3.0, 1.0), 10)[0], "h264, B")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_count = 1
        stream.codec_context.options = {"flags2": "+export_mvs"}
        tables = [exported_vectors(frame) for frame in container.decode(stream)]
    sources = set()
    for table in tables:
        field = vector_field(table, 112, 112)
        painted = {-1: np.full((112, 112, 2), np.nan), 1: np.full((112, 112, 2), np.nan)}
        for row in [] if table is None else table:
            top, left = int(row["dst_y"]) - int(row["h"]) // 2, int(row["dst_x"]) - int(row["w"]) // 2
            side = 1 if row["source"] > 0 else -1
            moved = np.array([row["motion_x"], row["motion_y"]]) / row["motion_scale"] * side
            painted[side][max(top, 0) : top + int(row["h"]), max(left, 0) : left + int(row["w"])] = moved
            sources.add(side)
        for side, vectors, known in (
            (-1, field.past_yx2, field.from_past_yx),
            (1, field.future_yx2, field.from_future_yx),
        ):
            cells = painted[side][::8, ::8]
            np.testing.assert_array_equal(known, ~np.isnan(cells[..., 0]))
            np.testing.assert_array_equal(vectors[known], cells[known])
    assert sources == {-1, 1}


def test_motion_is_in_pixels_of_the_sized_frame(tmp_path: Path) -> None:
    path = encode(tmp_path, pan((8.0, 4.0), 9, 224, 448), "h264, no B")
    signals = native(path, 9, max_patches=128)  # 448 x 224 becomes 224 x 112
    assert signals.frame_size == (112, 224)
    np.testing.assert_allclose(typical(signals), np.tile((4.0, 2.0), (8, 1)), atol=0.3)


def test_moving_object_over_a_static_camera(tmp_path: Path) -> None:
    luma_THW, inside_THW = moving_object((3.0, 1.0), 13, 112, 112)
    signals = native(encode(tmp_path, luma_THW, "h264, B"), 4)  # frames 0, 4, 8, 12
    covered = inside_THW[[0, 4, 8, 12]].reshape(4, 14, 8, 14, 8).mean((2, 4))
    inner = covered[1:] == 1
    np.testing.assert_allclose(np.median(signals.motion_Tyx2[1:][inner], 0), (12.0, 4.0), atol=0.75)
    passed = inside_THW.reshape(13, 14, 8, 14, 8).any((0, 2, 4))
    assert np.abs(signals.motion_Tyx2[1:, ~passed]).max(-1).mean() < 0.05
    assert signals.residual_Tyx[1:, ~passed].mean() < 2


def test_zoom_points_radially(tmp_path: Path) -> None:
    signals = native(encode(tmp_path, zoom(1.02, 9, 160, 160), "h264, no B"), 9, max_patches=144)
    H, W = signals.frame_size
    centre_y, centre_x = (
        np.arange(signals.motion_Tyx2.shape[1]) * 8 + 3.5,
        np.arange(signals.motion_Tyx2.shape[2]) * 8 + 3.5,
    )
    true_yx2 = zoom_motion(1.02, H, W, centre_y[:, None], centre_x[None, :])
    error = np.hypot(*np.moveaxis(signals.motion_Tyx2[1:] - true_yx2, -1, 0))[:, 3:-3, 3:-3]
    assert np.median(error) < 0.4


@pytest.mark.parametrize("interval", ["sample", "frame"])
def test_still_clip_cut_and_keyframes(tmp_path: Path, interval: str) -> None:
    quiet = native(encode(tmp_path, still(8), "h264, no B"), 8, interval)
    assert not quiet.motion_Tyx2.any()
    assert quiet.residual_Tyx[1:].mean() < 0.5
    cut_clip = native(encode(tmp_path, cut(5, 9), "mpeg4"), 9, interval)
    assert np.flatnonzero(cut_clip.cut_T).tolist() == [0, 5]
    assert cut_clip.intra_Tyx[5].all()
    # A keyframe in the middle of a scene says nothing about motion, but it starts no scene either.
    path = write_video(tmp_path / "k.mp4", to_rgb(pan((1.0, 0.0), 9)), codec="mpeg4", options={"g": "4", "b": "8M"})
    keyed = native(path, 9, interval)
    assert np.flatnonzero(keyed.cut_T).tolist() == [0]
    assert keyed.intra_Tyx[[0, 4, 8]].all()
    assert keyed.valid_T.all()
    assert not keyed.intra_Tyx[[1, 2, 3, 5, 6, 7]][:, 3:-3, 3:-3].any()


def test_a_keyframe_between_samples_is_bridged(tmp_path: Path) -> None:
    path = write_video(tmp_path / "k.mp4", to_rgb(pan((1.0, 0.0), 13)), codec="mpeg4", options={"g": "5", "b": "8M"})
    np.testing.assert_allclose(typical(native(path, 4)), np.tile((4.0, 0.0), (3, 1)), atol=0.5)


def test_residual_of_the_frame_interval_is_that_of_neighbouring_frames(tmp_path: Path) -> None:
    """Brightness flickers on every other frame: neighbours differ by 12 levels, frames two apart do not."""
    luma_THW = np.clip(still(9), 20, 220)
    luma_THW[1::2] += 12
    path = encode(tmp_path, luma_THW, "h264, no B")
    for interval, levels in (("sample", 0), ("frame", 12)):
        signals = native(path, 5, interval)
        unmoved = ~signals.motion_Tyx2.any(-1) & ~signals.intra_Tyx
        assert unmoved[1:].mean() > 0.5
        assert signals.residual_Tyx[unmoved].mean() == pytest.approx(levels, abs=1)


@pytest.mark.parametrize(
    "encoder", [("libx265", "mp4"), ("libvpx", "webm"), ("libvpx-vp9", "webm"), ("libsvtav1", "mp4")]
)
def test_codecs_without_exported_vectors_are_refused_by_name(tmp_path: Path, encoder: tuple[str, str]) -> None:
    codec, suffix = encoder
    path = write_video(tmp_path / f"clip.{suffix}", to_rgb(pan((1.0, 0.0), 3, 64, 64)), codec=codec)
    with pytest.raises(SignalUnavailableError, match="exports no motion vectors") as caught:
        native(path, 3)
    assert "x264proxy" in str(caught.value)
    assert str(path) in str(caught.value)
    _, signals = read_with_signals(path, provider="auto")
    assert signals.provenance["provider"] == "blockcoder"


def test_frames_in_memory_have_no_vectors() -> None:
    with pytest.raises(SignalUnavailableError, match="decoded already"):
        compute_signals(still(3), provider="native")
    single = compute_signals(still(1), provider="native")
    assert single.intra_Tyx.all()
    assert single.cut_T.tolist() == [True]


def test_side_data_that_pyav_does_not_know_is_no_obstacle(tmp_path: Path) -> None:
    """Frames of a camera's MJPEG carry EXIF, whose number is newer than PyAV's list of names."""
    picture = Image.fromarray(to_rgb(still(1, 64, 64))[0])
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    picture.save(tmp_path / "a.jpg", exif=exif)
    observer = VectorObserver(interval="frame")
    with av.open(str(tmp_path / "a.jpg")) as container:
        frame = next(container.decode(video=0))
    try:
        list(frame.side_data)
    except ValueError:
        pass
    else:
        pytest.skip("this PyAV knows EXIF")
    assert exported_vectors(frame) is None
    for index in range(2):
        observer(frame, frame_index=index, sampled=True)
    assert [sample.intra for sample in observer.samples()] == [True, True]


def test_the_check_of_a_file_looks_at_its_header_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path, pan((1.0, 0.0), 6), "mpeg4")
    other = write_video(tmp_path / "clip.webm", to_rgb(pan((1.0, 0.0), 3, 64, 64)), codec="libvpx")

    def no_pass(*_: object) -> None:
        raise AssertionError("a pass over the packets")

    monkeypatch.setattr("onevision_encoder.video.index.read_table", no_pass)
    provider = get_provider("native")
    provider.check_file(path)
    provider.check_file(path.read_bytes())
    with pytest.raises(SignalUnavailableError, match=r"clip\.webm.*vp8"):
        provider.check_file(other)


def test_one_observer_serves_one_pass(tmp_path: Path) -> None:
    path = encode(tmp_path, pan((1.0, 0.0), 6), "mpeg4")
    provider = get_provider("native")
    observer = provider.observer(interval="sample")
    read_video(path, sampling=Sampling(num_frames=3), observer=observer)
    other = read_video(path, sampling=Sampling(num_frames=4))
    with pytest.raises(SignalUnavailableError, match="observer saw"):
        provider.signals(other, interval="sample", observer=observer)
