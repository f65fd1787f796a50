"""Original beside chosen, over time. Axes: T frames, H W pixels, 3 = RGB.

Frames are made one at a time, so that a long clip is never held in memory at the size drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.types import FrameSequence, Selection
from onevision_encoder.view.canvas import Canvas
from onevision_encoder.view.chart import Box, bars_of, clock, columns_of, draw_bars
from onevision_encoder.view.header import end_seconds, num_content, share
from onevision_encoder.view.render import anchor_frames, check_fit, check_rows, hairline, kind_map, render_frame, resize
from onevision_encoder.view.style import DARK, RGB, Style

_NARROWEST = 7
"""Widths of a slot in heights of its text: room for the shortest heading, and for half of a time and a count."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Sizes of the animation in pixels; ``panel`` is (height, width) of each of the two pictures, in the middle of a
    slot that is never narrower than its captions."""

    panel: tuple[int, int]
    slot: int
    pad: int
    text: int
    timeline: bool

    @property
    def inner(self) -> int:
        return self.slot * 2 + self.pad

    @property
    def size(self) -> tuple[int, int]:
        """(H', W') of a frame, both even, as 4:2:0 video needs."""
        height, width = self.strip.y + (self.strip.height + self.pad if self.timeline else 0), self.inner + 2 * self.pad
        return height + height % 2, width + width % 2

    @property
    def slots(self) -> tuple[int, int]:
        """First columns of the two slots."""
        return self.pad, self.pad + self.slot + self.pad

    @property
    def inset(self) -> int:
        """Columns of a slot left of its picture."""
        return (self.slot - self.panel[1]) // 2

    @property
    def top(self) -> int:
        """First row of the pictures."""
        return self.pad + self.text * 3 // 2

    @property
    def strip(self) -> Box:
        """The timeline."""
        y = self.top + self.panel[0] + self.text * 9 // 4
        return Box(x=self.pad, y=y, width=self.inner, height=self.text * 3)


def plan_stage(frames: FrameSequence, panel: int) -> Stage:
    """``panel`` pixels for the longer side of each picture; slots of narrow ones are as wide as their captions."""
    _, H, W, _ = frames.rgb_THW3.shape
    scale = panel / max(H, W)
    if abs(scale - round(scale)) <= 0.15 * scale and round(scale) >= 1:
        scale = round(scale)  # a whole factor where it is near
    size = (max(1, round(H * scale)), max(1, round(W * scale)))
    text = max(11, round((size[0] * size[1]) ** 0.5 / 20))
    slot = max(size[1], _NARROWEST * text)
    return Stage(panel=size, slot=slot, pad=max(6, text * 2 // 3), text=text, timeline=frames.num_frames > 1)


def animation_frames(
    frames: FrameSequence,
    selection: Selection,
    style: Style = DARK,
    *,
    panel: int = 480,
    rows: Sequence[int] | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Each frame beside what was chosen of it, over a strip of tokens per frame with the present marked.

    Args:
        panel: pixels of the longer side of each of the two pictures (kept to a whole factor where that is near).
        rows: which frames, as rows of ``frame_index_T``; None = all.
    Yields:
        T times uint8 [H', W', 3], H' and W' even.
    Raises:
        ShapeError: the selection was made from another grid. InvalidArgumentError: ``panel`` below 64.
    """
    check_fit(frames, selection)
    if panel < 64:
        raise InvalidArgumentError("panel", panel, "at least 64 pixels")
    picked = range(frames.num_frames) if rows is None else rows
    check_rows(picked, frames)
    return _draw_all(frames, selection, style, plan_stage(frames, panel), picked)


def _draw_all(
    frames: FrameSequence, selection: Selection, style: Style, stage: Stage, rows: Sequence[int]
) -> Iterator[NDArray[np.uint8]]:
    ground = _background(frames, selection, style, stage)
    kinds_Thw, anchors_T, tokens_T = kind_map(selection), anchor_frames(selection), selection.tokens_per_frame_T
    left, right = (slot + stage.inset for slot in stage.slots)
    for t in rows:
        rgb_HW3 = frames.rgb_THW3[t]
        canvas = Canvas(*stage.size, style.background, style.font)
        canvas.paste(0, 0, ground)
        chosen = render_frame(rgb_HW3, kinds_Thw[t], style, size=stage.panel, content_hw=frames.content_hw)
        if anchors_T[t]:
            line = 2 * hairline(stage.panel, style)
            canvas.rect(
                right - line, stage.top - line, right + stage.panel[1] + line, stage.top + stage.panel[0] + line,
                style.anchor,
            )  # fmt: skip
        canvas.paste(left, stage.top, resize(rgb_HW3, stage.panel))
        canvas.paste(right, stage.top, chosen)
        if stage.timeline:
            _draw_present(canvas, frames, stage, style, t)
        _draw_count(canvas, stage, style, int(tokens_T[t]), bool(anchors_T[t]))
        yield canvas.pixels_HW3


