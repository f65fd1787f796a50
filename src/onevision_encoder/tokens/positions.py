"""Where a patch stands for the encoder: the (t, h, w) that RoPE sees, made from a selection's addresses.

Axes: T frames, K patches, 3 = (t, h, w).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.types import TIME_SLOTS, Layout

TimeMode = Literal["virtual", "slots", "index", "seconds"]

VIRTUAL_FRAMES = TIME_SLOTS


def model_time(
    pts_seconds_T: NDArray[np.float64],
    mode: TimeMode = "virtual",
    *,
    ticks_per_second: float = 1.0,
    slot_T: NDArray[np.int64] | None = None,
) -> NDArray[np.float32]:
    """The time of each frame as RoPE sees it.

    Args:
        pts_seconds_T: presentation times, seconds.
        mode: ``virtual`` spreads the frames over 0..63 whatever their number, as the published weights were
            trained: trunc(linspace(0, 63, T)) up to 64 frames, the unrounded linspace above. ``slots`` leaves each
            frame at its own place among the 64 slots of what was sampled from, so that the gaps between frames are
            true. ``index`` counts 0..T-1. ``seconds`` is the presentation time times ``ticks_per_second``.
        slot_T: ``FrameSequence.slot_T``, what ``slots`` stands on.
    Returns:
        float32 [T].
    Raises:
        InvalidArgumentError: an unknown mode; with ``slots``, frames whose slots nobody knows, or two frames in one
            slot, which the encoder could not tell apart.
    """
    T = len(pts_seconds_T)
    if mode == "virtual":
        spread = np.linspace(0, VIRTUAL_FRAMES - 1, T)
        return (np.trunc(spread) if T <= VIRTUAL_FRAMES else spread).astype(np.float32)
    if mode == "slots":
        return _one_slot_each(slot_T).astype(np.float32)
    if mode == "index":
        return np.arange(T, dtype=np.float32)
    if mode == "seconds":
        if not ticks_per_second > 0:
            raise InvalidArgumentError("ticks_per_second", ticks_per_second, "a number above 0")
        return (np.asarray(pts_seconds_T) * ticks_per_second).astype(np.float32)
    raise InvalidArgumentError("time", mode, "one of 'virtual', 'slots', 'index', 'seconds'")


def _one_slot_each(slot_T: NDArray[np.int64] | None) -> NDArray[np.int64]:
    if slot_T is None:
        raise InvalidArgumentError("time", "slots", "'virtual', 'index' or 'seconds': these frames carry no slot_T")
    shared = np.flatnonzero(np.diff(slot_T) == 0)
    if len(shared):
        first = int(shared[0])
        allowed = (
            f"one frame a slot, but frames {first} and {first + 1} of {len(slot_T)} both have slot {slot_T[first]}: "
            "use pattern='bins' with a num_frames that divides 64 (always apart), fewer frames, or time='virtual'"
        )
        raise InvalidArgumentError("time", "slots", allowed)
    return slot_T


def model_positions(
    positions_K3: NDArray[np.int32],
    model_time_T: NDArray[np.float32],
    *,
    layout: Layout = "frames",
    grid: tuple[int, int],
) -> NDArray[np.float32]:
    """RoPE positions float32 [K, 3] of patches addressed by int32 rows (t, h, w).

    ``frames``: (model_time[t], h, w). ``tiled``: the frames that occur are stacked top to bottom in one
    picture, so t = 0 and h counts on from frame to frame (the original's collage mode, train.py).

    Raises:
        ShapeError: an address lies outside ``model_time_T`` x ``grid``.
    """
    t, h, w = np.asarray(positions_K3, dtype=np.int64).T
    if len(t) and not (t.min() >= 0 and t.max() < len(model_time_T)):
        raise ShapeError(
            "positions t", (int(t.min()), int(t.max())), f"0..{len(model_time_T) - 1}, rows of model_time_T"
        )
    if len(t) and not (min(h.min(), w.min()) >= 0 and h.max() < grid[0] and w.max() < grid[1]):
        raise ShapeError("positions (h, w)", (int(h.max()), int(w.max())), f"inside the grid {grid}")
    if layout == "tiled":
        slot = np.unique(t, return_inverse=True)[1].reshape(-1)
        return np.stack([np.zeros_like(t), slot * grid[0] + h, w], axis=1).astype(np.float32)
    return np.stack([model_time_T[t], h.astype(np.float32), w.astype(np.float32)], axis=1)
