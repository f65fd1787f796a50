"""Heads that read the frozen features of a clip and name its class.

Axes: N tokens of all clips, S clips, C width, M classes, H attention heads, D = 64 width of one, L tokens of a clip.

All read packed tokens [N, C] with the bounds of the clips, of any length, or pooled features [S, C] (bounds None:
each row is a clip). They compute in float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.evaluate.probe_config import HeadName
from onevision_encoder.model.layers import RMSNorm
from onevision_encoder.model.segments import Segments

Bounds = Sequence[int] | None
INIT_STD = 0.02
HEAD_WIDTH = 64


def attention_heads(width: int) -> int:
    """C / 64 attention heads, as the encoders have; one where the width is no multiple of 64."""
    return width // HEAD_WIDTH if width % HEAD_WIDTH == 0 else 1


def pooled_only(name: HeadName) -> bool:
    """Whether the head looks at the mean of a clip's tokens only."""
    return name in ("linear", "knn")


def make_head(name: HeadName, width: int, num_classes: int, seed: int) -> nn.Module:
    """A new head on the CPU; equal arguments give equal weights. Leaves torch's random state as it was.

    Raises:
        InvalidArgumentError: no such head, or ``knn``, which has no weights (see :class:`NearestNeighbours`).
    """
    kinds: dict[str, type[nn.Module]] = {
        "attentive": AttentiveHead,
        "attentive4": DeepAttentiveHead,
        "linear": LinearHead,
    }
    if name not in kinds:
        raise InvalidArgumentError("head", name, f"a trained head: {', '.join(kinds)} (known: {get_args(HeadName)})")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kinds[name](width, num_classes)


def mean_of_clips(x_NC: Tensor, cu_seqlens: Bounds) -> Tensor:
    """Mean of each clip's tokens, float32 [S, C]."""
    runs = _segments(x_NC, cu_seqlens).runs
    return torch.cat([x_NC[run.rows].float().unflatten(0, (run.count, run.length)).mean(1) for run in runs])


def _segments(x_NC: Tensor, cu_seqlens: Bounds) -> Segments:
    if x_NC.ndim != 2:
        raise ShapeError("features", tuple(x_NC.shape), "[N, C] tokens with their bounds, or [S, C] pooled")
    return Segments.dense(len(x_NC), 1) if cu_seqlens is None else Segments.from_cu_seqlens(cu_seqlens, len(x_NC))


