"""Pillow's pixel modes to RGB. Axes: H W pixels, 3 = RGB."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from onevision_encoder.errors import ShapeError

_NO_PICTURE = frozenset({"F", "I"})


def pillow_rgb(image: Image.Image) -> tuple[NDArray[np.uint8], str, bool]:
    """(uint8 RGB [H, W, 3] upright, the image's own mode, whether an alpha channel was dropped).

    EXIF orientation is applied. Alpha is dropped, not composed onto a colour (what ``convert("RGB")`` does, and with
    it transformers' image processors); palettes are resolved; 16-bit grey is divided by 257, so that white stays white.

    Raises:
        ShapeError: 32-bit integers or floats, whose black and white nothing tells.
    """
    mode = image.mode
    if mode == "I" and image.format == "PNG":  # how older Pillow opens 16-bit grey
        mode = "I;16"
    if mode in _NO_PICTURE:
        accepted = "a mode with a known white (L, LA, P, RGB, RGBA, CMYK, YCbCr, I;16 ...): scale to 8 bits first"
        raise ShapeError("mode", mode, accepted)
    has_alpha = image.has_transparency_data
    if mode.startswith("I;16"):
        grey = (np.asarray(image).astype(np.uint32) + 128) // 257
        exif, image = image.getexif(), Image.fromarray(grey.astype(np.uint8))
        image.getexif().update(exif)
    upright = ImageOps.exif_transpose(image)
    return np.asarray(upright.convert("RGB")), mode, has_alpha
