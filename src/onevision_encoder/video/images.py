"""Still images to :class:`FrameSequence`, and telling a still image from a video by its content."""

from __future__ import annotations

import re
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

from onevision_encoder.errors import ShapeError, UnreadableMediaError
from onevision_encoder.types import FrameSequence, SourceInfo
from onevision_encoder.video.arrays import fingerprint_rgb, sequence, size_rgb
from onevision_encoder.video.config import Sizing, Source
from onevision_encoder.video.modes import pillow_rgb
from onevision_encoder.video.source import OpenedSource

_MAGIC = {
    b"\xff\xd8\xff": "jpeg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    b"BM": "bmp",
    b"II*\x00": "tiff",
    b"MM\x00*": "tiff",
    b"P5": "ppm",
    b"P6": "ppm",
}
_STILL_BRANDS = (b"avif", b"heic", b"heix", b"mif1")
_ANIMATED = frozenset({"GIF", "PNG", "WEBP", "AVIF"})
"""Formats whose second image is a later one; elsewhere it is another page or view of the same."""
PILLOW_ERRORS = (
    OSError,
    ValueError,
    SyntaxError,
    LookupError,
    TypeError,
    ArithmeticError,
    EOFError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
"""What Pillow's readers raise on damaged files."""
_FIRST_JPEG_BYTES = 64 << 20
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # no escaped 0xff, restart or fill byte


def is_still_image(source: Source) -> bool:
    """Whether the content (never the name) is a still image that Pillow reads.

    Animations count as videos, and so do JPEGs end to end (raw Motion JPEG); pages of a document do not.
    """
    opened = OpenedSource(source)
    head = opened.head(16)
    riff_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    still_brand = head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS
    if not (riff_webp or still_brand or head.startswith(tuple(_MAGIC))):
        return False
    try:
        with Image.open(opened.content()) as image:
            if image.format == "JPEG" and _jpeg_goes_on(opened.head(_FIRST_JPEG_BYTES)):
                return False
            return image.format not in _ANIMATED or getattr(image, "n_frames", 1) == 1
    except Image.DecompressionBombError:
        return True  # an image, which read_image refuses
    except PILLOW_ERRORS:
        return False


def _jpeg_goes_on(data: bytes) -> bool:
    """Whether another JPEG follows the end of the first one (ITU-T T.81, B.1: markers and their segments)."""
    at = 2
    while (marker := _JPEG_MARKER.search(data, at)) is not None:
        code, at = data[marker.end() - 1], marker.end()
        if code == 0xD9:
            return data[at:].lstrip(b"\x00").startswith(b"\xff\xd8\xff")
        if code not in (0x01, 0xD8):
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
    return False


def read_image(source: Source, *, sizing: Sizing | None = None) -> FrameSequence:
    """A still image as a sequence of one frame.

    EXIF orientation is applied. An alpha channel is dropped, not composed onto a colour, and that is recorded;
    palettes are resolved; 16-bit grey is scaled to 8 bits. ``source.pixel_format`` is Pillow's name of the file's own
    mode. Resized with Pillow: bicubic for ``crop224`` and ``image448``, antialiased box filter (area) otherwise. Of a
    file with several pages the first is read, and their count is recorded.

    Raises:
        MediaNotFoundError, UnreadableMediaError: missing, empty, no image, truncated, too large for Pillow, or pixels
            (32-bit integers, floats) whose black and white nothing tells.
    """
    sizing, opened = sizing or Sizing(), OpenedSource(source)
    notes: dict[str, Any] = {}
    try:
        with Image.open(opened.content()) as image:
            kind, pages = image.format or "image", getattr(image, "n_frames", 1)
            rgb_HW3, mode, has_alpha = pillow_rgb(image)
    except ShapeError as error:
        raise UnreadableMediaError(opened.name, f"has pixels of {error}") from error
    except PILLOW_ERRORS as error:
        raise UnreadableMediaError(opened.name, f"Pillow cannot read it as an image: {error}") from error
    if has_alpha:
        notes["alpha"] = "dropped"
    if pages != 1:
        notes |= {"pages": pages, "read": 1}
    info = SourceInfo(
        name=opened.name,
        fingerprint=fingerprint_rgb(rgb_HW3),
        codec=kind.lower(),
        width=rgb_HW3.shape[1],
        height=rgb_HW3.shape[0],
        num_frames=1,
        duration_seconds=0.0,
        pixel_format=mode,
        color_space="rgb",
        color_range="full",
        is_image=True,
        timestamps="none",
    )
    return sequence(size_rgb(rgb_HW3, sizing)[None], np.zeros(1, np.int64), np.zeros(1), info, sizing, notes)
