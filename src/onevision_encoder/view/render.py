"""Chosen patches in full colour, the rest faded: frames + selection -> RGB arrays. No files, no text.

Axes: T frames, H W pixels, h w patches, 3 = RGB; a primed size (H' W') is the size drawn.

A chosen pixel is never painted over: outlines run on the faded side of a region's edge, the mark of an anchor lies in
a margin around the frame. At scale 1 chosen pixels equal the source's; at others, the resized source's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.types import CodecSignals, FrameSequence, Kind, Selection
from onevision_encoder.view.style import DARK, Style

NOT_CHOSEN = -1
READABLE = 448
"""Frames are enlarged by a whole factor until the longer side has at least this many pixels."""

_NEIGHBOURS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]


def check_fit(frames: FrameSequence, selection: Selection, signals: CodecSignals | None = None) -> None:
    """Raise ShapeError where a selection or signals were not made from these frames' grid."""
    grid = (frames.num_frames, *frames.grid)
    if tuple(selection.shape) != grid:
        raise ShapeError("selection.shape", selection.shape, f"{grid}, the (T, h, w) of the frames")
    if signals is None:
        return
    found, wanted = (len(signals.valid_T), *signals.frame_size), frames.rgb_THW3.shape[:3]
    if found != wanted:
        raise ShapeError("signals (T, H, W)", found, f"{wanted}, those of the frames")


def check_rows(rows: Sequence[int], frames: FrameSequence) -> None:
    """Raise InvalidArgumentError where a row is none of the clip's."""
    if any(not 0 <= row < frames.num_frames for row in rows):
        raise InvalidArgumentError("rows", list(rows), f"0 to {frames.num_frames - 1}")


def kind_map(selection: Selection) -> NDArray[np.int8]:
    """int8 [T, h, w]: the :class:`Kind` of each chosen patch, ``NOT_CHOSEN`` elsewhere."""
    kinds_Thw = np.full(selection.shape, NOT_CHOSEN, np.int8)
    kinds_Thw[tuple(selection.positions_K3.T)] = selection.kind_K
    return kinds_Thw


def anchor_frames(selection: Selection) -> NDArray[np.bool_]:
    """bool [T]: the frame holds patches of an anchor."""
    held_T = np.zeros(selection.shape[0], np.bool_)
    held_T[selection.positions_K3[selection.kind_K == Kind.ANCHOR, 0]] = True
    return held_T


