"""``uniform_lowres``: the same tokens spent on more frames at lower resolution.

Axes: T frames, h w patches.
"""

from __future__ import annotations

import dataclasses
import math

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.selection.budget import resolve_budget
from onevision_encoder.selection.config import SelectionConfig, budget_for
from onevision_encoder.selection.cover import end_to_end
from onevision_encoder.types import FrameSequence

SMALLEST = 16
"""Units below which a frame is not shrunk further (4 x 4): fewer frames are taken instead."""


def lower_resolution(frames: FrameSequence, config: SelectionConfig) -> tuple[FrameSequence, SelectionConfig]:
    """Frames and configuration that :func:`select` is to be given; themselves for every other policy.

    ``uniform`` spends K patches on K / P whole frames of P patches each. ``uniform_lowres`` spends them on all T
    frames, each shrunk to about K / T patches. The budget means what it means for every other policy, a number or a
    share of the patches of ``frames`` as they come, and is passed on as that number.

    Raises:
        BudgetError: the budget is out of reach. InvalidArgumentError: letterboxed frames.
    """
    if config.policy != "uniform_lowres":
        return frames, config
    if frames.content_hw is not None:
        raise InvalidArgumentError("policy", "uniform_lowres", "another policy for letterboxed frames")
    from onevision_encoder.video import resize_frames

    unit = frames.merge**2
    asked = budget_for(config, frames.num_frames)
    budget = resolve_budget(asked, available=frames.num_patches, unit=unit, short=config.short)
    spent = dataclasses.replace(config, budget=budget)
    rows, cols = (n // frames.merge for n in frames.grid)
    least = math.ceil(budget / unit / (rows * cols))
    count = max(least, min(frames.num_frames, budget // unit // SMALLEST))
    smaller = smallest_grid(math.ceil(budget / unit / count), rows, cols)
    kept = end_to_end(count, frames.num_frames)
    side = frames.patch * frames.merge
    return resize_frames(frames, (smaller[0] * side, smaller[1] * side), rows=kept), spent


def smallest_grid(units: int, rows: int, cols: int) -> tuple[int, int]:
    """The grid of at least ``units`` units, inside ``rows`` x ``cols``, that wastes least and keeps the shape.

    Judged by ``units / (r * c) * d**4`` with d <= 1 the ratio of the two aspect ratios; ties go to more rows.
    """

    def worth(grid: tuple[int, int]) -> tuple[float, int]:
        distortion = (grid[1] / grid[0]) / (cols / rows)
        return units / (grid[0] * grid[1]) * min(distortion, 1 / distortion) ** 4, grid[0]

    fits = ((r, c) for r in range(1, rows + 1) for c in range(1, cols + 1) if r * c >= units)
    return max(fits, key=worth)
