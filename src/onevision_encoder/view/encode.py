"""Pictures over time as GIF or MP4 files. Axes: H W pixels, 3 = RGB, C colours of a palette."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onevision_encoder.errors import UnsupportedCodecError

TICKS = 90_000
"""Of a second in an MP4: a whole number of them for every common frame rate."""
GIF_COLORS = 224
# Banding is broken up by an ordered 4x4 pattern (Bayer, 1973), which, unlike error diffusion, stands still in time.
_DITHER = 10
_BAYER_44 = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]])
# A pixel of a GIF keeps its colour until the new one differs by more than this (sum over R, G, B): pixels that stay
# cost nothing, and what this hides is noise. At 224 colours the palette alone is off by about as much.
_HOLD = 24
_BT709, _LIMITED = 1, 1  # FFmpeg's AVCOL_SPC/PRI/TRC_BT709 and AVCOL_RANGE_MPEG
_SLOWEST_GIF = 2  # hundredths of a second; below, players fall back to 10 frames a second


def write_gif(
    path: Path,
    pictures: Iterable[NDArray[np.uint8]],
    times: Sequence[Fraction],
    *,
    palette_from: Iterable[NDArray[np.uint8]],
    keep_colors: Sequence[tuple[int, int, int]] = (),
) -> None:
    """A looping GIF with one palette for all frames.

    Args:
        pictures: uint8 [H, W, 3]. times: when each appears, and when the last ends, seconds.
        palette_from: pictures that the palette is made from. keep_colors: that must be in it.
    """
    palette = _palette(list(palette_from), keep_colors)
    ticks = np.maximum(np.diff([round(100 * t) for t in times]), _SLOWEST_GIF)
    kept = np.asarray(keep_colors, np.uint8).reshape(-1, 3)
    frames = (
        Image.fromarray(_dither(p, kept)).quantize(palette=palette, dither=Image.Dither.NONE)
        for p in _held(pictures, kept)
    )
    first = next(frames)
    first.save(
        path,
        format="GIF",
        save_all=True,
        append_images=frames,
        duration=(10 * ticks).tolist() if len(ticks) > 1 else int(10 * ticks[0]),
        loop=0,
        disposal=1,
        optimize=False,
    )


def _palette(pictures: list[NDArray[np.uint8]], keep_colors: Sequence[tuple[int, int, int]]) -> Image.Image:
    """An image that carries the palette: median cut of every second pixel, plus the colours to be kept."""
    pixels = np.concatenate([p[::2, ::2].reshape(-1, 3) for p in pictures])
    cut = Image.fromarray(pixels[None]).quantize(GIF_COLORS - len(keep_colors), method=Image.Quantize.MEDIANCUT)
    colors_C3 = np.asarray(cut.getpalette(), np.uint8).reshape(-1, 3)[: GIF_COLORS - len(keep_colors)]
    carrier = Image.new("P", (1, 1))
    carrier.putpalette(np.concatenate([np.asarray(keep_colors, np.uint8).reshape(-1, 3), colors_C3]).tobytes())
    return carrier


def _dither(picture_HW3: NDArray[np.uint8], kept_C3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The pattern added everywhere but on the colours that are kept."""
    height, width, _ = picture_HW3.shape
    tiled_HW = np.tile(_BAYER_44, (-(-height // 4), -(-width // 4)))[:height, :width]
    offset_HW = np.round((tiled_HW - 7.5) / 16 * _DITHER).astype(np.int16)
    offset_HW[_is_kept(picture_HW3, kept_C3)] = 0
    dithered: NDArray[np.uint8] = np.clip(picture_HW3 + offset_HW[..., None], 0, 255).astype(np.uint8)
    return dithered


def _is_kept(picture_HW3: NDArray[np.uint8], kept_C3: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """bool [H, W]: the pixel has one of the colours that the palette holds exactly."""
    weights = np.array([65536, 256, 1])
    return np.isin(picture_HW3 @ weights, kept_C3 @ weights)


def _held(pictures: Iterable[NDArray[np.uint8]], kept_C3: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    """Each pixel holds its last colour while the change is small, but never against a colour that is kept."""
    shown: NDArray[np.uint8] | None = None
    for picture in pictures:
        if shown is not None:
            change = np.abs(picture.astype(np.int16) - shown).sum(-1, keepdims=True)
            picture = np.where((change <= _HOLD) & ~_is_kept(picture, kept_C3)[..., None], shown, picture)
        shown = picture
        yield picture


def write_mp4(path: Path, pictures: Iterable[NDArray[np.uint8]], times: Sequence[Fraction], *, name: Path) -> None:
    """H.264 in 4:2:0, BT.709, each picture shown from its time to the next.

    Args:
        pictures: uint8 [H, W, 3], H and W even. times: when each appears, and when the last ends, seconds.
        name: the file as the caller knows it, for messages.
    Raises:
        UnsupportedCodecError: this build of FFmpeg has no libx264 encoder.
    """
    import av

    if "libx264" not in av.codecs_available:
        raise UnsupportedCodecError(
            name, "an .mp4 preview needs libx264, which this build of PyAV/FFmpeg lacks; write .gif or .png instead"
        )
    source = iter(pictures)
    first = next(source)
    ticks = [round(t * TICKS) for t in times]
    lasting = dict(zip(ticks, np.diff(ticks).tolist(), strict=False))
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=(len(ticks) - 1) / (times[-1] - times[0]))
        stream.height, stream.width, _ = first.shape
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18", "preset": "medium", "bf": "0", "threads": "1"}  # threads change the bytes
        context = stream.codec_context
        context.time_base = Fraction(1, TICKS)
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED

        def mux(frame: av.VideoFrame | None) -> None:
            for packet in stream.encode(frame):
                assert packet.pts is not None
                packet.duration = lasting[packet.pts]
                container.mux(packet)

        for start, picture in zip(ticks, chain([first], source), strict=False):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")
            frame.pts, frame.time_base = start, Fraction(1, TICKS)
            mux(frame)
        mux(None)
