"""A source in, tokens out: the rooms above joined, with one flat set of options.

tokens = tokenize("clip.mp4", budget=2048)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from onevision_encoder.codec import ProviderName, read_with_signals
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.selection import SelectionConfig, needs_signals, sampling_for, select
from onevision_encoder.tokens.packing import make_tokens
from onevision_encoder.tokens.positions import TimeMode
from onevision_encoder.types import CodecSignals, FrameSequence, Interval, PatchTokens, Selection
from onevision_encoder.video import Sampling, Sizing, read_media


@dataclass(frozen=True, kw_only=True)
class SignalConfig:
    """Who computes codec signals, and over which interval."""

    provider: ProviderName = "auto"
    """auto | blockcoder | x264proxy | native. ``auto`` is blockcoder on every machine."""
    interval: Interval = "sample"
    """sample: since the previous sampled frame; frame: since the frame before (native only)."""


@dataclass(frozen=True, kw_only=True)
class TimeConfig:
    """What time RoPE sees."""

    time: TimeMode = "virtual"
    """virtual: 0..63 whatever the length, as the published weights expect; index: 0..T-1; seconds."""
    ticks_per_second: float = 1.0
    """Scale of time=seconds."""


@dataclass(frozen=True, kw_only=True)
class TokenizeConfig:
    """Everything that decides which tokens a source gives."""

    sampling: Sampling = field(default_factory=Sampling)
    sizing: Sizing = field(default_factory=Sizing)
    signals: SignalConfig = field(default_factory=SignalConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    times: TimeConfig = field(default_factory=TimeConfig)

    @classmethod
    def of(cls, **options: Any) -> TokenizeConfig:
        """Build from flat options, the fields of Sampling, Sizing, SignalConfig, SelectionConfig and TimeConfig.

        Raises:
            InvalidArgumentError: an option that none of them has.
        """
        parts = {"sampling": Sampling, "sizing": Sizing, "signals": SignalConfig, "selection": SelectionConfig}
        parts["times"] = TimeConfig
        home = {f.name: part for part, kind in parts.items() for f in fields(kind)}
        unknown = sorted(set(options) - set(home))
        if unknown:
            raise InvalidArgumentError("options", unknown, f"names among {', '.join(sorted(home))}")
        chosen: dict[str, dict[str, Any]] = {part: {} for part in parts}
        for name, value in options.items():
            chosen[home[name]][name] = value
        return cls(**{part: kind(**chosen[part]) for part, kind in parts.items()})

    def as_dict(self) -> dict[str, Any]:
        """The whole configuration as JSON-able nested dicts: what a run writes beside its results."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipReading:
    """What was read of one source and what was chosen of it."""

    frames: FrameSequence
    signals: CodecSignals | None
    selection: Selection
    config: TokenizeConfig

    def tokens(self) -> PatchTokens:
        """The pixels and positions of what was chosen."""
        return make_tokens(
            self.frames,
            self.selection,
            signals=self.signals,
            time=self.config.times.time,
            ticks_per_second=self.config.times.ticks_per_second,
            request=self.config.as_dict(),
        )


def read_clip(source: Any, config: TokenizeConfig | None = None, **options: Any) -> ClipReading:
    """Sample, measure and select in one decode pass.

    Args:
        source: path, URL, bytes or binary file object of a video or image.
        config: or flat ``options`` (see :meth:`TokenizeConfig.of`), not both.
    Raises:
        MediaError, InvalidArgumentError, SignalUnavailableError: see the rooms.
    """
    config = _resolve(config, options)
    sampling, sizing = sampling_for(config.selection, config.sampling, config.sizing)
    signals: CodecSignals | None = None
    if needs_signals(config.selection):
        frames, signals = read_with_signals(
            source, sampling=sampling, sizing=sizing, provider=config.signals.provider, interval=config.signals.interval
        )
    else:
        frames = read_media(source, sampling=sampling, sizing=sizing)
    selection = select(frames, signals, config.selection)
    return ClipReading(frames=frames, signals=signals, selection=selection, config=config)


def tokenize(source: Any, config: TokenizeConfig | None = None, **options: Any) -> PatchTokens:
    """Exactly ``budget`` patch tokens of a video or image, with their places in time and space.

    Args:
        source: path, URL, bytes or binary file object.
        options: e.g. ``budget=2048`` or ``"12.5%"``, ``policy="codec"``, ``score="fused"``, ``num_frames=64``,
            ``max_patches=256``; all names are the fields of the parts of :class:`TokenizeConfig`.
    Returns:
        Tokens of one clip: ``patches_ND`` uint8 [K, 3*p*p], ``positions_N3``, ``model_positions_N3``.
    Raises:
        MediaError: the source cannot be read. BudgetError: K cannot be met exactly.
    """
    return read_clip(source, config, **options).tokens()


def _resolve(config: TokenizeConfig | None, options: Mapping[str, Any]) -> TokenizeConfig:
    if config is None:
        return TokenizeConfig.of(**options)
    if options:
        raise InvalidArgumentError("options", sorted(options), "a config or flat options, not both")
    return config
