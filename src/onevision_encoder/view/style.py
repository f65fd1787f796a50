"""How pictures look: colours, the faded tone of what was not chosen, line weights, the font.

Accents are Okabe and Ito's colour-blind-safe orange and sky blue ("Color Universal Design", 2008) and a neutral
grey; they differ in lightness too, so they survive a greyscale print.
"""

from __future__ import annotations

from dataclasses import dataclass

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.types import Kind

RGB = tuple[int, int, int]
"""8-bit sRGB red, green, blue."""


@dataclass(frozen=True, kw_only=True)
class Style:
    """Colours and weights of every picture of this room.

    Raises:
        InvalidArgumentError: ``keep`` outside 0..1, or ``outline`` negative.
    """

    background: RGB = (17, 21, 27)
    """Opaque, so that a picture reads the same on a white and on a dark page."""
    surface: RGB = (30, 36, 44)
    """Behind a chart, and under heat that is not known."""
    rule: RGB = (58, 66, 77)
    """Axes and grid lines."""
    ink: RGB = (240, 243, 246)
    muted: RGB = (157, 167, 179)
    anchor: RGB = (240, 166, 20)
    codec: RGB = (86, 180, 233)
    fill: RGB = (190, 196, 204)
    tone: RGB = (52, 60, 74)
    """What a patch that was not chosen fades towards: neither black nor white, so that both stand out from it."""
    keep: float = 0.36
    """Contrast left in a patch that was not chosen."""
    outline: float = 1.0
    """Weight of the line around chosen regions, 0 = none; 1 is a hairline at the size drawn."""
    font: str | None = None
    """A TrueType/OpenType file, for titles in scripts that Pillow's built-in font lacks."""

    def __post_init__(self) -> None:
        if not 0 <= self.keep <= 1:
            raise InvalidArgumentError("keep", self.keep, "0 (flat) to 1 (full contrast)")
        if self.outline < 0:
            raise InvalidArgumentError("outline", self.outline, "0 (none) or a positive weight")

    def of(self, kind: Kind) -> RGB:
        """Accent of a kind of patch."""
        return {Kind.ANCHOR: self.anchor, Kind.CODEC: self.codec, Kind.FILL: self.fill}[kind]


DARK = Style()
LIGHT = Style(
    background=(255, 255, 255),
    surface=(238, 241, 244),
    rule=(203, 209, 216),
    ink=(24, 28, 34),
    muted=(95, 104, 115),
    anchor=(180, 94, 0),
    codec=(0, 114, 178),
    fill=(128, 136, 146),
    tone=(226, 230, 235),
    keep=0.30,
)
