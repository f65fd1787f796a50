"""From presentation times to the frames to take. Axes: N frames of the stream, T sampled frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.video.config import Sampling


def uniform_indices(count: int, num_frames: int | None) -> NDArray[np.int64]:
    """``trunc(linspace(0, count - 1, num_frames))``, or all of 0..count-1 where there are no more than asked for.

    The rule of the original's loaders (``stage1.py``, ``np.linspace(..., dtype=int)``), without its duplicates.
    """
    if num_frames is None or num_frames >= count:
        return np.arange(count, dtype=np.int64)
    return np.linspace(0, count - 1, num_frames).astype(np.int64)


def grid_indices(pts_seconds_N: NDArray[np.float64], fps: float) -> NDArray[np.int64]:
    """Frames nearest to the grid t0 + k / fps up to the last frame; ties to the earlier frame, each frame once."""
    t0, last = float(pts_seconds_N[0]), float(pts_seconds_N[-1])
    if (last - t0) * fps > 4 * len(pts_seconds_N):  # a grid far finer than the frames: every frame is nearest to some
        spacing = np.diff(pts_seconds_N)
        if len(spacing) and float(spacing.min()) * fps >= 2:
            return np.arange(len(pts_seconds_N), dtype=np.int64)
    # Half a tick of slack: (last - t0) * fps may fall a rounding error short of a whole number.
    grid = t0 + np.arange(int(np.floor((last - t0) * fps + 1e-6)) + 1) / fps
    right = np.clip(np.searchsorted(pts_seconds_N, grid), 1, max(len(pts_seconds_N) - 1, 1))
    right = np.minimum(right, len(pts_seconds_N) - 1)
    left = np.maximum(right - 1, 0)
    # Container ticks are rounded (1 ms in Matroska): a tie within a microsecond is a tie.
    nearer_left = grid - pts_seconds_N[left] <= pts_seconds_N[right] - grid + 1e-6
    return np.unique(np.where(nearer_left, left, right)).astype(np.int64)


def choose_frames(pts_seconds_N: NDArray[np.float64], sampling: Sampling) -> NDArray[np.int64]:
    """Frame indices to take, strictly increasing int64 [T], 1 <= T.

    Args:
        pts_seconds_N: presentation times, strictly increasing, 0 = first frame of the stream.
    Raises:
        InvalidArgumentError: no frame lies in the time window.
    """
    start = sampling.start_seconds or 0.0
    end = np.inf if sampling.end_seconds is None else sampling.end_seconds
    first, stop = np.searchsorted(pts_seconds_N, [start, end], side="left")
    if stop <= first:
        span = f"a window [start, end) that holds a frame; frames lie between 0 and {float(pts_seconds_N[-1]):.6g} s"
        raise InvalidArgumentError("start_seconds, end_seconds", (sampling.start_seconds, sampling.end_seconds), span)
    window = np.arange(first, stop, dtype=np.int64)
    if sampling.fps is not None:
        window = window[grid_indices(pts_seconds_N[window], sampling.fps)]
    return window[uniform_indices(len(window), sampling.num_frames)]
