"""Pixels: the reference at quarter pixels, block distances, the transform, intra prediction."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.codec.twin.bits import Vector

Picture = NDArray[np.int64]
PAD, REACH, MAX_VECTOR = 32, 24, 1020
_HALF = [[64, 64, 64, 64], [89, 75, 50, 18], [83, 36, -36, -83], [75, -18, -89, -50]]
_HALF += [[64, -64, -64, 64], [50, -89, 18, 75], [36, -83, 83, -36], [18, -50, 75, -89]]
DCT = np.array([row + [(-1) ** k * v for v in row[::-1]] for k, row in enumerate(_HALF)])
"""64 sqrt(8) x the DCT-II, as in H.265 (8.6.4.2)."""
HADAMARD = np.array([[(-1) ** (i & k).bit_count() for i in range(8)] for k in range(8)])


def half_pixels(picture: Picture, axis: int) -> Picture:
    """H.264's six taps between each sample and the next along ``axis``, which becomes 5 shorter."""
    n = picture.shape[axis] - 5
    a, b, c, d, e, f = (picture.take(range(i, i + n), axis) for i in range(6))
    out: Picture = np.clip((a - 5 * b + 20 * c + 20 * d - 5 * e + f + 16) >> 5, 0, 255)
    return out


class Reference:
    """The coded frame before, at every quarter pixel: four planes, and means of two of their samples."""

    def __init__(self, recon: Picture) -> None:
        self.height, self.width = recon.shape
        full = np.pad(recon, PAD + 3, mode="edge")
        right = half_pixels(full, 1)
        self.planes = {
            (0, 0): full[3:-3, 3:-3],
            (0, 2): right[3:-3, 1:],
            (2, 0): half_pixels(full, 0)[1:, 3:-3],
            (2, 2): half_pixels(right, 0)[1:, 1:],
        }

    def limit(self, x: int, y: int, size: int, mv: Vector) -> Vector:
        """The nearest vector that keeps the block within REACH of the picture."""
        low_x, high_x = max(4 * (-REACH - x), -MAX_VECTOR), min(4 * (self.width + REACH - size - x), MAX_VECTOR)
        low_y, high_y = max(4 * (-REACH - y), -MAX_VECTOR), min(4 * (self.height + REACH - size - y), MAX_VECTOR)
        return min(max(mv[0], low_x), high_x), min(max(mv[1], low_y), high_y)

    def block(self, x: int, y: int, size: int, mv: Vector) -> Picture:
        """``size`` x ``size`` pixels that the vector of the block at pixel (x, y) points at."""
        fx, fy = mv[0] & 3, mv[1] & 3
        samples = [self._sample(4 * x + mv[0] + dx, 4 * y + mv[1] + dy, size) for dx, dy in _neighbours(fx, fy)]
        return samples[0] if len(samples) == 1 else (samples[0] + samples[1] + 1) >> 1

    def _sample(self, qx: int, qy: int, size: int) -> Picture:
        plane = self.planes[qy & 3, qx & 3]
        top, left = PAD + (qy >> 2), PAD + (qx >> 2)
        return plane[top : top + size, left : left + size]


def _neighbours(fx: int, fy: int) -> list[Vector]:
    """Half-pel positions, as steps from here, whose mean is the quarter-pel position (fx, fy): H.264, figure 8-4."""
    if not (fx | fy) & 1:
        return [(0, 0)]
    if fx & 1 and fy & 1:  # the diagonal neighbours that are half-pel in one direction only
        down = 1 if fy == 3 else -1
        aside = 1 if fx == 3 else -1
        return [(2 - fx, down), (aside, 2 - fy)]
    return [(-1, 0), (1, 0)] if fx & 1 else [(0, -1), (0, 1)]


def satd(a: Picture, b: Picture) -> int:
    """Sum over 8 x 8 blocks of a quarter of the Hadamard transform's magnitudes: near to what coding a - b costs."""
    total = 0
    for j in range(0, a.shape[0], 8):
        for i in range(0, a.shape[1], 8):
            spectrum = HADAMARD @ (a - b)[j : j + 8, i : i + 8] @ HADAMARD
            total += (int(np.abs(spectrum).sum()) + 2) >> 2
    return total


def transform(block: Picture, matrix: Picture, shifts: tuple[int, int]) -> Picture:
    """Down, then across. ``DCT`` with shifts (2, 9) goes forward, to sixteenths; ``DCT.T`` with (7, 12) back."""
    for shift in shifts:
        block = np.clip((matrix @ block + (1 << (shift - 1))) >> shift, -32768, 32767).T
    return block


def intra_prediction(source: Picture, recon: Picture, x: int, y: int) -> Picture:
    """8 x 8 pixels from the coded ones above and left: mean, smooth, rows or columns, whichever is nearest (SATD).

    Outside the picture the other side's nearest pixel stands in; at the first cell its own mean, which is sent.
    """
    block = source[y : y + 8, x : x + 8]
    top = recon[y - 1, x : x + 8] if y else None
    left = recon[y : y + 8, x - 1] if x else None
    mean = (int(block.sum()) + 32) >> 6
    if top is None:
        top = np.full(8, left[0] if left is not None else mean)
    if left is None:
        left = np.full(8, top[0])
    i, j, row, column = np.arange(8)[None, :], np.arange(8)[:, None], top[None, :], left[:, None]
    smooth = ((7 - i) * column + (i + 1) * top[7] + (7 - j) * row + (j + 1) * left[7] + 8) >> 4
    flat = np.full((8, 8), (int(top.sum()) + int(left.sum()) + 8) >> 4)
    modes = [flat, smooth, np.repeat(column, 8, 1), np.repeat(row, 8, 0)]
    return min(modes, key=lambda mode: satd(block, mode))
