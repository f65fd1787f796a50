"""The frame just before each sampled one, for whoever wants to know what changed in one step of the source.

Axes: T sampled frames, H W pixels of the sized frame, 3 = RGB.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.video.color import luma_from_rgb


class FramesBefore:
    """Give one to :func:`onevision_encoder.video.read_media` as ``observer``; the reader empties and fills it.

    It holds the luma (as ``FrameSequence.luma_THW``: the same size, rotation and conversion) of the source's frame just
    before each sampled frame, where that is not a sampled frame itself. Nothing is held before the first sampled frame,
    whether or not the source goes on there. At most T pictures of luma; no other frame is converted.
    """

    def __init__(self) -> None:
        self._luma: dict[int, NDArray[np.uint8]] = {}

    @staticmethod
    def of(frame_index_T: Iterable[int]) -> list[int]:
        """Indices of the frames to hold for these sampled ones (strictly increasing)."""
        return [int(now) - 1 for last, now in pairwise(frame_index_T) if now - 1 != last]

    def clear(self) -> None:
        """Forget everything: the reader starts, or starts again."""
        self._luma.clear()

    def keep(self, frame_index: int, rgb_HW3: NDArray[np.uint8]) -> None:
        """Called by the reader with a sized frame."""
        self._luma[frame_index] = luma_from_rgb(rgb_HW3)

    def luma(self, frame_index: int) -> NDArray[np.uint8] | None:
        """uint8 [H, W]; None: the frame did not decode, or the decoder flagged it corrupt."""
        return self._luma.get(frame_index)
