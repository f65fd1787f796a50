"""What looks at all rows give: sums, sizes and errors of the clusters, to the bit the same in any order.

Axes: k centres, D width, B rows of a chunk.

Numbers are added as whole multiples of a power of two in int64, which is exact: however the rows are divided among
chunks and ranks, the sums have the same bits. The unit is chosen so that n rows of the greatest length cannot overflow;
for a million rows of length 1 it is 2^-42, below float32's own resolution. Being exact, the sums of one look become
those of the next by moving only the rows that changed their cluster. Errors follow from the sums: the squared distances
of the rows of a cluster to its centre c add up to (sum of |x|^2) - 2 c . (sum of x) + size |c|^2, in float64.
"""

from __future__ import annotations

import math

import torch
import torch.distributed as dist
from torch import Tensor

from onevision_encoder.evaluate.distributed import Team

_BITS = 62


class ClusterSums:
    """Sums over the rows of every cluster, of all ranks after :meth:`reduce`.

    Attributes:
        labels: first row of a chunk of this rank -> int64 [B], the cluster of each row at the last look.
        size_k: int64. error_k: float64, sum of squared distances to the centre.
    """

    def __init__(self, k: int, width: int, rows: int, longest: float) -> None:
        self.bits = _BITS - math.ceil(math.log2(rows * max(longest, 1e-30)))
        self.square_bits = _BITS - math.ceil(math.log2(1.01 * rows * max(longest, 1e-30) ** 2))
        self.labels: dict[int, Tensor] = {}
        self._own_kD = torch.zeros(k, width, dtype=torch.int64)
        self._own_square_k = torch.zeros(k, dtype=torch.int64)
        self._all_kD = self._own_kD
        self.begin()

    def begin(self) -> None:
        """Start a look."""
        self.size_k = torch.zeros(len(self._own_kD), dtype=torch.int64)
        self.error_k = torch.zeros(len(self._own_kD), dtype=torch.float64)

    def add(self, start: int, x_BD: Tensor, label_B: Tensor) -> None:
        """Count rows ``start`` ... to the clusters that they were given."""
        before_B = self.labels.get(start)
        if before_B is None:
            self._move(x_BD, None, label_B)
        else:
            moved = torch.nonzero(label_B != before_B)[:, 0]
            self._move(x_BD[moved], before_B[moved], label_B[moved])
        self.labels[start] = label_B
        self.size_k += torch.bincount(label_B, minlength=len(self.size_k))

    def _move(self, x_BD: Tensor, before_B: Tensor | None, label_B: Tensor) -> None:
        whole = torch.empty(x_BD.shape, dtype=torch.int64).copy_((x_BD * 2.0**self.bits).round_())
        square_B = torch.linalg.vector_norm(x_BD, dim=1, dtype=torch.float64).square_()
        whole_square = (square_B * 2.0**self.square_bits).round_().to(torch.int64)
        self._own_kD.index_add_(0, label_B, whole)
        self._own_square_k.index_add_(0, label_B, whole_square)
        if before_B is not None:
            self._own_kD.index_add_(0, before_B, whole.neg_())
            self._own_square_k.index_add_(0, before_B, whole_square.neg_())

    def reduce(self, team: Team, centres_kD: Tensor) -> None:
        """End a look with these centres: add what the other ranks have found."""
        square_k = self._own_square_k
        if team.world > 1:
            self._all_kD, square_k = self._own_kD.clone(), square_k.clone()
            for tensor in (self._all_kD, self.size_k, square_k):
                dist.all_reduce(tensor)
        for i in range(0, len(centres_kD), 4096):
            part = slice(i, i + 4096)
            c_kD = centres_kD[part].double()
            across_k = (c_kD * self.sum(part)).sum(1)
            error_k = square_k[part].double() * 2.0**-self.square_bits - 2 * across_k
            self.error_k[part] = error_k.add_(self.size_k[part] * c_kD.square_().sum(1)).clamp_(min=0)

    @property
    def inertia(self) -> float:
        """Sum of squared distances of all rows to their centres."""
        return math.fsum(self.error_k.tolist())

    def sum(self, part: slice) -> Tensor:
        """Float64 [k, D]: sums of some clusters."""
        return self._all_kD[part].double() * 2.0**-self.bits

    def means(self, centres_kD: Tensor, *, spherical: bool) -> Tensor:
        """Float32 [k, D]: mean of each cluster, of length 1 if ``spherical``; an empty one keeps its centre."""
        new_kD = centres_kD.clone()
        for i in range(0, len(new_kD), 4096):
            size_k = self.size_k[i : i + 4096]
            mean_kD = self.sum(slice(i, i + 4096)) / size_k.clamp(min=1)[:, None]
            keep_k = size_k > 0
            if spherical:
                length_k = torch.linalg.vector_norm(mean_kD, dim=1)
                keep_k &= length_k > 1e-9  # rows that cancel out have no mean direction
                mean_kD /= length_k.clamp(min=1e-30)[:, None]
            new_kD[i : i + 4096][keep_k] = mean_kD[keep_k].float()
        return new_kD
