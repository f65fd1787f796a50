"""The media of a batch as the model takes them: patches end to end, with the bounds of each medium.

Axes: N patches, S segments (media), M visual tokens, D = 3*p*p, 3 = (t, h, w).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.model.segments import Segments

VISION_KEYS = (
    "pixel_values",
    "patch_positions",
    "cu_seqlens",
    "unit_cu_seqlens",
    "image_grid_thw",
    "video_grid_thw",
    "vision_features",
)
"""Inputs of the model that are about media."""


@dataclass(frozen=True, kw_only=True, eq=False)
class VisionInput:
    """``bounds`` are those of the S media among the N rows, ``unit_bounds`` those of the M tokens, or None."""

    pixel_values: Tensor
    patch_positions: Tensor
    bounds: list[int]
    unit_bounds: list[int] | None

    @property
    def lengths(self) -> list[int]:
        return [b - a for a, b in pairwise(self.bounds)]


def vision_input(
    pixel_values: Tensor,
    patch_positions: Tensor | None = None,
    cu_seqlens: Tensor | Sequence[int] | None = None,
    unit_cu_seqlens: Tensor | Sequence[int] | None = None,
    image_grid_thw: Tensor | None = None,
    video_grid_thw: Tensor | None = None,
) -> VisionInput:
    """Check what belongs together; bounds come to the host, once.

    Raises:
        ShapeError, InvalidArgumentError: shapes that do not fit, grids that contradict the bounds, or grids of images
            and videos without bounds, which do not say the order.
    """
    if pixel_values.ndim != 2 or len(pixel_values) == 0:
        raise ShapeError("pixel_values", tuple(pixel_values.shape), "[N, D] packed patches of at least one medium")
    if patch_positions is None or tuple(patch_positions.shape) != (len(pixel_values), 3):
        found = None if patch_positions is None else tuple(patch_positions.shape)
        raise ShapeError("patch_positions", found, f"{(len(pixel_values), 3)}: (t, h, w) of each patch")
    grids = {"image_grid_thw": image_grid_thw, "video_grid_thw": video_grid_thw}
    sizes = {name: grid.prod(-1).tolist() for name, grid in grids.items() if grid is not None and len(grid)}
    if cu_seqlens is None and sizes:
        if len(sizes) > 1:
            raise InvalidArgumentError("cu_seqlens", None, "bounds, where there are images and videos")
        (lengths,) = sizes.values()
        cu_seqlens = torch.tensor([0, *lengths]).cumsum(0)
    bounds = Segments.from_cu_seqlens(cu_seqlens, len(pixel_values)).bounds()
    _check_grids(sizes, [b - a for a, b in pairwise(bounds)])
    unit_bounds: list[int] | None = None
    if unit_cu_seqlens is not None:
        unit_bounds = torch.as_tensor(unit_cu_seqlens).tolist()
    return VisionInput(
        pixel_values=pixel_values, patch_positions=patch_positions, bounds=bounds, unit_bounds=unit_bounds
    )


def _check_grids(sizes: dict[str, list[int]], lengths: list[int]) -> None:
    """Every grid's patches must be a medium's, in order; media without a grid may stand between."""
    for name, wanted in sizes.items():
        rest = iter(lengths)
        if not all(any(size == length for length in rest) for size in wanted):
            raise ShapeError(name, wanted, f"the patches of media of these lengths, in order: {lengths}")


def take_vision(given: VisionInput, kept: list[int]) -> dict[str, Any]:
    """Inputs of the media ``kept`` alone; {} for none."""
    if not kept:
        return {}
    rows = torch.cat([torch.arange(given.bounds[i], given.bounds[i + 1]) for i in kept])
    inputs: dict[str, Any] = {
        "pixel_values": given.pixel_values[rows.to(given.pixel_values.device)],
        "patch_positions": given.patch_positions[rows.to(given.patch_positions.device)],
        "cu_seqlens": _ends(given.lengths[i] for i in kept),
    }
    if given.unit_bounds is not None:
        spans = [(given.bounds[i], given.bounds[i + 1]) for i in kept]
        units = [b - a for a, b in pairwise(given.unit_bounds) if any(low <= a < high for low, high in spans)]
        inputs["unit_cu_seqlens"] = _ends(units)
    return inputs


def _ends(lengths: Any) -> list[int]:
    ends = [0]
    for length in lengths:
        ends.append(ends[-1] + length)
    return ends
