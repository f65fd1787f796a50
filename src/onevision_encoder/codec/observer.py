"""Looks on while a file is decoded and keeps, for every sampled frame, what the file's own vectors say.

Axes: y x cells of 8 x 8 pixels of the decoded picture, H W its pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.codec.cells import cell_difference, pad_to
from onevision_encoder.codec.interpolate import compensate
from onevision_encoder.codec.trace import Step, compose, one_step
from onevision_encoder.codec.vectors import VectorField, exported_vectors, plane_samples, vector_field
from onevision_encoder.types import CELL, Interval

if TYPE_CHECKING:
    import av

_I, _B = 1, 3  # AVPictureType
_FULL_RANGE = 2
_MAX_STEPS = 64
"""Steps kept apart before they are joined into one: bounds the memory of long intervals."""


@dataclass(frozen=True, kw_only=True, eq=False)
class SampledMotion:
    """What was seen up to one sampled frame.

    Attributes:
        height, width: of the decoded picture.
        since_sample: motion since the sampled frame before; None at the first.
        since_frame: motion since the frame before; None at the first.
        residual_yx: float32, |frame - compensated frame before| per cell in grey levels of the full range, or None
            (``interval="sample"``, or the first frame).
        intra: the frame was coded without reference to others.
        vectors: some frame since the sampled frame before had vectors, or was intra.
    """

    height: int
    width: int
    since_sample: Step | None
    since_frame: Step | None
    residual_yx: NDArray[np.float32] | None
    intra: bool
    vectors: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """One decoded frame that waits for the reference after it."""

    height: int
    width: int
    field: VectorField
    has_vectors: bool
    picture_type: int
    since_past: int | None
    sampled: bool
    luma_HW: NDArray[np.uint8] | None
    luma_scale: float


class VectorObserver:
    """A :class:`onevision_encoder.video.FrameObserver` that reads exported motion vectors.

    Holds the vectors of the frames since the last sampled one (joined beyond 64) and of B frames until the reference
    after them is in; for ``interval="frame"`` also the luma of two frames.
    """

    export_motion_vectors = True

    def __init__(self, *, interval: Interval) -> None:
        self.interval = interval
        self.frame_index: list[int] = []
        self._samples: list[SampledMotion] = []
        self._waiting: list[_Seen] = []
        self._steps: list[Step] = []
        self._first, self._usable = True, False
        self._since_past: int | None = None  # frames since the last I or P; none was seen yet
        self._before: _Seen | None = None
        self._reference_step: Step | None = None

    def __call__(self, frame: av.VideoFrame, *, frame_index: int, sampled: bool) -> None:
        table = exported_vectors(frame)
        if self._since_past is not None:
            self._since_past += 1
        seen = _Seen(
            height=frame.height,
            width=frame.width,
            field=vector_field(table, frame.height, frame.width),
            has_vectors=table is not None and len(table) > 0,
            picture_type=int(frame.pict_type),
            since_past=self._since_past,
            sampled=sampled,
            luma_HW=_luma(frame) if self.interval == "frame" else None,
            luma_scale=1.0 if _full_range(frame) else 255 / 219,
        )
        if sampled:
            self.frame_index.append(frame_index)
        self._waiting.append(seen)
        if seen.picture_type != _B:
            self._flush(len(self._waiting) - 1)
            self._since_past = 0

    def samples(self) -> list[SampledMotion]:
        """Everything seen, one entry per sampled frame. Call it when the pass is over."""
        self._flush(None)
        return self._samples

    def _flush(self, reference: int | None) -> None:
        """Settle the frames that wait, now that the reference after them (a place in the queue) is in."""
        if reference is not None:
            last = self._waiting[reference]
            if last.has_vectors:
                self._reference_step = one_step(last.field, last.since_past)
        for place, seen in enumerate(self._waiting):
            until_future = None if reference is None or place == reference else reference - place
            step, nearest = one_step(seen.field, seen.since_past, until_future), self._reference_step
            says_nothing = seen.picture_type == _B and not step.moved_yx2.any()
            if says_nothing and nearest is not None and nearest.known_yx.shape == step.known_yx.shape:
                step = nearest
            self._settle(seen, step)
        self._waiting = []

    def _settle(self, seen: _Seen, step: Step) -> None:
        before, self._before = self._before, seen
        if before is not None and (before.height, before.width) != (seen.height, seen.width):
            self._steps, before = [], None  # the picture changed its size: nothing carries over
        self._usable |= seen.has_vectors or seen.picture_type == _I
        if not self._first:
            self._steps.append(step)
            if len(self._steps) >= _MAX_STEPS:
                self._steps = [compose(self._steps)]
        if not seen.sampled:
            return
        self._samples.append(
            SampledMotion(
                height=seen.height,
                width=seen.width,
                since_sample=compose(self._steps) if self._steps else None,
                since_frame=None if before is None else step,
                residual_yx=None if before is None else _residual(before, seen, step),
                intra=seen.picture_type == _I,
                vectors=self._usable if self.interval == "sample" else seen.has_vectors or seen.picture_type == _I,
            )
        )
        self._steps, self._first, self._usable = [], False, False


def _residual(before: _Seen, seen: _Seen, step: Step) -> NDArray[np.float32] | None:
    if before.luma_HW is None or seen.luma_HW is None:
        return None
    predicted_HW = compensate(before.luma_HW, step.moved_yx2)
    return cell_difference(seen.luma_HW, predicted_HW) * np.float32(seen.luma_scale)


def _full_range(frame: av.VideoFrame) -> bool:
    return int(frame.color_range) == _FULL_RANGE or frame.format.name.startswith("yuvj")


def _luma(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """8-bit luma as coded, sides padded to multiples of 8."""
    plane, depth = frame.planes[0], frame.format.components[0].bits
    if not frame.format.is_planar and len(frame.format.components) > 1:
        return pad_to(frame.to_ndarray(format="gray").astype(np.uint8), CELL)
    if depth == 8:
        luma = plane_samples(plane)
    else:
        wide = plane_samples(plane, "<u2" if frame.format.name.endswith("le") else ">u2")
        luma = wide >> (depth - 8)
    return pad_to(luma[: frame.height, : frame.width].astype(np.uint8), CELL)
