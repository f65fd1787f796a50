"""The frames of a contact sheet: where they go, and drawing them. Axes: T frames, H W pixels, h w patches, 3 = RGB."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.types import FrameSequence, Selection
from onevision_encoder.view.canvas import Canvas, letters
from onevision_encoder.view.chart import clock
from onevision_encoder.view.heat import Heat, render_heat
from onevision_encoder.view.render import anchor_frames, hairline, kind_map, render_frame, resize
from onevision_encoder.view.style import Style


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where everything goes, in pixels. ``cell`` is (height, width) of a large picture, ``small`` of a panel below;
    they lie in the middle of a ``slot`` columns wide, which is never narrower than its caption."""

    width: int
    pad: int
    gap: int
    text: int
    columns: int
    rows: int
    cell: tuple[int, int]
    small: tuple[int, int] | None
    slot: int
    left: int

    @property
    def caption(self) -> int:
        return self.text * 2

    @property
    def pitch(self) -> tuple[int, int]:
        """From one cell of the grid to the next: rows, columns."""
        small = self.small[0] + self.gap // 3 if self.small else 0
        return self.cell[0] + small + self.caption, self.slot + self.gap

    @property
    def inset(self) -> int:
        """Columns of a slot left of its picture."""
        return (self.slot - self.cell[1]) // 2

    @property
    def header(self) -> int:
        return self.pad + self.text * 5

    @property
    def grid_bottom(self) -> int:
        return self.header + self.rows * self.pitch[0]


