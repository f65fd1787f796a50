"""AdamW for rows of which a step touches some: what is not touched neither moves nor decays, and its state rests.

Axes: L rows of this rank, T touched ones, K rows of a chunk, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, overload

import torch
from torch import Tensor, nn

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.pretrain.bank import ConceptBank

_CHUNK_BYTES = 16 << 20


def touched_rows(rows_LD: nn.Parameter) -> tuple[Tensor | None, Tensor] | None:
    """``(indices_T, gradient_TD)`` of a parameter; indices None = all rows; None = no gradient at all.

    Where several backward passes touched a row its parts are added up, once: ``rows_LD.grad`` is replaced.
    """
    if rows_LD.grad is None:
        return None
    if not rows_LD.grad.is_sparse:
        return None, rows_LD.grad
    indices_T, values_TD = rows_LD.grad._indices()[0], rows_LD.grad._values()
    unique_T, places_T = indices_T.unique(return_inverse=True)
    if len(unique_T) < len(indices_T):
        values_TD = values_TD.new_zeros(len(unique_T), values_TD.shape[1]).index_add_(0, places_T, values_TD)
        indices_T = unique_T
        rows_LD.grad = torch.sparse_coo_tensor(indices_T[None], values_TD, rows_LD.shape, check_invariants=False)
    return indices_T, values_TD


class RowAdamW(torch.optim.Optimizer):
    """AdamW (Loshchilov and Hutter 2019) on the rows of banks, each row with a clock of its own.

    A row's moments, its bias correction and its decay advance only in steps that touch it: that sampled its class
    or had it as a positive. So a row that is touched for the first time in step 1,000 moves by ``lr``, as in step 1;
    with the global step its young moments would count as old ones and it would leap by 3.2 ``lr`` (betas 0.9, 0.999).
    Rows touched in every step, as all are at sample rate 1, are exactly ``torch.optim.AdamW``'s.

    State of a bank: ``exp_avg`` and ``exp_avg_sq`` float32 [L, D], twice the memory of the rows, and ``step`` int32
    [L]. All have the rows' first axis, so a checkpoint cuts them like the rows. Work goes by chunks of 16 MiB.

    Args:
        banks: each becomes a parameter group with its ``name`` and its ``lr_scale``; the rate of a group is
            ``lr * lr_scale``, so that a schedule sets ``lr`` alone.
    """

    def __init__(
        self,
        banks: Iterable[ConceptBank],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        for name, value in (("lr", lr), ("eps", eps), ("weight_decay", weight_decay)):
            if not 0 <= value < float("inf"):
                raise InvalidArgumentError(name, value, "a finite number, at least 0")
        if not all(0 <= beta < 1 for beta in betas):
            raise InvalidArgumentError("betas", betas, "0 to below 1")
        groups = [{"params": [bank.rows], "name": bank.name, "lr_scale": bank.config.lr_scale} for bank in banks]
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Move the rows that the last backward passes touched."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for rows_LD in group["params"]:
                touched = touched_rows(rows_LD)
                if touched is not None:
                    self._move(group, rows_LD, *touched)
        return loss

    def _move(self, group: dict[str, Any], rows_LD: nn.Parameter, indices_T: Tensor | None, grad_TD: Tensor) -> None:
        state = self.state[rows_LD]
        if not state:
            state["step"] = torch.zeros(len(rows_LD), dtype=torch.int32, device=rows_LD.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(rows_LD), torch.zeros_like(rows_LD)
        state["step"] = state["step"].to(rows_LD.device)  # Optimizer.load_state_dict leaves it where it was saved
        held = (rows_LD, state["exp_avg"], state["exp_avg_sq"], state["step"])
        for at in _chunks(grad_TD):
            if indices_T is None:
                _adamw(group, grad_TD[at], *(x[at] for x in held))
                continue
            part = indices_T[at]
            gathered = [x.index_select(0, part) for x in held]
            _adamw(group, grad_TD[at], *gathered)
            for whole, moved in zip(held, gathered, strict=True):
                whole.index_copy_(0, part, moved)


def _chunks(grad_TD: Tensor) -> Iterator[slice]:
    rows = max(1, _CHUNK_BYTES // (grad_TD.shape[1] * grad_TD.element_size()))
    for low in range(0, len(grad_TD), rows):
        yield slice(low, low + rows)


def _adamw(
    group: dict[str, Any], grad_KD: Tensor, rows_KD: Tensor, first_KD: Tensor, second_KD: Tensor, step_K: Tensor
) -> None:
    """One step of some rows and their state, in place."""
    (beta1, beta2), rate = group["betas"], group["lr"] * group["lr_scale"]
    step_K.add_(1)
    count_K1 = step_K[:, None].double()  # powers of 0.999 need more than float32 has
    size_K1 = (rate / (1 - beta1**count_K1)).to(rows_KD.dtype)
    root_K1 = (1 - beta2**count_K1).sqrt_().to(rows_KD.dtype)
    rows_KD.mul_(1 - rate * group["weight_decay"])
    first_KD.lerp_(grad_KD, 1 - beta1)
    second_KD.mul_(beta2).addcmul_(grad_KD, grad_KD, value=1 - beta2)
    rows_KD.sub_((first_KD * size_K1).div_((second_KD.sqrt() / root_K1).add_(group["eps"])))
