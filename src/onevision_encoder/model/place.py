"""Absolute places for the values: waves of (t, h, w), through a learned map, added to each embedded patch.

RoPE turns queries and keys only, and attention weights sum to one: where patches look alike, the values that come out
do not say where they came from. An encoder can learn to compare contents; one that is given places
reads those of codec patches without. Off in the published model.

Axes: N tokens, C width, F waves of an axis, 3 = (t, h, w).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from onevision_encoder.model.configuration import OneVisionEncoderConfig


class PlaceEmbedding(nn.Linear):
    """W [sin a | cos a] with a = pi k u, u = (t, h, w) / ``place_size``, k = 1 .. ``place_waves``: [N, 3] -> [N, C]."""

    def __init__(self, config: OneVisionEncoderConfig) -> None:
        super().__init__(6 * config.place_waves, config.hidden_size, bias=False)
        self.waves, self.size = config.place_waves, config.place_size

    def forward(self, positions_N3: Tensor) -> Tensor:
        wide = torch.promote_types(positions_N3.dtype, torch.float32)
        wave_F = torch.pi * torch.arange(1, self.waves + 1, device=positions_N3.device, dtype=wide)
        share_N3 = positions_N3.to(wide) / torch.tensor(self.size, device=positions_N3.device, dtype=wide)
        angle = (share_N3[..., None] * wave_F).flatten(1)
        waves_NF = torch.cat([angle.sin(), angle.cos()], dim=1)
        return super().forward(waves_NF.to(self.weight.dtype))
