"""Processes of a run, and an encoder that is spread over them: alone, copied (DDP) or sharded (FSDP2).

Weights and everything that is kept of them are float32 in all of them; bfloat16 is what products compute in.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.model import OneVisionEncoderModel
from onevision_encoder.model.attention import attention_for_training
from onevision_encoder.pretrain.config import ParallelConfig
from onevision_encoder.pretrain.failures import RankLostError

T = TypeVar("T")

_LOST = ("connection", "gloo", "nccl", "timed out", "timeout", "socket", "peer", "process group")


@dataclass(frozen=True)
class Ranks:
    """This process among those of the run. ``joined``: torch.distributed is up, even if one is alone in it."""

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    joined: bool = False

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def agree(self, number: float) -> float:
        """The largest of all ranks' numbers, on all of them."""
        if self.world == 1:
            return number
        box = torch.tensor([number], dtype=torch.float64)
        dist.all_reduce(box, op=dist.ReduceOp.MAX)
        return float(box)

    def gather(self, value: T) -> list[T]:
        """The value of every rank, by rank, on all of them. Values travel as pickles, between these processes only."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def meet(self) -> None:
        """Wait for the others."""
        if self.world > 1:
            dist.barrier()

    def add_up(self, values: Tensor) -> Tensor:
        """Sum of a CPU tensor over ranks, in place."""
        if self.world > 1:
            dist.all_reduce(values)
        return values


@contextmanager
def processes(config: ParallelConfig, device: str = "auto") -> Iterator[Ranks]:
    """Join what torchrun started (``WORLD_SIZE`` above 1), or be alone.

    Args:
        device: auto (this rank's GPU if there is one), cpu, cuda, cuda:1 ...
    Raises:
        InvalidArgumentError: a device that is not there.
    """
    where = device_of(device)
    world = int(os.environ.get("WORLD_SIZE", "1"))
    mine = False
    if not dist.is_initialized() and (world > 1 or config.mode == "fsdp2"):
        backend = "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo"
        timeout = timedelta(seconds=config.timeout_seconds)
        if world > 1:
            dist.init_process_group(backend, timeout=timeout)
        else:
            store = dist.HashStore()  # type: ignore[attr-defined, unused-ignore]
            dist.init_process_group(backend, store=store, rank=0, world_size=1, timeout=timeout)
        mine = True
    try:
        if dist.is_initialized():
            yield Ranks(dist.get_rank(), dist.get_world_size(), where, joined=True)
        else:
            yield Ranks(device=where)
    finally:
        if mine and dist.get_world_size() == 1:  # several are taken apart as they exit: torch can lock up doing it
            dist.destroy_process_group()


def device_of(name: str) -> torch.device:
    """auto, or a device by name; a rank takes the GPU of its place. Raises InvalidArgumentError."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        where = torch.device(name)
    except RuntimeError as error:
        raise InvalidArgumentError("device", name, "auto, cpu, cuda, cuda:0 ...") from error
    if where.type == "cuda":
        if not torch.cuda.is_available():
            raise InvalidArgumentError("device", name, "cpu: no CUDA device is here")
        where = torch.device("cuda", local % torch.cuda.device_count()) if where.index is None else where
        torch.cuda.set_device(where)
    return where


@contextmanager
def named_losses(ranks: Ranks, step: int, hint: str) -> Iterator[None]:
    """Turn what a collective says when a process is gone into a RankLostError."""
    try:
        yield
    except RuntimeError as error:
        words = str(error).lower()
        if ranks.world == 1 or not any(part in words for part in _LOST):
            raise
        raise RankLostError(step, str(error).splitlines()[0], hint) from error


class SpreadEncoder:
    """An encoder on its device, spread as the configuration says.

    Attributes:
        model: the plain module, whose parameters an optimiser takes and checkpoints name; DTensors under FSDP2.
        sharded: under FSDP2.
    """

    def __init__(self, model: OneVisionEncoderModel, config: ParallelConfig, ranks: Ranks) -> None:
        self.ranks, self.config = ranks, config
        self.sharded = config.mode == "fsdp2"
        nn.Module.to(model, ranks.device)
        model.train()
        if config.attention != "auto":
            model.set_attn_implementation(config.attention)
        if config.activation_checkpointing:
            _keep_inputs_only(model)
        if config.compile:
            for layer in model.encoder.layers:
                layer.compile()
        self.model = model
        self._call: Callable[..., Any] = model
        if self.sharded:
            _shard(model, config)
        elif ranks.world > 1:
            devices = [ranks.device.index] if ranks.device.type == "cuda" else None
            self._call = nn.parallel.DistributedDataParallel(model, device_ids=devices, gradient_as_bucket_view=True)

    def embed(self, patches_ND: Tensor, positions_N3: Tensor, bounds: list[int]) -> Tensor:
        """float32 [S, C] embeddings of the pooling head, with a gradient. patches: normalised floats."""
        longest = max((high - low for low, high in pairwise(bounds)), default=0)
        self.model.config._attn_implementation = attention_for_training(
            self.config.attention,
            device=self.ranks.device,
            bfloat16=self.config.precision == "bfloat16",
            longest=longest,
        )
        with self._precision():
            output = self._call(patches_ND, patch_positions=positions_N3, cu_seqlens=bounds)
        pooled: Tensor = output.pooler_output
        return pooled.to(torch.float32)

    @contextmanager
    def micro_step(self, *, last: bool) -> Iterator[None]:
        """Around forward and backward of one micro-batch: gradients travel in the last one of a step only.

        DDP wants the forward pass inside too; FSDP2 is told beforehand.
        """
        if self.sharded:
            self.model.set_requires_gradient_sync(last)  # type: ignore[operator]
        quiet = not last and isinstance(self._call, nn.parallel.DistributedDataParallel)
        with self._call.no_sync() if quiet else nullcontext():  # type: ignore[attr-defined]
            yield

    def _precision(self) -> AbstractContextManager[Any]:
        low = self.config.precision == "bfloat16" and not self.sharded  # FSDP2 casts its parameters itself
        return torch.autocast(self.ranks.device.type, torch.bfloat16) if low else nullcontext()


def _keep_inputs_only(model: Any) -> None:
    # the old name warns in new versions of transformers, the new one is absent in old ones
    new = hasattr(model, "activation_checkpointing_enable")
    getattr(model, f"{'activation' if new else 'gradient'}_checkpointing_enable")()


def _shard(model: Any, config: ParallelConfig) -> None:
    """FSDP2: blocks and head by themselves, what is left as the root. The root stays float32 in bfloat16 runs too: it
    is small, and the model's outputs take its dtype."""
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    low = torch.bfloat16 if config.precision == "bfloat16" else None
    policy = MixedPrecisionPolicy(param_dtype=low, reduce_dtype=torch.float32, cast_forward_inputs=False)
    for block in [*model.encoder.layers, model.head]:
        fully_shard(block, mp_policy=policy)
    fully_shard(model, mp_policy=MixedPrecisionPolicy(reduce_dtype=torch.float32, cast_forward_inputs=False))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """For AdamW: matrices decay; norms, biases (all that has one axis) and the pooling head's probe do not."""
    decayed: list[nn.Parameter] = []
    exempt: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        free = parameter.ndim < 2 or name.endswith("head.probe")
        (exempt if free else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": exempt, "weight_decay": 0.0}]
