"""Fields on the decoded picture's cells, brought to the sized frame's: mirroring, rotation, resize, crop or padding.

Axes: j i cells of 8 x 8 pixels of the decoded picture (rows, columns), y x cells of the sized frame, 2 = (dx, dy).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.codec.cells import cell_grid
from onevision_encoder.types import CELL

if TYPE_CHECKING:
    from onevision_encoder.types import FrameSequence

# Quarter turns counter-clockwise -> for the axes (y, x) as shown: which axis of the decoded picture runs along it
# (0 = rows, 1 = columns), and whether backwards.
_TURNED = {
    0: ((0, False), (1, False)),
    1: ((1, True), (0, False)),
    2: ((0, True), (1, True)),
    3: ((1, False), (0, True)),
}


class Regrid:
    """The mapping for one size of decoded picture.

    Args:
        height, width: of the decoded picture, before rotation.
        frames: what it became; the reader's provenance says how (``resized_hw``, ``offset_tl``, ``mirrored``).

    Attributes:
        cells: (y, x) of the sized frame.
        content_yx: bool, False where a cell holds padding only.
    """

    def __init__(self, height: int, width: int, *, frames: FrameSequence) -> None:
        how, out = frames.provenance, frames.luma_THW.shape[1:]
        picture, mirrored = (height, width), bool(how.get("mirrored"))
        turned = _TURNED[frames.source.rotation // 90 % 4]
        self._axis = tuple(axis for axis, _ in turned)
        self._backwards = tuple(back != (mirrored and axis == 1) for axis, back in turned)
        self._scale = tuple(how["resized_hw"][a] / picture[self._axis[a]] for a in (0, 1))
        self._weight = tuple(
            _shared(picture[self._axis[a]], self._backwards[a], out[a], self._scale[a], how["offset_tl"][a])
            for a in (0, 1)
        )
        self._area_yx = self._weight[0].sum(1)[:, None] * self._weight[1].sum(1)[None, :]
        self.cells = cell_grid(*out)
        self.content_yx: NDArray[np.bool_] = self._area_yx > 0

    def average(self, values_ji: NDArray[np.float32]) -> NDArray[np.float32]:
        """Area average, float32 [y, x]; 0 in padding."""
        total_yx = self._total(values_ji.astype(np.float64))
        return (total_yx / np.where(self.content_yx, self._area_yx, 1)).astype(np.float32)

    def motion(
        self, motion_ji2: NDArray[np.float32], known_ji: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(motion in pixels of the sized frame, where at least half of a cell is known). Padding is known and still."""
        weight_ji = known_ji.astype(np.float64)
        known_area_yx = self._total(weight_ji)
        known_yx = (known_area_yx >= 0.5 * self._area_yx) | ~self.content_yx
        motion_yx2 = np.zeros((*self.cells, 2), np.float32)
        for shown_axis, component in ((0, 1), (1, 0)):  # dy runs along y, dx along x
            values_ji = motion_ji2[..., 1 - self._axis[shown_axis]]
            mean_yx = self._total(values_ji * weight_ji) / np.where(known_area_yx > 0, known_area_yx, 1)
            sign = -1.0 if self._backwards[shown_axis] else 1.0
            motion_yx2[..., component] = np.where(known_yx, sign * self._scale[shown_axis] * mean_yx, 0)
        return motion_yx2, known_yx

    def _total(self, values_ji: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum over each sized cell's area, in square pixels of the decoded picture."""
        values = values_ji if self._axis[0] == 0 else values_ji.T
        return np.asarray(self._weight[0] @ values @ self._weight[1].T, np.float64)


def _shared(length: int, backwards: bool, out: int, scale: float, offset: int) -> NDArray[np.float64]:
    """float64 [cells of the sized frame, cells of the decoded picture]: pixels of the decoded picture in both.

    ``out`` sized pixels along the axis, ``scale`` sized pixels per decoded one; the picture begins at ``offset``.
    """
    edge = (np.minimum(np.arange(-(-out // CELL) + 1) * CELL, out) - offset) / scale
    low, high = edge[:-1, None], edge[1:, None]
    if backwards:
        low, high = length - high, length - low
    first = np.arange(-(-length // CELL)) * CELL
    last = np.minimum(first + CELL, length)
    shared: NDArray[np.float64] = np.clip(np.minimum(high, last) - np.maximum(low, first), 0, None)
    return shared
