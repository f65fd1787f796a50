"""What a stream of training batches mixes, and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import get_args

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.pretrain.attached_labels import Missing
from onevision_encoder.pretrain.augment import AugmentConfig
from onevision_encoder.pretrain.stored_video import VideoMode
from onevision_encoder.pretrain.vocabulary import SLOTS
from onevision_encoder.selection.budget import parse_budget

Budget = int | str


@dataclass(frozen=True, kw_only=True)
class CorpusShare:
    """A corpus and how often it is drawn: ``weight`` relative to the others."""

    folder: Path
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class TextBank:
    """Labels of a bank made from the words that were read in pictures, as far as the crop shows them."""

    vocabulary: Path
    name: str = "text"
    slots: int = SLOTS
    """Labels of a picture; where it has more, a random choice of them."""
    score: float = 0.5
    """Words that the reader was less sure of do not count."""


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """Everything that decides which batches come. The same for all ranks.

    Raises:
        InvalidArgumentError, BudgetError: a value outside what is said below.
    """

    corpora: tuple[CorpusShare, ...]
    """What is drawn from, by weight."""
    modes: Mapping[VideoMode, float] = field(default_factory=lambda: {"codec": 1.0})
    """Mode -> weight, for samples that are videos. Pictures have one mode, image."""
    batch_samples: int | None = None
    """Samples of a batch of one rank. Either this or batch_tokens."""
    batch_tokens: int | None = None
    """Tokens of a batch of one rank at most; a batch has one sample at least."""
    budget: Budget | tuple[Budget, Budget] = "12.5%"
    """Patches of a video: a number, a share of all, or two of one kind to draw between, anew for every batch.
    A share is taken as the nearest one that the corpus keeps exactly; so is one that is drawn. A number is exact."""
    short: str = "error"
    """A number of patches above what is stored of a clip. error: refuse. cap: take what is stored, and record it."""
    image_size: int = 224
    """Side of the square that pictures are brought to, in pixels."""
    patch: int = 14
    """Side of a patch in pixels; of videos it is the corpus's."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """What is changed at random."""
    banks: tuple[str, ...] | None = None
    """Banks whose labels are joined, each attached to one corpus at least. None: all that are attached."""
    missing_labels: Missing = "error"
    """A sample or shard without labels in a corpus that has labels of the bank. none: it counts as unlabelled."""
    text: TextBank | None = None
    """Labels from words, beside those of the banks."""
    window: int = 4
    """Shards of a corpus that are shuffled together."""
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.corpora:
            raise InvalidArgumentError("corpora", (), "at least one corpus")
        wrong = sorted(set(self.modes) - set(get_args(VideoMode)))
        if wrong or not self.modes:
            allowed = f"weights of some of {', '.join(get_args(VideoMode))}"
            raise InvalidArgumentError("modes", dict(self.modes), allowed)
        given = {"batch_samples": self.batch_samples, "batch_tokens": self.batch_tokens}
        chosen = {name: value for name, value in given.items() if value is not None}
        if len(chosen) != 1 or min(chosen.values()) < 1:
            raise InvalidArgumentError("batch_samples, batch_tokens", tuple(given.values()), "one of them, at least 1")
        if self.image_size < self.patch or self.image_size % self.patch:
            raise InvalidArgumentError("image_size", self.image_size, f"a multiple of patch={self.patch}")
        if self.short not in ("error", "cap"):
            raise InvalidArgumentError("short", self.short, "error or cap")
        if self.missing_labels not in get_args(Missing):
            raise InvalidArgumentError("missing_labels", self.missing_labels, f"one of {get_args(Missing)}")
        if self.seed < 0:
            raise InvalidArgumentError("seed", self.seed, "0 or more")
        if self.text is not None and self.text.name in (self.banks or ()):
            raise InvalidArgumentError("text", self.text.name, "a name that is not among banks")
        self.budget_range()

    def budget_range(self) -> tuple[int, int] | tuple[Fraction, Fraction]:
        """Lowest and highest budget, both numbers or both shares. Raises BudgetError, InvalidArgumentError."""
        both = self.budget if isinstance(self.budget, tuple) else (self.budget, self.budget)
        if len(both) != 2:
            raise InvalidArgumentError("budget", self.budget, "one budget, or two to draw between")
        low, high = (parse_budget(one) for one in both)
        if isinstance(low, int) and isinstance(high, int) and low <= high:
            return low, high
        if isinstance(low, Fraction) and isinstance(high, Fraction) and low <= high:
            return low, high
        raise InvalidArgumentError("budget", self.budget, "two numbers or two percentages, the lower one first")
