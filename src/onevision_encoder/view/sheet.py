"""The contact sheet: one picture that says what was chosen of a clip, where, when and how much.

Top to bottom: name and numbers, a grid of frames (with small panels of the original and of a codec signal below
each, where signals are given), tokens per frame over the whole clip. Axes: H W pixels, 3 = RGB.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.types import CodecSignals, FrameSequence, Selection
from onevision_encoder.view.canvas import Canvas
from onevision_encoder.view.chart import Box, draw_chart
from onevision_encoder.view.grid import Grid, Layout, caption_width, choose_grid, plan_layout, tallest_cell
from onevision_encoder.view.header import draw_header
from onevision_encoder.view.heat import HeatName, default_heat, heat_of
from onevision_encoder.view.render import anchor_frames, check_fit
from onevision_encoder.view.style import DARK, Style


def contact_sheet(
    frames: FrameSequence,
    selection: Selection,
    signals: CodecSignals | None = None,
    *,
    columns: int | None = None,
    max_frames: int = 16,
    title: str | None = None,
    heat: HeatName | None = None,
    width: int = 1600,
    style: Style = DARK,
) -> NDArray[np.uint8]:
    """A clip's selection in one picture.

    Args:
        signals: adds two small panels below each frame, the original and ``heat``.
        columns: pictures a row, fewer where captions would not fit; None fits it to the clip's shape. An image is one
            row: the original, what was chosen.
        max_frames: pictures at most, spread evenly, frames with anchors among them; where few frames hold tokens, those
            first. A few fewer of a long clip where that fills the rows.
        title: None = the source's name.
        heat: saliency (what ranked the patches), bits, residual or motion; None = saliency, where patches were ranked.
        width: of the sheet in pixels, at least 640.
    Returns:
        uint8 [H, width, 3].
    Raises:
        ShapeError: frames, selection and signals do not fit. InvalidArgumentError: any other argument.
    """
    check_fit(frames, selection, signals)
    for name, value, least in (("columns", columns, 1), ("max_frames", max_frames, 1), ("width", width, 640)):
        if value is not None and value < least:
            raise InvalidArgumentError(name, value, f"at least {least}")
    lone = frames.num_frames == 1  # an image: nothing to predict from, no time; the original beside it instead
    drawn = None
    if signals is not None and not lone:
        drawn = heat_of(frames, selection, signals, heat or default_heat(selection, signals))
    _, H, W, _ = frames.rgb_THW3.shape
    caption = caption_width(frames, selection, width, style)
    aspect = max(W / H, caption / tallest_cell(width, 2))
    count, fitting = (2, 2) if lone else choose_grid(frames.num_frames, max_frames, aspect, panels=drawn is not None)
    if columns is not None and not lone:
        count, fitting = min(max_frames, frames.num_frames), columns
    plan = plan_layout(frames, count, fitting, width, small_panels=drawn is not None, caption=caption)
    shown = frames_to_show(selection, count)
    height = plan.grid_bottom + (plan.text // 2 if lone else plan.text * 13)
    canvas = Canvas(height, width, style.background, style.font)
    draw_header(canvas, plan, style, frames, selection, drawn, title)
    grid = Grid(canvas=canvas, plan=plan, style=style, frames=frames, selection=selection, heat=drawn, shown=shown)
    if lone:
        grid.draw_image()
    else:
        grid.draw()
        _draw_chart_panel(canvas, plan, style, frames, selection, shown)
    return canvas.pixels_HW3


def frames_to_show(selection: Selection, most: int) -> list[int]:
    """At most ``most`` rows, evenly spread. Where at most half of the frames hold tokens, those come first; else frames
    with anchors do, unless they are more than half of the rows. For each of them the nearest other row makes way."""
    T = selection.shape[0]
    holding = np.flatnonzero(selection.tokens_per_frame_T).tolist()
    few = 2 * len(holding) <= T
    rows = holding if few and len(holding) >= most else list(range(T))
    picked = sorted({rows[round(i)] for i in np.linspace(0, len(rows) - 1, min(most, len(rows))).tolist()})
    wanted = np.flatnonzero(anchor_frames(selection)).tolist()
    if few and len(holding) < most:
        wanted = holding
    elif len(wanted) > max(1, most // 2):
        return picked
    for row in wanted:
        if row not in picked:
            picked.remove(min((p for p in picked if p not in wanted), key=lambda p: (abs(p - row), p)))
            picked.append(row)
    return sorted(picked)


def _draw_chart_panel(
    canvas: Canvas, plan: Layout, style: Style, frames: FrameSequence, selection: Selection, shown: Sequence[int]
) -> None:
    size = plan.text * 7 // 8
    top = plan.grid_bottom + plan.text // 2
    labels = canvas.measure(f"{max(100, int(selection.tokens_per_frame_T.max()))}", size) + size
    box = Box(
        x=plan.pad + labels, y=top + plan.text * 2, width=plan.width - 2 * plan.pad - labels, height=plan.text * 7
    )
    bars = draw_chart(canvas, selection, frames.pts_seconds_T, box, style, text=size, shown=shown)
    heading = "tokens per frame" + (f", mean of {bars.frames_per_bar} a bar" if bars.frames_per_bar > 1 else "")
    canvas.text(plan.pad, top + plan.text, heading, plan.text, style.ink)
    side = max(3, size // 4)
    note = "frames shown above"
    x = plan.width - plan.pad - canvas.measure(note, size)
    canvas.text(x, top + plan.text, note, size, style.muted)
    mark = top + plan.text - size // 3
    canvas.rect(x - size, mark - side // 2, x - size + side, mark - side // 2 + side, style.ink)
