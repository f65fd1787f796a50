"""Anchors: frames that are read for their own sake, whole where they fit and coarsely where they do not."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.selection.cover import Ints, end_to_end

FRAMES_PER_ANCHOR = 32
COARSE = 4
"""A coarse anchor is meant to hold at least a quarter of the frame (every second unit both ways) ..."""
LEAST = 4
"""... and never less than this many units: below it, fewer frames become anchors."""


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """``frame_A``: rows of frames in time order. ``units_A``: how many units each of them gets."""

    frame_A: Ints
    units_A: Ints


def plan_anchors(
    *, budget: int, per_frame: int, starts_T: NDArray[np.bool_], count: int | None, share: float
) -> Anchors:
    """Which frames are anchors and how much of each is read; all figures in units.

    1. At most ``floor(share * budget)`` units are spent.
    2. Every frame that starts a scene is wanted, the first frame always; then the frame in the middle of the longest
       stretch without an anchor, until ``count`` (None = 1 per 32 frames, rounded up) are wanted.
    3. As many as possible are read whole, the earliest first, as long as a quarter of each other one still fits.
    4. If even quarters do not fit, all are read equally coarsely; if that would be below 4 units each, only as many
       frames, evenly spread over those wanted and beginning with the first, as get 4.
    """
    frames = len(starts_T)
    spend = int(Fraction(str(share)) * budget)  # the share as it was written: 0.29 of 100 is 29
    wanted = -(-frames // FRAMES_PER_ANCHOR) if count is None else count
    if wanted == 0 or spend == 0:
        return Anchors(frame_A=np.zeros(0, np.int64), units_A=np.zeros(0, np.int64))
    frame_A = _wanted(starts_T, min(wanted, frames))
    affordable = max(1, spend // min(LEAST, per_frame))
    if len(frame_A) > affordable:
        frame_A = frame_A[end_to_end(affordable, len(frame_A))]
    return Anchors(frame_A=frame_A, units_A=_units(len(frame_A), spend, per_frame))


def _wanted(starts_T: NDArray[np.bool_], count: int) -> Ints:
    """Scene starts, filled up to ``count`` in the middle of the longest stretches (the earliest of equal ones)."""
    chosen = sorted({0, *np.flatnonzero(starts_T).tolist()})
    ends = [*chosen[1:], len(starts_T)]
    gaps = [(begin - end, begin, end) for begin, end in zip(chosen, ends, strict=True)]
    while len(chosen) < count:
        _, begin, end = min(gaps)
        middle = (begin + end) // 2
        gaps.remove((begin - end, begin, end))
        gaps += [(begin - middle, begin, middle), (middle - end, middle, end)]
        chosen.append(middle)
    return np.array(sorted(chosen), np.int64)


def _units(count: int, spend: int, per_frame: int) -> Ints:
    quarter = -(-per_frame // COARSE)
    whole = min(count, max(0, spend - count * quarter) // max(1, per_frame - quarter))
    units_A = np.full(count, per_frame, np.int64)
    if whole < count:
        rest = min(spend - whole * per_frame, (count - whole) * per_frame)
        units_A[whole:] = rest // (count - whole)
        units_A[whole : whole + rest % (count - whole)] += 1
    return units_A
