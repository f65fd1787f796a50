"""Several processes under torchrun, or one: who does what, and how the results come back whole.

Work is given out by place in a fixed order, so that every item has exactly one owner however uneven the shares, and
what is gathered is put back in that order. Traffic goes over gloo: it is exact, and the same on CPU and GPU machines.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from onevision_encoder.errors import OneVisionError

T = TypeVar("T")


class IncompleteEvaluationError(OneVisionError):
    """Results that were gathered lack an id or hold one twice: a figure made of them would be wrong."""


@dataclass(frozen=True)
class Team:
    """The processes of a run. ``world`` 1 = alone; nothing is then sent anywhere."""

    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def mine(self, items: Sequence[T]) -> list[T]:
        """This process's share: every ``world``-th item, so that shares differ by one item at most."""
        return list(items[self.rank :: self.world])

    def gather(self, value: T) -> list[T]:
        """The value of every process, by rank, on every process."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def send_from(self, owner: int, value: T | None) -> T:
        """The owner's value on every process."""
        box = [value]
        if self.world > 1:
            dist.broadcast_object_list(box, src=owner)
        return box[0]  # type: ignore[return-value]

    def gather_rows(self, rows: Mapping[str, NDArray[Any]], ids: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Rows of all processes by id, in sorted order of ids, on every process.

        Args:
            rows: what this process has computed. ids: all that must come together.
        Raises:
            IncompleteEvaluationError: an id is missing, is there twice, or was never asked for.
        """
        parts = self.gather(dict(rows))
        seen = [name for part in parts for name in part]
        twice = sorted({name for name in seen if seen.count(name) > 1}) if len(seen) != len(set(seen)) else []
        missing, foreign = sorted(set(ids) - set(seen)), sorted(set(seen) - set(ids))
        if twice or missing or foreign or len(set(ids)) != len(ids):
            raise IncompleteEvaluationError(
                f"predictions of {len(ids)} ids: {len(missing)} missing {missing[:5]}, {len(twice)} twice {twice[:5]}, "
                f"{len(foreign)} unknown {foreign[:5]}"
            )
        whole = {name: row for part in parts for name, row in part.items()}
        return {name: whole[name] for name in sorted(whole)}

    def gather_tensor(self, x: torch.Tensor, lengths: Sequence[int]) -> list[torch.Tensor]:
        """Float32 CPU tensors [lengths[r], C] of every rank r, on every process; no padding is sent."""
        if self.world == 1:
            return [x]
        parts = []
        for owner, length in enumerate(lengths):
            part = x.contiguous() if owner == self.rank else torch.empty((length, x.shape[1]), dtype=torch.float32)
            if length:
                dist.broadcast(part, src=owner)
            parts.append(part)
        return parts


def team() -> Team:
    """The processes that are joined now."""
    if dist.is_available() and dist.is_initialized():
        return Team(dist.get_rank(), dist.get_world_size())
    return Team()


@contextmanager
def joined() -> Iterator[Team]:
    """Join the processes that torchrun started (``WORLD_SIZE`` above 1), and part from them afterwards."""
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1 or dist.is_initialized():
        yield team()
        return
    dist.init_process_group("gloo")
    try:
        yield team()
    finally:
        dist.destroy_process_group()


def sorted_rows(rows: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """Rows stacked in sorted order of their ids."""
    return np.stack([rows[name] for name in sorted(rows)])
