"""Which tokens of a pack may see each other: consecutive segments, one for each clip.

Axes: N tokens of the pack, S segments, B items of a dense batch, L tokens of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from onevision_encoder.errors import ShapeError


@dataclass(frozen=True)
class Run:
    """``count`` neighbouring segments of ``length`` tokens each, from row ``start`` on: one batched attention."""

    start: int
    count: int
    length: int

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + self.count * self.length)


@dataclass(frozen=True)
class Tile:
    """A piece of attention: ``count`` x ``queries`` rows from ``start`` see ``count`` x ``keys`` rows from ``seen``."""

    start: int
    count: int
    queries: int
    seen: int
    keys: int

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + self.count * self.queries)

    @property
    def seen_rows(self) -> slice:
        return slice(self.seen, self.seen + self.count * self.keys)


@dataclass(frozen=True, kw_only=True)
class Segments:
    """Block-diagonal structure of a pack, known on the host, so that no layer asks the device for it."""

    runs: tuple[Run, ...]

    @classmethod
    def dense(cls, batch: int, length: int) -> Segments:
        """B items of L tokens each."""
        return cls(runs=(Run(0, batch, length),))

    @classmethod
    def from_lengths(cls, lengths: Iterable[int]) -> Segments:
        """Neighbouring segments of these lengths, each at least 1."""
        runs: list[Run] = []
        start = 0
        for length in lengths:
            if runs and runs[-1].length == length:
                runs[-1] = replace(runs[-1], count=runs[-1].count + 1)
            else:
                runs.append(Run(start, 1, length))
            start += length
        return cls(runs=tuple(runs))

    @classmethod
    def from_cu_seqlens(
        cls, cu_seqlens: Tensor | Sequence[int] | None, num_tokens: int, name: str = "cu_seqlens"
    ) -> Segments:
        """Segments of a pack from their bounds.

        Args:
            cu_seqlens: S + 1 integers 0 ... N, strictly increasing; None = all tokens are one segment.
            num_tokens: N. name: of the argument, for the error.
        Raises:
            ShapeError: the bounds are not of that form.
        """
        if cu_seqlens is None:
            return cls.dense(1, num_tokens)
        allowed = f"1-D integers 0 ... {num_tokens} (the number of tokens), strictly increasing"
        if isinstance(cu_seqlens, (list, tuple)) and all(type(bound) is int for bound in cu_seqlens):
            ends = list(cu_seqlens)  # not by way of a tensor, whose values a compiled graph cannot read
        else:
            bounds = torch.as_tensor(cu_seqlens)
            if bounds.ndim != 1 or bounds.is_floating_point() or bounds.dtype == torch.bool:
                raise ShapeError(name, (tuple(bounds.shape), str(bounds.dtype)), allowed)
            ends = bounds.tolist()
        increasing = len(ends) > 1 and all(a < b for a, b in pairwise(ends))
        if not increasing or ends[0] != 0 or ends[-1] != num_tokens:
            if 0 in ends[1:]:  # a data loader has put the bounds of several calls end to end
                allowed += (
                    ". Here several packs were joined as if they were rows: give the processor a list of images or "
                    "videos in one call, or take batch_size=1 in a pipeline"
                )
            raise ShapeError(name, ends, allowed)
        return cls.from_lengths(stop - start for start, stop in pairwise(ends))

    @property
    def count(self) -> int:
        """S."""
        return sum(run.count for run in self.runs)

    @property
    def longest(self) -> int:
        return max(run.length for run in self.runs)

    def lengths(self) -> list[int]:
        return [run.length for run in self.runs for _ in range(run.count)]

    def bounds(self) -> list[int]:
        """S + 1 integers 0 ... N."""
        return [0, *accumulate(self.lengths())]

    def cu_seqlens(self, device: torch.device) -> Tensor:
        """int32 [S + 1] on the device, as variable-length attention kernels take it."""
        return torch.tensor(self.bounds(), dtype=torch.int32).to(device)

    def segment_N(self, device: torch.device) -> Tensor:
        """int64: the segment of each token."""
        lengths = torch.tensor(self.lengths(), device=device)
        return torch.repeat_interleave(torch.arange(len(lengths), device=device), lengths)

    def tiles(self, most: int) -> Iterator[Tile]:
        """Cut attention into pieces of at most ``most`` query rows: a long segment gives several, short ones share."""
        for run in self.runs:
            start, count, length = run.start, run.count, run.length
            if length > most:
                for segment in range(start, start + count * length, length):
                    for first in range(0, length, most):
                        yield Tile(segment + first, 1, min(most, length - first), segment, length)
            else:
                group = most // length
                for i in range(0, count, group):
                    at, n = start + i * length, min(group, count - i)
                    yield Tile(at, n, length, at, length)
