"""Accuracy against what it costs, one line a policy: the picture of a sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from onevision_encoder.evaluate.drawing import GREY, INK, PALE, SHAPES, Drawing, Shape, width_of

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Told apart with any kind of colour vision (Okabe and Ito, 2008); its yellow is left out, too pale for thin lines."""
SIZE, SMALL = 12, 11
FRONT = "#c4c4c4"
TOP, BOTTOM, LEFT, HEIGHT, PANEL, GAP = 40, 52, 62, 420, 360, 66


@dataclass(frozen=True, kw_only=True)
class Dot:
    """One budget of one policy: accuracy 0 to 1 with its interval, tokens, milliseconds a clip (None: not measured)."""

    tokens: int
    accuracy: float
    low: float
    high: float
    milliseconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Series:
    """One policy, its dots by rising budget."""

    name: str
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class _Axis:
    """A range of values and the points they lie at."""

    low: float
    high: float
    start: float
    end: float
    log: bool

    def at(self, value: float) -> float:
        low, high, value = (math.log2(v) if self.log else v for v in (self.low, self.high, value))
        return self.start + (self.end - self.start) * (value - low) / (high - low)


def pareto(dots: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of (cost, accuracy): those that no other beats at a lower or equal cost, by rising cost."""
    front: list[tuple[float, float]] = []
    for cost, accuracy in sorted(dots, key=lambda d: (d[0], -d[1])):
        if not front or accuracy > front[-1][1]:
            front.append((cost, accuracy))
    return front


def draw(
    title: str, series: Sequence[Series], *, chance: float | None = None, label: str = "top-1 accuracy"
) -> Drawing:
    """The picture: accuracy against tokens, and against milliseconds where they were measured; a legend at the right.

    Args:
        series: at least one, with a dot each; drawn with bars for the interval. chance: drawn as a dashed line.
    """
    ordered = sorted(series, key=lambda s: -max(d.accuracy for d in s.dots))
    timed = [s for s in ordered if all(d.milliseconds is not None for d in s.dots)]
    legend = 34 + max(width_of(s.name, SIZE) for s in ordered)
    panels = 2 if timed else 1
    width = LEFT + panels * PANEL + (panels - 1) * GAP + 26 + legend + 16
    drawing = Drawing(math.ceil(width), HEIGHT)
    drawing.text(LEFT, 22, title, SIZE + 2)
    vertical = _vertical(ordered, chance)
    _panel(drawing, LEFT, vertical, ordered, chance, label, timed=False)
    if timed:
        _panel(drawing, LEFT + PANEL + GAP, vertical, timed, chance, label, timed=True, looks=_looks(ordered))
    _legend(drawing, width - legend - 16, ordered, timed=bool(timed))
    return drawing


def _looks(series: Sequence[Series]) -> dict[str, tuple[str, Shape]]:
    """Colour and marker by name: no two of 56 policies look the same."""
    names = sorted(s.name for s in series)
    return {
        name: (COLORS[i % len(COLORS)], SHAPES[(i + i // len(COLORS)) % len(SHAPES)]) for i, name in enumerate(names)
    }


def _vertical(series: Sequence[Series], chance: float | None) -> _Axis:
    lows = [d.low for s in series for d in s.dots] + ([] if chance is None else [chance])
    highs = [d.high for s in series for d in s.dots]
    step = _step(min(lows), max(highs))
    low, high = math.floor(min(lows) / step + 1e-9) * step, math.ceil(max(highs) / step - 1e-9) * step
    if chance is not None and chance - low < 0.3 * step and low > 0:
        low -= step
    return _Axis(low, max(high, low + step), HEIGHT - BOTTOM, TOP, log=False)


def _step(low: float, high: float) -> float:
    """The round step that makes at most eight intervals."""
    return next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2) if (high - low) / s <= 8 or s == 0.2)


def _panel(
    drawing: Drawing,
    left: float,
    vertical: _Axis,
    series: Sequence[Series],
    chance: float | None,
    label: str,
    *,
    timed: bool,
    looks: dict[str, tuple[str, Shape]] | None = None,
) -> None:
    looks = looks or _looks(series)
    costs = [_cost(d, timed) for s in series for d in s.dots]
    pad = 1.25 if len(set(costs)) > 1 else 1.5
    horizontal = _Axis(min(costs) / pad, max(costs) * pad, left, left + PANEL, log=True)
    _frame(drawing, left, vertical, horizontal, sorted(set(costs)) if not timed else _round(min(costs), max(costs)))
    drawing.text(
        left + PANEL / 2,
        HEIGHT - 12,
        "milliseconds a clip: decode, select, encode" if timed else "tokens a clip",
        SIZE,
        anchor="middle",
    )
    if not timed:
        drawing.text(18, (TOP + HEIGHT - BOTTOM) / 2, f"{label}, %", SIZE, anchor="middle", up=True)
    if chance is not None:
        y = vertical.at(chance)
        drawing.line([(left, y), (left + PANEL, y)], GREY, 1, (4, 3))
        drawing.text(left + 4, y + SMALL + 1, "chance", SMALL, GREY)
    if timed:  # against tokens the best of each budget is plain to see
        front = pareto([(_cost(d, timed), d.accuracy) for s in series for d in s.dots])
        drawing.line([(horizontal.at(c), vertical.at(a)) for c, a in _stairs(front, max(costs))], FRONT, 4)
    for i, s in enumerate(series):
        shift = 0.0 if timed else (i - (len(series) - 1) / 2) * min(4.5, 30 / len(series))
        _series(drawing, [(horizontal.at(_cost(d, timed)) + shift, d) for d in s.dots], vertical, *looks[s.name])


def _cost(dot: Dot, timed: bool) -> float:
    return float((dot.milliseconds or 0.0) if timed else dot.tokens)


def _stairs(front: Sequence[tuple[float, float]], end: float) -> list[tuple[float, float]]:
    """The front as steps: a higher accuracy can be had from its cost on."""
    points: list[tuple[float, float]] = []
    for cost, accuracy in front:
        if points:
            points.append((cost, points[-1][1]))
        points.append((cost, accuracy))
    return [*points, (end, points[-1][1])]


def _series(drawing: Drawing, dots: Sequence[tuple[float, Dot]], vertical: _Axis, color: str, shape: Shape) -> None:
    drawing.line([(x, vertical.at(d.accuracy)) for x, d in dots], color, 1.6)
    for x, d in dots:
        drawing.line([(x, vertical.at(d.low)), (x, vertical.at(d.high))], color, 1.1)
        for end in (d.low, d.high):
            drawing.line([(x - 2.5, vertical.at(end)), (x + 2.5, vertical.at(end))], color, 1.1)
    for x, d in dots:
        drawing.marker(shape, x, vertical.at(d.accuracy), 4.4, color)


def _frame(drawing: Drawing, left: float, vertical: _Axis, horizontal: _Axis, ticks: Sequence[float]) -> None:
    right, bottom = left + PANEL, HEIGHT - BOTTOM
    step = _step(vertical.low, vertical.high)
    for i in range(round((vertical.high - vertical.low) / step) + 1):
        value = vertical.low + i * step
        y = vertical.at(value)
        drawing.line([(left, y), (right, y)], PALE, 0.8)
        drawing.text(left - 8, y + 4, f"{100 * value:.3g}", SMALL, anchor="end")
    last = -math.inf
    for value in ticks:
        x = horizontal.at(value)
        words = f"{value:g}"
        drawing.line([(x, bottom), (x, bottom + 4)], INK, 1)
        if x - width_of(words, SMALL) / 2 > last + 6:
            drawing.text(x, bottom + 17, words, SMALL, anchor="middle")
            last = x + width_of(words, SMALL) / 2
    drawing.line([(left, TOP), (left, bottom), (right, bottom)], INK, 1)


def _round(low: float, high: float) -> list[float]:
    """The roundest numbers in a range that are at least three; where there are not so many, those of two digits."""
    powers = [10.0**e for e in range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)]
    for digits in ((1,), (1, 3), (1, 2, 5), (1, 2, 3, 4, 6, 8), range(10, 100, 5), range(10, 100)):
        found = sorted({float(f"{d * power:.6g}") for d in digits for power in powers})
        inside = [v for v in found if low <= v <= high]
        if len(inside) >= 3:
            break
    return inside


def _legend(drawing: Drawing, left: float, series: Sequence[Series], *, timed: bool) -> None:
    looks = _looks(series)
    for i, s in enumerate(series):
        y = TOP + 10 + 20 * i
        color, shape = looks[s.name]
        drawing.line([(left, y), (left + 24, y)], color, 1.6)
        drawing.marker(shape, left + 12, y, 4.4, color)
        drawing.text(left + 32, y + 4, s.name, SIZE)
    y = TOP + 10 + 20 * len(series) + 8
    drawing.line([(left + 12, y - 7), (left + 12, y + 7)], GREY, 1.1)
    drawing.text(left + 32, y + 4, "95 % interval", SIZE, GREY)
    if timed:
        drawing.line([(left, y + 20), (left + 24, y + 20)], FRONT, 4)
        drawing.text(left + 32, y + 24, "Pareto front", SIZE, GREY)
