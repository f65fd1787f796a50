"""The head of a contact sheet: name, numbers, legend."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Protocol

import numpy as np

from onevision_encoder.selection.board import content_units
from onevision_encoder.types import FrameSequence, Kind, Selection
from onevision_encoder.view.canvas import Canvas
from onevision_encoder.view.chart import clock
from onevision_encoder.view.heat import Heat, colors
from onevision_encoder.view.render import fade
from onevision_encoder.view.style import Style

_KIND_WORDS = {Kind.ANCHOR: "anchor", Kind.CODEC: "chosen by score", Kind.FILL: "placed by rule"}


class Plan(Protocol):
    """What the head needs to know of a sheet's layout, in pixels."""

    @property
    def width(self) -> int: ...
    @property
    def pad(self) -> int: ...
    @property
    def gap(self) -> int: ...
    @property
    def text(self) -> int: ...


def draw_header(
    canvas: Canvas,
    plan: Plan,
    style: Style,
    frames: FrameSequence,
    selection: Selection,
    heat: Heat | None,
    title: str | None,
) -> None:
    """Name and legend on the first line; what was chosen, how, and the heat's scale on the second."""
    right = plan.width - plan.pad
    first, second = plan.pad + plan.text * 5 // 4, plan.pad + plan.text * 13 // 4
    start = _draw_legend(canvas, plan, style, selection, right, first)
    big = plan.text * 3 // 2
    name = title if title is not None else PurePath(frames.source.name).name or frames.source.name
    canvas.text(plan.pad, first, canvas.elide(name, big, start - plan.pad - plan.gap), big, style.ink)
    if heat is not None:
        right = _draw_scale(canvas, plan, style, heat, right, second) - plan.gap
    strong, quiet = headline(frames, selection)
    x = canvas.text(plan.pad, second, strong, plan.text, style.ink) + plan.text
    canvas.text(x, second, canvas.elide(quiet, plan.text, right - x), plan.text, style.muted)


def headline(frames: FrameSequence, selection: Selection) -> tuple[str, str]:
    """What was chosen of how much, and how: the two halves of the sheet's second line."""
    T = frames.num_frames
    strong = f"{len(selection):,} of {num_content(frames):,} patches = {share(frames, selection)}"
    facts = [f"{T} frames, {clock(duration_seconds(frames), 1)}"] if T > 1 else []
    return strong, " · ".join(facts + how(selection))


def how(selection: Selection) -> list[str]:
    """Policy, and score and provider where patches were ranked, as the selection's provenance tells them."""
    made = selection.provenance
    config = made.get("config")
    config = config if isinstance(config, Mapping) else made
    ranked = bool((selection.kind_K == Kind.CODEC).any())
    told = (
        ("policy", config.get("policy"), True),
        ("score", config.get("score"), ranked),
        ("provider", made.get("signals") or made.get("provider"), ranked),
    )
    return [f"{name} {value}" for name, value, wanted in told if value and wanted]


def num_content(frames: FrameSequence) -> int:
    """Patches of all frames that can be chosen, as budgets count them: no letterbox, whole 2x2 blocks where these are
    the unit."""
    return int(content_units(frames).sum()) * frames.merge**2 * frames.num_frames


def share(frames: FrameSequence, selection: Selection) -> str:
    """Chosen of all content patches, per cent to three digits."""
    return f"{float(f'{100 * len(selection) / num_content(frames):.3g}'):g} %"


def duration_seconds(frames: FrameSequence) -> float:
    """From the first sampled frame's time to the end of the last (:func:`end_seconds`)."""
    return end_seconds(frames) - float(frames.pts_seconds_T[0])


def end_seconds(frames: FrameSequence) -> float:
    """When the last sampled frame ends: where the source does, if it is the source's last; else after one frame of the
    source's rate. Where neither is known it lasts as long as the median gap between the frames (a lone one, 0)."""
    source, pts_T = frames.source, frames.pts_seconds_T
    last = float(pts_T[-1])
    is_last = int(frames.frame_index_T[-1]) == source.num_frames - 1
    if is_last and source.duration_seconds is not None and source.duration_seconds > last:
        return source.duration_seconds
    if source.fps:
        return last + 1 / source.fps
    return last + (float(np.median(np.diff(pts_T))) if len(pts_T) > 1 else 0.0)


def _draw_legend(canvas: Canvas, plan: Plan, style: Style, selection: Selection, right: int, baseline: int) -> int:
    """Swatches, right-aligned; returns where they begin."""
    present = [kind for kind in Kind if (selection.kind_K == kind).any()]
    size = plan.text * 7 // 8
    side = size * 3 // 4
    tone = fade(np.full((1, 1, 3), 128, np.uint8), style)[0, 0]
    items = [(_KIND_WORDS[kind], style.of(kind)) for kind in present]
    items.append(("not chosen", (int(tone[0]), int(tone[1]), int(tone[2]))))
    for word, color in reversed(items):
        left = right - canvas.measure(word, size) - side - size // 2
        canvas.rect(left, baseline - side, left + side, baseline, color)
        canvas.text(left + side + size // 2, baseline, word, size, style.muted)
        right = left - size * 5 // 4
    return right


def _draw_scale(canvas: Canvas, plan: Plan, style: Style, heat: Heat, right: int, baseline: int) -> int:
    """The heat's colour bar, right-aligned; returns where it begins."""
    size = plan.text * 7 // 8
    label = f"{heat.top:.2g} {heat.unit}".rstrip() if heat.top < 10 else f"{heat.top:.0f} {heat.unit}"
    x = right - canvas.measure(label, size)
    canvas.text(x, baseline, label, size, style.muted)
    bar_w, bar_h = plan.width // 14, size * 3 // 4
    x -= bar_w + size // 2
    canvas.paste(x, baseline - bar_h, np.repeat(colors(np.linspace(0, 1, bar_w))[None], bar_h, 0))
    x -= size // 2
    canvas.text(x, baseline, f"{heat.name} 0", size, style.muted, "right")
    return x - canvas.measure(f"{heat.name} 0", size)
