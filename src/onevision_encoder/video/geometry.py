"""From the picture's size to the sized frame: what to resize to, what to crop, what to pad.

Pure arithmetic on (height, width) pairs of the *displayed* picture, that is after rotation and sample aspect ratio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.video.config import Sizing


@dataclass(frozen=True, kw_only=True)
class SizePlan:
    """Resize to ``resized`` (height, width), then place with its top left corner at ``offset`` (top, left) of ``out``.

    Negative offsets crop, positive ones pad with black. ``bicubic``: the recipe asks for bicubic with antialiasing of
    the full-resolution RGB picture; otherwise the frame is area-averaged.
    """

    resized: tuple[int, int]
    offset: tuple[int, int]
    out: tuple[int, int]
    bicubic: bool


def display_size(
    height: int, width: int, *, sample_aspect: Fraction | None = None, quarter_turns: int = 0
) -> tuple[int, int]:
    """(height, width) as shown: the longer axis of a non-square pixel is stretched, then the rotation is applied.

    A sample aspect ratio outside [1/8, 8] is taken for a broken header and ignored.
    """
    if sample_aspect is not None and Fraction(1, 8) <= sample_aspect <= 8:
        if sample_aspect > 1:
            width = max(1, round(width * sample_aspect))
        else:
            height = max(1, round(height / sample_aspect))
    return (width, height) if quarter_turns % 2 else (height, width)


def native_grid(height: int, width: int, sizing: Sizing) -> tuple[int, int]:
    """Units (rows, columns) of the ``native`` recipe.

    The picture's own size rounded to the nearest unit where that fits the budget. Otherwise the best compromise between
    using the budget and keeping the aspect: for each number of rows the nearest numbers of columns that fit,
    judged by ``units * d**4`` with d <= 1 the ratio of the two aspect ratios; ties go to more rows.
    """
    unit, budget = sizing.unit, sizing.max_patches // sizing.merge**2
    rows, cols = max(1, round(height / unit)), max(1, round(width / unit))
    if rows * cols <= budget:
        return rows, cols
    aspect = width / height
    best, best_worth = (1, 1), -1.0
    for r in range(1, min(rows, budget) + 1):
        for c in {math.floor(r * aspect), math.ceil(r * aspect)}:
            c = min(max(c, 1), budget // r, cols)
            distortion = (c / r) / aspect
            worth = r * c * min(distortion, 1 / distortion) ** 4
            if worth >= best_worth:
                best, best_worth = (r, c), worth
    return best


def plan_size(height: int, width: int, sizing: Sizing) -> SizePlan:
    """How a displayed picture of ``height`` x ``width`` pixels becomes a sized frame."""
    if sizing.recipe == "native":
        rows, cols = native_grid(height, width, sizing)
        out = rows * sizing.unit, cols * sizing.unit
        return SizePlan(resized=out, offset=(0, 0), out=out, bicubic=False)
    side = sizing.square
    if sizing.recipe == "letterbox":
        # Facts of the original: scale = side / max(H, W), rounded sides, padding floor((side - n) / 2) before.
        scale = side / max(height, width)
        resized = max(1, round(height * scale)), max(1, round(width * scale))
        offset = (side - resized[0]) // 2, (side - resized[1]) // 2
        return SizePlan(resized=resized, offset=offset, out=(side, side), bicubic=False)
    # transformers' get_resize_output_image_size(default_to_square=False): short side exact, long side truncated;
    # its centre crop starts at floor((n - side) / 2).
    short, long = sorted((height, width))
    longer = int(side * long / short)
    resized = (longer, side) if height > width else (side, longer)
    offset = -((resized[0] - side) // 2), -((resized[1] - side) // 2)
    return SizePlan(resized=resized, offset=offset, out=(side, side), bicubic=True)


def content_mask(plan: SizePlan, patch: int) -> NDArray[np.bool_] | None:
    """bool [h, w], False where a patch touches padding; None where there is no padding."""
    (top, left), (rows, cols) = plan.offset, plan.resized
    if top <= 0 and left <= 0 and top + rows >= plan.out[0] and left + cols >= plan.out[1]:
        return None
    ys, xs = np.arange(0, plan.out[0], patch), np.arange(0, plan.out[1], patch)
    inside_h = (ys >= top) & (ys + patch <= top + rows)
    inside_w = (xs >= left) & (xs + patch <= left + cols)
    return np.asarray(inside_h[:, None] & inside_w[None, :])