def _background(frames: FrameSequence, selection: Selection, style: Style, stage: Stage) -> NDArray[np.uint8]:
    """What stays: headings, and the strip of bars."""
    canvas = Canvas(*stage.size, style.background, style.font)
    baseline = stage.pad + stage.text
    part = share(frames, selection)
    canvas.text(stage.pad, baseline, "original", stage.text, style.muted)
    x, room = stage.slots[1], stage.slot
    words = (f"{len(selection):,} of {num_content(frames):,} patches = {part}", f"{len(selection):,} patches = {part}")
    label = next((w for w in words if canvas.measure(w, stage.text) <= room), part)
    canvas.text(x, baseline, label, stage.text, style.ink)
    if stage.timeline:
        bars = bars_of(selection, stage.strip.width // 2)
        draw_bars(canvas, bars, stage.strip, style)
    return canvas.pixels_HW3


def _draw_present(canvas: Canvas, frames: FrameSequence, stage: Stage, style: Style, t: int) -> None:
    """The past bright, the future dim, a line at the present, and its time."""
    box = stage.strip
    count = -(-frames.num_frames // -(-frames.num_frames // max(1, box.width // 2)))
    left, right = columns_of(t * count // frames.num_frames, count, box)
    ahead = canvas.pixels_HW3[box.y : box.y + box.height, right : box.x + box.width]
    ahead[:] = _dim(ahead, style)
    middle, line = (left + right) // 2, max(2, stage.text // 7)
    canvas.rect(middle - line // 2, box.y - stage.text // 4, middle - line // 2 + line, box.y + box.height, style.ink)
    baseline = stage.top + stage.panel[0] + stage.text * 3 // 2
    canvas.text(stage.pad, baseline, clock(float(frames.pts_seconds_T[t]), 2), stage.text, style.muted)


def _dim(colors: NDArray[np.uint8], style: Style) -> NDArray[np.uint8]:
    """Half way to the background."""
    return ((colors.astype(np.uint16) + np.asarray(style.background, np.uint16)) // 2).astype(np.uint8)


def fixed_colors(style: Style) -> list[RGB]:
    """Flat colours of an animation: a palette should hold them exactly."""
    accents = np.array([style.anchor, style.codec, style.fill], np.uint8)
    plain = np.array([style.background, style.ink], np.uint8)
    return [(int(r), int(g), int(b)) for r, g, b in np.concatenate([plain, accents, _dim(accents, style)])]


def _draw_count(canvas: Canvas, stage: Stage, style: Style, tokens: int, anchor: bool) -> None:
    words = f"{tokens:,} token" + ("" if tokens == 1 else "s")
    if anchor:
        longer = f"anchor · {words}"
        words = longer if canvas.measure(longer, stage.text) <= stage.slot else words
    baseline = stage.top + stage.panel[0] + stage.text * 3 // 2
    color = style.anchor if anchor else style.ink
    canvas.text(stage.pad + stage.inner, baseline, words, stage.text, color, "right")


def frame_times(frames: FrameSequence, fps: float | None = None) -> list[Fraction]:
    """T + 1 moments in seconds from 0: frame t is seen from the t-th to the next.

    ``fps`` None keeps the clip's own times, its end as :func:`end_seconds` has it; a lone frame is seen one second.
    """
    T = frames.num_frames
    if fps is not None:
        if not 0.01 <= fps <= 240:
            raise InvalidArgumentError("fps", fps, "0.01 to 240, or None for the clip's own times")
        return [i / Fraction(fps).limit_denominator(1001) for i in range(T + 1)]
    first = float(frames.pts_seconds_T[0])
    end = end_seconds(frames) if T > 1 else first + 1
    return [Fraction(s - first).limit_denominator(90_000) for s in [*frames.pts_seconds_T.tolist(), end]]
