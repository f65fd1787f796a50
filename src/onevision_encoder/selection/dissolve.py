"""Dissolves: a change of scene that is spread over several frames.

Every frame between the last of the old scene and the first of the new one is a mixture of the two, k * new + (1 - k) *
old with growing k. No coder can predict that from the frame before, so a dissolve lights up all over; yet its two ends
explain it. Where they do, the mixtures are no event and the frame at the end starts a scene, like the one after a cut.

Axes: T frames, N cells of 8x8 pixels that hold picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.selection.texture import Bytes, cell_means

CHANGES = 1.0
"""Median change of the cells, grey levels a frame, from which a frame can be of a dissolve (objects do not count)."""
LONGEST = 16
"""Frames of mixture. Slower ones change too little from frame to frame to matter."""
LEFT = 0.25
"""Of the change since the frame before, at most this much is left by the mixture of both ends (medians over the cells).
A real dissolve left 0.12, one between scenes with moving objects 0.04; pans, zooms and moving cameras at least 0.46
between frames as different as ANOTHER asks."""
LEFT_OF_ALL = 0.05
"""... or this much of the change from end to end: in a slow dissolve rounding and uneven steps weigh more."""
ANOTHER = 0.5
"""Cell means of old and new scene correlate at most this much: what is merely relit or moved is the same scene."""
FLAT = 2.0
"""Spread of the cell means in grey levels below which the end is no picture (a fade to black starts no scene)."""


def find_dissolves(
    luma_THW: Bytes, content_yx: NDArray[np.bool_], wanted_T: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """(last frame of the old scene, first of the new one) of each dissolve among the frames ``wanted_T``."""
    if not content_yx.any():
        return []
    means_TN = cell_means(luma_THW)[:, content_yx]
    change_T = np.median(np.abs(np.diff(means_TN, axis=0, prepend=means_TN[:1])), axis=1)
    active_T = (change_T >= CHANGES) & wanted_T
    edges = np.flatnonzero(np.diff(np.concatenate(([0], active_T.astype(np.int8), [0]))))
    runs = [(int(begin) - 1, int(end) - 1) for begin, end in edges.reshape(-1, 2)]
    return [(a, b) for a, b in runs if 2 <= b - a <= LONGEST + 1 and _mixes(means_TN[a : b + 1], change_T[a + 1 : b])]


def _mixes(means_TN: NDArray[np.float32], change_T: NDArray[np.float32]) -> bool:
    """Is every frame between the first and the last a mixture of them, and are they two scenes?"""
    old_N, new_N = means_TN[0].astype(np.float64), means_TN[-1].astype(np.float64)
    if new_N.std() < FLAT:
        return False
    spread = old_N.std() * new_N.std()
    if old_N.std() >= FLAT and float(((old_N - old_N.mean()) * (new_N - new_N.mean())).mean()) > ANOTHER * spread:
        return False
    step_N = new_N - old_N
    beyond_TN = means_TN[1:-1] - old_N
    share_T = beyond_TN @ step_N / max(float(step_N @ step_N), 1e-9)
    left_T = np.median(np.abs(beyond_TN - share_T[:, None] * step_N), axis=1)
    rises = bool((np.diff(np.concatenate(([0.0], share_T, [1.0]))) > 0).all())
    most_T = np.maximum(LEFT * change_T, LEFT_OF_ALL * np.median(np.abs(step_N)))
    return rises and bool((left_T <= most_T).all())
