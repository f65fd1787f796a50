"""Does a frame start a new scene? The rule of :mod:`onevision_encoder.codec.cuts`, in integers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.codec.twin.bits import Vector
from onevision_encoder.codec.twin.pictures import MAX_VECTOR, Picture


class Scene(Enum):
    SAME = 0
    SHIFTED = 1
    """Goes on, displaced beyond what the search found."""
    CUT = 2


def scene_of(
    source: Picture, before: Picture, error: Mapping[tuple[int, ...], int | None], noise: int
) -> tuple[Scene, Vector | None]:
    """The scene, and the vector of the whole picture where it was shifted. ``error``: of the cells, None = intra.
    ``noise``: its deviation, in sixteenths of a grey level."""
    textured = _lost(source, error, max(128, 8 * noise))
    if textured is None or _explains(source, before, textured, (0, 0)):
        return Scene.SAME, None
    shift = _global_shift(source, before)
    if not _explains(source, before, textured, shift):
        return Scene.CUT, None
    if max(abs(v) for v in shift) > MAX_VECTOR // 4:
        return Scene.SAME, None
    return Scene.SHIFTED, (-4 * shift[0], -4 * shift[1])


def _lost(source: Picture, error: Mapping[tuple[int, ...], int | None], seen: int) -> list[tuple[int, ...]] | None:
    """The textured cells, if next to nothing of the frame could be predicted. ``seen``: deviations from this on are
    no noise."""
    if 4 * sum(e is None or e >= seen for e in error.values()) < len(error):
        return None
    textured, lost, lost_texture = [], 0, 0
    for at, e in error.items():
        cell = source[8 * at[0] : 8 * at[0] + 8, 8 * at[1] : 8 * at[1] + 8]
        deviation = int(np.abs(cell - ((cell.sum() + 32) >> 6)).sum())
        is_lost = e is None or (e >= seen and 2 * e >= deviation)
        lost += is_lost
        if deviation >= seen:
            textured.append(at)
            lost_texture += is_lost
    enough = 4 * lost >= len(error) and 20 * len(textured) >= len(error) and 10 * lost_texture >= 9 * len(textured)
    return textured if enough else None


def _explains(source: Picture, before: Picture, textured: list[tuple[int, ...]], shift: Vector) -> bool:
    """Do half of the textured cells (a fifth of them over the old picture) correlate with it by 0.25, shifted?"""
    (H, W), (dx, dy), inside, like = source.shape, shift, 0, 0
    for at in textured:
        y, x = 8 * at[0], 8 * at[1]
        v, u = y - dy, x - dx
        if v < 0 or u < 0 or v + 8 > H or u + 8 > W:
            continue
        a, b = source[y : y + 8, x : x + 8], before[v : v + 8, u : u + 8]
        sa, sb = int(a.sum()), int(b.sum())
        aa, bb, ab = (64 * int((p * q).sum()) for p, q in ((a, a), (b, b), (a, b)))
        aa, bb, ab = aa - sa * sa, bb - sb * sb, ab - sa * sb
        inside += 1
        like += ab > 0 and 16 * ab * ab >= aa * bb
    return inside > 0 and 5 * inside >= len(textured) and 2 * like >= inside


def _global_shift(source: Picture, before: Picture) -> Vector:
    """How the whole picture moved, (dx, dy) in pixels: signs of differences compared, coarse to fine."""
    (H, W), levels = source.shape, 1
    while H >> (levels - 1) > 32 or W >> (levels - 1) > 32:
        levels += 1
    while H >> (levels - 1) < 1 or W >> (levels - 1) < 1:
        levels -= 1
    now, old = _pyramid(source, levels), _pyramid(before, levels)
    dx = dy = 0
    for level in range(levels - 1, -1, -1):
        h, w = now[level].shape
        reach = (w - 1, h - 1) if level == levels - 1 else (1, 1)
        maps = _signs(now[level], level), _signs(old[level], level)
        dx, dy = _best_shift(*maps, (2 * dx, 2 * dy), reach)
    return dx, dy


def _pyramid(picture: Picture, levels: int) -> list[Picture]:
    sums = [picture]
    for _ in range(levels - 1):
        h, w = (n // 2 * 2 for n in sums[-1].shape)
        even = sums[-1][:h, :w]
        sums.append(even[::2, ::2] + even[::2, 1::2] + even[1::2, ::2] + even[1::2, 1::2])
    return sums


def _signs(sums: Picture, level: int) -> NDArray[np.int64]:
    """[2, h, w]: signs of the differences to the right and down; 0 below 2 grey levels."""
    out, threshold = np.zeros((2, *sums.shape), np.int64), 2 << 2 * level
    for k, difference in enumerate((np.diff(sums, axis=1), np.diff(sums, axis=0))):
        h, w = difference.shape
        out[k, :h, :w] = np.where(np.abs(difference) >= threshold, np.sign(difference), 0)
    return out


def _best_shift(now: NDArray[np.int64], old: NDArray[np.int64], start: Vector, reach: Vector) -> Vector:
    """The shift with the largest agreement^2 / count: the least likely by chance."""
    _, h, w = now.shape
    total, best, best_count, shift = int((now * now).sum()), 0, 1, start
    for dy in range(start[1] - reach[1], start[1] + reach[1] + 1):
        for dx in range(start[0] - reach[0], start[0] + reach[0] + 1):
            if abs(dx) >= w or abs(dy) >= h:
                continue
            a = now[:, max(dy, 0) : h + min(dy, 0), max(dx, 0) : w + min(dx, 0)]
            b = old[:, max(-dy, 0) : h + min(-dy, 0), max(-dx, 0) : w + min(-dx, 0)]
            count, same = int((a * a).sum()), int((a * b).sum())
            if count < 1 or 5 * count < total or same <= 0:
                continue
            if same * same // count > best * best // best_count:
                best, best_count, shift = same, count, (dx, dy)
    return shift
