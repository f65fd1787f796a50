"""One norm of all gradients, of an encoder that every rank has and of banks that are spread over ranks; and clipping by
it, the same on every rank."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.pretrain.bank import ConceptBank
from onevision_encoder.pretrain.row_group import RowGroup
from onevision_encoder.pretrain.row_optimizer import touched_rows

_PIECE = 1 << 24


@torch.no_grad()
def clip_global_norm(
    encoder_params: Iterable[nn.Parameter],
    banks: Iterable[ConceptBank],
    max_norm: float,
    group: dist.ProcessGroup | None = None,
) -> Tensor:
    """Scale all gradients so that their common norm is at most ``max_norm``. All ranks call it together.

    Without it a shard would be clipped by its own norm, and classes would learn at rates that depend on who owns them.

    Args:
        encoder_params: gradients already averaged: whole ones count once, FSDP's parts (DTensor) are added up over
            their mesh.
        banks: shards are added up over ``group``, rows that several backward passes touched as one gradient.
        max_norm: ``inf`` only measures.
        group: ranks that share the banks. None: the default group where there is one.
    Returns:
        The norm before clipping, float64 scalar, the same on every rank. Where it is not finite nothing is scaled:
        look before the optimisers step.
    """
    if not max_norm > 0:
        raise InvalidArgumentError("max_norm", max_norm, "above 0")
    encoder = [p.grad for p in encoder_params if p.grad is not None]
    shards = [touched[1] for bank in banks if (touched := touched_rows(bank.rows)) is not None]
    device = _device(encoder + shards)
    in_banks = RowGroup.of(group).add_up(_square([*shards], device))
    norm = (in_banks + _square_of_encoder(encoder, device)).sqrt()
    # a NaN stays away from the gradients: min() of it is NaN, and where() picks 1
    factor = torch.where(norm.isfinite(), (max_norm / (norm + 1e-6)).clamp(max=1.0), 1.0)
    for grad in [*map(_local, encoder), *shards]:
        grad.mul_(factor.to(grad))
    return norm


def _device(grads: list[Tensor]) -> torch.device:
    return _local(grads[0]).device if grads else torch.device("cpu")


def _local(grad: Any) -> Tensor:
    """What this rank holds of a tensor. Only a DTensor has ``to_local``; its module is absent where torch has no
    ``distributed``."""
    held: Tensor = grad.to_local() if hasattr(grad, "to_local") else grad
    return held


def _square(grads: list[Tensor], device: torch.device) -> Tensor:
    """Sum of squares, float64: piece by piece, so that float32 adds up no more than 16 million at once."""
    total = torch.zeros((), dtype=torch.float64, device=device)
    for grad in grads:
        for piece in grad.reshape(-1).split(_PIECE):
            total += torch.linalg.vector_norm(piece).double().square()
    return total


def _square_of_encoder(grads: list[Tensor], device: torch.device) -> Tensor:
    """Whole gradients are the same on every rank; parts of DTensors are added up over the mesh dimensions they cut."""
    total = _square([grad for grad in grads if not hasattr(grad, "to_local")], device)
    parts: dict[Any, list[Any]] = {}
    cut: list[Any] = [grad for grad in grads if hasattr(grad, "to_local")]
    for grad in cut:
        parts.setdefault((grad.device_mesh, grad.placements), []).append(grad)
    for (mesh, placements), same in parts.items():
        square = _square([_local(grad) for grad in same], device)
        for dimension, placement in enumerate(placements):
            if placement.is_partial():
                raise InvalidArgumentError("encoder_params", placement, "gradients that are already averaged")
            if placement.is_shard():
                dist.all_reduce(square, group=mesh.get_group(dimension))
        total += square
    return total
