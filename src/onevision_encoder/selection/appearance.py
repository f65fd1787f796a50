"""What appears and stays: a window that opens, a title, a thing put down.

A coder writes flat new content with next to no bits, from its neighbours or from anywhere that looks alike, so its
signals pass over it. Here it is a cell whose mean level has changed and that then keeps still.

Axes: T frames, y x cells of 8x8 pixels, H W pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.codec.cells import cell_difference, cell_sum, pad_to
from onevision_encoder.types import CELL

LEAST_STEP = 48.0
"""Grey levels that the mean of a cell must change by. The window that opens in a screen recording gets 27 patches
instead of 7; the selection captures .007 less of what x265 spent (docs/selection.md)."""
STILL = 2.0
"""Mean absolute difference to the frame after, grey levels, of a cell that keeps still."""


def appeared(luma_THW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Change of the mean level of cells that then keep still, grey levels, 0 elsewhere: float32 [T, y, x].

    The first frame has none before it and the last none after it: 0.
    """
    padded = [pad_to(luma_HW, CELL) for luma_HW in luma_THW]
    means_Tyx = np.stack([cell_sum(luma_HW) for luma_HW in padded]).astype(np.float32) / np.float32(CELL * CELL)
    step_Tyx = np.zeros_like(means_Tyx)
    step_Tyx[1:] = np.abs(means_Tyx[1:] - means_Tyx[:-1])
    step_Tyx[-1] = 0
    step_Tyx[step_Tyx < LEAST_STEP] = 0
    for t in np.flatnonzero(step_Tyx.any((1, 2))):
        step_Tyx[t][cell_difference(padded[t], padded[t + 1]) > STILL] = 0
    return step_Tyx
