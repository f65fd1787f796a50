"""What the frames themselves say about a cell: how much structure it has, and how much it changed.

Axes: T frames, H W pixels, y x cells of 8x8 pixels. Statistics of cells look at every fourth row, whole: 16 samples a
cell, in runs that a vector unit reads at full speed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.types import CELL

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

ROW_STEP = 4
SPAN = 2
"""Slopes are measured over two pixels: less noise, and no chequerboard of a de-interlacer."""
_SAMPLES = CELL * CELL // ROW_STEP


def gradients(luma_THW: Bytes) -> tuple[Floats, Floats]:
    """Mean absolute slope of each cell across and down, float32 [T, y, x], grey levels per pixel."""
    H, W = luma_THW.shape[1:]
    rows = np.arange(0, H, ROW_STEP)
    here = np.ascontiguousarray(luma_THW[:, rows])
    across = np.zeros_like(here)
    if W > SPAN:
        across[:, :, :-SPAN] = _distance(here[:, :, SPAN:], here[:, :, :-SPAN])
        across[:, :, -SPAN:] = across[:, :, -SPAN - 1 : -SPAN]
    down = _distance(luma_THW[:, np.minimum(rows + SPAN, H - 1)], here)
    scale = np.float32(1 / (SPAN * _SAMPLES))
    return _cell_sum(across) * scale, _cell_sum(down) * scale


def cell_means(luma_THW: Bytes) -> Floats:
    """float32 [T, y, x], grey levels."""
    return _cell_sum(np.ascontiguousarray(luma_THW[:, ::ROW_STEP])) / np.float32(_SAMPLES)


def difference_before(luma_THW: Bytes, lag: int, wanted_T: NDArray[np.bool_]) -> Floats:
    """Mean absolute difference of each cell from the same place ``lag`` frames before.

    float32 [T, y, x] grey levels; 255 where there is no such frame, and for frames that are not ``wanted_T``.
    """
    T, H, W = luma_THW.shape
    apart = np.full((T, -(-H // ROW_STEP), W), 255, np.uint8)
    if lag < T and wanted_T[lag:].all():  # one pass for the whole clip
        apart[lag:] = _distance(luma_THW[lag:, ::ROW_STEP], luma_THW[:-lag, ::ROW_STEP])
    else:
        for t in np.flatnonzero(wanted_T[lag:]) + lag:
            apart[t] = _distance(luma_THW[t, ::ROW_STEP], luma_THW[t - lag, ::ROW_STEP])
    return _cell_sum(apart) / np.float32(_SAMPLES)


def _distance(a: Bytes, b: Bytes) -> Bytes:
    distance: Bytes = np.maximum(a, b) - np.minimum(a, b)
    return distance


def _cell_sum(sampled_TrW: Bytes) -> Floats:
    """Sums over cells of an array [T, r, W] that holds every fourth row; the border fills the last cells."""
    _, R, W = sampled_TrW.shape
    rows = CELL // ROW_STEP
    down, right = -R % rows, -W % CELL
    if down or right:
        sampled_TrW = np.pad(sampled_TrW, ((0, 0), (0, down), (0, right)), mode="edge")
    tall = sampled_TrW[:, 0::rows].astype(np.uint16)  # at most CELL rows of bytes
    for i in range(1, rows):
        tall += sampled_TrW[:, i::rows]
    cells = tall[:, :, 0::CELL].astype(np.float32)
    for i in range(1, CELL):
        cells += tall[:, :, i::CELL]
    return cells
