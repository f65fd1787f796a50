"""What providers share that look at nothing but luma: of the sampled frames, or also of the frame before each.

``interval="sample"`` codes the sampled frames as they follow each other. ``interval="frame"`` puts the source's frame
just before each sampled frame in front of it, codes all of them in order and keeps what was found in the sampled ones:
the difference of one step of the source, whatever lies between two samples. The frame before is coded on the last
sampled frame (or intra, if that is a scene away), so its own cost and its own cuts stay out of the result. Where it is
the last sampled frame itself, nothing is coded twice: with every frame sampled both intervals give the same signals.

Axes: T sampled frames, N coded ones, H W pixels, y x cells of 8 x 8 pixels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.codec.cells import luma_of
from onevision_encoder.errors import SignalUnavailableError
from onevision_encoder.types import CodecSignals, FrameSequence, Interval

if TYPE_CHECKING:
    from onevision_encoder.video import FrameObserver, FramesBefore, Source

_FIRST = "the first sampled frame is all intra: what the source shows before it is not looked at"
_REFERENCE = "the frame just before in the source, itself coded (on the sampled frame before it)"


class SampledLumaProvider(ABC):
    """A :class:`~onevision_encoder.codec.provider.SignalProvider` of any frames, after they are read."""

    name: str

    @abstractmethod
    def of_luma(self, luma_THW: NDArray[np.uint8]) -> CodecSignals:
        """Signals of uint8 luma [T, H, W], each frame since the one before it."""

    def check(self, interval: Interval) -> None:  # noqa: B027  (not abstract: there is nothing to refuse)
        """Both intervals are given."""

    def check_file(self, source: Source) -> None:  # noqa: B027  (not abstract: there is nothing to refuse)
        """Any file will do."""

    def observer(self, *, interval: Interval) -> FrameObserver | FramesBefore | None:
        """None: sampled frames are enough; or what the reader is to keep besides."""
        self.check(interval)
        if interval == "sample":
            return None
        from onevision_encoder.video import FramesBefore

        return FramesBefore()

    def signals(
        self,
        source: FrameSequence | NDArray[np.uint8],
        *,
        interval: Interval,
        observer: FrameObserver | FramesBefore | None = None,
    ) -> CodecSignals:
        """See :meth:`of_luma` and the module.

        With ``interval="frame"``, a frame whose predecessor could not be decoded is not ``valid_T`` (all intra, zero
        otherwise), and ``provenance["frame_before_missing"]`` names it. Luma counts as all there is: each frame's
        predecessor is the one before it. So is a FrameSequence without gaps in ``frame_index_T``.

        Raises:
            ShapeError: no luma. SignalUnavailableError: a FrameSequence with gaps, and ``observer`` saw none of them.
        """
        self.check(interval)
        luma_THW = luma_of(source)
        if interval == "sample":
            return self.of_luma(luma_THW)
        before = _frames_before(self.name, source, observer)
        return _since_frame_before(self, luma_THW, before, source)


def _frames_before(name: str, source: object, observer: object) -> dict[int, NDArray[np.uint8] | None]:
    """Row of each sampled frame whose predecessor is not sampled -> that predecessor, None where it is lost."""
    from onevision_encoder.video import FramesBefore

    index_T = source.frame_index_T if isinstance(source, FrameSequence) else np.zeros(1, np.int64)
    rows = (np.flatnonzero(np.diff(index_T) > 1) + 1).tolist()
    if not rows:
        return {}
    if not isinstance(observer, FramesBefore):
        first = int(index_T[rows[0]])
        cause = f"these frames are sampled already and frame {first - 1}, just before frame {first}, was not kept"
        others = ["read_with_signals(the file or all frames, interval='frame')", "interval='sample'"]
        raise SignalUnavailableError(name, "interval='frame'", cause, others)
    return {t: observer.luma(int(index_T[t]) - 1) for t in rows}


def _since_frame_before(
    provider: SampledLumaProvider,
    luma_THW: NDArray[np.uint8],
    before: dict[int, NDArray[np.uint8] | None],
    source: object,
) -> CodecSignals:
    T, H, W = luma_THW.shape
    known = {t: luma_HW for t, luma_HW in before.items() if luma_HW is not None}
    lost_T = np.array([t in before and t not in known for t in range(T)], np.bool_)
    row_T = np.arange(T) + np.cumsum([t in known for t in range(T)])
    coded_NHW = luma_THW
    if known:
        coded_NHW = np.empty((T + len(known), H, W), np.uint8)
        coded_NHW[row_T] = luma_THW
        for t, luma_HW in known.items():
            coded_NHW[row_T[t] - 1] = luma_HW
    coded = provider.of_luma(coded_NHW)
    earlier = [t for t in known if coded.cut_T[row_T[t] - 1]]
    intra_Tyx, cut_T = coded.intra_Tyx[row_T], coded.cut_T[row_T] & ~lost_T
    intra_Tyx[lost_T] = True
    return replace(
        coded,
        residual_Tyx=_cleared(coded.residual_Tyx[row_T], lost_T),
        motion_Tyx2=_cleared(coded.motion_Tyx2[row_T], lost_T),
        intra_Tyx=intra_Tyx,
        valid_T=~lost_T,
        cut_T=cut_T,
        interval="frame",
        bits_Tyx=None if coded.bits_Tyx is None else _cleared(coded.bits_Tyx[row_T], lost_T),
        provenance={**coded.provenance, **_account(lost_T, earlier, len(known), source)},
    )


def _cleared(values_T: NDArray[np.float32], lost_T: NDArray[np.bool_]) -> NDArray[np.float32]:
    """What was measured against another frame than the one before is no signal (``valid_T`` says so)."""
    values_T[lost_T] = 0
    return values_T


def _account(lost_T: NDArray[np.bool_], earlier: list[int], coded: int, source: object) -> dict[str, Any]:
    index_T = source.frame_index_T if isinstance(source, FrameSequence) else np.arange(len(lost_T))
    return {
        "interval": "frame",
        "motion": "vectors of the provider's coder, since the frame just before in the source, at the sampled size",
        "reference": _REFERENCE,
        "first": _FIRST,
        "frames_before_coded": coded,
        "frame_before_missing": index_T[lost_T].tolist(),
        "scene_started_since_sample": index_T[earlier].tolist(),
    }
