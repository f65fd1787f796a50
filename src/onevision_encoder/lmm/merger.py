"""From patches to tokens of the language model: units of patches are merged, then projected to its width.

Axes: N patches of a pack, M units (= tokens), L rows of a unit, C the encoder's width, E width of what is merged
(C, or 4C for ``2x2``), H heads, D head width.

``none`` and ``2x2`` are the projectors of LLaVA (norm apart) and of Qwen-VL and LLaVA-OneVision-2 (LayerNorm, four
neighbours end to end, two linear maps). ``attention`` keeps what matters of a resampler, any exact number of tokens,
and of a local merge, order: a learned query reads the patches of each unit, beside their mean.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from onevision_encoder.lmm.configuration import OneVisionVLConfig
from onevision_encoder.model.segments import Run, Segments

EPS = 1e-6


class AttentionPool(nn.Module):
    """y = mean + out(attention(query + mean, rows)) of each unit by itself; begins as the mean."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.probe = nn.Parameter(torch.empty(width))
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x_NC: Tensor, units: Segments) -> Tensor:
        """[N, C] -> [M, C]."""
        mean_MC = torch.cat([torch.unflatten(x_NC[run.rows], 0, (run.count, -1)).mean(1) for run in units.runs])
        q_MHD, k_NHD, v_NHD = (
            torch.unflatten(t, -1, (self.heads, -1))
            for t in (self.query(mean_MC + self.probe), self.key(x_NC), self.value(x_NC))
        )
        mixed, first = [], 0
        for run in units.runs:
            mixed.append(_attend(q_MHD[first : first + run.count], k_NHD, v_NHD, run))
            first += run.count
        pooled: Tensor = mean_MC + self.out(torch.cat(mixed))
        return pooled


def _attend(q_MHD: Tensor, k_NHD: Tensor, v_NHD: Tensor, run: Run) -> Tensor:
    """One query for each of the run's units -> [count, C]."""
    k, v = (torch.unflatten(t[run.rows], 0, (run.count, run.length)).transpose(1, 2) for t in (k_NHD, v_NHD))
    return functional.scaled_dot_product_attention(q_MHD[:, :, None], k, v).flatten(1)


class Merger(nn.Module):
    """Norm, then units of patches -> one vector each: [N, C] -> [M, E]."""

    def __init__(self, config: OneVisionVLConfig) -> None:
        super().__init__()
        self.kind = config.merger
        width = config.vision_config.hidden_size
        self.norm = nn.LayerNorm(width, eps=EPS)
        heads = config.vision_config.num_attention_heads
        self.pool = AttentionPool(width, heads) if config.merger == "attention" else None
        self.width = width * (config.patches_per_token or 1)

    def forward(self, x_NC: Tensor, units: Segments) -> Tensor:
        x_NC = self.norm(x_NC)
        if self.pool is not None:
            pooled: Tensor = self.pool(x_NC, units)
            return pooled
        return x_NC.reshape(-1, self.width)


class Projector(nn.Module):
    """Linear, GELU, linear: [M, E] -> [M, width of the language model]."""

    def __init__(self, config: OneVisionVLConfig, width: int) -> None:
        super().__init__()
        out = config.text_config.hidden_size
        inside = config.projector_hidden_size or (width if config.merger == "2x2" else out)
        self.fc1 = nn.Linear(width, inside)
        self.fc2 = nn.Linear(inside, out)

    def forward(self, x_ME: Tensor) -> Tensor:
        projected: Tensor = self.fc2(functional.gelu(self.fc1(x_ME)))
        return projected


@torch.no_grad()
def init_weights(module: nn.Module, std: float) -> None:
    """Normal weights, zero biases, unit norms; a pool's output begins at zero, so that the pool begins as a mean."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, AttentionPool):
        nn.init.normal_(module.probe, std=std)
