"""What one look at all rows gives: sums, sizes and errors of the clusters, to the bit the same in any order.

Axes: k centres, D width, B rows of a chunk.

Numbers are added as whole multiples of a power of two in int64, which is exact: however the rows are divided among
chunks and ranks, the sums have the same bits. The unit is chosen so that n rows of the greatest length cannot overflow;
for a million rows of length 1 it is 2^-42, below float32's own resolution.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from onevision_encoder.evaluate.distributed import Team

_BITS = 62


class ClusterSums:
    """Sums over the rows of every cluster.

    Attributes:
        sum_kD: int64 in units of 2^-bits. size_k: int64. error_k: int64, squared distances in units of 2^-error_bits.
        far_k, far_row_k: the row furthest from its centre (float32 squared distance; int64, -1 of an empty cluster).
    """

    def __init__(self, k: int, width: int, rows: int, longest: float) -> None:
        self.bits = _BITS - math.ceil(math.log2(rows * max(longest, 1e-30)))
        self.error_bits = _BITS - math.ceil(math.log2(4.04 * rows * max(longest, 1e-30) ** 2))
        self.sum_kD = torch.zeros(k, width, dtype=torch.int64)
        self.size_k = torch.zeros(k, dtype=torch.int64)
        self.error_k = torch.zeros(k, dtype=torch.int64)
        self.far_k = np.full(k, -1.0, np.float32)
        self.far_row_k = np.full(k, -1, np.int64)

    def add(self, start: int, x_BD: Tensor, label_B: Tensor, centres_kD: Tensor) -> None:
        """Count rows ``start`` ... to the centres that they were given."""
        whole_BD = torch.empty(x_BD.shape, dtype=torch.int64)
        self.sum_kD.index_add_(0, label_B, whole_BD.copy_((x_BD * 2.0**self.bits).round_()))
        self.size_k += torch.bincount(label_B, minlength=len(self.size_k))
        apart_B = (x_BD - centres_kD[label_B]).square_().sum(1)
        whole_B = (apart_B.double() * 2.0**self.error_bits).round_().to(torch.int64)
        self.error_k.index_add_(0, label_B, whole_B)
        self._note_furthest(start, label_B.numpy(), apart_B.numpy())

    def _note_furthest(self, start: int, label_B: NDArray[np.int64], apart_B: NDArray[np.float32]) -> None:
        order = np.lexsort((-apart_B, label_B))  # stable: of equal ones the first row
        at = order[np.r_[True, label_B[order][1:] != label_B[order][:-1]]]
        at = at[apart_B[at] > self.far_k[label_B[at]]]
        self.far_k[label_B[at]] = apart_B[at]
        self.far_row_k[label_B[at]] = start + at

    def reduce(self, team: Team) -> None:
        """Add what the other ranks have found."""
        if team.world == 1:
            return
        for tensor in (self.sum_kD, self.size_k, self.error_k):
            dist.all_reduce(tensor)
        for far_k, row_k in team.gather((self.far_k, self.far_row_k)):
            nearer_row = (far_k == self.far_k) & (row_k >= 0) & (row_k < self.far_row_k)
            better = (far_k > self.far_k) | nearer_row
            self.far_k[better], self.far_row_k[better] = far_k[better], row_k[better]

    @property
    def inertia(self) -> float:
        """Sum of squared distances of all rows to their centres."""
        return math.fsum((self.error_k.double() * 2.0**-self.error_bits).tolist())

    def means(self, centres_kD: Tensor, *, spherical: bool) -> Tensor:
        """Float32 [k, D]: mean of each cluster, of length 1 if ``spherical``; an empty one keeps its centre."""
        new_kD = centres_kD.clone()
        for i in range(0, len(new_kD), 4096):
            size_k = self.size_k[i : i + 4096]
            mean_kD = self.sum_kD[i : i + 4096].double() * 2.0**-self.bits / size_k.clamp(min=1)[:, None]
            keep_k = size_k > 0
            if spherical:
                length_k = torch.linalg.vector_norm(mean_kD, dim=1)
                keep_k &= length_k > 1e-9  # rows that cancel out have no mean direction
                mean_kD /= length_k.clamp(min=1e-30)[:, None]
            new_kD[i : i + 4096][keep_k] = mean_kD[keep_k].float()
        return new_kD

    def repairs(self, group_k: NDArray[np.int64] | None = None) -> dict[int, int]:
        """Empty cluster -> the row to put its centre on: the furthest row of a cluster with an error above the mean,
        the greatest error first.

        Each cluster gives one row a time; one without error, all of whose rows are the same, gives none.

        Args:
            group_k: only clusters of its own group give to an empty one.
        """
        empty = torch.nonzero(self.size_k == 0)[:, 0].tolist()
        if not empty:
            return {}
        group_k = np.zeros(len(self.size_k), np.int64) if group_k is None else group_k
        size_k, error_k = self.size_k.numpy(), self.error_k.numpy()
        mean_g = np.bincount(group_k, weights=error_k) / np.maximum(
            np.bincount(group_k[size_k > 0], minlength=group_k.max() + 1), 1
        )
        giving = np.flatnonzero((self.far_k > 0) & (size_k > 1) & (error_k >= 0.999 * mean_g[group_k]))
        giving = giving[np.argsort(-error_k[giving], kind="stable")]
        donors: dict[int, list[int]] = {}
        for donor in giving[::-1].tolist():
            donors.setdefault(int(group_k[donor]), []).append(donor)
        found = {}
        for cluster in empty:
            left = donors.get(int(group_k[cluster]))
            if left:
                found[cluster] = int(self.far_row_k[left.pop()])
        return found
