"""Matrix and range: bars of known RGB, coded by the textbook formula, come back within two levels."""

from __future__ import annotations

import av
import numpy as np
import pytest
from clips import textured, write_video
from numpy.typing import NDArray
from PIL import Image

from onevision_encoder.errors import ShapeError
from onevision_encoder.video import Sampling, luma_from_rgb, read_video
from onevision_encoder.video.color import RgbConverter
from onevision_encoder.video.geometry import SizePlan

BARS = np.array(
    [
        [255, 255, 255],
        [255, 255, 0],
        [0, 255, 255],
        [0, 255, 0],
        [255, 0, 255],
        [255, 0, 0],
        [0, 0, 255],
        [0, 0, 0],
        [128, 128, 128],
        [200, 100, 50],
    ],
    np.float64,
)
# AVColorSpace: (Kr, Kb). 2 = unspecified, read as BT.601.
COEFFICIENTS = {
    1: (0.2126, 0.0722),
    2: (0.299, 0.114),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
}


def coded_bars(space: int, full: bool, depth: int) -> NDArray[np.float64]:
    """Y'CbCr of the bars, ITU-R BT.601 / BT.709 / BT.2020 and their quantisation."""
    kr, kb = COEFFICIENTS[space]
    R, G, B = (BARS / 255).T
    Y = kr * R + (1 - kr - kb) * G + kb * B
    chroma = np.stack([(B - Y) / (2 * (1 - kb)), (R - Y) / (2 * (1 - kr))])
    scale, top = 2 ** (depth - 8), 2**depth - 1
    if full:
        codes = np.stack([Y * top, *(chroma * top + 128 * scale)])
    else:
        codes = np.stack([(16 + 219 * Y) * scale, *((128 + 224 * chroma) * scale)])
    return np.round(codes).clip(0, top)


def bars_frame(pix_fmt: str, space: int, full: bool, *, tagged: bool = True) -> av.VideoFrame:
    depth = 10 if "10" in pix_fmt else 8
    dtype = np.uint16 if depth == 10 else np.uint8
    frame = av.VideoFrame(640, 64, pix_fmt)
    frame.colorspace = space
    if tagged:
        frame.color_range = 2 if full else 1
    for plane, codes in zip(frame.planes, coded_bars(space, full, depth), strict=True):
        lines = np.zeros((plane.height, plane.line_size // dtype().itemsize), dtype)
        lines[:, : plane.width] = np.repeat(codes, plane.width // 10)
        plane.update(lines.tobytes())
    return frame


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("space", COEFFICIENTS)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv444p10le"])
def test_bars(pix_fmt: str, space: int, full: bool) -> None:
    frame, converter = bars_frame(pix_fmt, space, full), RgbConverter()
    plan = SizePlan(resized=(28, 280), offset=(0, 0), out=(28, 280), bicubic=False)
    assert np.abs(converter.full(frame)[:, 32::64].astype(int) - BARS).max() <= 2
    assert np.abs(converter.sized(frame, plan)[:, 14::28].astype(int) - BARS).max() <= 2


def test_no_range_means_limited_except_for_yuvj() -> None:
    limited, full = bars_frame("yuv420p", 5, False, tagged=False), bars_frame("yuvj420p", 5, True, tagged=False)
    for frame in (limited, full):
        assert np.abs(RgbConverter().full(frame)[:, 32::64].astype(int) - BARS).max() <= 2


def test_the_matrix_matters() -> None:
    """The test above can fail: 709 bars read as 601 are far off."""
    frame = bars_frame("yuv444p", 1, False)
    frame.colorspace = 5
    assert np.abs(RgbConverter().full(frame)[:, 32::64].astype(int) - BARS).max() > 15


@pytest.mark.parametrize(("space", "full"), [(1, False), (5, False), (1, True)])
def test_tags_survive_a_real_file(tmp_path, space: int, full: bool) -> None:  # type: ignore[no-untyped-def]
    frame = bars_frame("yuv444p", space, full)
    path = tmp_path / "bars.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 640, 64, "yuv444p"
        stream.codec_context.colorspace, stream.codec_context.color_range = space, 2 if full else 1
        frame.pts = 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    frames = read_video(path, sampling=Sampling(num_frames=1))
    assert frames.source.color_space == {1: "bt709", 5: "bt470bg"}[space]
    assert frames.source.color_range == ("full" if full else "limited")
    W = frames.rgb_THW3.shape[2]
    middle = frames.rgb_THW3[0, frames.rgb_THW3.shape[1] // 2, ((np.arange(10) + 0.5) * W / 10).astype(int)]
    assert np.abs(middle.astype(int) - BARS).max() <= 3


def test_luma_formula() -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (300, 401, 3), dtype=np.uint8)  # more than one slice
    exact = rgb.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    luma = luma_from_rgb(rgb)
    assert luma.shape == rgb.shape[:-1]
    assert np.abs(luma - exact).max() <= 0.51
    np.testing.assert_array_equal(luma, np.asarray(Image.fromarray(rgb).convert("L")))
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
    np.testing.assert_array_equal(luma_from_rgb(grey), np.arange(256))


@pytest.mark.parametrize("array", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((), np.uint8)])
def test_luma_of_what_is_no_rgb(array: NDArray[np.uint8]) -> None:
    with pytest.raises(ShapeError):
        luma_from_rgb(array)


def test_luma_of_a_sequence_is_the_formula(tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = write_video(tmp_path / "clip.mp4", np.stack([textured(64, 64, s) for s in range(3)]))
    frames = read_video(path)
    np.testing.assert_array_equal(frames.luma_THW, luma_from_rgb(frames.rgb_THW3))


def test_area_downscale_is_an_average() -> None:
    """Large reductions average: noise shrinks as a box filter's does, and the mean stays."""
    noise = np.random.default_rng(0).integers(0, 256, (512, 512), dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(np.repeat(noise[:, :, None], 3, 2), format="rgb24")
    plan = SizePlan(resized=(56, 56), offset=(0, 0), out=(56, 56), bicubic=False)
    sized = RgbConverter().sized(frame, plan).astype(np.float64)
    ratio = 512 / 56
    assert abs(sized.mean() - noise.mean()) < 1
    assert 0.6 < sized[..., 0].std() / (noise.std() / ratio) < 1.2


def test_extreme_reductions_work() -> None:
    frame = av.VideoFrame.from_ndarray(np.full((1400, 1400, 3), 77, np.uint8), format="rgb24")
    plan = SizePlan(resized=(14, 14), offset=(0, 0), out=(14, 14), bicubic=False)
    np.testing.assert_array_equal(RgbConverter().sized(frame, plan), np.full((14, 14, 3), 77))
