"""One source under many configurations, decoded as few times as their results allow.

Configurations that sample and size alike share a decoding pass, and those that also ask one provider for one interval
share its signals. Signals that look on while frames are decoded (``native``, ``interval="frame"``) have a pass of their
own, because such a pass may decode other frames of a damaged file, and costs more. So each reading is what
:func:`~onevision_encoder.tokens.pipeline.read_clip` gives for its configuration alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from onevision_encoder.codec.provider import AUTO, read_then_signals
from onevision_encoder.errors import OneVisionError
from onevision_encoder.selection import lower_resolution, needs_signals, select
from onevision_encoder.tokens.pipeline import ClipReading, SignalConfig, TokenizeConfig
from onevision_encoder.types import CodecSignals, FrameSequence
from onevision_encoder.video import read_media

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, eq=False)
class Variant:
    """What one configuration gives of a source.

    Attributes:
        reading: as of ``read_clip``, or the error it raises.
        decode_ms: CPU time of the decoding pass, all threads of the process, sizing included.
        select_ms: CPU time of this thread for the signals (in full, shared or not) and the selection.
    """

    reading: ClipReading | OneVisionError
    decode_ms: float
    select_ms: float


def read_variants(source: Any, configs: Mapping[str, TokenizeConfig]) -> dict[str, Variant]:
    """Read a source under each configuration.

    Args:
        source: path, URL, bytes, or frames in memory, as of ``read_clip``; what can be read only once (a pipe) is not
            for this.
    Returns:
        A variant for each name. An error of the source or of a selection is that variant's; others go on.
    Raises:
        InvalidArgumentError: a configuration has an option that nothing reads.
    """
    for config in configs.values():
        config.check_read()
    passes: dict[Any, tuple[Any, float]] = {}
    measured: dict[Any, tuple[Any, float]] = {}
    return {name: _read(source, config, passes, measured) for name, config in configs.items()}


def _read(
    source: Any,
    config: TokenizeConfig,
    passes: dict[Any, tuple[Any, float]],
    measured: dict[Any, tuple[Any, float]],
) -> Variant:
    own = config.signals if needs_signals(config.selection) else None
    decoding = (config.sampling, config.sizing, config.signals.on_damage, _looks_on(own))
    if decoding not in passes:
        passes[decoding] = _timed(lambda: _decode(source, config, own), time.process_time)
    read, decode_ms = passes[decoding]
    if isinstance(read, OneVisionError):
        return Variant(reading=read, decode_ms=decode_ms, select_ms=0.0)
    frames, signals_of = read
    signals, signals_ms = None, 0.0
    if own is not None:
        which = (*decoding, _named(own))
        if which not in measured:
            measured[which] = _timed(lambda: signals_of(own), time.thread_time)
        signals, signals_ms = measured[which]
        if isinstance(signals, OneVisionError):
            return Variant(reading=signals, decode_ms=decode_ms, select_ms=signals_ms)
    reading, select_ms = _timed(lambda: _select(frames, signals, config), time.thread_time)
    return Variant(reading=reading, decode_ms=decode_ms, select_ms=signals_ms + select_ms)


def _named(signals: SignalConfig) -> tuple[str, str]:
    return (AUTO if signals.provider == "auto" else signals.provider), signals.interval


def _looks_on(signals: SignalConfig | None) -> tuple[str, str] | None:
    """(provider, interval) of signals that need more of the decoding pass than the sampled frames."""
    if signals is None:
        return None
    provider, interval = _named(signals)
    return None if interval == "sample" and provider != "native" else (provider, interval)


def _decode(
    source: Any, config: TokenizeConfig, own: SignalConfig | None
) -> tuple[FrameSequence, Callable[[SignalConfig], CodecSignals]]:
    how: dict[str, Any] = {
        "sampling": config.sampling,
        "sizing": config.sizing,
        "on_damage": config.signals.on_damage,
    }
    if own is not None and _looks_on(own) is not None:
        frames, signals = read_then_signals(source, provider=own.provider, interval=own.interval, **how)
        return frames, lambda _: signals()
    frames = read_media(source, **how)
    return frames, lambda asked: read_then_signals(frames, provider=asked.provider, interval=asked.interval)[1]()


def _select(frames: FrameSequence, signals: CodecSignals | None, config: TokenizeConfig) -> ClipReading:
    frames, resolved = lower_resolution(frames, config.selection)
    return ClipReading(frames=frames, signals=signals, selection=select(frames, signals, resolved), config=config)


def _timed(make: Callable[[], T], clock: Callable[[], float]) -> tuple[T | OneVisionError, float]:
    """What is made, or the typed error, and the CPU milliseconds."""
    start = clock()
    try:
        made: T | OneVisionError = make()
    except OneVisionError as error:
        made = error
    return made, 1000 * (clock() - start)
