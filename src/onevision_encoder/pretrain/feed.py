"""Batches for the encoder: drawn from a stream, timed, moved to the device, their labels sorted by bank.

Axes: N tokens, S samples, P labels of a sample, D numbers of a patch, 3 = (t, h, w).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from onevision_encoder.checks import require
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.model.embed import normalize_patches
from onevision_encoder.pretrain.config import PretrainConfig
from onevision_encoder.pretrain.parallel import Ranks
from onevision_encoder.types import PatchTokens


class Batch(Protocol):
    """What a stream gives: see ``stream.TrainingBatch``."""

    @property
    def tokens(self) -> PatchTokens: ...

    @property
    def labels(self) -> Mapping[str, Any]: ...

    @property
    def modes(self) -> Sequence[str]: ...

    @property
    def ids(self) -> Sequence[str]: ...


class Stream(Protocol):
    """Batches without end, whose position can be taken down as JSON and gone back to."""

    def __next__(self) -> Batch: ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


StreamMaker = Callable[[PretrainConfig, Ranks, int], Stream]
"""(configuration, ranks, side of pictures in pixels) -> a stream at its first batch."""


@dataclass(frozen=True, kw_only=True)
class DeviceBatch:
    """A micro-batch on the device.

    Attributes:
        patches_ND: float32, normalised. positions_N3: float32, what RoPE sees. bounds: S + 1 of the samples.
        labels: bank -> int64 [S, P] on the device, -1 = none.
    """

    patches_ND: Tensor
    positions_N3: Tensor
    bounds: list[int]
    labels: Mapping[str, Tensor]
    modes: tuple[str, ...]
    ids: tuple[str, ...]

    @property
    def lengths(self) -> list[int]:
        return [b - a for a, b in zip(self.bounds, self.bounds[1:], strict=False)]


class Feed:
    """The stream of a run, made anew where pictures grow; its position goes on."""

    def __init__(self, config: PretrainConfig, ranks: Ranks, make: StreamMaker) -> None:
        self.config, self.ranks, self.make = config, ranks, make
        self.size: int | None = None
        self.seconds = 0.0
        """Spent waiting for data so far."""
        self._stream: Stream | None = None
        self._position: Mapping[str, Any] | None = None

    def next(self, step: int) -> DeviceBatch:
        """The next micro-batch of a step."""
        started = time.perf_counter()
        batch = next(self._at(step))
        self.seconds += time.perf_counter() - started
        return to_device(batch, self.config.banks, self.ranks.device)

    def state_dict(self) -> dict[str, Any]:
        """JSON-able: the position after what was drawn."""
        if self._stream is None:
            return {"stream": None if self._position is None else dict(self._position)}
        return {"stream": self._stream.state_dict()}

    def load_state_dict(self, states: Sequence[Mapping[str, Any]]) -> None:
        """Go to the position that ranks wrote down; another number of ranks starts from the first one's."""
        mine = states[self.ranks.rank] if len(states) == self.ranks.world else states[0]
        self._position, self._stream, self.size = mine["stream"], None, None

    def close(self) -> None:
        """Let go of threads and files."""
        close = getattr(self._stream, "close", None)
        if close is not None:
            close()

    def _at(self, step: int) -> Stream:
        size = self.config.data.image_size(step, self.config.steps)
        if self._stream is None or size != self.size:
            if self._stream is not None:
                self._position = self._stream.state_dict()
                self.close()
            self._stream, self.size = self.make(self.config, self.ranks, size), size
            if self._position is not None:
                self._stream.load_state_dict(self._position)
        return self._stream


def to_device(batch: Batch, banks: Iterable[str], device: torch.device) -> DeviceBatch:
    """Normalise on the device; banks without a label in the batch get rows of -1, so that all ranks ask all banks.

    Raises:
        InvalidArgumentError: labels of a bank that this run does not have. ShapeError: labels that are not [S, P].
    """
    tokens, S = batch.tokens, len(batch.tokens.clips)
    if foreign := sorted(set(batch.labels) - set(banks)):
        raise InvalidArgumentError("labels", foreign, f"labels of the banks of this run: {', '.join(banks)}")
    labels = {}
    for bank in banks:
        found = np.asarray(batch.labels.get(bank, np.full((S, 1), -1)), dtype=np.int64)
        require(found.ndim == 2 and len(found) == S, f"labels of {bank}", found.shape, f"[{S}, P]")
        labels[bank] = _moved(torch.tensor(found), device)
    patches = _moved(torch.tensor(tokens.patches_ND), device)  # copies: the arrays are read-only
    return DeviceBatch(
        patches_ND=normalize_patches(patches),
        positions_N3=_moved(torch.tensor(tokens.model_positions_N3), device),
        bounds=[int(bound) for bound in tokens.cu_seqlens],
        labels=labels,
        modes=tuple(batch.modes),
        ids=tuple(batch.ids),
    )


def _moved(x: Tensor, device: torch.device) -> Tensor:
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x
