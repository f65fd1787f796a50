"""Parts of a picture: enlarged luma, heat with its legend, titled panels. Axes: H W pixels, 3 = RGB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from onevision_encoder.view.canvas import Canvas
from onevision_encoder.view.heat import colors
from onevision_encoder.view.style import DARK, RGB

WIDTH = 880
"""Pixels across: what a page of documentation shows without shrinking it."""
GAP, TITLE, LEGEND = 8, 22, 26
INK, MUTED = DARK.ink, DARK.muted
WARM, COLD, GREY = DARK.anchor, DARK.codec, DARK.fill


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A picture under its title."""

    title: str
    pixels_HW3: np.ndarray


def grey(luma_HW: np.ndarray, width: int, *, smooth: bool = True) -> np.ndarray:
    """Luma enlarged to ``width`` pixels across, RGB."""
    height = round(luma_HW.shape[0] * width / luma_HW.shape[1])
    way = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    return np.asarray(
        Image.fromarray(np.clip(luma_HW, 0, 255).astype(np.uint8)).resize((width, height), way).convert("RGB")
    )


def heat(values: np.ndarray, top: float, size: tuple[int, int]) -> np.ndarray:
    """Values 0 to ``top`` as colours, flat squares, RGB of ``size`` = (H, W)."""
    rows, columns = (np.arange(full) * n // full for n, full in zip(values.shape, size, strict=True))
    return colors(np.clip(values / top, 0, 1).astype(np.float64))[np.ix_(rows, columns)]


def faded(rgb_HW3: np.ndarray, keep: float = 0.55) -> np.ndarray:
    """Darker and flatter, so that lines on top of it stand out."""
    return (np.asarray(DARK.tone) * (1 - keep) * 0.8 + rgb_HW3 * keep).astype(np.uint8)


def sheet(panels: Sequence[Panel], *, columns: int, legend: int = 0) -> tuple[Canvas, list[tuple[int, int]]]:
    """Panels of one size in rows, and the corner of each (x, y). ``legend``: rows left free below."""
    H, W, _ = panels[0].pixels_HW3.shape
    rows = -(-len(panels) // columns)
    left = (WIDTH - columns * W - (columns - 1) * GAP) // 2
    canvas = Canvas(rows * (TITLE + H + GAP) + legend, WIDTH, DARK.background)
    corners = []
    for i, panel in enumerate(panels):
        x, y = left + (i % columns) * (W + GAP), i // columns * (TITLE + H + GAP)
        canvas.text(x, y + 16, canvas.elide(panel.title, 13, W), 13, INK)
        canvas.paste(x, y + TITLE, panel.pixels_HW3)
        corners.append((x, y + TITLE))
    return canvas, corners


def scale(canvas: Canvas, top: float, unit: str, *, x: int = GAP, least: str = "0") -> None:
    """The legend of a heat map in the last rows."""
    y, length = canvas.pixels_HW3.shape[0] - LEGEND + 6, 200
    at = canvas.text(x, y + 11, least, 12, MUTED) + 6
    canvas.paste(at, y, heat(np.linspace(0, 1, length)[None], 1.0, (13, length)))
    canvas.text(at + length + 6, y + 11, f"{top:.3g} {unit} and more", 12, MUTED)


def key(canvas: Canvas, entries: Sequence[tuple[RGB, str]], *, x: int = GAP) -> None:
    """Coloured squares and what they mean, in the last rows."""
    y = canvas.pixels_HW3.shape[0] - LEGEND + 6
    for color, text in entries:
        canvas.rect(x, y, x + 13, y + 13, color)
        x = canvas.text(x + 18, y + 11, text, 12, MUTED) + 18


def tint(canvas: Canvas, x0: int, y0: int, x1: int, y1: int, color: RGB) -> None:
    """Colour a rectangle, what is there showing through, inside a hairline."""
    inside = canvas.pixels_HW3[y0 + 1 : y1, x0 + 1 : x1]
    inside[:] = (inside * 0.62 + np.asarray(color) * 0.38).astype(np.uint8)


def frame(canvas: Canvas, x0: int, y0: int, x1: int, y1: int, color: RGB, weight: int = 1) -> None:
    """The outline of a rectangle, inside it."""
    for a, b, c, d in ((x0, y0, x1, y0 + weight), (x0, y1 - weight, x1, y1)):
        canvas.rect(a, b, c, d, color)
    for a, b, c, d in ((x0, y0, x0 + weight, y1), (x1 - weight, y0, x1, y1)):
        canvas.rect(a, b, c, d, color)


def line(canvas: Canvas, start: tuple[float, float], end: tuple[float, float], color: RGB) -> None:
    """A line two pixels thick."""
    steps = int(max(abs(end[0] - start[0]), abs(end[1] - start[1]))) + 1
    for i in range(steps + 1):
        x, y = (round(a + (b - a) * i / steps) for a, b in zip(start, end, strict=True))
        canvas.rect(x, y, x + 2, y + 2, color)


def numbers(values: np.ndarray, top: float, side: int) -> np.ndarray:
    """An 8 x 8 block as a table: every number on a square as bright as it is large."""
    n = values.shape[0]
    canvas = Canvas(n * side, n * side, DARK.background)
    shade = heat(np.abs(values), top, (n * side, n * side))
    canvas.paste(0, 0, shade)
    for j in range(n):
        for i in range(n):
            x, y = i * side, j * side
            dark = shade[y + 2, x + 2].mean() < 120
            ink = (MUTED if not values[j, i] else INK) if dark else (20, 20, 20)
            canvas.text(x + side // 2, y + side // 2 + 4, str(int(values[j, i])), 11, ink, "center")
            frame(canvas, x, y, x + side, y + side, DARK.background)
    return canvas.pixels_HW3
