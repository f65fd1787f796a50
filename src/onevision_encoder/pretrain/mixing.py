"""Which sample stands at which position of a run: a pure function of the seed and the position.

Positions 0, 1, 2 ... are counted over all ranks. Each draws its corpus by probability, and takes the next sample of
that corpus. A corpus is read in epochs: its shards in random order, ``window`` of them at a time, and the samples of a
window in random order, so that no more than a window of shards is open and yet neighbours are far apart.

Axes: S shards of a corpus, G windows, C corpora.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.pretrain.counter_random import permutation, uniform

_BLOCK = 4096


class EpochOrder:
    """The order in which the samples of one corpus come, epoch by epoch.

    Args:
        sizes_S: samples of each shard. window: shards that are shuffled together. name: tells corpora apart.
    """

    def __init__(self, sizes_S: NDArray[np.int64], *, window: int, seed: int, name: str) -> None:
        if window < 1:
            raise InvalidArgumentError("window", window, "at least 1 shard")
        self.sizes_S, self.window, self.seed, self.name = sizes_S, window, seed, name
        self.samples = int(sizes_S.sum())
        self._epoch: tuple[int, NDArray[np.int64], NDArray[np.int64]] | None = None
        self._window: tuple[int, int, NDArray[np.int64], NDArray[np.int64]] | None = None

    def place(self, visit: int) -> tuple[int, int, int]:
        """(epoch, shard, row in the shard) of the ``visit``-th sample that is taken of the corpus."""
        epoch, index = divmod(visit, self.samples)
        shards_S, ends_G = self._shards(epoch)
        group = int(np.searchsorted(ends_G, index, side="right"))
        begin = int(ends_G[group - 1]) if group else 0
        shard_n, row_n = self._rows(epoch, group, shards_S)
        return epoch, int(shard_n[index - begin]), int(row_n[index - begin])

    def _shards(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(shards in the order of the epoch, samples up to the end of each window)."""
        if self._epoch is None or self._epoch[0] != epoch:
            shards_S = permutation(self.seed, f"shards/{self.name}", epoch, len(self.sizes_S))
            sizes_G = np.add.reduceat(self.sizes_S[shards_S], np.arange(0, len(shards_S), self.window))
            self._epoch = (epoch, shards_S, np.cumsum(sizes_G))
        return self._epoch[1], self._epoch[2]

    def _rows(self, epoch: int, group: int, shards_S: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Shard and row of every sample of a window, in its order."""
        if self._window is None or self._window[:2] != (epoch, group):
            mine = shards_S[group * self.window : (group + 1) * self.window]
            sizes = self.sizes_S[mine]
            shard_n = np.repeat(mine, sizes)
            row_n = np.concatenate([np.arange(size) for size in sizes])
            order = permutation(self.seed, f"window/{self.name}/{epoch}", group, len(shard_n))
            self._window = (epoch, group, shard_n[order], row_n[order])
        return self._window[2], self._window[3]


class Draws:
    """A choice among weighted things at every position, drawn in blocks.

    Raises:
        InvalidArgumentError: weights that are no probabilities.
    """

    def __init__(self, weights: Sequence[float], *, seed: int, purpose: str) -> None:
        weights_C = np.asarray(weights, np.float64)
        if not len(weights_C) or not np.isfinite(weights_C).all() or (weights_C < 0).any() or weights_C.sum() <= 0:
            raise InvalidArgumentError(purpose, list(weights), "probabilities of at least 0, one of them above 0")
        self._edges_C = np.cumsum(weights_C / weights_C.sum())
        self._edges_C[np.flatnonzero(weights_C)[-1] :] = 1.0  # a rounded sum must not leave a gap
        self._seed, self._purpose = seed, purpose
        self._blocks: dict[int, NDArray[np.int64]] = {}

    def at(self, begin: int, end: int) -> NDArray[np.int64]:
        """Choices at positions ``begin`` to ``end``, int64 [end - begin]."""
        blocks = [self._block(number) for number in range(begin // _BLOCK, -(-end // _BLOCK))]
        if not blocks:
            return np.zeros(0, np.int64)
        first = begin // _BLOCK * _BLOCK
        return np.concatenate(blocks)[begin - first : end - first]

    def _block(self, number: int) -> NDArray[np.int64]:
        if number not in self._blocks:
            if len(self._blocks) > 64:
                self._blocks.pop(next(iter(self._blocks)))
            draws = uniform(self._seed, self._purpose, number, _BLOCK)
            self._blocks[number] = np.searchsorted(self._edges_C, draws, side="right")
        return self._blocks[number]