class LinearHead(nn.Module):
    """Linear(LayerNorm(mean of tokens)); the norm has no weights: it only makes backbones of any scale comparable."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.classifier = nn.Linear(width, num_classes)
        nn.init.trunc_normal_(self.classifier.weight, std=0.01)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x_NC: Tensor, cu_seqlens: Bounds = None) -> Tensor:
        """Logits float32 [S, M]."""
        x_SC = mean_of_clips(x_NC, cu_seqlens)
        logits: Tensor = self.classifier(functional.layer_norm(x_SC, x_SC.shape[1:]))
        return logits


class AttentiveHead(nn.Module):
    """The attentive probe of the OneVision-Encoder paper.

    One learned query attends over the tokens: a = MHA(query, x, x) with biases; pooled = a + MLP(RMSNorm(a)),
    MLP C -> 4C -> C with GELU; logits = Linear(LayerNorm(pooled)). Linear weights truncated normal of sd 0.02,
    biases 0, norms 1, the query standard normal, the classifier's weight and bias times 1e-3.
    """

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, width))
        self.attention = CrossAttention(width)
        self.norm = RMSNorm(width, 1e-6)
        self.mlp = Mlp(width)
        self.last_norm = nn.LayerNorm(width)
        self.classifier = nn.Linear(width, num_classes)
        _initialise(self)
        with torch.no_grad():
            self.classifier.weight.mul_(1e-3)
            self.classifier.bias.mul_(1e-3)

    def forward(self, x_NC: Tensor, cu_seqlens: Bounds = None) -> Tensor:
        """Logits float32 [S, M]."""
        a_SC = self.attention(self.query, x_NC.float(), _segments(x_NC, cu_seqlens))
        pooled_SC = a_SC + self.mlp(self.norm(a_SC))
        logits: Tensor = self.classifier(self.last_norm(pooled_SC))
        return logits


class DeepAttentiveHead(nn.Module):
    """The four-block attentive probe of V-JEPA 2.

    Three pre-norm transformer blocks over the tokens, then one cross-attention block with one query and without output
    projection, then Linear. Weights and query truncated normal of sd 0.02; the output projections of block i,
    counted from 1, have sd 0.02 / sqrt(i), as in transformers' ``VJEPA2AttentivePooler``.
    """

    def __init__(self, width: int, num_classes: int, depth: int = 4) -> None:
        super().__init__()
        blocks = [SelfBlock(width) for _ in range(depth - 1)]
        self.blocks = nn.ModuleList(blocks)
        self.query = nn.Parameter(torch.zeros(1, width))
        self.norm1 = nn.LayerNorm(width)
        self.attention = CrossAttention(width, project=False)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)
        self.classifier = nn.Linear(width, num_classes)
        _initialise(self)
        nn.init.trunc_normal_(self.query, std=INIT_STD)
        outputs = [[block.attention.out, block.mlp.out] for block in blocks] + [[self.mlp.out]]
        for i, layers in enumerate(outputs, 1):
            for layer in layers:
                nn.init.trunc_normal_(layer.weight, std=INIT_STD / math.sqrt(i))

    def forward(self, x_NC: Tensor, cu_seqlens: Bounds = None) -> Tensor:
        """Logits float32 [S, M]."""
        segments = _segments(x_NC, cu_seqlens)
        x_NC = x_NC.float()
        for block in self.blocks:
            x_NC = block(x_NC, segments)
        q_SC = self.query + self.attention(self.query, self.norm1(x_NC), segments)
        q_SC = q_SC + self.mlp(self.norm2(q_SC))
        logits: Tensor = self.classifier(q_SC)
        return logits


class CrossAttention(nn.Module):
    """One query reads every token of a clip: ``nn.MultiheadAttention`` on packed tokens."""

    def __init__(self, width: int, *, project: bool = True) -> None:
        super().__init__()
        self.heads = attention_heads(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width) if project else nn.Identity()

    def forward(self, query_1C: Tensor, x_NC: Tensor, segments: Segments) -> Tensor:
        """[S, C]."""
        q_1HD = self.query(query_1C).unflatten(-1, (self.heads, -1))
        k_NHD, v_NHD = (t.unflatten(-1, (self.heads, -1)) for t in self.key_value(x_NC).chunk(2, -1))
        mixed = []
        for run in segments.runs:
            k_SHLD, v_SHLD = (t[run.rows].unflatten(0, (run.count, -1)).transpose(1, 2) for t in (k_NHD, v_NHD))
            q_SHLD = q_1HD[None].transpose(1, 2).expand(run.count, -1, -1, -1)
            mixed.append(functional.scaled_dot_product_attention(q_SHLD, k_SHLD, v_SHLD).flatten(1))
        out: Tensor = self.out(torch.cat(mixed))
        return out


class SelfAttention(nn.Module):
    """Tokens of a clip read each other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = attention_heads(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out: nn.Linear = nn.Linear(width, width)

    def forward(self, x_NC: Tensor, segments: Segments) -> Tensor:
        """[N, C]."""
        parts = [t.unflatten(-1, (self.heads, -1)) for t in self.query_key_value(x_NC).chunk(3, -1)]
        mixed = []
        for run in segments.runs:
            q, k, v = (t[run.rows].unflatten(0, (run.count, -1)).transpose(1, 2) for t in parts)
            mixed.append(functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(0, 1).flatten(1))
        out: Tensor = self.out(torch.cat(mixed))
        return out


class SelfBlock(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)

    def forward(self, x_NC: Tensor, segments: Segments) -> Tensor:
        x_NC = x_NC + self.attention(self.norm1(x_NC), segments)
        out: Tensor = x_NC + self.mlp(self.norm2(x_NC))
        return out


class NearestNeighbours:
    """k nearest neighbours by cosine; each votes for its classes with weight exp(cosine / temperature).

    Vote and temperature as in DINO's evaluation. ``logits`` are the shares of the votes: 0 where no neighbour is of
    the class.

    Args:
        bank_SC: features of the training clips, one row each. truth_SM: 0/1 membership, float32.
    """

    def __init__(self, bank_SC: Tensor, truth_SM: Tensor, temperature: float = 0.07) -> None:
        if len(bank_SC) != len(truth_SM) or not len(bank_SC):
            raise ShapeError("bank", (tuple(bank_SC.shape), tuple(truth_SM.shape)), "equal numbers of rows, at least 1")
        self.bank_SC = functional.normalize(bank_SC.float(), dim=1)
        self.truth_SM, self.temperature = truth_SM.float(), temperature

    def logits(self, x_NC: Tensor, cu_seqlens: Bounds, k: int) -> Tensor:
        """Shares of the votes, float32 [S, M]; k above the size of the bank takes all of it."""
        query_QC = functional.normalize(mean_of_clips(x_NC, cu_seqlens), dim=1)
        near = (query_QC @ self.bank_SC.T).topk(min(k, len(self.bank_SC)), dim=1)
        weight_QK = torch.softmax(near.values / self.temperature, dim=1)
        return torch.einsum("qk,qkm->qm", weight_QK, self.truth_SM[near.indices])


class Mlp(nn.Module):
    """C -> 4C -> C with GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, 4 * width)
        self.out = nn.Linear(4 * width, width)

    def forward(self, x_NC: Tensor) -> Tensor:
        out: Tensor = self.out(functional.gelu(self.inner(x_NC)))
        return out


def _initialise(head: nn.Module) -> None:
    for module in head.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=INIT_STD)
            nn.init.zeros_(module.bias)
