"""The policies that codec selection is compared with. Each spends exactly ``budget`` units on a board.

Axes: T frames, U = h*w units of a frame, P = pixels of a unit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.selection.board import Board
from onevision_encoder.selection.cover import end_to_end
from onevision_encoder.types import FrameSequence, Kind


def choose_uniform(board: Board, budget: int) -> dict[str, Any]:
    """Whole frames, evenly spaced from the first to the last; what does not fill a frame is a coarse last one."""
    whole, rest = divmod(budget, board.per_frame)
    frames = end_to_end(whole + (rest > 0), board.frames)
    count_T = np.zeros(board.frames, np.int64)
    count_T[frames] = board.per_frame
    if rest:
        count_T[frames[-1]] = rest
    board.cover(count_T)
    return {"whole_frames": frames[:whole].tolist(), "coarse_frames": frames[whole:].tolist()}


def random_order(board: Board, seed: int) -> NDArray[np.int64]:
    """All content units of a clip in the order in which a simple random sample draws them: places t * U + u."""
    draw_TU = np.random.default_rng(seed).random(board.free_TU.shape)
    draw_TU[:, ~board.content_U] = np.inf
    order: NDArray[np.int64] = np.argsort(draw_TU.ravel(), kind="stable")
    return order[: board.frames * board.per_frame]


def choose_random(board: Board, budget: int, seed: int) -> dict[str, Any]:
    """A simple random sample of all content units (no strata)."""
    chosen = np.zeros(board.free_TU.size, np.bool_)
    chosen[random_order(board, seed)[:budget]] = True
    board.take(chosen.reshape(board.free_TU.shape), Kind.FILL)
    return {"seed": seed}


def choose_run_length(board: Board, budget: int, frames: FrameSequence) -> dict[str, Any]:
    """Run-length tokenisation (Choudhury et al., NeurIPS 2024) with an exact count.

    A unit is dropped while its picture differs by no more than a threshold (mean absolute grey levels) from the last
    unit kept at the same place. Frame 0 is kept (coarsely where it does not fit). The threshold is the smallest, to
    1/64 of a grey level, that keeps no more than the budget; what is left goes to the largest changes among the
    dropped, and where nothing changed at all, to even coverage.
    """
    first_T = np.zeros(board.frames, np.int64)
    first_T[0] = min(budget, board.per_frame)
    board.cover(first_T)
    left = budget - int(first_T[0])
    if left == 0:
        return {"threshold": None}
    units_TUP = _units(frames, board)
    low, high = -1, 255 * 64
    kept_TU, change_TU = _scan(units_TUP, high / 64)
    while high - low > 1:  # invariant: ``high`` keeps at most what is left
        middle = (low + high) // 2
        kept, change = _scan(units_TUP, middle / 64)
        if int((kept & board.free_TU).sum()) <= left:
            high, kept_TU, change_TU = middle, kept, change
        else:
            low = middle
    kept_TU &= board.free_TU
    board.take(kept_TU, Kind.CODEC, change_TU)
    left -= int(kept_TU.sum())
    board.fill(left - board.top(change_TU, left))
    return {"threshold": high / 64}


def _units(frames: FrameSequence, board: Board) -> NDArray[np.uint8]:
    """Luma of every unit as one row: uint8 [T, U, P]."""
    T, (rows, cols), side = board.frames, board.grid, frames.patch * board.merge
    blocks = frames.luma_THW.reshape(T, rows, side, cols, side).transpose(0, 1, 3, 2, 4)
    return np.ascontiguousarray(blocks).reshape(T, rows * cols, side * side)


def _scan(units_TUP: NDArray[np.uint8], threshold: float) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Which units of frames 1.. change by more than ``threshold``, and by how much, against the last one kept."""
    T, U, P = units_TUP.shape
    kept_TU, change_TU = np.zeros((T, U), np.bool_), np.zeros((T, U), np.float32)
    last_UP = units_TUP[0].copy()
    for t in range(1, T):
        now_UP = units_TUP[t]
        apart_UP = np.maximum(now_UP, last_UP) - np.minimum(now_UP, last_UP)
        change_TU[t] = apart_UP.sum(1, dtype=np.uint32) / np.float32(P)
        kept_TU[t] = change_TU[t] > threshold
        last_UP[kept_TU[t]] = now_UP[kept_TU[t]]
    return kept_TU, change_TU
