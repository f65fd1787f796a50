"""A source in, tokens out: the rooms above joined, with one flat set of options.

tokens = tokenize("clip.mp4", budget=2048)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.checks import meant, refuse_unread, unread
from onevision_encoder.codec import ProviderName, read_with_signals
from onevision_encoder.codec.asked import check_frames_as_asked, made_with
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.selection import SelectionConfig, lower_resolution, needs_signals, select
from onevision_encoder.tokens.packing import make_tokens
from onevision_encoder.tokens.positions import TimeMode, model_time
from onevision_encoder.types import CodecSignals, FrameSequence, Interval, PatchTokens, Selection
from onevision_encoder.video import OnDamage, Sampling, Sizing, read_media


@dataclass(frozen=True, kw_only=True)
class SignalConfig:
    """Who computes codec signals, provider and interval (for policy codec alone), and what to do about damage."""

    provider: ProviderName = "auto"
    """blockcoder, x264proxy: any source. native: the file's own vectors, H.264 and MPEG only. auto: blockcoder."""
    interval: Interval = "sample"
    """sample: since the previous sampled frame. frame: since the frame before it in the source."""
    on_damage: OnDamage = "partial"
    """partial: a damaged file gives the frames that decode, the rest is counted. error: refuse it."""


@dataclass(frozen=True, kw_only=True)
class TimeConfig:
    """What time the encoder sees."""

    time: TimeMode = "virtual"
    """virtual: the frames spread over 0 to 63, as the published weights expect.
    slots: each frame at its own place among 64 slots of the window it was sampled from.
    index: 0, 1, 2 ... seconds: its time in the video times ticks_per_second."""
    ticks_per_second: float = 1.0
    """Scale of time seconds, and of no other."""

    def __post_init__(self) -> None:
        refuse_unread(self)


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
            hints = [f"{name}: no such option{meant(name, home)}" for name in unknown if meant(name, home)]
            raise InvalidArgumentError(
                "options", unknown, "; ".join([*hints, f"names among {', '.join(sorted(home))}"])
            )
        chosen: dict[str, dict[str, Any]] = {part: {} for part in parts}
        for name, value in options.items():
            chosen[home[name]][name] = value
        return cls(**{part: kind(**chosen[part]) for part, kind in parts.items()})

    def for_frames(self, frames: FrameSequence) -> TokenizeConfig:
        """The same with the sampling and sizing that ``frames`` were made with, where they tell: for settings that are
        meant for sources of every kind, so that :func:`read_clip` finds nothing asked that comes too late."""
        return replace(
            self, sampling=Sampling(**made_with(frames, "sampling")), sizing=Sizing(**made_with(frames, "sizing"))
        )

    def check_read(self) -> None:
        """Raise InvalidArgumentError for an option that nothing reads: of another policy, say."""
        refuse_unread(*self._parts())

    def as_read(self) -> TokenizeConfig:
        """The same with every option that nothing reads at its default: what decides the tokens."""
        drop = unread(*self._parts())
        parts = (replace(part, **{f.name: f.default for f in fields(part) if f.name in drop}) for part in self._parts())
        return type(self)(**dict(zip((f.name for f in fields(self)), parts, strict=True)))

    def _parts(self) -> list[Any]:
        return [getattr(self, f.name) for f in fields(self)]

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

    @property
    def model_time_T(self) -> NDArray[np.float32]:
        """The time of each frame as the encoder sees it (layout ``tiled``: t = 0). Raises as model_time does."""
        frames, times = self.frames, self.config.times
        return model_time(
            frames.pts_seconds_T, times.time, ticks_per_second=times.ticks_per_second, slot_T=frames.slot_T
        )

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
        source: path, URL, bytes or binary file object of a video or image; or frames in memory: a FrameSequence, uint8
            RGB [T, H, W, 3], a PIL image, a list of images. A FrameSequence has been sampled and sized already.
        config: or flat ``options`` (see :meth:`TokenizeConfig.of`), not both. Of a FrameSequence, options of Sampling
            and Sizing may only say how it was made; in a ``config`` what is at its default says nothing.
    Raises:
        MediaError, InvalidArgumentError, SignalUnavailableError: see the rooms. An option that nothing reads, such as
            ``score`` without policy ``codec``, is an InvalidArgumentError too.
    """
    config = _resolve(config, options)
    if isinstance(source, FrameSequence):
        check_frames_as_asked(source, config.sampling, config.sizing, named=options)
    signals: CodecSignals | None = None
    if needs_signals(config.selection):
        frames, signals = read_with_signals(
            source,
            sampling=config.sampling,
            sizing=config.sizing,
            provider=config.signals.provider,
            interval=config.signals.interval,
            on_damage=config.signals.on_damage,
        )
    elif isinstance(source, FrameSequence):
        frames = source
    else:
        frames = read_media(source, sampling=config.sampling, sizing=config.sizing, on_damage=config.signals.on_damage)
    frames, resolved = lower_resolution(frames, config.selection)
    return ClipReading(frames=frames, signals=signals, selection=select(frames, signals, resolved), config=config)


def tokenize(source: Any, config: TokenizeConfig | None = None, **options: Any) -> PatchTokens:
    """Exactly ``budget`` patch tokens of a video or image, with their places in time and space.

    Args:
        source: see :func:`read_clip`.
        options: e.g. ``budget=2048`` or ``"12.5%"``, ``policy="codec"``, ``score="fused"``, ``num_frames=64``,
            ``max_patches=256``; all names are the fields of the parts of :class:`TokenizeConfig`.
    Returns:
        Tokens of one clip: ``patches_ND`` uint8 [K, 3*p*p], ``positions_N3``, ``model_positions_N3``.
    Raises:
        MediaError: the source cannot be read. BudgetError: K cannot be met exactly.
    """
    return read_clip(source, config, **options).tokens()


def _resolve(config: object, options: Mapping[str, Any]) -> TokenizeConfig:
    if config is None:
        config = TokenizeConfig.of(**options)
    elif not isinstance(config, TokenizeConfig):
        allowed = "a TokenizeConfig"
        if isinstance(config, int | str):
            allowed += f"; options go by name: budget={config!r}"
        raise InvalidArgumentError("config", config, allowed)
    elif options:
        raise InvalidArgumentError("options", sorted(options), "a config or flat options, not both")
    config.check_read()
    return config
