"""Rectangles, pictures and text on an RGB array. Axes: H W pixels, 3 = RGB.

Text uses the font inside Pillow (no system fonts), at any size where Pillow has FreeType; without it Pillow's bitmap
font is enlarged by whole factors: coarser, as legible. Layout is Pillow's basic engine, the same on every machine.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.view.style import RGB

Align = Literal["left", "center", "right"]

_PLAIN = {"·": "-", "×": "x", "–": "-", "—": "-", "…": "..."}


class Letters(Protocol):
    """A font at a size: how wide a text is and what it looks like."""

    def measure(self, text: str) -> int: ...

    def draw(self, text: str) -> tuple[NDArray[np.uint8], int]:
        """Coverage 0..255 [h, w] and the row of its baseline."""
        ...


class _Outline:
    """A scalable font."""

    def __init__(self, font: ImageFont.FreeTypeFont) -> None:
        self.font = font
        self.missing = bytes(font.getmask("\uffff"))

    def legible(self, text: str) -> str:
        return "".join(c if self._has(c) else _spell(c, self._has) for c in text)

    def measure(self, text: str) -> int:
        return int(np.ceil(self.font.getlength(self.legible(text))))

    def draw(self, text: str) -> tuple[NDArray[np.uint8], int]:
        ascent, descent = self.font.getmetrics()
        image = Image.new("L", (self.measure(text) + 2, ascent + descent))
        ImageDraw.Draw(image).text((0, 0), self.legible(text), fill=255, font=self.font)
        return np.asarray(image), ascent

    def _has(self, char: str) -> bool:
        return char == " " or bytes(self.font.getmask(char)) not in (self.missing, b"")


class _Bitmap:
    """Pillow's fixed font of 11 rows, enlarged."""

    ROWS, BASELINE = 11, 9

    def __init__(self, font: ImageFont.ImageFont, size: int) -> None:
        self.font, self.factor = font, max(1, round(size / self.ROWS))

    def legible(self, text: str) -> str:
        return "".join(c if c.isascii() and c.isprintable() else _spell(c, str.isascii) for c in text)

    def measure(self, text: str) -> int:
        return int(self.font.getlength(self.legible(text))) * self.factor

    def draw(self, text: str) -> tuple[NDArray[np.uint8], int]:
        plain = self.legible(text)
        image = Image.new("L", (max(1, int(self.font.getlength(plain))), self.ROWS))
        ImageDraw.Draw(image).text((0, 0), plain, fill=255, font=self.font)
        return np.asarray(image).repeat(self.factor, 0).repeat(self.factor, 1), self.BASELINE * self.factor


def _spell(char: str, has: object) -> str:
    """A character the font lacks, in characters it has: its plain form, else a question mark."""
    assert callable(has)
    plain = _PLAIN.get(char) or "".join(c for c in unicodedata.normalize("NFKD", char) if not unicodedata.combining(c))
    return plain if plain and all(c.isascii() and c.isprintable() and has(c) for c in plain) else "?"


@lru_cache(maxsize=64)
def letters(size: int, path: str | None = None) -> Letters:
    """The font at ``size`` pixels; ``path`` names a font file, None is Pillow's own.

    Raises:
        InvalidArgumentError: ``path`` is no font, or Pillow has no FreeType to read it with.
    """
    if path is not None:
        try:
            return _Outline(ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC))
        except (OSError, ImportError) as error:
            raise InvalidArgumentError("font", path, f"a TrueType or OpenType file ({error})") from error
    try:
        scalable = ImageFont.load_default(size)
    except ImportError:  # a Pillow built without FreeType
        bitmap = ImageFont.load_default()
        assert isinstance(bitmap, ImageFont.ImageFont)
        return _Bitmap(bitmap, size)
    assert isinstance(scalable, ImageFont.FreeTypeFont)
    return _Outline(scalable)


class Canvas:
    """A picture being put together. Everything drawn is clipped to it."""

    def __init__(self, height: int, width: int, background: RGB, font: str | None = None) -> None:
        self.pixels_HW3: NDArray[np.uint8] = np.full((height, width, 3), background, np.uint8)
        self.font = font

    @property
    def width(self) -> int:
        return int(self.pixels_HW3.shape[1])

    def rect(self, x0: int, y0: int, x1: int, y1: int, color: RGB) -> None:
        """Fill columns x0..x1-1 of rows y0..y1-1."""
        self.pixels_HW3[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] = color

    def paste(self, x: int, y: int, picture_HW3: NDArray[np.uint8]) -> None:
        height, width, _ = picture_HW3.shape
        self.pixels_HW3[y : y + height, x : x + width] = picture_HW3

    def measure(self, text: str, size: int) -> int:
        """Width of a text in pixels."""
        return letters(size, self.font).measure(text)

    def text(self, x: int, baseline: int, text: str, size: int, color: RGB, align: Align = "left") -> int:
        """Write one line with its baseline on row ``baseline``; returns the column after it."""
        cover_HW, ascent = letters(size, self.font).draw(text)
        width = self.measure(text, size)
        x -= {"left": 0, "center": width // 2, "right": width}[align]
        top, left = max(0, ascent - baseline), max(0, -x)
        y = max(0, baseline - ascent)
        region = self.pixels_HW3[y:, x + left :][: cover_HW.shape[0] - top, : cover_HW.shape[1] - left]
        cover = cover_HW[top:, left:][: region.shape[0], : region.shape[1], None].astype(np.int32)
        region[:] = (region * (255 - cover) + np.asarray(color, np.int32) * cover + 127) // 255
        return x + width

    def elide(self, text: str, size: int, room: int) -> str:
        """The text, its middle cut out where it is wider than ``room`` pixels."""
        if self.measure(text, size) <= room:
            return text
        for kept in range(len(text) - 1, 1, -1):
            short = f"{text[: (kept + 1) // 2].rstrip()}…{text[len(text) - kept // 2 :].lstrip()}"
            if self.measure(short, size) <= room:
                return short
        return "…"
