"""Features that nobody learnt, for a learnt one to beat: pixels, and histograms of oriented gradients.

Axes: H W pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from onevision_encoder.evaluate.backbone import Clip, Features
from onevision_encoder.tokens import ClipReading


class Pixels:
    """A picture as it is: 28 x 28 of its luma; of a clip each frame, 14 x 14."""

    def __init__(self, side: int) -> None:
        self.name, self.side, self.width = f"pixels {side} x {side}", side, side * side

    def describe(self) -> dict[str, Any]:
        return {"family": "baseline", "what": self.name}

    def encode(self, clips: Sequence[Clip]) -> Features:
        return _frames_of(clips, lambda luma_HW: self.small(luma_HW).ravel())

    def small(self, luma_HW: NDArray[np.uint8]) -> NDArray[np.float32]:
        resized = Image.fromarray(luma_HW).resize((self.side, self.side), Image.Resampling.BOX)
        return np.asarray(resized, np.float32) / 255


class Hog:
    """Histograms of oriented gradients (Dalal and Triggs 2005): 7 x 7 cells of 9 directions, blocks of 2 x 2."""

    name, width = "HOG", 6 * 6 * 36

    def describe(self) -> dict[str, Any]:
        return {"family": "baseline", "what": self.name}

    def encode(self, clips: Sequence[Clip]) -> Features:
        return _frames_of(clips, lambda luma_HW: hog(Pixels(28).small(luma_HW)))


def hog(x_HW: NDArray[np.float32], cell: int = 4, bins: int = 9) -> NDArray[np.float32]:
    dy_HW, dx_HW = np.gradient(x_HW)
    size_HW, angle_HW = np.hypot(dx_HW, dy_HW), (np.arctan2(dy_HW, dx_HW) / np.pi) % 1 * bins
    low_HW, n = np.floor(angle_HW).astype(int), len(x_HW) // cell
    cells = np.zeros((n, n, bins), np.float32)
    share_HW = angle_HW - low_HW
    for b in range(bins):
        part_HW = size_HW * ((low_HW % bins == b) * (1 - share_HW) + ((low_HW + 1) % bins == b) * share_HW)
        cells[..., b] = part_HW.reshape(n, cell, n, cell).sum((1, 3))
    blocks = np.concatenate([cells[i : n - 1 + i, j : n - 1 + j] for i in (0, 1) for j in (0, 1)], -1)
    found: NDArray[np.float32] = blocks / np.sqrt((blocks**2).sum(-1, keepdims=True) + 1e-4)
    return found.ravel()


def _frames_of(clips: Sequence[Clip], feature: Callable[[NDArray[np.uint8]], NDArray[np.float32]]) -> Features:
    """A token a frame."""
    rows, bounds = [], [0]
    for clip in clips:
        frames = clip.frames if isinstance(clip, ClipReading) else clip
        rows += [feature(luma_HW) for luma_HW in frames.luma_THW]
        bounds.append(len(rows))
    tokens = torch.from_numpy(np.stack(rows).astype(np.float32))
    return Features(tokens_NC=tokens, cu_seqlens=torch.tensor(bounds, dtype=torch.int32))
