"""Attention pooling: one learned query reads every token of a segment.

Axes: N tokens of the pack, S segments, C width, H heads, D head width, L tokens of a segment.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from onevision_encoder.model.configuration import OneVisionEncoderConfig
from onevision_encoder.model.layers import Mlp, RMSNorm, widen
from onevision_encoder.model.marked import MarkedSegments
from onevision_encoder.model.segments import Run, Segments


class PoolingHead(nn.Module):
    """a = MHA(probe, tokens, tokens); pooled = a + MLP(RMSNorm(a)), for each segment by itself.

    The parameters of the attention are those of ``nn.MultiheadAttention`` (in_proj holds q, k, v in that order),
    as published checkpoints have them; the computation is SDPA on packed tokens.
    """

    def __init__(self, config: OneVisionEncoderConfig) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.empty(1, 1, config.hidden_size))
        self.attention = nn.MultiheadAttention(config.hidden_size, config.num_attention_heads, batch_first=True)
        self.norm = RMSNorm(config.hidden_size, config.layer_norm_eps)
        self.mlp = Mlp(config)

    def forward(self, x_NC: Tensor, segments: Segments | MarkedSegments) -> Tensor:
        """Pool normed tokens.

        Args:
            x_NC: packed tokens. segments: which of them belong together.
        Returns:
            [S, C] in at least float32.
        """
        attention = self.attention
        C, H = attention.embed_dim, attention.num_heads
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        x = x_NC.to(weight.dtype)
        q_1HD = torch.unflatten(functional.linear(self.probe[0].to(weight.dtype), weight[:C], bias[:C]), -1, (H, -1))
        kv_NC2 = functional.linear(x, weight[C:], bias[C:])
        k_NHD, v_NHD = (torch.unflatten(t, -1, (H, -1)) for t in kv_NC2.chunk(2, dim=-1))
        if isinstance(segments, MarkedSegments):
            mixed_SC = _masked(q_1HD, k_NHD, v_NHD, segments.members_SN())
        else:
            mixed_SC = torch.cat([_run(q_1HD, k_NHD, v_NHD, run) for run in segments.runs])
        a_SC = widen(attention.out_proj(mixed_SC))
        out: Tensor = a_SC + self.mlp(self.norm(a_SC))
        return out


def _run(q_1HD: Tensor, k_NHD: Tensor, v_NHD: Tensor, run: Run) -> Tensor:
    """One query for each of the run's segments -> [count, C]."""
    k, v = (torch.unflatten(t[run.rows], 0, (run.count, run.length)) for t in (k_NHD, v_NHD))
    q = q_1HD[None].expand(run.count, -1, -1, -1)
    mixed = functional.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
    return mixed.transpose(1, 2).flatten(1)


def _masked(q_1HD: Tensor, k_NHD: Tensor, v_NHD: Tensor, members_SN: Tensor) -> Tensor:
    """One query for each row of the mask, over the tokens it marks -> [S, C]."""
    q = q_1HD.expand(members_SN.shape[0], -1, -1)
    q, k, v = (t.transpose(0, 1)[None] for t in (q, k_NHD, v_NHD))
    mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=members_SN[None, None])
    return mixed[0].transpose(0, 1).flatten(1)
