"""Motion search of one block: candidates, hexagon, square, half and quarter pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from onevision_encoder.codec.twin.bits import Vector, vector_bits
from onevision_encoder.codec.twin.pictures import Picture, Reference

HEXAGON = ((-2, 0), (-1, -2), (1, -2), (2, 0), (1, 2), (-1, 2))
SQUARE = ((0, -1), (-1, 0), (1, 0), (0, 1), (-1, -1), (1, -1), (-1, 1), (1, 1))
CROSS = ((0, -1), (-1, 0), (1, 0), (0, 1))
FAR = 1 << 30


class Found(NamedTuple):
    """A vector, what it costs (SAD + lambda x bits), and its SAD alone."""

    mv: Vector
    cost: int
    sad: int


Look = Callable[[Found, Vector], Found]


def search(
    reference: Reference,
    source: Picture,
    x: int,
    y: int,
    predictor: Vector,
    starts: Sequence[Vector],
    weight: int,
    p: Mapping[str, int],
) -> Vector:
    """The vector of the block at (x, y) with the least SAD + lambda x bits."""
    size = len(source)
    still = p["still_from"] >> (2 if size == 8 else 0)

    def look(best: Found, mv: Vector) -> Found:
        """The better of the best so far and ``mv``."""
        rate = vector_bits(mv, predictor) * weight >> 16
        if reference.limit(x, y, size, mv) != mv or rate >= best.cost:
            return best
        sad = int(np.abs(source - reference.block(x, y, size, mv)).sum())
        return Found(mv, sad + rate, sad) if sad + rate < best.cost else best

    best = Found((0, 0), FAR, FAR)
    for mv in starts:
        best = look(best, mv)
    if best.sad <= still:
        return best.mv
    whole = ((best.mv[0] + 2) & ~3, (best.mv[1] + 2) & ~3)
    if whole != best.mv:
        from_whole = _whole_pixels(look(best._replace(cost=FAR), reference.limit(x, y, size, whole)), look)
        best = min(best, from_whole, key=lambda found: found.cost)
    else:
        best = _whole_pixels(best, look)
    if best.sad > still:
        finer = _between_pixels(best, look, p["between"])
        if 64 * finer.cost <= (64 - p["gain"]) * best.cost:  # noise alone saves some: interpolation smooths it
            best = finer
    return best.mv


def _whole_pixels(best: Found, look: Look) -> Found:
    """Downhill in steps of two pixels as long as that helps, then the eight pixels around."""
    ahead: Sequence[int] = range(6)  # after a step only the three corners ahead of it are unknown
    for _ in range(16):
        centre, moved = best.mv, None
        for i in range(6):
            if i not in ahead:
                continue
            new = look(best, (centre[0] + 4 * HEXAGON[i][0], centre[1] + 4 * HEXAGON[i][1]))
            if new is not best:
                best, moved = new, i
        if moved is None:
            break
        ahead = (moved, (moved + 1) % 6, (moved + 5) % 6)
    centre = best.mv
    for dx, dy in SQUARE:
        best = look(best, (centre[0] + 4 * dx, centre[1] + 4 * dy))
    return best


def _between_pixels(best: Found, look: Look, rounds: int) -> Found:
    """The neighbours at half, then at quarter pixels."""
    for step in (2, 1):
        for _ in range(rounds):
            centre = best.mv
            for dx, dy in CROSS:
                best = look(best, (centre[0] + step * dx, centre[1] + step * dy))
            if best.mv == centre:
                break
    return best
