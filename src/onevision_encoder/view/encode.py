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
_SHORTEST_GIF = 2  # hundredths of a second; below, players fall back to 10 frames a second
_LONGEST_GIF = 65_535  # the format's 16 bits


def gif_delays(times: Sequence[Fraction]) -> tuple[list[int], list[int]]:
    """Which pictures a GIF can show, and for how many hundredths of a second each.

    Times of a GIF are whole hundredths, and players slow down below two of them. A picture that would come sooner than
    that after the one before is left out, so that what is seen keeps the clip's own time (its end is late by two
    hundredths at most). No picture lasts longer than 655.35 s, the format's limit.

    Args:
        times: when each of T pictures appears, and when the last ends, seconds.
    Returns:
        (rows, delays): rows of the T pictures, always with the first; the delay of each of them.
    """
    ticks = [round(100 * t) for t in times]
    rows = [0]
    for row, tick in enumerate(ticks[:-1]):
        if tick - ticks[rows[-1]] >= _SHORTEST_GIF:
            rows.append(row)
    edges = [ticks[row] for row in rows]
    edges.append(max(ticks[-1], edges[-1] + _SHORTEST_GIF))
    return rows, np.minimum(np.diff(edges), _LONGEST_GIF).tolist()


def write_gif(
    path: Path,
    pictures: Iterable[NDArray[np.uint8]],
    delays: Sequence[int],
    *,
    palette_from: Iterable[NDArray[np.uint8]],
    keep_colors: Sequence[tuple[int, int, int]] = (),
) -> None:
    """A looping GIF with one palette for all frames.

    Args:
        pictures: uint8 [H, W, 3]. delays: hundredths of a second of each, see :func:`gif_delays`.
        palette_from: pictures that the palette is made from. keep_colors: that must be in it.
    """
    palette = _palette(list(palette_from), keep_colors)
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
        duration=[10 * delay for delay in delays] if len(delays) > 1 else 10 * delays[0],
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
    """H.264 in 4:2:0, BT.709, each picture shown from its time to the next, to 1/90,000 s; times closer than that are
    moved that far apart.

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
    ticks = _apart([round(t * TICKS) for t in times])
    lasting = dict(zip(ticks, np.diff(ticks).tolist(), strict=False))
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=_rate(ticks))
        stream.height, stream.width, _ = first.shape
        stream.pix_fmt = "yuv420p"
        # Threads change the bytes, and so does, now and then, the look-ahead of macroblock trees.
        stream.options = {"crf": "18", "preset": "medium", "bf": "0", "threads": "1"}
        stream.options |= {"x264-params": "mbtree=0:sync-lookahead=0"}
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


def _apart(ticks: list[int]) -> list[int]:
    """The same, strictly increasing."""
    for i in range(1, len(ticks)):
        ticks[i] = max(ticks[i], ticks[i - 1] + 1)
    return ticks


def _rate(ticks: Sequence[int]) -> Fraction:
    """Mean frame rate to be stated, 1 to 1,000 frames a second, in numbers that fit the header; times go by ticks."""
    mean = Fraction((len(ticks) - 1) * TICKS, ticks[-1] - ticks[0])
    return min(max(mean, Fraction(1)), Fraction(1000)).limit_denominator(1001)
