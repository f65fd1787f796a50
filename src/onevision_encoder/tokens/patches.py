"""Pixels <-> patches, at model resolution, by indexing alone: nothing is ever rescaled or re-coded.

Axes: T frames, H W pixels, h w patches, K selected patches, p = patch side, D = 3*p*p in (channel, y, x) order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import ShapeError
from onevision_encoder.types import FrameSequence, Selection


def _grid(rgb_THW3: NDArray[np.uint8], patch: int) -> tuple[int, int]:
    H, W = rgb_THW3.shape[1:3]
    if H % patch or W % patch:
        raise ShapeError("frame size", (H, W), f"multiples of the patch size {patch}")
    return H // patch, W // patch


def _blocks(rgb_THW3: NDArray[np.uint8], patch: int) -> NDArray[np.uint8]:
    """A view [T, h, w, 3, p, p] of the pixels; nothing is copied."""
    h, w = _grid(rgb_THW3, patch)
    return rgb_THW3.reshape(len(rgb_THW3), h, patch, w, patch, 3).transpose(0, 1, 3, 5, 2, 4)


def patchify(rgb_THW3: NDArray[np.uint8], patch: int) -> NDArray[np.uint8]:
    """All patches, [T*h*w, D] uint8 in raster order (t, h, w). Raises ShapeError where sizes do not divide."""
    return _blocks(rgb_THW3, patch).reshape(-1, 3 * patch * patch)


def unpatchify(patches_ND: NDArray[np.uint8], shape: tuple[int, int, int], patch: int) -> NDArray[np.uint8]:
    """The inverse of :func:`patchify`: frames [T, h*p, w*p, 3] from all T*h*w patches in raster order."""
    T, h, w = shape
    if patches_ND.shape != (T * h * w, 3 * patch * patch):
        raise ShapeError("patches_ND", patches_ND.shape, f"{(T * h * w, 3 * patch * patch)} for the grid {shape}")
    blocks = patches_ND.reshape(T, h, w, 3, patch, patch).transpose(0, 1, 4, 2, 5, 3)
    return blocks.reshape(T, h * patch, w * patch, 3)


def gather(frames: FrameSequence, selection: Selection) -> NDArray[np.uint8]:
    """The selected patches, uint8 [K, D], in the selection's order.

    Raises:
        ShapeError: the selection was made on another grid than that of the frames.
    """
    shape = (frames.num_frames, *frames.grid)
    if selection.shape != shape:
        raise ShapeError("selection.shape", selection.shape, f"{shape}, the grid of the frames")
    t, h, w = selection.positions_K3.T
    chosen: NDArray[np.uint8] = _blocks(frames.rgb_THW3, frames.patch)[t, h, w]
    return chosen.reshape(len(selection), -1)
