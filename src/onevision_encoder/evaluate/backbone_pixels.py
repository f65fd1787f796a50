"""Frames to the tensors that vision towers read.

Axes: T frames, H W pixels, 3 = RGB, h w patches, p = patch side, L = patches of a frame, N = patches of a clip.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.evaluate.backbone_specs import BICUBIC, BILINEAR, Preprocessing
from onevision_encoder.video.color import resize_rgb


def pixel_values(rgb_THW3: NDArray[np.uint8], spec: Preprocessing) -> Tensor:
    """float32 [T, 3, H', W'] as the model's own processor makes them: resize, centre crop, rescale, normalise.

    Raises:
        ShapeError: the resized picture is smaller than the crop (the processors would pad it with black).
    """
    T, H, W, _ = rgb_THW3.shape
    size = (H, W) if spec.size is None else spec.size.resized(T, H, W)
    if spec.float_resize:
        x_T3HW = _resize_floats(_rescale(_channels_first(rgb_THW3), spec.rescale), size, spec.resample)
        x_T3HW = _crop(x_T3HW, spec.crop)
    else:
        filter = Image.Resampling(spec.resample)
        resized = np.stack([resize_rgb(frame_HW3, size[0], size[1], filter) for frame_HW3 in rgb_THW3])
        x_T3HW = _rescale(_crop(_channels_first(resized), spec.crop), spec.rescale)
    if spec.mean is not None and spec.std is not None:
        mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (spec.mean, spec.std))
        x_T3HW = (x_T3HW - mean) / std
    return x_T3HW


def _channels_first(rgb_THW3: NDArray[np.uint8]) -> Tensor:
    # a copy: arrays of FrameSequence are read-only, and torch has no such thing
    return torch.from_numpy(np.array(rgb_THW3.transpose(0, 3, 1, 2), order="C"))


def _rescale(x: Tensor, factor: float | None) -> Tensor:
    return x.to(torch.float32) if factor is None else x.to(torch.float32) * factor


def _resize_floats(x_T3HW: Tensor, size: tuple[int, int], resample: int) -> Tensor:
    modes = {BILINEAR: "bilinear", BICUBIC: "bicubic"}
    if resample not in modes:
        raise InvalidArgumentError("resample", resample, f"one of {modes} where pixels are resized as floats")
    resized: Tensor = torch.nn.functional.interpolate(
        x_T3HW, size=size, mode=modes[resample], align_corners=False, antialias=True
    )
    return resized


def _crop(x_T3HW: Tensor, crop: tuple[int, int] | None) -> Tensor:
    if crop is None:
        return x_T3HW
    (H, W), (rows, cols) = x_T3HW.shape[2:], crop
    if rows > H or cols > W:
        raise ShapeError("crop_size", crop, f"at most {(H, W)}, the size of the resized picture")
    top, left = (H - rows) // 2, (W - cols) // 2
    return x_T3HW[:, :, top : top + rows, left : left + cols]


def flat_patches(x_T3HW: Tensor, patch: int) -> Tensor:
    """[T, L, p*p*3] in (y, x, channel) order, L in raster order: what NaFlex models read."""
    T, _, H, W = x_T3HW.shape
    h, w = H // patch, W // patch
    blocks = x_T3HW.reshape(T, 3, h, patch, w, patch).permute(0, 2, 4, 3, 5, 1)
    return blocks.reshape(T, h * w, patch * patch * 3)


def merged_patches(x_T3HW: Tensor, *, patch: int, tubelet: int, merge: int) -> tuple[Tensor, tuple[int, int, int]]:
    """Patches [N, 3*tubelet*p*p] in (channel, t, y, x) order and their grid (t, h, w): what Qwen-VL towers read.

    N runs over tubelets, then blocks of merge x merge patches in raster order, then the patches of the block.
    """
    T, _, H, W = x_T3HW.shape
    t, h, w = T // tubelet, H // patch, W // patch
    split = x_T3HW.reshape(t, tubelet, 3, h // merge, merge, patch, w // merge, merge, patch)
    blocks = split.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return blocks.reshape(t * h * w, 3 * tubelet * patch * patch), (t, h, w)


def grid_positions(frame_T: NDArray[np.int64], h: int, w: int) -> Tensor:
    """int32 [T*h*w, 3] rows (frame, row, column) in raster order."""
    frames = torch.from_numpy(frame_T.astype(np.int32))
    axes = (frames, torch.arange(h, dtype=torch.int32), torch.arange(w, dtype=torch.int32))
    return torch.cartesian_prod(*axes).reshape(-1, 3)
