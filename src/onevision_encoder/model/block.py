"""One block of the encoder. Axes: N tokens of the pack, C width, D head width."""

from __future__ import annotations

from torch import Tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from onevision_encoder.model.attention import AttentionPlan, SelfAttention
from onevision_encoder.model.configuration import OneVisionEncoderConfig
from onevision_encoder.model.layers import Mlp, make_norm
from onevision_encoder.model.rope import RopeTable


class EncoderLayer(GradientCheckpointingLayer):
    """Pre-norm block: x += attn(norm1(x)); x += mlp(norm2(x)), x in at least float32."""

    def __init__(self, config: OneVisionEncoderConfig, layer_idx: int) -> None:
        super().__init__()
        self.layer_norm1 = make_norm(config)
        self.self_attn = SelfAttention(config, layer_idx)
        self.layer_norm2 = make_norm(config)
        self.mlp = Mlp(config)

    def forward(self, x_NC: Tensor, rope: RopeTable, plan: AttentionPlan) -> tuple[Tensor, Tensor | None]:
        mixed_NC, weights = self.self_attn(self.layer_norm1(x_NC), rope, plan)
        x_NC = x_NC + mixed_NC
        return x_NC + self.mlp(self.layer_norm2(x_NC)), weights
