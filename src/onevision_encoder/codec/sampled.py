"""What providers share that look at nothing but the luma of the sampled frames."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.codec.cells import luma_of
from onevision_encoder.errors import SignalUnavailableError
from onevision_encoder.types import CodecSignals, FrameSequence, Interval

if TYPE_CHECKING:
    from onevision_encoder.video import FrameObserver, Source


class SampledLumaProvider(ABC):
    """A :class:`~onevision_encoder.codec.provider.SignalProvider` of any frames, after they are read."""

    name: str

    @abstractmethod
    def of_luma(self, luma_THW: NDArray[np.uint8]) -> CodecSignals:
        """Signals of uint8 luma [T, H, W]."""

    def check(self, interval: Interval) -> None:
        if interval != "sample":
            cause = "it sees sampled frames only; the frame before each in the source is not kept"
            others = ["interval='sample'", "provider='native' (H.264, MPEG-1/2/4)"]
            raise SignalUnavailableError(self.name, f"interval={interval!r}", cause, others)

    def check_file(self, source: Source) -> None:  # noqa: B027  (not abstract: there is nothing to refuse)
        """Any file will do."""

    def observer(self, *, interval: Interval) -> FrameObserver | None:
        """None: it needs nothing from the decoding pass."""
        self.check(interval)
        return None

    def signals(
        self, source: FrameSequence | NDArray[np.uint8], *, interval: Interval, observer: FrameObserver | None = None
    ) -> CodecSignals:
        """See :meth:`of_luma`. Raises SignalUnavailableError for ``interval="frame"``."""
        self.check(interval)
        return self.of_luma(luma_of(source))
