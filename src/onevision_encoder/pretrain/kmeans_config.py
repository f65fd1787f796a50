"""How a bank's centres are found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from onevision_encoder.errors import InvalidArgumentError

Init = Literal["sampled", "k-means++"]
Screening = Literal["auto", "bf16", "none"]


@dataclass(frozen=True, kw_only=True)
class KMeansConfig:
    """How centres are found.

    Raises:
        InvalidArgumentError: a value outside what is accepted.
    """

    k: int
    """Centres."""
    iterations: int = 20
    """Updates of the centres, at most. Of two levels: of each level."""
    init: Init = "sampled"
    """First centres: rows drawn without replacement, or k-means++ among a sample of the rows."""
    seed: int = 0
    """Of the rows that are drawn for the first centres."""
    spherical: bool = True
    """Rows and centres have length 1 (cosine); otherwise plain Euclidean."""
    tolerance: float = 0.0
    """Stop when an update lowers the inertia by less than this share. 0 = only when nothing changes any more."""
    levels: Literal[1, 2] = 1
    """2: parents first, then the children of each parent; for a hundred thousand centres and more."""
    parents: int | None = None
    """Of two levels; None = the whole number next to the square root of k."""
    refinements: int = 2
    """Of two levels: last updates of all children together."""
    nearest_parents: int = 8
    """Of two levels: among the children of how many parents a row looks for its centre in the last updates."""
    screening: Screening = "auto"
    """Products in bfloat16 rule centres out, float32 decides among the rest, so the centre found is the nearest.
    auto: where the CPU multiplies bfloat16 natively and the width is 128 and more. What was used is written down."""
    chunk_rows: int = 4096
    """Rows that are worked on at once; on every number of ranks the same ones, so that these decide no result."""
    memory_mb: int = 1024
    """Rows up to this size are kept in memory between iterations; more are read again. Decides no result."""

    def __post_init__(self) -> None:
        for name, least in (("k", 1), ("iterations", 1), ("refinements", 0), ("nearest_parents", 1)):
            _whole(name, getattr(self, name), least)
        for name, least in (("chunk_rows", 1), ("memory_mb", 0), ("seed", 0)):
            _whole(name, getattr(self, name), least)
        if not 0 <= self.tolerance < 1:
            raise InvalidArgumentError("tolerance", self.tolerance, "0 to below 1")
        for name, choices in (("init", get_args(Init)), ("screening", get_args(Screening)), ("levels", (1, 2))):
            if getattr(self, name) not in choices:
                raise InvalidArgumentError(name, getattr(self, name), f"one of {choices}")
        if self.parents is not None:
            _whole("parents", self.parents, 1)
            if self.levels == 1:
                raise InvalidArgumentError("parents", self.parents, "only levels=2 reads it; leave it out or add that")
            if self.parents > self.k:
                raise InvalidArgumentError("parents", self.parents, f"at most k={self.k}")

    @property
    def num_parents(self) -> int:
        """Centres of the first level of two."""
        return self.parents or max(1, round(self.k**0.5))

    def deciding(self) -> dict[str, Any]:
        """JSON-able: the options that decide the path of the centres, but not how far it is followed."""
        how_far = ("iterations", "tolerance", "memory_mb")
        return {name: value for name, value in asdict(self).items() if name not in how_far}


def _whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidArgumentError(name, value, f"a whole number of at least {least}")
