"""Cluster discrimination: the margin-cosine softmax over a bank whose rows are spread over ranks.

Axes: N labelled samples of all ranks, B those of this rank, P labels of a sample, D width, L rows of this rank,
S sampled ones of those, K rows of a chunk, Q pairs of a sample and a positive that this rank owns.

With e and w L2-normalised, cos_n = e.w_n, positives P_i of sample i, and sampled classes S::

    L_i = mean over p in P_i of -log( e^{s(cos_p - m)} / (e^{s(cos_p - m)} + e^{A_i}) )
        = mean over p in P_i of softplus(A_i - s(cos_p - m)),
    A_i = log sum_{n in S - P_i, cos_n <= tau} e^{s cos_n}

and L is the mean of L_i over the labelled samples of all ranks. CosFace's margin (Wang et al. 2018), a sampled softmax
as Partial FC's (An et al. 2022). A_i does not depend on p, so one pass over the sampled rows serves all positives.
The backward pass makes the chunks' cosines again from A_i: N x classes numbers are never held.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from onevision_encoder.pretrain.bank_config import BankConfig
from onevision_encoder.pretrain.products import plain_products, product
from onevision_encoder.pretrain.row_group import RowGroup

EPS = 1e-12
"""Norms below it count as it, as in ``torch.nn.functional.normalize``."""
_CPU_ROWS, _CPU_BYTES = 4096, 16 << 20
_GPU_ROWS, _GPU_BYTES = 65536, 512 << 20


def chunk_rows(samples: int, width: int, device: torch.device) -> int:
    """Rows worked on at once: neither K x N nor K x D float32 numbers take more than 16 MiB (512 MiB on a GPU)."""
    rows, most = (_CPU_ROWS, _CPU_BYTES) if device.type == "cpu" else (_GPU_ROWS, _GPU_BYTES)
    return max(16, min(rows, most // (4 * max(samples, width, 1))))


@dataclass(frozen=True)
class Batch:
    """What one step asks of the rows of this rank.

    Attributes:
        labels_NP: int64, of all ranks' labelled samples; -1 = none, no class twice in a row.
        sizes: labelled samples of each rank.
        rows: ``(start, stop)`` of this rank.
        sampled_S: its sampled rows, ascending, less ``start``; None = all of them.
    """

    config: BankConfig
    group: RowGroup
    labels_NP: Tensor
    sizes: Sequence[int]
    rows: tuple[int, int]
    sampled_S: Tensor | None


@dataclass
class _Pairs:
    """Pairs (sample, column of ``labels``, row): those in S by place in S with the bounds of each chunk, and others."""

    sample_Q: Tensor
    column_Q: Tensor
    place_Q: Tensor
    bounds: list[int]
    others: tuple[Tensor, Tensor, Tensor]


class ClusterDiscrimination(torch.autograd.Function):
    """``(loss, accuracy, loss_N) = apply(embeddings_BD, rows_LD, batch)``; loss_N of each labelled sample of all ranks.

    Embeddings are already normalised, rows are not. Gradients: of rows, that of the loss, sparse where rows are
    sampled; of embeddings, that of the loss times the number of ranks, because data parallelism then averages.
    """

    @staticmethod
    def forward(ctx: Any, embeddings_BD: Tensor, rows_LD: Tensor, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        config, group = batch.config, batch.group
        with plain_products(rows_LD.device, config.precision):
            e_ND = group.gather(embeddings_BD.detach(), batch.sizes)
            chunk = config.chunk or chunk_rows(len(e_ND), e_ND.shape[1], e_ND.device)
            pairs = _find_pairs(batch, chunk)
            norms_S, highest_2N, sum_N, cos_NP = _read(batch, rows_LD, e_ND, pairs, chunk)
        overall_2N = group.highest(highest_2N.clone())
        sum_N.mul_(torch.exp(highest_2N[0] - _finite(overall_2N[0])))
        packed = group.add_up(torch.cat([sum_N, cos_NP.flatten()]))  # each cosine has one owner; elsewhere it is 0
        sum_N, cos_NP = packed[: len(e_ND)], packed[len(e_ND) :].view_as(cos_NP)
        total_N = _finite(overall_2N[0]) + sum_N.log()  # A of the module's formula
        loss_N, accuracy, slope_NP = _of_positives(config, batch.labels_NP, cos_NP, total_N, overall_2N[1])
        ctx.save_for_backward(e_ND, rows_LD, norms_S, total_N, slope_NP, cos_NP)
        ctx.batch, ctx.pairs, ctx.chunk = batch, pairs, chunk
        ctx.mark_non_differentiable(accuracy, loss_N)
        return loss_N.mean(), accuracy, loss_N

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator, unused-ignore]
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        e_ND, rows_LD, norms_S, total_N, slope_NP, cos_NP = ctx.saved_tensors
        batch: Batch = ctx.batch
        slopes = _Slopes(slope_NP * (grad * batch.config.scale), total_N, cos_NP, norms_S)
        with plain_products(rows_LD.device, batch.config.precision):
            grad_ND, indices, values = _pull(
                batch, rows_LD, e_ND, ctx.pairs, ctx.chunk, slopes, wants_rows=ctx.needs_input_grad[1]
            )
        batch.group.add_up(grad_ND)
        start = sum(batch.sizes[: batch.group.rank])
        grad_BD = grad_ND[start : start + batch.sizes[batch.group.rank]] * batch.group.world
        if values is not None and indices is not None:
            values = torch.sparse_coo_tensor(indices[None], values, rows_LD.shape, check_invariants=False)
        return grad_BD, values, None


@dataclass(frozen=True)
class _Slopes:
    """d loss / d (A - s(cos_p - m)) times s, per positive, with what makes the chunks' probabilities again."""

    of_positives_NP: Tensor
    total_N: Tensor
    cos_NP: Tensor
    norms_S: Tensor


