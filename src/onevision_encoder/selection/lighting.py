"""A change of the light as a predictor: what a gain and an offset of the whole frame explain is no event.

Cameras adjust their exposure, lamps are switched, films fade. A coder without weighted prediction draws much of the
picture anew then, and the whole frame lights up. So luma ~ gain * (luma before) + offset is fitted to the means of the
cells of each frame, robustly (least absolute deviations by reweighting, so that objects that move do not count), and
believed where it leaves no more than half of what changed: motion, noise and cuts do not fit it.

Axes: T frames, A those of them that changed, H W pixels, y x cells of 8x8 pixels, N cells of a frame.
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

Doubles = NDArray[np.float64]
Light = Mapping[int, tuple[float, float]]
"""(gain, offset) against the frame before, of the frames in which the light changed."""


def fit_light(luma_THW: Bytes, content_yx: NDArray[np.bool_], wanted_T: NDArray[np.bool_]) -> Light:
    """Where the light changed, among the frames ``wanted_T``, judged by the cells ``content_yx``."""
    if not content_yx.any():
        return {}
    means_TN = cell_means(luma_THW)[:, content_yx].astype(np.float64)
    change_T = np.median(np.abs(np.diff(means_TN, axis=0)), axis=1)
    changed_A = np.flatnonzero(wanted_T[1:] & (change_T > LEAST_CHANGE))
    if not len(changed_A):
        return {}
    before_AN, now_AN = means_TN[changed_A], means_TN[changed_A + 1]
    gain_A, offset_A = _fit(before_AN, now_AN)
    left_A = np.median(np.abs(now_AN - gain_A[:, None] * before_AN - offset_A[:, None]), axis=1)
    explained = np.flatnonzero(left_A <= EXPLAINED * change_T[changed_A])
    return {int(changed_A[i]) + 1: (float(gain_A[i]), float(offset_A[i])) for i in explained}


def _fit(before_AN: Doubles, now_AN: Doubles) -> tuple[Doubles, Doubles]:
    """Gain and offset of each pair of frames (axis A)."""
    gain_A, offset_A = np.ones(len(now_AN)), np.median(now_AN - before_AN, axis=1)
    for _ in range(_STEPS):
        left_AN = np.abs(now_AN - gain_A[:, None] * before_AN - offset_A[:, None])
        weight_AN = 1 / np.maximum(left_AN, 1.0)
        weight_AN /= weight_AN.sum(1, keepdims=True)
        x_A, y_A = (weight_AN * before_AN).sum(1), (weight_AN * now_AN).sum(1)
        apart_AN = before_AN - x_A[:, None]
        pull_AN = weight_AN * apart_AN
        spread_A = (pull_AN * apart_AN).sum(1)
        slope_A = (pull_AN * (now_AN - y_A[:, None])).sum(1) / np.maximum(spread_A, 1e-9)
        gain_A = np.clip(np.where(spread_A > 1e-9, slope_A, 1.0), 0.25, 4.0)
        offset_A = y_A - gain_A * x_A
    return gain_A.round(4), offset_A.round(2)  # sums differ in the last bits between machines


def left_after_light(luma_THW: Bytes, light: Light) -> Floats:
    """Mean absolute difference of each cell from the frame before in the new light, float32 [T, y, x] grey levels; 255
    in frames whose light did not change."""
    T, H, W = luma_THW.shape
    left_Tyx = np.full((T, -(-H // CELL), -(-W // CELL)), 255, np.float32)
    for t, (gain, offset) in light.items():
        curve = np.clip(np.rint(np.arange(256) * gain + offset), 0, 255).astype(np.uint8)
        pair = np.stack((curve[luma_THW[t - 1]], luma_THW[t]))
        left_Tyx[t] = difference_before(pair, 1, np.ones(2, np.bool_))[1]
    return left_Tyx
