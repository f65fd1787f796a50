"""The nearest centres of every row among the children of its nearest parents.

Axes: B rows of a chunk, k centres, j parents, D width, P found.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

BLOCK_BYTES = 64 << 20
"""Scores of a block of rows and all parents take no more."""


class TreeSearch:
    """Centres of two levels, prepared for many chunks.

    Args:
        near: how many parents are looked into; all of them make the search exact.
    """

    def __init__(
        self, centres_kD: Tensor, parents_jD: Tensor, child_bounds: Tensor, *, near: int, spherical: bool
    ) -> None:
        self.centres_kD, self.parents_jD = centres_kD.contiguous(), parents_jD.contiguous()
        self.bounds = child_bounds.tolist()
        self.near = min(near, len(parents_jD))
        self.half_k = None if spherical else centres_kD.square().sum(1) / 2
        self.half_j = None if spherical else parents_jD.square().sum(1) / 2

    def find(self, x_BD: Tensor) -> Tensor:
        """Int64 [B]: the nearest of them."""
        return self.top(x_BD, 1)[0][:, 0]

    def top(self, x_BD: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Int64 [B, P] and float32 [B, P]: the best centres, best first (of equal scores the first centre), and their
        scores, x . c - |c|^2 / 2 where lengths are not 1. Label -1 and score -inf where the parents have too few
        children."""
        label_BP = np.full((len(x_BD), count), -1, np.int64)
        score_BP = np.full((len(x_BD), count), -np.inf, np.float32)
        for parent, row in self._visits(x_BD):
            first, last = self.bounds[parent], self.bounds[parent + 1]
            score_bc = x_BD[torch.from_numpy(row)] @ self.centres_kD[first:last].T
            if self.half_k is not None:
                score_bc -= self.half_k[first:last]
            keep = min(count, last - first)
            if count == 1:
                at_bc = score_bc.numpy().argmax(1)[:, None]
            else:
                at_bc = score_bc.topk(keep, 1).indices.numpy()
            new = np.take_along_axis(score_bc.numpy(), at_bc, 1)
            score_BP[row], label_BP[row] = _merged(score_BP[row], label_BP[row], new, at_bc + first)
        return torch.from_numpy(label_BP), torch.from_numpy(score_BP)

    def _visits(self, x_BD: Tensor) -> list[tuple[int, NDArray[np.int64]]]:
        """(parent, rows that look into it), in the order of parents."""
        near = []
        step = max(1, BLOCK_BYTES // (4 * len(self.parents_jD)))
        for i in range(0, len(x_BD), step):
            score_Bj = x_BD[i : i + step] @ self.parents_jD.T
            if self.half_j is not None:
                score_Bj -= self.half_j
            near.append(score_Bj.topk(self.near, 1).indices)
        flat = torch.cat(near).numpy().ravel()
        order = np.argsort(flat, kind="stable")
        starts = np.flatnonzero(np.r_[True, flat[order][1:] != flat[order][:-1]])
        parts = np.split(order // self.near, starts[1:])
        return [(int(flat[order[start]]), rows) for start, rows in zip(starts, parts, strict=True)]


def _merged(
    score: NDArray[np.float32], label: NDArray[np.int64], new_score: NDArray[np.float32], new_label: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The best of two lists for each row; of equal scores the lower label."""
    count = score.shape[1]
    if count == 1:
        better = (new_score > score) | ((new_score == score) & (new_label < label))
        return np.where(better, new_score, score), np.where(better, new_label, label)
    both, labels = np.concatenate([score, new_score], 1), np.concatenate([label, new_label], 1)
    order = np.lexsort((labels, -both), axis=1)[:, :count]
    return np.take_along_axis(both, order, 1), np.take_along_axis(labels, order, 1)
