"""A picture of a run: one SVG of its metrics, drawn from metrics.jsonl alone.

Axes: P points of a curve.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from onevision_encoder.tokens.files import write_atomically

WIDTH, HEIGHT = 560, 250
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 40, 34
COLORS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f")
MOST_POINTS = 400

Curve = list[tuple[float, float]]

PANELS: tuple[tuple[str, tuple[str, ...], bool], ...] = (
    ("loss by bank", ("loss/{}",), False),
    ("loss by bank and mode", ("loss/{}/{}",), False),
    ("share of samples whose best sampled class is right", ("accuracy/{}",), False),
    ("norm of the gradient", ("grad_norm",), True),
    ("learning rate", ("lr",), False),
    ("tokens a second", ("tokens_per_second",), False),
    ("share of the time that waits for data; of the peak (MFU)", ("data_wait", "mfu"), False),
    ("nearest neighbours", ("probe/{}",), False),
)
"""Title, names of the metrics ({} is any name), whether the axis is logarithmic."""


def write_plot(out: Path, rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Draw rows of metrics.jsonl into an SVG file. Panels without a number are left out. Raises WriteError."""
    write_atomically(out, draw_run(rows, title).encode())


def draw_run(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """The SVG of a run: a panel for each group of metrics, two side by side, steps from left to right."""
    panels = [
        (heading, found, log) for heading, names, log in PANELS if (found := curves_of(rows, names, positive=log))
    ]
    high = max(1, -(-len(panels) // 2))
    width, height = 2 * WIDTH, high * HEIGHT + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="26" font-size="16" fill="#222222">{escape(title)}</text>',
    ]
    if not panels:
        parts.append(f'<text x="{LEFT}" y="60" fill="#666666">no step is done yet</text>')
    for i, (heading, found, log) in enumerate(panels):
        place = f"translate({i % 2 * WIDTH} {i // 2 * HEIGHT + 40})"
        parts.append(f'<g transform="{place}">{_panel(heading, found, log=log)}</g>')
    return "\n".join([*parts, "</svg>\n"])


def curves_of(rows: Sequence[Mapping[str, Any]], names: Sequence[str], *, positive: bool = False) -> dict[str, Curve]:
    """Points (step, value) of every metric that has one of the names; finite ones only."""
    wanted = [name.split("/") for name in names]
    found: dict[str, Curve] = {}
    for row in rows:
        for key, value in row.items():
            words = key.split("/")
            if any(_fits(words, name) for name in wanted) and _drawable(value, positive):
                found.setdefault(key, []).append((float(row["step"]), float(value)))
    return found


def _fits(words: Sequence[str], name: Sequence[str]) -> bool:
    return len(words) == len(name) and all(b in ("{}", a) for a, b in zip(words, name, strict=True))


def _drawable(value: object, positive: bool) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return number and (not positive or float(value) > 0)  # type: ignore[arg-type]


def thinned(curve: Curve, most: int = MOST_POINTS) -> Curve:
    """Means of neighbouring points, so that at most ``most`` are left."""
    group = -(-len(curve) // most)
    parts = [curve[i : i + group] for i in range(0, len(curve), group)]
    return [(sum(x for x, _ in part) / len(part), sum(y for _, y in part) / len(part)) for part in parts]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers in [low, high], at most ``most`` + 1 of them."""
    if high <= low:
        return [low]
    raw = (high - low) / most
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(base * s for s in (1, 2, 5, 10) if base * s >= raw * 0.999)
    return [i * step for i in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Logarithms of round numbers, in [low, high]: of 1, 10, 100 ..., and of numbers between where these are few."""
    powers = range(math.floor(low), math.ceil(high) + 1)
    for digits in ((1,), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        found = [math.log10(digit) + power for power in powers for digit in digits]
        inside = [value for value in found if low <= value <= high]
        if len(inside) > 2:
            return inside[:: -(-len(inside) // 7)]
    return [low, high]


def _panel(heading: str, found: Mapping[str, Curve], *, log: bool) -> str:
    drawn = {name: thinned(curve) for name, curve in sorted(found.items())}
    xs = [x for curve in drawn.values() for x, _ in curve]
    ys = [_height(y, log) for curve in drawn.values() for _, y in curve]
    x0, x1 = min(xs), max(max(xs), min(xs) + 1)
    y0, y1 = min(ys), max(ys)
    margin = (y1 - y0) * 0.05 or abs(y1) * 0.05 or 1.0
    y0, y1 = (0.0 if not log and 0 <= y0 < 0.5 * y1 else y0 - margin), y1 + margin
    wide, tall = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(x: float, y: float) -> tuple[float, float]:
        return LEFT + (x - x0) / (x1 - x0) * wide, TOP + (y1 - y) / (y1 - y0) * tall

    parts = [f'<text x="{LEFT}" y="16" fill="#222222">{escape(heading)}</text>']
    for value in log_ticks(y0, y1) if log else ticks(y0, y1):
        _, y = at(x0, value)
        label = f"{10**value:.3g}" if log else f"{value:.5g}"
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#e2e2e2"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#666666">{label}</text>')
    for value in (tick for tick in ticks(x0, x1) if tick == round(tick)):
        x, _ = at(value, y0)
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle" fill="#666666">{value:g}</text>'
        )
    parts.append(f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" stroke="#888888" fill="none"/>')
    for i, curve in enumerate(drawn.values()):
        color = COLORS[i % len(COLORS)]
        points = [at(x, _height(y, log)) for x, y in curve]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.5"/>')
        if len(points) < 30:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{color}"/>' for x, y in points]
    return "".join([*parts, *_legend(drawn)])


def _legend(drawn: Mapping[str, Curve]) -> list[str]:
    """Names with their last values, right under the heading where there is more than one, or a name worth saying."""
    parts, x = [], LEFT
    for i, (name, curve) in enumerate(drawn.items()):
        short = name.split("/", 1)[1] if "/" in name else name
        label = f"{short} {curve[-1][1]:.4g}"
        parts.append(f'<rect x="{x}" y="25" width="10" height="4" fill="{COLORS[i % len(COLORS)]}"/>')
        parts.append(f'<text x="{x + 14}" y="31" font-size="11" fill="#444444">{escape(label)}</text>')
        x += 24 + round(6.2 * len(label))
    return parts


def _height(y: float, log: bool) -> float:
    return math.log10(y) if log else y
