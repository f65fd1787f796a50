"""Tokens per frame as bars. Axes: T frames, B bars, 3 = kinds (anchor, codec, fill)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.types import Kind, Selection
from onevision_encoder.view.canvas import Canvas
from onevision_encoder.view.style import Style

WIDEST_BAR = 96
_STACK = (Kind.ANCHOR, Kind.FILL, Kind.CODEC)  # bottom to top
_SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800)


@dataclass(frozen=True, kw_only=True)
class Box:
    """Columns x..x+width-1 of rows y..y+height-1."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Bars:
    """counts_B3: float64, tokens of each :class:`Kind`, a mean over ``frames_per_bar`` frames (fewer in the last)."""

    counts_B3: NDArray[np.float64]
    frames_per_bar: int

    @property
    def top(self) -> float:
        return float(self.counts_B3.sum(1).max())


def bars_of(selection: Selection, room: int) -> Bars:
    """One bar a frame; where ``room`` bars are not enough, the mean of neighbouring frames."""
    T = selection.shape[0]
    counts_T3 = np.zeros((T, len(Kind)), np.float64)
    np.add.at(counts_T3, (selection.positions_K3[:, 0], selection.kind_K), 1)
    group = -(-T // max(1, room))
    starts = np.arange(0, T, group)
    sums_B3 = np.add.reduceat(counts_T3, starts, axis=0)
    return Bars(counts_B3=sums_B3 / np.diff(np.append(starts, T))[:, None], frames_per_bar=group)


def columns_of(index: int, count: int, box: Box) -> tuple[int, int]:
    """First column of a bar and the one after its last: in the middle of its share of the box, at most
    ``WIDEST_BAR`` wide, apart from its neighbours where there is room for it."""
    left = box.x + index * box.width // count
    right = box.x + (index + 1) * box.width // count
    pitch = box.width // count
    gap = 0 if pitch < 3 else max(1, pitch // 6, pitch - WIDEST_BAR)
    left += gap // 2
    return left, max(left + 1, right - (gap - gap // 2))


def draw_bars(canvas: Canvas, bars: Bars, box: Box, style: Style, *, top: float | None = None) -> None:
    """Fill ``box``: heights are counts times box.height / ``top``, rounded once for each edge of a stack."""
    count = len(bars.counts_B3)
    for index, counts_3 in enumerate(bars.counts_B3):
        left, right = columns_of(index, count, box)
        below = 0.0
        for kind in _STACK:
            above = below + counts_3[kind]
            low, high = (round(v * box.height / (top or bars.top)) for v in (below, above))
            canvas.rect(left, box.y + box.height - high, right, box.y + box.height - low, style.of(kind))
            below = above


def draw_chart(
    canvas: Canvas,
    selection: Selection,
    pts_seconds_T: NDArray[np.float64],
    box: Box,
    style: Style,
    *,
    text: int,
    shown: Sequence[int] = (),
) -> Bars:
    """Bars on a panel with a few horizontal rules, a time axis below, and a mark under each frame in ``shown``.

    ``box`` is the area of the bars alone; labels go left of and below it. Returns what was drawn.
    """
    bars = bars_of(selection, box.width // 2)
    base = box.y + box.height
    line = max(1, text // 14)
    for value in level_ticks(bars.top):
        y = base - round(value * box.height / bars.top)
        canvas.rect(box.x, y - line // 2, box.x + box.width, y - line // 2 + line, style.rule)
        canvas.text(box.x - text // 2, y + text * 3 // 8, f"{value:g}", text, style.muted, "right")
    draw_bars(canvas, bars, box, style)
    canvas.rect(box.x, base, box.x + box.width, base + line, style.muted)
    _draw_marks(canvas, bars, box, style, shown, text)
    _draw_times(canvas, pts_seconds_T, box, style, text)
    return bars


def _draw_marks(canvas: Canvas, bars: Bars, box: Box, style: Style, shown: Sequence[int], text: int) -> None:
    side, y = max(3, text // 4), box.y + box.height + text // 3
    for t in shown:
        left, right = columns_of(t // bars.frames_per_bar, len(bars.counts_B3), box)
        x = (left + right - side) // 2
        canvas.rect(x, y, x + side, y + side, style.ink)


def _draw_times(canvas: Canvas, pts_seconds_T: NDArray[np.float64], box: Box, style: Style, text: int) -> None:
    """Round times, each at its place between the frames around it (so unevenly spaced under a variable rate)."""
    T = len(pts_seconds_T)
    centers_T = box.x + (np.arange(T) + 0.5) * box.width / T
    after = box.x
    for seconds in time_ticks(float(pts_seconds_T[0]), float(pts_seconds_T[-1]), box.width // (6 * text)):
        x = round(float(np.interp(seconds, pts_seconds_T, centers_T)))
        label = clock(seconds)
        half = (canvas.measure(label, text) + 1) // 2
        x = min(max(x, box.x + half), box.x + box.width - half)
        if x - half >= after:
            canvas.text(x, box.y + box.height + text * 15 // 8, label, text, style.muted, "center")
            after = x + half + text


def level_ticks(top: float) -> list[float]:
    """One to three round values in (0, top], whole ones where top is at least 1."""
    for step in (s * 10.0**e for e in range(0 if top >= 1 else -3, 10) for s in (1, 2, 5)):
        if top / step < 4:
            return [step * i for i in range(1, int(top / step + 1e-9) + 1)] or [top]
    return [top]


def time_ticks(first: float, last: float, most: int) -> list[float]:
    """At most about ``most`` round times in [first, last]."""
    steps = [s * 10.0**e for e in range(-3, 0) for s in (1, 2, 5)] + [float(s) for s in _SECONDS]
    step = next((s for s in steps if (last - first) / s <= max(1, most)), steps[-1])
    start = int(np.ceil(first / step - 1e-9))
    return [i * step for i in range(start, int(np.floor(last / step + 1e-9)) + 1)] or [first]


def clock(seconds: float, decimals: int | None = None) -> str:
    """``3.2 s`` below two minutes, ``2:05`` and ``1:02:05`` from there; ``decimals`` None drops trailing zeros."""
    if abs(seconds) < 120:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + " s" if decimals is None else f"{seconds:.{decimals}f} s"
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
