"""From presentation times to the frames to take, and to their slots on a time axis of 64.

Axes: N frames of the stream, T sampled frames, B bins.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.types import TIME_SLOTS
from onevision_encoder.video.config import BinFrame, Pattern, Sampling

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


def bin_indices(count: int, bins: int, which: BinFrame, seed: int) -> NDArray[np.int64]:
    """One frame of each of ``bins`` equal bins of ``count`` >= ``bins`` frames: frame f lies in bin f * bins // count.

    ``middle`` is the earlier of two middle frames. ``random`` is uniform in the bin. With 8 bins of 8 frames it is
    the original's frame sampling in training (``train.py``), and ``middle`` is its loaders' int(i * s + s / 2).
    """
    start_B = -(-np.arange(bins + 1, dtype=np.int64) * count // bins)  # ceil: the first f with f * bins >= b * count
    width_B = np.diff(start_B)
    offset_B = np.zeros_like(width_B)
    if which == "middle":
        offset_B = (width_B - 1) // 2
    elif which == "random":  # random() is below 1, but its product with a width may round up to the width
        drawn_B = np.random.default_rng(seed).random(bins) * width_B
        offset_B = np.minimum(drawn_B.astype(np.int64), width_B - 1)
    frames_B: NDArray[np.int64] = start_B[:-1] + offset_B
    return frames_B


def pattern_indices(count: int, sampling: Sampling) -> NDArray[np.int64]:
    """Which of ``count`` frames are taken by number and pattern, strictly increasing; all where there are no more."""
    num_frames = sampling.num_frames
    if sampling.pattern == "bins" and num_frames is not None and num_frames < count:
        return bin_indices(count, num_frames, sampling.bin_frame, sampling.frame_seed)
    return uniform_indices(count, num_frames)


def slot_numbers(place_T: NDArray[np.int64], count: int, pattern: Pattern) -> NDArray[np.int64]:
    """The slot 0..63 of the frames at ``place_T`` of ``count`` frames: where 64 frames of the same pattern would stand.

    ``bins``: slot f * 64 // count, the bin of 64 that holds frame f.
    ``uniform``: frame f stands at trunc(linspace(0, 63, count))[f] where there are no more than 64; of more, the 64
    frames trunc(linspace(0, count - 1, 64)) have the slots 0..63, and a frame between two has the slot of the earlier.
    """
    if pattern == "bins":
        return place_T * TIME_SLOTS // count
    if count <= TIME_SLOTS:
        return np.linspace(0, TIME_SLOTS - 1, count).astype(np.int64)[place_T]
    return np.searchsorted(uniform_indices(count, TIME_SLOTS), place_T, side="right").astype(np.int64) - 1


def choose_frames(pts_seconds_N: NDArray[np.float64], sampling: Sampling) -> NDArray[np.int64]:
    """Frame indices to take, strictly increasing int64 [T], 1 <= T.

    Args:
        pts_seconds_N: presentation times, strictly increasing, 0 = first frame of the stream.
    Raises:
        InvalidArgumentError: no frame lies in the time window.
    """
    frames = _sampled_from(pts_seconds_N, sampling)
    return frames[pattern_indices(len(frames), sampling)]


def frame_slots(
    pts_seconds_N: NDArray[np.float64], sampling: Sampling, frame_index_T: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Slots, int64 [T], of frames that :func:`choose_frames` chose (or of some of them, if others did not decode)."""
    frames = _sampled_from(pts_seconds_N, sampling)
    return slot_numbers(np.searchsorted(frames, frame_index_T), len(frames), sampling.pattern)


def _sampled_from(pts_seconds_N: NDArray[np.float64], sampling: Sampling) -> NDArray[np.int64]:
    """The frames of the window, on the time grid if there is one, before they are thinned."""
    start = sampling.start_seconds or 0.0
    end = np.inf if sampling.end_seconds is None else sampling.end_seconds
    first, stop = np.searchsorted(pts_seconds_N, [start, end], side="left")
    if stop <= first:
        span = f"a window [start, end) that holds a frame; frames lie between 0 and {float(pts_seconds_N[-1]):.6g} s"
        raise InvalidArgumentError("start_seconds, end_seconds", (sampling.start_seconds, sampling.end_seconds), span)
    window = np.arange(first, stop, dtype=np.int64)
    if sampling.fps is not None:
        window = window[grid_indices(pts_seconds_N[window], sampling.fps)]
    return window
