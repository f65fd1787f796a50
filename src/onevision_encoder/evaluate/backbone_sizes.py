"""To what size a model's own processor brings a picture: four rules, each from the code of transformers.

Sizes are (height, width) in pixels, T frames.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

from onevision_encoder.errors import ShapeError


@dataclass(frozen=True, kw_only=True)
class ExactSize:
    """Stretched to one size, whatever the aspect."""

    height: int
    width: int

    def resized(self, T: int, height: int, width: int) -> tuple[int, int]:
        return self.height, self.width


@dataclass(frozen=True, kw_only=True)
class ShortSide:
    """The short side exact, the long side truncated (``get_resize_output_image_size``)."""

    pixels: int

    def resized(self, T: int, height: int, width: int) -> tuple[int, int]:
        short, long = sorted((height, width))
        longer = int(self.pixels * long / short)
        return (longer, self.pixels) if height > width else (self.pixels, longer)


@dataclass(frozen=True, kw_only=True)
class PatchCount:
    """NaFlex: as large as ``max_patches`` allow, sides rounded up to whole patches (``Siglip2ImageProcessor``)."""

    patch: int
    max_patches: int

    def resized(self, T: int, height: int, width: int) -> tuple[int, int]:
        def side(scale: float, pixels: int) -> int:
            return max(self.patch, math.ceil(pixels * scale / self.patch) * self.patch)

        # The processor bisects the scale to 1e-5 and takes the lower end; another search ends elsewhere.
        low, high, precision = 1e-6, 100.0, 1e-5
        while high - low >= precision:
            scale = (low + high) / 2
            fits = side(scale, height) * side(scale, width) <= self.max_patches * self.patch**2
            low, high = (scale, high) if fits else (low, scale)
        return side(low, height), side(low, width)


@dataclass(frozen=True, kw_only=True)
class PixelBudget:
    """Qwen-VL's ``smart_resize``: sides are multiples of ``unit`` = patch * merge, pixels within the budget.

    The budget is of each frame, or ``whole_clip`` (Qwen3-VL's video processor: T frames share it).
    """

    unit: int
    min_pixels: int
    max_pixels: int
    whole_clip: bool
    tubelet: int

    def resized(self, T: int, height: int, width: int) -> tuple[int, int]:
        """Raises ShapeError for an aspect ratio above 200, which the processor refuses too."""
        if max(height, width) > 200 * min(height, width):
            raise ShapeError("frame size", (height, width), "an aspect ratio of at most 200")
        unit, frames, counted = self.unit, 1, 1
        if self.whole_clip:
            frames, counted = T, round(T / self.tubelet) * self.tubelet
            if min(height, width) < unit:
                scale = max(unit / height, unit / width)
                height, width = int(height * scale), int(width * scale)
        rows, cols = round(height / unit) * unit, round(width / unit) * unit
        if counted * rows * cols > self.max_pixels:
            beta = math.sqrt(frames * height * width / self.max_pixels)
            return max(unit, math.floor(height / beta / unit) * unit), max(unit, math.floor(width / beta / unit) * unit)
        if counted * rows * cols < self.min_pixels:
            beta = math.sqrt(self.min_pixels / (frames * height * width))
            return math.ceil(height * beta / unit) * unit, math.ceil(width * beta / unit) * unit
        return rows, cols


SizeRule: TypeAlias = ExactSize | ShortSide | PatchCount | PixelBudget
