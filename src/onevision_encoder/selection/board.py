"""The board on which a selection is made: every unit of a clip, free or taken, and the moves all policies are made of.

Axes: T frames, U = h*w units of a frame in raster order (patches, or 2x2 blocks where a 2x2 merge follows).
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.selection.cover import Ints, coverage_order, spread
from onevision_encoder.types import Kind

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Gridded(Protocol):
    """What a board is laid out from: a FrameSequence, or the same facts without the pixels."""

    @property
    def num_frames(self) -> int: ...
    @property
    def grid(self) -> tuple[int, int]: ...
    @property
    def merge(self) -> int: ...
    @property
    def content_hw(self) -> Mask | None: ...


def content_units(frames: Gridded) -> Mask:
    """bool [U]: units of a frame that hold nothing but picture. Only these are chosen, and only these are counted."""
    rows, cols = frames.grid[0] // frames.merge, frames.grid[1] // frames.merge
    content_hw = np.ones(frames.grid, np.bool_) if frames.content_hw is None else frames.content_hw
    whole: Mask = content_hw.reshape(rows, frames.merge, cols, frames.merge).all((1, 3)).ravel()
    return whole


class Board:
    """Units of a clip. Letterbox units are taken from the start and never part of the result.

    Attributes:
        content_U: units that hold nothing but picture. free_TU: content units not yet chosen.
        kind_TU: uint8 :class:`Kind`, meaningful where chosen. score_TU: float32, what ranked the unit.
    """

    def __init__(self, frames: Gridded) -> None:
        rows, cols = frames.grid[0] // frames.merge, frames.grid[1] // frames.merge
        self.merge, self.grid, self.frames = frames.merge, (rows, cols), frames.num_frames
        self.content_U = content_units(frames)
        self.per_frame = int(self.content_U.sum())
        self.free_TU: Mask = np.repeat(self.content_U[None], self.frames, 0)
        self.kind_TU = np.zeros(self.free_TU.shape, np.uint8)
        self.score_TU = np.zeros(self.free_TU.shape, np.float32)
        self._order_TU: Ints | None = None

    @property
    def order_TU(self) -> Ints:
        """Rank of every unit in the even-coverage order of its frame."""
        if self._order_TU is None:
            self._order_TU = coverage_order(self.frames, self.grid)
        return self._order_TU

    @property
    def room_T(self) -> Ints:
        room_T: Ints = self.free_TU.sum(1)
        return room_T

    @property
    def taken_T(self) -> Ints:
        return self.per_frame - self.room_T

    def cover(self, count_T: Ints, kind: Kind = Kind.FILL) -> None:
        """Take ``count_T`` free units of each frame by the even-coverage rule."""
        self._take_first(self.order_TU, count_T, kind, None)

    def top_of_frames(self, value_TU: Floats, count_T: Ints) -> None:
        """Take the ``count_T`` best free units of each frame: by value, ties in raster order; where nothing has a
        value any more, by the even-coverage rule."""
        if count_T.any():
            key_TU = np.where(value_TU > 0, -value_TU.astype(np.float64), 1 + self.order_TU)
            self._take_first(key_TU, count_T, Kind.CODEC, value_TU)

    def top(self, value_TU: Floats, count: int, within_T: slice = slice(None)) -> int:
        """Take up to ``count`` free units with a value above 0 of the frames ``within_T``: by value, ties by (t, h, w).
        Returns how many there were."""
        value = np.where(self.free_TU[within_T], value_TU[within_T], 0).ravel()
        count = min(count, int((value > 0).sum()))
        if count <= 0:
            return 0
        # A partition finds the threshold in linear time; only the units tied at it need an order, which is raster.
        threshold = np.partition(value, len(value) - count)[len(value) - count]
        chosen = value > threshold
        tied = np.flatnonzero(value == threshold)
        chosen[tied[: count - int(chosen.sum())]] = True
        self._mark(within_T, chosen.reshape(-1, self.free_TU.shape[1]), Kind.CODEC, value_TU)
        return count

    def take(self, chosen_TU: Mask, kind: Kind, value_TU: Floats | None = None) -> None:
        """Take exactly the free units marked in ``chosen_TU``."""
        self._mark(slice(None), chosen_TU & self.free_TU, kind, value_TU)

    def fill(self, count: int, within_T: slice = slice(None)) -> None:
        """Take ``count`` free units of the frames ``within_T``, equally many of each, evenly spread in each."""
        if count > 0:
            count_T = np.zeros(self.frames, np.int64)
            count_T[within_T] = spread(count, self.room_T[within_T])
            self.cover(count_T)

    def _take_first(self, key_TU: NDArray[np.generic], count_T: Ints, kind: Kind, value_TU: Floats | None) -> None:
        rows = np.flatnonzero(count_T)
        if not len(rows):
            return
        key = np.where(self.free_TU[rows], key_TU[rows], np.inf)
        first = np.argsort(key, axis=1, kind="stable")
        chosen = np.zeros_like(self.free_TU)
        picked = np.arange(key.shape[1])[None] < count_T[rows][:, None]
        chosen[np.repeat(rows, picked.sum(1)), first[picked]] = True
        self._mark(slice(None), chosen & self.free_TU, kind, value_TU)

    def _mark(self, within_T: slice, chosen: Mask, kind: Kind, value_TU: Floats | None) -> None:
        self.free_TU[within_T] &= ~chosen
        kinds, scores = self.kind_TU[within_T], self.score_TU[within_T]
        kinds[chosen] = kind
        if value_TU is not None:
            scores[chosen] = value_TU[within_T][chosen]
            if kind == Kind.CODEC:
                kinds[chosen & (value_TU[within_T] <= 0)] = Kind.FILL

    def chosen(self) -> Mask:
        """bool [T, U]: everything taken so far that is content."""
        taken: Mask = ~self.free_TU & self.content_U[None]
        return taken
