"""From presentation times to the frames to take. Axes: N frames of the stream, T sampled frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.video.config import Sampling

_MOST_FPS = 1e12
"""Every frame is nearest to some point of a grid this fine."""


def uniform_indices(count: int, num_frames: int | None) -> NDArray[np.int64]:
    """``trunc(linspace(0, count - 1, num_frames))``, or all of 0..count-1 where there are no more than asked for.

    The rule of the original's loaders (``stage1.py``, ``np.linspace(..., dtype=int)``), without its duplicates.
    """
    if num_frames is None or num_frames >= count:
        return np.arange(count, dtype=np.int64)
    return np.linspace(0, count - 1, num_frames).astype(np.int64)


def grid_indices(pts_seconds_N: NDArray[np.float64], fps: float) -> NDArray[np.int64]:
    """Frames nearest to the grid t0 + k / fps up to the last frame; ties to the earlier frame, each frame once."""
    # A frame is the nearest one from the middle between it and the frame before to the middle after it (a tie is the
    # earlier frame's; container ticks are rounded, 1 ms in Matroska, so that within a microsecond is a tie). It is
    # taken where a grid point lies in there: where the point last passed is another at the end than at the start.
    pts, fps = pts_seconds_N - pts_seconds_N[0], min(fps, _MOST_FPS)
    last_point = np.floor(pts[-1] * fps + 1e-6)  # half a tick of slack: the product may fall short of a whole number
    passed = np.minimum(np.floor(((pts[1:] + pts[:-1]) / 2 + 5e-7) * fps), last_point)
    points = np.concatenate([[-1.0], passed, [last_point]])
    return np.flatnonzero(points[1:] > points[:-1]).astype(np.int64)


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
