"""The grid that signals live on: cells of 8 x 8 pixels, and how they become patches.

Axes: T frames, H W pixels, y x cells (ceil of H / 8, W / 8; the border is replicated into the last ones), h w patches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.types import CELL, FrameSequence


def cell_grid(height: int, width: int) -> tuple[int, int]:
    """Cells (y, x) that cover ``height`` x ``width`` pixels."""
    return -(-height // CELL), -(-width // CELL)


def pad_to(picture_HW: NDArray[np.uint8], multiple: int) -> NDArray[np.uint8]:
    """The picture with its last row and column repeated until both sides are multiples of ``multiple``."""
    H, W = picture_HW.shape
    if H % multiple == 0 and W % multiple == 0:
        return np.ascontiguousarray(picture_HW)
    return np.pad(picture_HW, ((0, -H % multiple), (0, -W % multiple)), mode="edge")


def cell_sum(values_HW: NDArray[np.integer]) -> NDArray[np.int32]:
    """Sum per cell, int32 [y, x], of an integer picture whose sides are multiples of 8."""
    H, W = values_HW.shape
    rows_yW = values_HW.reshape(H // CELL, CELL, W).sum(1, dtype=np.int32)
    sums_yx: NDArray[np.int32] = rows_yW.reshape(H // CELL, W // CELL, CELL).sum(2, dtype=np.int32)
    return sums_yx


def cell_difference(a_HW: NDArray[np.uint8], b_HW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean absolute difference per cell, float32 [y, x], grey levels. Sides are multiples of 8."""
    difference_HW = np.maximum(a_HW, b_HW) - np.minimum(a_HW, b_HW)
    return cell_sum(difference_HW).astype(np.float32) / np.float32(CELL * CELL)


def cell_deviation(luma_HW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Mean absolute deviation of each cell from its own (rounded) mean, float32 [y, x], grey levels.

    What a block that is predicted from nothing but its average leaves: the residual of the simplest intra prediction.
    Sides are multiples of 8.
    """
    mean_yx = ((cell_sum(luma_HW) + CELL * CELL // 2) // (CELL * CELL)).astype(np.uint8)
    return cell_difference(luma_HW, mean_yx.repeat(CELL, 0).repeat(CELL, 1))


def luma_of(source: object) -> NDArray[np.uint8]:
    """The luma that signals are made from: of a FrameSequence, or the array itself, uint8 [T, H, W].

    Raises:
        ShapeError: neither.
    """
    luma = source.luma_THW if isinstance(source, FrameSequence) else source
    if not isinstance(luma, np.ndarray) or luma.ndim != 3 or luma.dtype != np.uint8 or luma.size == 0:
        found = (luma.shape, str(luma.dtype)) if isinstance(luma, np.ndarray) else type(luma).__name__
        raise ShapeError("luma_THW", found, "a FrameSequence or uint8 [T, H, W] with T, H, W >= 1")
    return luma


def _overlap(length: int, patch: int) -> NDArray[np.float64]:
    """float64 [patches, cells]: the share of each patch's side that each cell covers along one axis. Rows sum to 1."""
    first_px = np.arange(length // patch)[:, None] * patch
    cell_px = np.arange(-(-length // CELL)) * CELL
    shared = np.minimum(first_px + patch, cell_px + CELL) - np.maximum(first_px, cell_px)
    share: NDArray[np.float64] = np.clip(shared, 0, None) / patch
    return share


def cells_to_patches(cells_Tyx: ArrayLike, *, patch: int, frame_size: tuple[int, int]) -> NDArray[np.float32]:
    """Exact area average of 8-pixel cells over ``patch``-pixel patches.

    Args:
        cells_Tyx: [T, y, x] numbers, y = ceil(H / 8), x = ceil(W / 8): each holds for every pixel of its cell.
        patch: side of a patch in pixels, any integer that divides both sides of the frame.
        frame_size: (H, W) in pixels.
    Returns:
        float32 [T, H / patch, W / patch] in the units of ``cells_Tyx``.
    Raises:
        InvalidArgumentError: ``patch`` does not divide H and W.
        ShapeError: the cells are not those of such a frame.
    """
    cells = np.asarray(cells_Tyx)
    H, W = frame_size
    if isinstance(patch, bool) or not isinstance(patch, int | np.integer) or patch < 1 or H % patch or W % patch:
        raise InvalidArgumentError("patch", patch, f"an integer >= 1 that divides both sides of the {H} x {W} frame")
    if cells.ndim != 3 or cells.shape[1:] != cell_grid(H, W):
        raise ShapeError("cells_Tyx", cells.shape, f"[T, {', '.join(map(str, cell_grid(H, W)))}] for {H} x {W} pixels")
    averaged = _overlap(H, patch) @ cells.astype(np.float64) @ _overlap(W, patch).T
    return np.asarray(averaged, dtype=np.float32)
