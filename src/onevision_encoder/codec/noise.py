"""The sensor's noise, in grey levels, as the block coder measures it (:mod:`onevision_encoder.codec.twin.noise`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.codec.twin.noise import lasting, noise_of

_LOOKS = 5


def noise_levels(previous_HW: NDArray[np.uint8], current_HW: NDArray[np.uint8]) -> float:
    """Deviation of the noise of a frame, given the frame before, grey levels. uint8 luma [H, W]."""
    H, W = current_HW.shape
    space, time = noise_of(current_HW.astype(np.int64), previous_HW.astype(np.int64), (H, W))
    return lasting(space, time, 0) / 16


def clip_noise(luma_THW: NDArray[np.uint8]) -> float:
    """Deviation of the noise of a clip, grey levels: the median of five looks; 0 for a single frame."""
    T = len(luma_THW)
    if T < 2:
        return 0.0
    looks = np.unique(np.linspace(1, T - 1, min(_LOOKS, T - 1)).astype(int))
    return float(np.median([noise_levels(luma_THW[t - 1], luma_THW[t]) for t in looks]))