def _finite(x_N: Tensor) -> Tensor:
    """Where a sample has no negatives at all its highest logit is -inf; any finite number serves as reference."""
    return torch.where(x_N == -torch.inf, 0.0, x_N)


def _find_pairs(batch: Batch, chunk: int) -> _Pairs:
    start, stop = batch.rows
    sample_Q, column_Q = ((batch.labels_NP >= start) & (batch.labels_NP < stop)).nonzero(as_tuple=True)
    row_Q = batch.labels_NP[sample_Q, column_Q] - start
    count = stop - start if batch.sampled_S is None else len(batch.sampled_S)
    if batch.sampled_S is None:
        place_Q, inside_Q = row_Q, torch.ones_like(row_Q, dtype=torch.bool)
    else:
        place_Q = torch.searchsorted(batch.sampled_S, row_Q)
        padded_S = functional.pad(batch.sampled_S, (0, 1), value=-1)
        inside_Q = padded_S[place_Q] == row_Q
    outside = ~inside_Q
    others = (sample_Q[outside], column_Q[outside], row_Q[outside])
    place_Q, order = place_Q[inside_Q].sort(stable=True)
    edges = torch.arange(0, count + chunk, chunk, device=place_Q.device)
    bounds = [int(b) for b in torch.searchsorted(place_Q, edges).tolist()]
    return _Pairs(sample_Q[inside_Q][order], column_Q[inside_Q][order], place_Q, bounds, others)


def _chunks(batch: Batch, rows_LD: Tensor, chunk: int) -> Iterator[tuple[int, int, int, Tensor]]:
    """(number, first place in S, last, rows) of each chunk. The rows are overwritten by the next one's."""
    if batch.sampled_S is None:
        for number, low in enumerate(range(0, len(rows_LD), chunk)):
            yield number, low, min(low + chunk, len(rows_LD)), rows_LD[low : low + chunk]
        return
    buffer_KD = rows_LD.new_empty(min(chunk, len(batch.sampled_S)), rows_LD.shape[1])
    for number, low in enumerate(range(0, len(batch.sampled_S), chunk)):
        part_K = batch.sampled_S[low : low + chunk]
        yield number, low, low + len(part_K), torch.index_select(rows_LD, 0, part_K, out=buffer_KD[: len(part_K)])


