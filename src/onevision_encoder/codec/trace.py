"""From vectors of single frames to how content moved between two sampled frames, in pixels of the decoded picture.

The export says on which side of a frame its reference lies, not which frame it is. What is assumed here: a vector of a
P frame points to the last I or P frame shown before it, the vectors of a B frame to the I or P frames around it. A
vector is divided by that distance, which gives the displacement of one frame step. Streams that refer further back, or
from B to B frames, are measured wrong there; of a B frame's two vectors the one with the shorter distance is taken,
which is right for the usual pyramid of three. A B frame whose vectors are all zero is taken to move like the I or P
frame after it (or before it, where that is not read): for B frames of MPEG-4 FFmpeg exports zeros whatever they hold,
and where nothing moves it comes to the same.

Axes: y x cells of 8 x 8 pixels of the decoded picture, 2 = (dx, dy).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.codec.vectors import VectorField
from onevision_encoder.types import CELL


@dataclass(frozen=True, kw_only=True, eq=False)
class Step:
    """How content moved over ``frames`` frame steps.

    Attributes:
        moved_yx2: float32, the sum over the steps that are known, at the place where the content arrives.
        known_yx: int32, how many of the steps are known.
        frames: number of steps.
    """

    moved_yx2: NDArray[np.float32]
    known_yx: NDArray[np.int32]
    frames: int

    def motion(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(motion over all steps, known): unknown steps are taken to go on like the known ones."""
        scale_yx = self.frames / np.maximum(self.known_yx, 1)
        return (self.moved_yx2 * scale_yx[..., None]).astype(np.float32), self.known_yx > 0


def one_step(field: VectorField, since_past: int | None, until_future: int | None = None) -> Step:
    """The step from the frame before to this one.

    Args:
        field: the frame's vectors.
        since_past: frames from the assumed earlier reference to this one, >= 1; None = that was not read.
        until_future: frames from this one to the assumed later reference; None = there is none, or it was not read.
    """
    past_yx2 = field.past_yx2 / np.float32(since_past or 1)
    use_past, use_future = field.from_past_yx, field.from_future_yx
    if since_past is None:
        use_past = np.zeros_like(use_past)
    if until_future is None:
        use_future = np.zeros_like(use_future)
    elif since_past is None:
        pass
    elif since_past < until_future:
        use_future = use_future & ~use_past
    elif until_future < since_past:
        use_past = use_past & ~use_future
    future_yx2 = field.future_yx2 / np.float32(until_future or 1)
    weight_yx = use_past.astype(np.float32) + use_future
    moved_yx2 = past_yx2 * use_past[..., None] + future_yx2 * use_future[..., None]
    moved_yx2 /= np.maximum(weight_yx, 1)[..., None]
    return Step(moved_yx2=moved_yx2, known_yx=(weight_yx > 0).astype(np.int32), frames=1)


def compose(steps: Sequence[Step]) -> Step:
    """Several steps, first to last, as one: the content of every cell is followed back from the last frame.

    Where a step is unknown the content is taken to stay for that step.
    """
    y, x = steps[-1].known_yx.shape
    row, col = np.meshgrid(np.arange(y), np.arange(x), indexing="ij")
    centre_yx2 = (np.stack([col, row], -1).astype(np.float32) + np.float32(0.5)) * CELL
    moved_yx2 = np.zeros((y, x, 2), np.float32)
    known_yx = np.zeros((y, x), np.int32)
    for step in reversed(steps):
        at = np.floor((centre_yx2 - moved_yx2) / CELL).astype(np.int64)
        ix, iy = np.clip(at[..., 0], 0, x - 1), np.clip(at[..., 1], 0, y - 1)
        known_yx += step.known_yx[iy, ix]
        moved_yx2 += step.moved_yx2[iy, ix]
    return Step(moved_yx2=moved_yx2, known_yx=known_yx, frames=sum(s.frames for s in steps))
