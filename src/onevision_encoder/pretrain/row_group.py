"""The ranks that share a bank, and what they send each other. Alone, nothing is sent.

Axes: B rows that a rank brings (unequal numbers, none is fine), N rows of all ranks by rank, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from onevision_encoder.errors import InvalidArgumentError


@dataclass(frozen=True)
class RowGroup:
    """Rank and number of ranks within a process group; ``group`` None is torch's default one where ``world`` > 1."""

    rank: int = 0
    world: int = 1
    group: dist.ProcessGroup | None = None

    @classmethod
    def of(cls, group: dist.ProcessGroup | None) -> RowGroup:
        """A process group; None: the default one where ``torch.distributed`` is initialised, else alone.

        Raises:
            InvalidArgumentError: a group that this process is not in.
        """
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        rank = dist.get_rank(group)
        if rank < 0:
            raise InvalidArgumentError("group", group, "a process group that this process is in")
        return cls(rank, dist.get_world_size(group), group)

    def exchange(self, numbers: Sequence[int], device: torch.device) -> list[list[int]]:
        """The numbers of every rank, by rank."""
        if self.world == 1:
            return [list(numbers)]
        mine = torch.tensor(numbers, dtype=torch.int64, device=device)
        all_ = [torch.empty_like(mine) for _ in range(self.world)]
        dist.all_gather(all_, mine, group=self.group)
        return [[int(n) for n in row] for row in torch.stack(all_).tolist()]

    def gather(self, x_BD: Tensor, sizes: Sequence[int]) -> Tensor:
        """Rows of all ranks [N, D], in order of rank. ``sizes``: how many each brings."""
        if self.world == 1:
            return x_BD
        most = max(sizes)
        padded = x_BD.new_zeros(most, *x_BD.shape[1:])  # collectives want equal shapes
        padded[: len(x_BD)] = x_BD
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, group=self.group)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def add_up(self, x: Tensor) -> Tensor:
        """Sum over ranks, in place."""
        if self.world > 1:
            dist.all_reduce(x, op=dist.ReduceOp.SUM, group=self.group)
        return x

    def highest(self, x: Tensor) -> Tensor:
        """Maximum over ranks, in place."""
        if self.world > 1:
            dist.all_reduce(x, op=dist.ReduceOp.MAX, group=self.group)
        return x

    def collect(self, x_BD: Tensor, sizes: Sequence[int]) -> Tensor | None:
        """Rows of all ranks on the CPU of rank 0, None elsewhere; one shard travels at a time."""
        if self.world == 1:
            return x_BD.cpu().clone()
        if self.rank > 0:
            if len(x_BD):
                dist.send(x_BD.contiguous(), self._global(0), group=self.group)
            return None
        whole = torch.empty(sum(sizes), *x_BD.shape[1:], dtype=x_BD.dtype)
        whole[: sizes[0]] = x_BD.cpu()
        start = sizes[0]
        for rank in range(1, self.world):
            if sizes[rank]:
                part = torch.empty(sizes[rank], *x_BD.shape[1:], dtype=x_BD.dtype, device=x_BD.device)
                dist.recv(part, self._global(rank), group=self.group)
                whole[start : start + sizes[rank]] = part.cpu()
            start += sizes[rank]
        return whole

    def _global(self, rank: int) -> int:
        return rank if self.group is None else dist.get_global_rank(self.group, rank)
