"""A picture of lines, markers and words, written as SVG and as PNG from one list of strokes.

Coordinates are points of the SVG, x to the right, y down. The PNG is drawn large with Pillow and shrunk, so that its
edges are smooth.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal
from xml.sax.saxutils import escape

from PIL import Image, ImageDraw, ImageFont

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]
Shape = Literal["circle", "square", "diamond", "up", "down", "plus", "cross", "hexagon"]
SHAPES: tuple[Shape, ...] = ("circle", "square", "up", "diamond", "down", "hexagon", "plus", "cross")
INK, GREY, PALE = "#222222", "#6b6b6b", "#e3e3e3"
FONT = "Helvetica, Arial, 'Liberation Sans', sans-serif"
FINE = 3


def outline(shape: Shape, x: float, y: float, radius: float) -> list[Point]:
    """Corners of a marker of about equal area, whatever its shape; a plus or cross as a closed outline."""
    if shape in ("plus", "cross"):
        a, b = radius * 1.1, radius * 0.42
        corners = [(-b, -a), (b, -a), (b, -b), (a, -b), (a, b), (b, b), (b, a), (-b, a), (-b, b), (-a, b)]
        corners += [(-a, -b), (-b, -b)]
        turn = math.pi / 4 if shape == "cross" else 0.0
        c, s = math.cos(turn), math.sin(turn)
        return [(x + c * dx - s * dy, y + s * dx + c * dy) for dx, dy in corners]
    count, start, size = {
        "circle": (40, 0.0, 1.0),
        "square": (4, math.pi / 4, 1.25),
        "diamond": (4, 0.0, 1.3),
        "up": (3, -math.pi / 2, 1.4),
        "down": (3, math.pi / 2, 1.4),
        "hexagon": (6, 0.0, 1.1),
    }[shape]
    angles = [start + 2 * math.pi * i / count for i in range(count)]
    return [(x + size * radius * math.cos(a), y + size * radius * math.sin(a)) for a in angles]


@dataclass
class Drawing:
    """Strokes in the order in which they cover each other."""

    width: int
    height: int
    _svg: list[str] = field(default_factory=list)
    _strokes: list[tuple[str, Any]] = field(default_factory=list)

    def line(self, points: Sequence[Point], color: str, width: float, dash: Sequence[float] = ()) -> None:
        path = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
        dashed = f' stroke-dasharray="{" ".join(f"{d:g}" for d in dash)}"' if dash else ""
        self._svg.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="{width:g}" '
            f'stroke-linejoin="round"{dashed}/>'
        )
        self._strokes.append(("line", (list(points), color, width, tuple(dash))))

    def marker(self, shape: Shape, x: float, y: float, radius: float, color: str) -> None:
        """A filled shape with a white rim, which sets it off against lines."""
        corners = outline(shape, x, y, radius)
        path = " ".join(f"{a:.2f},{b:.2f}" for a, b in corners)
        self._svg.append(f'<polygon points="{path}" fill="{color}" stroke="#ffffff" stroke-width="0.8"/>')
        self._strokes.append(("marker", (corners, color)))

    def text(
        self, x: float, y: float, words: str, size: int, color: str = INK, anchor: Anchor = "start", *, up: bool = False
    ) -> None:
        """One line of text with its baseline at ``y``; ``up``: written from below to above."""
        turned = f' transform="rotate(-90 {x:.2f} {y:.2f})"' if up else ""
        self._svg.append(
            f'<text x="{x:.2f}" y="{y:.2f}" font-size="{size}" fill="{color}" text-anchor="{anchor}"{turned}>'
            f"{escape(words)}</text>"
        )
        self._strokes.append(("text", (x, y, words, size, color, anchor, up)))

    def svg(self) -> str:
        """The picture as an SVG document."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" '
            f'width="{self.width}" height="{self.height}" font-family="{FONT}">'
        )
        return "\n".join([head, '<rect width="100%" height="100%" fill="#ffffff"/>', *self._svg, "</svg>", ""])

    def png(self, scale: int = 2) -> bytes:
        """The picture as a PNG of ``scale`` pixels a point."""
        factor = scale * FINE
        image = Image.new("RGB", (self.width * factor, self.height * factor), "#ffffff")
        pen = ImageDraw.Draw(image)
        for kind, what in self._strokes:
            if kind == "line":
                _draw_line(pen, factor, *what)
            elif kind == "marker":
                corners = [(x * factor, y * factor) for x, y in what[0]]
                pen.polygon(corners, fill=what[1])
                pen.line([*corners, corners[0]], fill="#ffffff", width=round(0.8 * factor))
            else:
                _draw_text(image, factor, *what)
        out = io.BytesIO()
        image.resize((self.width * scale, self.height * scale), Image.Resampling.BOX).save(out, "PNG", optimize=True)
        return out.getvalue()


def width_of(words: str, size: int) -> float:
    """About how wide a text is, in points."""
    return float(ImageFont.load_default(size * 8).getlength(words)) / 8


def _draw_line(
    pen: ImageDraw.ImageDraw, factor: int, points: list[Point], color: str, width: float, dash: tuple[float, ...]
) -> None:
    for piece in _dashed(points, dash) if dash else [points]:
        scaled = [(x * factor, y * factor) for x, y in piece]
        pen.line(scaled, fill=color, width=max(1, round(width * factor)), joint="curve")


def _dashed(points: list[Point], dash: tuple[float, ...]) -> list[list[Point]]:
    """The pieces of a polyline that a dash pattern leaves; each piece inside one segment."""
    pieces, on, left, index = [], True, dash[0], 0
    for (x0, y0), (x1, y1) in pairwise(points):
        length, done = math.hypot(x1 - x0, y1 - y0), 0.0
        while done < length:
            step = min(left, length - done)
            if on:
                ends = (done / length, (done + step) / length)
                pieces.append([(x0 + (x1 - x0) * e, y0 + (y1 - y0) * e) for e in ends])
            done, left = done + step, left - step
            if left <= 1e-9:
                index += 1
                on, left = not on, dash[index % len(dash)]
    return pieces


def _draw_text(
    image: Image.Image, factor: int, x: float, y: float, words: str, size: int, color: str, anchor: Anchor, up: bool
) -> None:
    font = ImageFont.load_default(size * factor)
    place = {"start": "ls", "middle": "ms", "end": "rs"}[anchor]
    if not up:
        ImageDraw.Draw(image).text((x * factor, y * factor), words, fill=color, font=font, anchor=place)
        return
    width, height = round(font.getlength(words)) + 2, size * factor * 2
    strip = Image.new("L", (width, height))
    ImageDraw.Draw(strip).text((0, height * 3 // 4), words, fill=255, font=font, anchor="ls")
    turned = strip.rotate(90, expand=True)
    before = {"start": width, "middle": width / 2, "end": 0}[anchor]
    corner = (round(x * factor - height * 0.75), round(y * factor - before))
    image.paste(color, (*corner, corner[0] + turned.width, corner[1] + turned.height), turned)
