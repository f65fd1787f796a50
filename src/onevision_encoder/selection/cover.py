"""Even coverage by rule: which places of a frame come first, and how a total is spread over frames.

Axes: T frames, U = h*w units of a frame in raster order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def coverage_order(frames: int, grid: tuple[int, int]) -> Ints:
    """Rank of every unit in an order whose every beginning is spread evenly over the frame, int64 [T, U].

    Bayer's ordered-dither matrix (1973): the first quarter of it is every second unit in both directions. Each frame
    sees it shifted (along the same matrix), so that frames read sparsely one after another look at different places.
    """
    rows, cols = grid
    bits = max(1, (max(rows, cols) - 1).bit_length())
    side = 1 << bits
    y, x = np.mgrid[:side, :side]
    rank = np.zeros((side, side), np.int64)
    for bit in range(bits):
        rank = (rank << 2) | ((((x ^ y) >> bit) & 1) << 1) | ((y >> bit) & 1)
    visit = np.argsort(rank.ravel())
    t = np.arange(frames)
    shift = visit[(t * 37) % side**2]
    dy, dx = shift // side, shift % side
    y_TU = (y[None, :rows, :cols] + dy[:, None, None]) % side
    x_TU = (x[None, :rows, :cols] + dx[:, None, None]) % side
    shifted: Ints = rank[y_TU, x_TU]
    order_TU: Ints = shifted.reshape(frames, -1)
    return order_TU


def spread(total: int, room_T: Ints) -> Ints:
    """Share ``total`` over frames as equally as ``room_T`` allows; the odd ones go to evenly spaced frames.

    ``total`` must not exceed the sum of ``room_T``.
    """
    share_T = np.zeros_like(room_T)
    while total > 0:
        open_T = np.flatnonzero(share_T < room_T)
        each = total // len(open_T)
        if each == 0:
            open_T, each = open_T[evenly(total, len(open_T))], 1
        given = np.minimum(each, room_T[open_T] - share_T[open_T])
        share_T[open_T] += given
        total -= int(given.sum())
    return share_T


def apportion(total: int, size_C: Ints, room_C: Ints) -> Ints:
    """Share ``total`` over chunks in proportion to ``size_C`` (largest remainder, the earlier chunk first in a tie),
    never above ``room_C``; what a full chunk cannot take goes to the others by the same rule."""
    share_C = np.zeros_like(size_C)
    while total > 0:
        open_C = np.flatnonzero(share_C < room_C)
        weight = size_C[open_C]
        exact = total * weight
        part = exact // weight.sum()
        order = np.argsort(-(exact % weight.sum()), kind="stable")
        part[order[: total - int(part.sum())]] += 1
        given = np.minimum(part, room_C[open_C] - share_C[open_C])
        share_C[open_C] += given
        total -= int(given.sum())
    return share_C


def evenly(count: int, total: int) -> Ints:
    """``count`` of ``total`` places, in the middle of equal shares."""
    return (2 * np.arange(count) + 1) * total // (2 * count)


def end_to_end(count: int, total: int) -> Ints:
    """``count`` of ``total`` places from the first to the last (the usual uniform frame sampling)."""
    return np.arange(count) * (total - 1) // max(1, count - 1)
