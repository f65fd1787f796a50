"""Who computes signals: the protocol, the registry, and one pass that reads frames and signals together.

``auto`` is ``blockcoder`` on every machine: a default that looked at what is installed would give different tokens for
the same video. Where its C extension was not built it is an error that says what to do.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol, cast, get_args

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.types import CodecSignals, FrameSequence, Interval

if TYPE_CHECKING:
    from onevision_encoder.video import FrameObserver, FramesBefore, OnDamage, Sampling, Sizing, Source
    from onevision_encoder.video.arrays import InMemory

ProviderName = Literal["auto", "blockcoder", "x264proxy", "native"]
AUTO: Literal["blockcoder"] = "blockcoder"
"""What ``auto`` stands for."""


class SignalProvider(Protocol):
    """Frames in, :class:`CodecSignals` out.

    A provider that needs more than sampled pixels gives an observer for the decoding pass and gets it back, filled, in
    ``signals``. One observer serves one pass. FramesBefore also works with frames in memory.
    """

    name: str

    def check(self, interval: Interval) -> None:
        """Raises SignalUnavailableError if it cannot give this interval."""

    def check_file(self, source: Source) -> None:
        """Raises SignalUnavailableError if it cannot serve this file; cheap, decodes nothing."""

    def observer(self, *, interval: Interval) -> FrameObserver | FramesBefore | None:
        """What is to look on while frames are read; None = nothing."""

    def signals(
        self,
        source: FrameSequence | NDArray[np.uint8],
        *,
        interval: Interval,
        observer: FrameObserver | FramesBefore | None = None,
    ) -> CodecSignals:
        """Signals of every frame. ``source`` is a FrameSequence or luma, uint8 [T, H, W].

        Raises:
            ShapeError: ``source`` is neither. SignalUnavailableError: it cannot serve this source or interval.
        """


def get_provider(name: ProviderName = "auto") -> SignalProvider:
    """The provider of that name. Raises InvalidArgumentError for any other."""
    from onevision_encoder.codec.blockcoder import BlockCoder
    from onevision_encoder.codec.native import Native
    from onevision_encoder.codec.proxy import X264Proxy

    if name not in get_args(ProviderName):
        raise InvalidArgumentError("provider", name, "one of " + ", ".join(get_args(ProviderName)))
    providers: dict[str, type[SignalProvider]] = {"blockcoder": BlockCoder, "x264proxy": X264Proxy, "native": Native}
    return providers[AUTO if name == "auto" else name]()


def _check_interval(interval: str) -> None:
    if interval not in get_args(Interval):
        raise InvalidArgumentError("interval", interval, "one of " + ", ".join(get_args(Interval)))


def compute_signals(
    frames: FrameSequence | NDArray[np.uint8], *, provider: ProviderName = "auto", interval: Interval = "sample"
) -> CodecSignals:
    """Signals of frames that are in memory.

    Args:
        frames: a FrameSequence, or luma as uint8 [T, H, W] of any size.
        provider: ``auto`` or ``blockcoder``, the same; ``x264proxy``; ``native`` needs the file
            (:func:`read_with_signals`) unless T = 1.
        interval: ``sample`` = since the frame before in ``frames``. ``frame`` = since the frame before in the source:
            the same for luma, which counts as all there is, and for a FrameSequence of consecutive frames; one with
            gaps has lost them and is refused (:func:`read_with_signals` keeps them).
    Returns:
        CodecSignals of all T frames. A single frame is all intra.
    Raises:
        InvalidArgumentError: an unknown name. ShapeError: ``frames`` is neither.
        SignalUnavailableError: this provider cannot give this for frames in memory; names what can.
    """
    _check_interval(interval)
    return get_provider(provider).signals(frames, interval=interval)


def read_with_signals(
    source: Source | InMemory | FrameSequence,
    *,
    sampling: Sampling | None = None,
    sizing: Sizing | None = None,
    provider: ProviderName = "auto",
    interval: Interval = "sample",
    on_damage: OnDamage = "partial",
) -> tuple[FrameSequence, CodecSignals]:
    """Sampled frames and their signals from one decoding pass.

    Args:
        source: whatever :func:`onevision_encoder.video.read_media` takes: a path, URL, bytes or binary file object of a
            video or an image; frames in memory, uint8 RGB [T, H, W, 3] or [H, W, 3], a PIL image, a list of those. Or a
            FrameSequence, which is returned as it is: it has been sampled and sized, and ``sampling`` and ``sizing``
            may only say how (what is at its default says nothing).
        sampling, sizing, on_damage: see :func:`onevision_encoder.video.read_media`.
        provider, interval: see :func:`compute_signals`; here ``native`` works too, and ``interval="frame"`` with gaps
            between sampled frames: the pass also keeps the frame just before each (not of a FrameSequence). What comes
            before the first sampled frame is not looked at: that frame is all intra with either interval.
    Returns:
        (frames, signals) with the same T. An image gives T = 1, all intra.
    Raises:
        What :func:`read_media` raises; InvalidArgumentError, also for a sampling or sizing that a FrameSequence was not
        made with; SignalUnavailableError, before anything is decoded.
    """
    frames, signals = read_then_signals(
        source, sampling=sampling, sizing=sizing, provider=provider, interval=interval, on_damage=on_damage
    )
    return frames, signals()


def read_then_signals(
    source: Source | InMemory | FrameSequence,
    *,
    sampling: Sampling | None = None,
    sizing: Sizing | None = None,
    provider: ProviderName = "auto",
    interval: Interval = "sample",
    on_damage: OnDamage = "partial",
) -> tuple[FrameSequence, Callable[[], CodecSignals]]:
    """The decoding pass of :func:`read_with_signals`, and the function that makes the signals of what it kept: for
    whoever wants to know what either of them costs."""
    from onevision_encoder.codec.asked import check_frames_as_asked
    from onevision_encoder.video import FramesBefore, is_in_memory, read_media
    from onevision_encoder.video.source import OpenedSource

    _check_interval(interval)
    chosen = get_provider(provider)
    chosen.check(interval)
    if isinstance(source, FrameSequence):
        check_frames_as_asked(source, sampling, sizing)
        return source, partial(chosen.signals, source, interval=interval)
    observer = chosen.observer(interval=interval)
    if is_in_memory(source):
        # frames in memory are not decoded, so that there is nothing to look on
        before = observer if isinstance(observer, FramesBefore) else None
        frames = read_media(source, sampling=sampling, sizing=sizing, observer=before, on_damage=on_damage)
        return frames, partial(chosen.signals, frames, interval=interval, observer=before)
    if not isinstance(source, str | bytes | bytearray | memoryview) and hasattr(source, "read"):
        opened = OpenedSource(source)  # kept until the end: what cannot be rewound is read from its copy
        source = cast("BinaryIO", opened.content())
    chosen.check_file(source)
    frames = read_media(source, sampling=sampling, sizing=sizing, observer=observer, on_damage=on_damage)
    return frames, partial(chosen.signals, frames, interval=interval, observer=observer)