def text_height(width: int) -> int:
    """Size of a sheet's text."""
    return max(11, width // 62)


def plan_layout(
    frames: FrameSequence, count: int, columns: int, width: int, *, small_panels: bool, caption: int = 0
) -> Layout:
    """Sizes of everything, from the sheet's width and the clip's shape; fewer columns where the widest ``caption``
    would not fit."""
    _, H, W, _ = frames.rgb_THW3.shape
    pad, gap, text = width // 40, width // 66, text_height(width)
    inner = width - 2 * pad
    columns = max(1, min(count, columns, (inner + gap) // (caption + gap)))
    rows = -(-count // columns)
    share = (inner - (columns - 1) * gap) // columns
    cell_h = max(1, min(round(share * H / W), tallest_cell(width, rows)))
    cell_w = max(1, min(share, round(cell_h * W / H)))
    small = None
    if small_panels:
        small_w = max(1, (cell_w - gap // 3) // 2)
        small = (max(1, min(round(small_w * H / W), cell_h // 2)), small_w)
    slot = cell_w if cell_w >= caption else min(share, 2 * caption)
    used = columns * slot + (columns - 1) * gap
    return Layout(
        width=width,
        pad=pad,
        gap=gap,
        text=text,
        columns=columns,
        rows=rows,
        cell=(cell_h, cell_w),
        small=small,
        slot=slot,
        left=(width - used) // 2,
    )


def tallest_cell(width: int, rows: int) -> int:
    """Rows of a picture at most."""
    return round(width * (0.52 if rows == 1 else 0.36))


def choose_grid(available: int, most: int, aspect: float, *, panels: bool = False) -> tuple[int, int]:
    """How many of ``available`` frames to show, at most ``most``, and in how many columns.

    Wanted: a grid about 2.4 times as wide as high, cells that stay readable, no empty places; rather a frame or two
    fewer than a row half empty, but where all frames can be shown, all are. ``aspect`` is a picture's width / height;
    ``panels`` are half its size, below it.
    """

    def cost(count: int, columns: int) -> float:
        rows = -(-count // columns)
        side = 0.9 / columns / aspect**0.5  # of a square of the picture's area, in widths of the sheet
        small = 2.0 if side < 0.13 else 0.0
        empty, left_out = (rows * columns - count) / count, (min(available, most) - count) / most
        return (
            abs(float(np.log(columns * aspect / (1.5 if panels else 1) / rows / 2.4)))
            + small
            + 4 * empty
            + 2 * left_out
        )

    counts = [available] if available <= most else range(max(1, most * 3 // 4), most + 1)
    choices = [(count, columns) for count in counts for columns in range(1, min(count, 10) + 1)]
    return min(choices, key=lambda choice: cost(*choice))


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """The cells of a sheet. ``shown`` are rows of ``frame_index_T``."""

    canvas: Canvas
    plan: Layout
    style: Style
    frames: FrameSequence
    selection: Selection
    heat: Heat | None
    shown: Sequence[int]

    @cached_property
    def kinds_Thw(self) -> NDArray[np.int8]:
        return kind_map(self.selection)

    @cached_property
    def anchors_T(self) -> NDArray[np.bool_]:
        return anchor_frames(self.selection)

    def draw(self) -> None:
        """Every shown frame with its panels, its time and its tokens."""
        words = self._token_words()
        for i, t in enumerate(self.shown):
            slot, y = self._corner(i)
            x = slot + self.plan.inset
            self._draw_chosen(t, x, y)
            y += self.plan.cell[0]
            if self.heat is not None and self.plan.small is not None:
                y += self.plan.gap // 3
                self.canvas.paste(x, y, resize(self.frames.rgb_THW3[t], self.plan.small))
                self._draw_heat(self.heat, t, x + self.plan.cell[1] - self.plan.small[1], y, self.plan.small)
                y += self.plan.small[0]
            self._caption(slot, y, _when(self.frames, t), words[t], accent=bool(self.anchors_T[t]))

    def draw_image(self) -> None:
        """A lone frame: the original, and beside it what was chosen."""
        x, y = self._corner(0)
        self.canvas.paste(x + self.plan.inset, y, resize(self.frames.rgb_THW3[0], self.plan.cell))
        self._caption(x, y + self.plan.cell[0], "original", "", accent=False)
        x, y = self._corner(1)
        self._draw_chosen(0, x + self.plan.inset, y)
        self._caption(x, y + self.plan.cell[0], "chosen", self._token_words()[0], accent=bool(self.anchors_T[0]))

    def _corner(self, place: int) -> tuple[int, int]:
        row, column = divmod(place, self.plan.columns)
        return self.plan.left + column * self.plan.pitch[1], self.plan.header + row * self.plan.pitch[0]

    def _draw_chosen(self, t: int, x: int, y: int) -> None:
        (height, width), style = self.plan.cell, self.style
        if self.anchors_T[t]:
            border = 2 * hairline(self.plan.cell, style) + 1
            self.canvas.rect(x - border, y - border, x + width + border, y + height + border, style.anchor)
        rgb_HW3, content_hw = self.frames.rgb_THW3[t], self.frames.content_hw
        picture = render_frame(rgb_HW3, self.kinds_Thw[t], style, size=self.plan.cell, content_hw=content_hw)
        self.canvas.paste(x, y, picture)

    def _draw_heat(self, heat: Heat, t: int, x: int, y: int, size: tuple[int, int]) -> None:
        _, H, W, _ = self.frames.rgb_THW3.shape
        self.canvas.paste(x, y, render_heat(heat, t, (H, W), size, self.style))
        text, word = self.plan.text * 3 // 4, "not predicted"
        width = self.canvas.measure(word, text)
        if heat.known_Tyx[t].any() or width > size[1] - text:
            return
        middle, baseline, half = x + size[1] // 2, y + size[0] // 2 + text // 3, width // 2 + text // 3
        self.canvas.rect(middle - half, baseline - text, middle + half, baseline + text // 2, self.style.surface)
        self.canvas.text(middle, baseline, word, text, self.style.muted, "center")

    def _token_words(self) -> dict[int, str]:
        """Tokens of each shown frame; the words around the numbers give way on the whole sheet in narrow cells."""
        tokens_T, size = self.selection.tokens_per_frame_T, _caption_text(self.plan.text)
        room = {t: self.plan.slot - self.canvas.measure(_when(self.frames, t), size) - size for t in self.shown}

        def fit(words: dict[int, str]) -> bool:
            return all(self.canvas.measure(word, size) <= room[t] for t, word in words.items())

        bare = {t: f"{tokens_T[t]:,}" for t in self.shown}
        words = {t: f"{n} token" + ("" if n == "1" else "s") for t, n in bare.items()}
        words = words if fit(words) else bare
        for anchored in (words, bare):
            named = {t: f"anchor · {anchored[t]}" for t in self.shown if self.anchors_T[t]}
            if fit(named):
                return words | named
        return words

    def _caption(self, x: int, y: int, left: str, right: str, *, accent: bool) -> None:
        baseline, size = y + self.plan.text * 5 // 4, _caption_text(self.plan.text)
        color = self.style.anchor if accent else self.style.ink
        end = x + self.plan.slot
        if self.plan.inset:  # a narrow picture: both in the middle below it, rather than at the ends of its slot
            spare = self.plan.slot - self.canvas.measure(left, size) - size - self.canvas.measure(right, size)
            x, end = x + spare // 2, end - spare // 2
        self.canvas.text(x, baseline, left, size, self.style.muted)
        self.canvas.text(end, baseline, right, size, color, "right")


def _caption_text(text: int) -> int:
    return text * 7 // 8


def _when(frames: FrameSequence, t: int) -> str:
    return clock(float(frames.pts_seconds_T[t]), 2)


def caption_width(frames: FrameSequence, selection: Selection, width: int, style: Style) -> int:
    """Columns that the widest caption of a sheet needs at its shortest: a time and a count, one letter apart."""
    size = _caption_text(text_height(width))
    measure = letters(size, style.font).measure
    tokens_T = selection.tokens_per_frame_T
    if frames.num_frames == 1:
        return measure("chosen") + size + measure(f"{tokens_T[0]:,}")
    captions = {(_when(frames, t), f"{tokens_T[t]:,}") for t in range(frames.num_frames)}
    longest = {tuple(re.sub(r"\d", "0", words) for words in pair) for pair in captions}
    return max(measure(when) + size + measure(count) for when, count in longest)