def _read(
    batch: Batch, rows_LD: Tensor, e_ND: Tensor, pairs: _Pairs, chunk: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Over this rank's rows: inverse norms of S; highest logit and highest cosine of negatives; sum of exponentials
    relative to the former; cosines of the positives that it owns, 0 for others."""
    config, count = batch.config, len(rows_LD) if batch.sampled_S is None else len(batch.sampled_S)
    norms_S = e_ND.new_empty(count)
    highest_2N = e_ND.new_full((2, len(e_ND)), -torch.inf)
    sum_N = e_ND.new_zeros(len(e_ND))
    cos_NP = e_ND.new_zeros(batch.labels_NP.shape)
    with torch.no_grad():
        for number, low, high, rows_KD in _chunks(batch, rows_LD.detach(), chunk):
            norms_S[low:high] = torch.linalg.vector_norm(rows_KD, dim=1).clamp_(min=EPS).reciprocal_()
            cos_NK = product(e_ND, rows_KD.T, config.precision).mul_(norms_S[low:high])
            mine = slice(pairs.bounds[number], pairs.bounds[number + 1])
            sample_Q, place_Q = pairs.sample_Q[mine], pairs.place_Q[mine] - low
            cos_NP[sample_Q, pairs.column_Q[mine]] = cos_NK[sample_Q, place_Q]
            cos_NK[sample_Q, place_Q] = -torch.inf
            torch.maximum(highest_2N[1], cos_NK.amax(1), out=highest_2N[1])
            if config.filter is not None:
                cos_NK.masked_fill_(cos_NK > config.filter, -torch.inf)
            logits_NK = cos_NK.mul_(config.scale)
            highest_N = torch.maximum(highest_2N[0], logits_NK.amax(1))
            sum_N.mul_(torch.exp(highest_2N[0] - _finite(highest_N)))
            sum_N.add_(logits_NK.sub_(_finite(highest_N)[:, None]).exp_().sum(1))
            highest_2N[0] = highest_N
        for low in range(0, len(pairs.others[0]), chunk):
            sample_Q, column_Q, row_Q = (x[low : low + chunk] for x in pairs.others)
            unit_QD = functional.normalize(rows_LD.detach()[row_Q], dim=1, eps=EPS)
            cos_NP[sample_Q, column_Q] = (unit_QD * e_ND[sample_Q]).sum(1)
    return norms_S, highest_2N, sum_N, cos_NP


def _of_positives(
    config: BankConfig, labels_NP: Tensor, cos_NP: Tensor, total_N: Tensor, rival_N: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of each sample; share of samples whose best positive has a higher cosine than all their negatives; slope of
    the loss along A - s(cos_p - m) [N, P]."""
    there_NP = labels_NP >= 0
    share_NP = there_NP / (there_NP.sum(1, keepdim=True) * len(labels_NP)).to(cos_NP.dtype)
    excess_NP = total_N[:, None] - config.scale * (cos_NP - config.margin)
    loss_N = -(functional.logsigmoid(-excess_NP) * share_NP).sum(1) * len(labels_NP)
    best_N = cos_NP.masked_fill(~there_NP, -torch.inf).amax(1)
    return loss_N, (best_N > rival_N).to(cos_NP.dtype).mean(), torch.sigmoid(excess_NP) * share_NP


def _pull(
    batch: Batch, rows_LD: Tensor, e_ND: Tensor, pairs: _Pairs, chunk: int, slopes: _Slopes, *, wants_rows: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """This rank's part of the gradient of embeddings; rows that have one (None = all), and the gradient of those."""
    config, start = batch.config, len(slopes.norms_S)
    grad_ND = torch.zeros_like(e_ND)
    slope_N = slopes.of_positives_NP.sum(1)
    highest_N = torch.where(slopes.total_N == -torch.inf, torch.inf, slopes.total_N)  # no negatives: all stay masked
    other_rows, other_places = pairs.others[2].unique(return_inverse=True)
    values_SD = rows_LD.new_empty(start + len(other_rows), rows_LD.shape[1]) if wants_rows else None
    for number, low, high, rows_KD in _chunks(batch, rows_LD, chunk):
        inverse_K = slopes.norms_S[low:high]
        cos_NK = product(e_ND, rows_KD.T, config.precision).mul_(inverse_K)
        mine = slice(pairs.bounds[number], pairs.bounds[number + 1])
        sample_Q, column_Q, place_Q = pairs.sample_Q[mine], pairs.column_Q[mine], pairs.place_Q[mine] - low
        pull_NK = torch.mul(cos_NK, config.scale).sub_(highest_N[:, None]).exp_().mul_(slope_N[:, None])
        if config.filter is not None:
            pull_NK.masked_fill_(cos_NK > config.filter, 0.0)
        pull_NK[sample_Q, place_Q] = -slopes.of_positives_NP[sample_Q, column_Q]
        pull_NK.mul_(inverse_K)
        grad_ND.add_(product(pull_NK, rows_KD, config.precision))
        if values_SD is not None:
            along_K = cos_NK.mul_(pull_NK).sum(0).mul_(inverse_K)  # what changes only the norm of a row
            part_KD = product(pull_NK.T, e_ND, config.precision, out=values_SD[low:high])
            part_KD.addcmul_(rows_KD, along_K[:, None], value=-1)
    if values_SD is not None:
        values_SD[start:] = 0
    sample_Q, column_Q, row_Q = pairs.others
    for low in range(0, len(row_Q), chunk):
        at = slice(low, low + chunk)
        places = (sample_Q[at], start + other_places[at])
        _pull_others(rows_LD[row_Q[at]], e_ND, grad_ND, values_SD, places, slopes, column_Q[at])
    if batch.sampled_S is None:
        return grad_ND, None, values_SD
    return grad_ND, torch.cat([batch.sampled_S, other_rows]), values_SD


def _pull_others(
    rows_QD: Tensor,
    e_ND: Tensor,
    grad_ND: Tensor,
    values_SD: Tensor | None,
    places: tuple[Tensor, Tensor],
    slopes: _Slopes,
    column_Q: Tensor,
) -> None:
    """Gradients of positives that are not in S, pair by pair."""
    sample_Q, place_Q = places
    inverse_Q1 = torch.linalg.vector_norm(rows_QD, dim=1, keepdim=True).clamp_(min=EPS).reciprocal_()
    unit_QD = rows_QD * inverse_Q1
    pull_Q1 = -slopes.of_positives_NP[sample_Q, column_Q][:, None]
    grad_ND.index_add_(0, sample_Q, unit_QD * pull_Q1)
    if values_SD is not None:
        across_QD = e_ND[sample_Q] - unit_QD * slopes.cos_NP[sample_Q, column_Q][:, None]
        values_SD.index_add_(0, place_Q, across_QD * (pull_Q1 * inverse_Q1))
