"""Rows of features in fixed chunks, ready for clustering: checked once, of length 1 where that is asked for.

Axes: n rows, B rows of a chunk, D width.

Chunks start at multiples of ``chunk_rows`` whatever the number of ranks, and a rank owns whole chunks: so every rank
multiplies the same matrices as one process would.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onevision_encoder.checks import counted
from onevision_encoder.evaluate.distributed import Team
from onevision_encoder.pretrain.feature_store import FeatureStore, FeatureStoreError

LONGEST = 1e12
"""Rows of plain k-means may be this long: squares of distances must stay finite in float32."""


@dataclass
class Rows:
    """Rows of a store or of a tensor in memory.

    Attributes:
        source: a FeatureStore, or float32 [n, D] that is prepared already.
        memory_bytes: chunks up to this size are kept once they were read.
    """

    source: FeatureStore | Tensor
    spherical: bool
    chunk_rows: int
    memory_bytes: int = 0
    _kept: dict[int, Tensor] = field(default_factory=dict)
    _kept_bytes: int = 0

    @property
    def count(self) -> int:
        return len(self.source) if isinstance(self.source, Tensor) else self.source.rows

    @property
    def width(self) -> int:
        return self.source.shape[1] if isinstance(self.source, Tensor) else self.source.width

    @property
    def num_chunks(self) -> int:
        return -(-self.count // self.chunk_rows)

    def chunk(self, i: int) -> Tensor:
        """Float32 [B, D] of chunk ``i``."""
        start, stop = i * self.chunk_rows, min((i + 1) * self.chunk_rows, self.count)
        if isinstance(self.source, Tensor):
            return self.source[start:stop]
        if i in self._kept:
            return self._kept[i]
        x_BD = torch.from_numpy(self.source.read(start, stop))
        if self.spherical:
            x_BD = x_BD / lengths(x_BD)[:, None].to(torch.float32)
        if self._kept_bytes + x_BD.nbytes <= self.memory_bytes:
            self._kept[i] = x_BD
            self._kept_bytes += x_BD.nbytes
        return x_BD

    def owned(self, team: Team) -> range:
        """Chunks of this rank: a contiguous stretch, so that a disk is read in order."""
        return range(self.num_chunks * team.rank // team.world, self.num_chunks * (team.rank + 1) // team.world)

    def each(self, team: Team) -> Iterator[tuple[int, Tensor]]:
        """(first row, float32 [B, D]) of the chunks of this rank."""
        for i in self.owned(team):
            yield i * self.chunk_rows, self.chunk(i)

    def take(self, rows_m: NDArray[np.int64]) -> Tensor:
        """Float32 [m, D]: these rows, in the order given. Only chunks that hold one are read."""
        out_mD = torch.empty(len(rows_m), self.width)
        if not len(rows_m):
            return out_mD
        order = np.argsort(rows_m, kind="stable")
        chunk_m = rows_m[order] // self.chunk_rows
        starts = np.flatnonzero(np.r_[True, chunk_m[1:] != chunk_m[:-1]])
        for first, last in zip(starts, np.r_[starts[1:], len(rows_m)], strict=True):
            at = order[first:last]
            i = int(chunk_m[first])
            out_mD[torch.from_numpy(at)] = self.chunk(i)[torch.from_numpy(rows_m[at] - i * self.chunk_rows)]
        return out_mD


def lengths(x_BD: Tensor) -> Tensor:
    """Float64 [B]."""
    length_B: Tensor = torch.linalg.vector_norm(x_BD, dim=1, dtype=torch.float64)
    return length_B


def check_rows(rows: Rows, team: Team) -> float:
    """Look at every row once; returns the greatest length of a row (1 where rows are made so).

    Raises:
        FeatureStoreError: rows that are not finite, too long, or without direction where that is what counts. On
            every rank, with the same words.
    """
    store = rows.source
    assert isinstance(store, FeatureStore)
    greatest, bad, cause = 0.0, [], ""
    for i in rows.owned(team):
        start = i * rows.chunk_rows
        x_BD = torch.from_numpy(store.read(start, min(start + rows.chunk_rows, rows.count)))
        length_B = lengths(x_BD)
        wrong_B = ~torch.isfinite(length_B)
        words = "values that are not finite"
        if not wrong_B.any():
            wrong_B = length_B == 0 if rows.spherical else length_B > LONGEST
            words = "nothing but zeros, which have no direction" if rows.spherical else f"lengths above {LONGEST:g}"
        if wrong_B.any():
            bad += (start + torch.nonzero(wrong_B)[:, 0]).tolist()
            cause = cause or words
        greatest = max(greatest, float(length_B.max()))
    said = team.gather((bad, cause, greatest))
    listed = [row for part, _, _ in said for row in part]
    if listed:
        raise FeatureStoreError(_complaint(store, listed, next(words for _, words, _ in said if words)))
    return 1.0 if rows.spherical else max(length for _, _, length in said)


def _complaint(store: FeatureStore, listed: Sequence[int], cause: str) -> str:
    ids = store.ids()
    named = ", ".join(f"{row} ({ids[row]})" if ids[row] != str(row) else str(row) for row in listed[:5])
    more = f" and {len(listed) - 5} more" if len(listed) > 5 else ""
    return f"{store.path}: {counted(len(listed), 'row')} of {store.rows} cannot be clustered: {cause}: {named}{more}"
