"""The token-wise parts of a block: norms, MLP, patch embedding.

Axes: N tokens, C width, D = 3*p*p numbers of a patch.

Precision: the residual stream, norms, RoPE and softmax are float32 whatever the dtype of the weights; matrix
products run in the dtype of the weights. In a float32 model nothing is ever cast.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.activations import ACT2FN

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.model.configuration import OneVisionEncoderConfig
from onevision_encoder.model.place import PlaceEmbedding


def widen(x: Tensor) -> Tensor:
    """At least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class LayerNorm(nn.LayerNorm):
    """LayerNorm computed and returned in at least float32."""

    def forward(self, x: Tensor) -> Tensor:
        x = widen(x)
        return functional.layer_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight, computed and returned in at least float32 (arXiv 1910.07467, eq. 4)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        x = widen(x)
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight.to(x.dtype)


def make_norm(config: OneVisionEncoderConfig) -> nn.Module:
    if config.layer_norm_type == "rms_norm":
        return RMSNorm(config.hidden_size, config.layer_norm_eps)
    return LayerNorm(config.hidden_size, eps=config.layer_norm_eps)


class Mlp(nn.Module):
    """fc2(act(fc1(x))), in the dtype of its weights."""

    def __init__(self, config: OneVisionEncoderConfig) -> None:
        super().__init__()
        if config.hidden_act not in ACT2FN:
            raise InvalidArgumentError("hidden_act", config.hidden_act, f"one of {sorted(ACT2FN)}")
        self.activation: Callable[[Tensor], Tensor] = ACT2FN[config.hidden_act]
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x_NC: Tensor) -> Tensor:
        hidden: Tensor = self.fc2(self.activation(self.fc1(x_NC.to(self.fc1.weight.dtype))))
        return hidden


class PatchProjection(nn.Conv2d):
    """The patch embedding: a convolution's parameter [C, 3, p, p], applied as a linear map to patches.

    A convolution whose stride is its kernel is a linear map of each flattened (channel, y, x) patch. As such it
    embeds exactly the patches it is given, wherever they come from.
    """

    def forward(self, patches_ND: Tensor) -> Tensor:
        return functional.linear(patches_ND.to(self.weight.dtype), self.weight.flatten(1), self.bias)


class PatchEmbeddings(nn.Module):
    """Holds the projection under the name published checkpoints give it, and the map of places where there is one."""

    def __init__(self, config: OneVisionEncoderConfig) -> None:
        super().__init__()
        p = config.patch_size
        self.patch_embedding = PatchProjection(
            config.num_channels, config.hidden_size, kernel_size=p, stride=p, bias=False
        )
        self.place_embedding = PlaceEmbedding(config) if config.place_waves else None

    def forward(self, patches_ND: Tensor, positions_N3: Tensor) -> Tensor:
        embedded: Tensor = self.patch_embedding(patches_ND)
        return embedded if self.place_embedding is None else embedded + self.place_embedding(positions_N3)
