"""What the builder of a corpus decides."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.pretrain.stored_video import VideoMode, ladder
from onevision_encoder.selection.budget import parse_budget
from onevision_encoder.tokens.pipeline import TokenizeConfig

Recode = Literal["keep", "png", "jpg", "webp"]


@dataclass(frozen=True, kw_only=True)
class CorpusConfig:
    """What is stored of each medium. A corpus has one; other options need another folder.

    Raises:
        InvalidArgumentError, BudgetError: a value outside what is said below.
    """

    modes: tuple[VideoMode, ...] = ("codec", "frames", "tiled")
    """Ways in which videos can be drawn later. frames and tiled share their pixels."""
    reading: TokenizeConfig = field(default_factory=TokenizeConfig)
    """How videos are sampled, sized and ranked; its policy and budget stay at their defaults, the modes say them."""
    low: str = "3.125%"
    """Lowest budget that mode codec can be drawn at, a share of all patches."""
    high: str = "25%"
    """Highest budget that mode codec can be drawn at; a clip takes this share of its dense size."""
    steps: int = 57
    """Budgets from low to high that are kept exactly; 57 are every 256th of the patches."""
    frame_levels: tuple[str, ...] = ("3.125%", "6.25%", "12.5%", "25%")
    """Budgets that modes frames and tiled can be drawn at; of 64 frames they are 2, 4, 8 and 16 whole ones."""
    image_side: int | None = None
    """Pictures whose shorter side is longer than this are shrunk to it. None keeps every size."""
    recode: Recode = "keep"
    """How pictures are stored. keep: JPEG, PNG and WebP that are not shrunk stay as they are, all else becomes PNG."""
    shard_samples: int = 1000
    """Most samples of a shard."""
    shard_mb: int = 256
    """A shard that has reached this size in MiB is full."""

    def __post_init__(self) -> None:
        unknown = sorted(set(self.modes) - set(get_args(VideoMode)))
        if unknown or not self.modes or len(set(self.modes)) < len(self.modes):
            raise InvalidArgumentError("modes", self.modes, f"some of {', '.join(get_args(VideoMode))}, each once")
        usual = TokenizeConfig().selection
        for name in ("policy", "budget", "short"):
            value = getattr(self.reading.selection, name)
            if value != getattr(usual, name):
                raise InvalidArgumentError(name, value, "not of a corpus: modes and budgets are drawn in training")
        for level in (self.low, self.high, *self.frame_levels):
            if isinstance(parse_budget(level), int):
                raise InvalidArgumentError("low, high, frame_levels", level, "percentages such as '12.5%'")
        if not self.frame_levels:
            raise InvalidArgumentError("frame_levels", (), "at least one percentage")
        if not float(parse_budget(self.low)) <= float(parse_budget(self.high)):
            raise InvalidArgumentError("low", self.low, f"at most high={self.high}")
        for name, least in (("steps", 1), ("shard_samples", 1), ("shard_mb", 1)):
            if getattr(self, name) < least:
                raise InvalidArgumentError(name, getattr(self, name), f"at least {least}")
        if self.image_side is not None and self.image_side < 1:
            raise InvalidArgumentError("image_side", self.image_side, "at least 1 pixel, or None")
        if self.recode not in get_args(Recode):
            raise InvalidArgumentError("recode", self.recode, f"one of {', '.join(get_args(Recode))}")

    def levels(self, mode: VideoMode) -> tuple[str, ...]:
        """Budgets of the ladder of a mode, as shares."""
        if mode != "codec":
            return self.frame_levels
        return ladder(float(parse_budget(self.low)), float(parse_budget(self.high)), self.steps)

    def as_dict(self) -> dict[str, Any]:
        """The whole configuration, JSON-able."""
        return asdict(self)
