"""A change of the light as a predictor: what a gain and an offset of the whole frame explain is no event.

Cameras adjust their exposure, lamps are switched, films fade. A coder without weighted prediction draws much of the
picture anew then, and the whole frame lights up. So luma ~ gain * (luma before) + offset is fitted to the means of the
cells of each frame, robustly (least absolute deviations by reweighting, so that objects that move do not count), and
believed where it leaves no more than half of what changed: motion, noise and cuts do not fit it.

Axes: T frames, H W pixels, y x cells of 8x8 pixels, N cells of a frame.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.selection.texture import Bytes, Floats, cell_means, difference_before
from onevision_encoder.types import CELL

LEAST_CHANGE = 1.0
"""Grey levels (median over the cells) below which the light is taken to stand still."""
EXPLAINED = 0.5
"""Of the median change of the cells, at most this much is left. On a real exposure control 0.75 does the same."""
_STEPS = 8

Light = Mapping[int, tuple[float, float]]
"""(gain, offset) against the frame before, of the frames in which the light changed."""


def fit_light(luma_THW: Bytes, content_yx: NDArray[np.bool_], wanted_T: NDArray[np.bool_]) -> Light:
    """Where the light changed, among the frames ``wanted_T``, judged by the cells ``content_yx``."""
    if not content_yx.any():
        return {}
    means_TN = cell_means(luma_THW)[:, content_yx].astype(np.float64)
    change_T = np.median(np.abs(np.diff(means_TN, axis=0)), axis=1)
    found: dict[int, tuple[float, float]] = {}
    for t in (np.flatnonzero(wanted_T[1:] & (change_T > LEAST_CHANGE)) + 1).tolist():
        gain, offset = _fit(means_TN[t - 1], means_TN[t])
        if np.median(np.abs(means_TN[t] - gain * means_TN[t - 1] - offset)) <= EXPLAINED * change_T[t - 1]:
            found[t] = (gain, offset)
    return found


def _fit(before_N: NDArray[np.float64], now_N: NDArray[np.float64]) -> tuple[float, float]:
    gain, offset = 1.0, float(np.median(now_N - before_N))
    for _ in range(_STEPS):
        weight_N = 1 / np.maximum(np.abs(now_N - gain * before_N - offset), 1.0)
        x, y = np.average(before_N, weights=weight_N), np.average(now_N, weights=weight_N)
        spread = float((weight_N * np.square(before_N - x)).sum())
        gain = float((weight_N * (before_N - x) * (now_N - y)).sum()) / spread if spread > 1e-6 else 1.0
        gain = min(max(gain, 0.25), 4.0)
        offset = float(y - gain * x)
    return round(gain, 4), round(offset, 2)  # sums differ in the last bits between machines


def left_after_light(luma_THW: Bytes, light: Light) -> Floats:
    """Mean absolute difference of each cell from the frame before in the new light, float32 [T, y, x] grey levels; 255
    in frames whose light did not change."""
    T, H, W = luma_THW.shape
    left_Tyx = np.full((T, -(-H // CELL), -(-W // CELL)), 255, np.float32)
    for t, (gain, offset) in light.items():
        curve = np.clip(np.rint(np.arange(256) * gain + offset), 0, 255).astype(np.uint8)
        pair = np.stack((curve[luma_THW[t - 1]], luma_THW[t]))
        left_Tyx[t] = difference_before(pair, 1, np.zeros((2, 2), np.int64), np.ones(2, np.bool_))[1]
    return left_Tyx