def resize(rgb_HW3: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """To (H', W') with Pillow's Lanczos filter; the same size is the same pixels."""
    if rgb_HW3.shape[:2] == size:
        return rgb_HW3
    return np.asarray(Image.fromarray(rgb_HW3).resize(size[::-1], Image.Resampling.LANCZOS))


def fade(rgb_HW3: NDArray[np.uint8], style: Style = DARK) -> NDArray[np.uint8]:
    """Without colour and with little contrast, towards ``style.tone``. Luma is BT.601's, in integers."""
    grey_HW = (rgb_HW3 @ np.array([77, 150, 29], np.uint32)) >> 8
    ramp_256x3 = np.add.outer(np.arange(256) * style.keep, np.asarray(style.tone) * (1 - style.keep))
    faded: NDArray[np.uint8] = np.round(ramp_256x3).astype(np.uint8)[grey_HW]
    return faded


def spread(cells_hw: NDArray[np.int8], size: tuple[int, int]) -> NDArray[np.int8]:
    """Each pixel of (H', W') takes the value of the patch its centre lies in."""
    rows, cols = ((2 * np.arange(n) + 1) * cells // (2 * n) for n, cells in zip(size, cells_hw.shape, strict=True))
    return cells_hw[np.ix_(rows, cols)]


def edge_kinds(kinds_HW: NDArray[np.int8], weight: int) -> NDArray[np.int8]:
    """Pixels not chosen within ``weight`` pixels of a chosen one carry its kind, all others ``NOT_CHOSEN``."""
    grown_HW = kinds_HW
    for _ in range(weight):
        padded = np.pad(grown_HW, 1, constant_values=NOT_CHOSEN)
        height, width = grown_HW.shape
        near = np.max([padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width] for dy, dx in _NEIGHBOURS], axis=0)
        grown_HW = np.where(grown_HW == NOT_CHOSEN, near, grown_HW)
    return np.where(kinds_HW == NOT_CHOSEN, grown_HW, np.int8(NOT_CHOSEN))


def render_frame(
    rgb_HW3: NDArray[np.uint8],
    kinds_hw: NDArray[np.int8],
    style: Style = DARK,
    *,
    size: tuple[int, int] | None = None,
    content_hw: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """One frame at (H', W') = ``size`` (None: as it is), without margin.

    Args:
        kinds_hw: int8, see :func:`kind_map`. content_hw: bool, letterbox padding is False and drawn as background.
    Returns:
        uint8 [H', W', 3].
    """
    drawn_HW3 = resize(rgb_HW3, size or (rgb_HW3.shape[0], rgb_HW3.shape[1]))
    shape = (drawn_HW3.shape[0], drawn_HW3.shape[1])
    kinds_HW = spread(kinds_hw, shape)
    out_HW3 = np.where((kinds_HW == NOT_CHOSEN)[..., None], fade(drawn_HW3, style), drawn_HW3)
    if content_hw is not None:
        out_HW3[(spread(content_hw.astype(np.int8), shape) == 0) & (kinds_HW == NOT_CHOSEN)] = style.background
    edge_HW = edge_kinds(kinds_HW, hairline(shape, style))
    for kind in Kind:
        out_HW3[edge_HW == kind] = style.of(kind)
    return out_HW3


def render_frames(
    frames: FrameSequence,
    selection: Selection,
    style: Style = DARK,
    *,
    scale: float | None = None,
    margin: int | None = None,
    rows: Sequence[int] | None = None,
) -> NDArray[np.uint8]:
    """Frames with their chosen patches in full colour and everything else faded.

    Args:
        scale: pixels drawn per pixel; None enlarges small frames by a whole factor to a readable size.
        margin: pixels around each frame, in the anchor's accent where the frame holds an anchor, else in the
            background's colour; None fits it to the size.
        rows: which frames, as rows of ``frame_index_T``; None = all.
    Returns:
        uint8 [T, H' + 2 margin, W' + 2 margin, 3].
    Raises:
        ShapeError: the selection was made from another grid. InvalidArgumentError: scale, margin or rows.
    """
    check_fit(frames, selection)
    size = drawn_size(frames, scale)
    margin = 2 * hairline(size, style) + 1 if margin is None else margin
    picked = range(frames.num_frames) if rows is None else rows
    if margin < 0:
        raise InvalidArgumentError("margin", margin, "0 or more pixels")
    check_rows(picked, frames)
    kinds_Thw, anchors_T = kind_map(selection), anchor_frames(selection)
    out = np.empty((len(picked), size[0] + 2 * margin, size[1] + 2 * margin, 3), np.uint8)
    for i, t in enumerate(picked):
        out[i] = style.anchor if anchors_T[t] else style.background
        out[i, margin : margin + size[0], margin : margin + size[1]] = render_frame(
            frames.rgb_THW3[t], kinds_Thw[t], style, size=size, content_hw=frames.content_hw
        )
    return out


def drawn_size(frames: FrameSequence, scale: float | None = None) -> tuple[int, int]:
    """(H', W') at a scale; None: the least whole factor at which the longer side reaches ``READABLE``."""
    _, H, W, _ = frames.rgb_THW3.shape
    if scale is None:
        scale = max(1, -(-READABLE // max(H, W)))
    if not 0 < scale <= 64:
        raise InvalidArgumentError("scale", scale, "above 0, at most 64")
    return max(1, round(H * scale)), max(1, round(W * scale))


def hairline(size: tuple[int, int], style: Style) -> int:
    """Pixels of a thin line on a picture of this size."""
    return 0 if style.outline == 0 else max(1, round(style.outline * max(size) / 500))
