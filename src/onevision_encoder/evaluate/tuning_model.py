"""An encoder with a classifier on it, and how the tokens of a set become its input.

Axes: N tokens, S clips, C width, M classes, D = 3*p*p, P = p*p, 3 = RGB or (t, h, w).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.evaluate.heads import AttentiveHead, mean_of_clips
from onevision_encoder.evaluate.token_sets import TokenSet
from onevision_encoder.evaluate.tuning_config import SMALLEST, Augmentation, Pool, TuneConfig
from onevision_encoder.model import PRESETS, OneVisionEncoderConfig, OneVisionEncoderModel, normalize_patches
from onevision_encoder.model.attention import attention_for_training

MakeEncoder = Callable[[], OneVisionEncoderModel]
"""Makes the encoder that is to be trained; it may draw from torch's random state, which is seeded before."""
NOISE_SD, DROP_SHARE, GAIN, OFFSET, SHIFT = 5.0, 0.1, 0.2, 20.0, 4
"""Strength of the augmentations: grey levels, a share of the tokens, a factor of 1 +- GAIN, grey levels, patches."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TuningInput:
    """What the encoder is given for some clips: normalised pixels, RoPE positions, bounds."""

    x_ND: Tensor
    positions_N3: Tensor
    cu_seqlens: list[int]


def scratch_encoder(config: TuneConfig, patch: int) -> OneVisionEncoderModel:
    """A fresh encoder for patches of ``patch`` pixels, its weights drawn from torch's random state.

    Raises:
        InvalidArgumentError, ShapeError: no such preset, or sizes that do not fit each other.
    """
    if config.preset not in SMALLEST | PRESETS:
        raise InvalidArgumentError("preset", config.preset, f"one of {tuple(SMALLEST | PRESETS)}")
    width, layers, heads = (SMALLEST | PRESETS)[config.preset]
    width = config.width or width
    given: dict[str, Any] = {"hidden_size": width, "intermediate_size": 4 * width}
    given |= {"num_hidden_layers": config.layers or layers, "num_attention_heads": config.heads or heads}
    given |= {"rope_mode": config.rope_mode, "rope_theta": config.rope_theta, "initializer_range": config.init_std}
    given |= {"place_waves": config.place_waves, "place_std": config.place_std}
    return OneVisionEncoderModel(OneVisionEncoderConfig(patch_size=patch, use_head=config.pool == "head", **given))


class Classifier(nn.Module):
    """Linear(LayerNorm(what ``pool`` makes of the tokens)); weights truncated normal of sd 0.01, biases 0."""

    def __init__(self, encoder: OneVisionEncoderModel, num_classes: int, pool: Pool) -> None:
        super().__init__()
        width = int(encoder.config.hidden_size)
        if pool == "head" and encoder.head is None:
            raise InvalidArgumentError("pool", pool, "mean or attentive: this encoder has no pooling head")
        self.pool, self.encoder = pool, encoder
        self.head: nn.Module
        if pool == "attentive":
            self.head = AttentiveHead(width, num_classes)
            return
        linear = nn.Linear(width, num_classes)
        nn.init.trunc_normal_(linear.weight, std=0.01)
        nn.init.zeros_(linear.bias)
        self.head = nn.Sequential(nn.LayerNorm(width), linear)

    def forward(self, given: TuningInput) -> Tensor:
        """Logits float32 [S, M]."""
        out = self.encoder(given.x_ND, patch_positions=given.positions_N3, cu_seqlens=given.cu_seqlens)
        with torch.autocast(given.x_ND.device.type, enabled=False):  # the classifier is float32
            if self.pool == "head":
                logits: Tensor = self.head(out.pooler_output.float())
            elif self.pool == "attentive":
                logits = self.head(out.last_hidden_state.float(), given.cu_seqlens)
            else:
                logits = self.head(mean_of_clips(out.last_hidden_state.float(), given.cu_seqlens))
        return logits


def tuning_input(
    tokens: TokenSet, indices: NDArray[np.int64], device: torch.device, change: Augment | None = None
) -> tuple[TuningInput, NDArray[np.int64]]:
    """(input, order): these clips sorted by length, because neighbours of one length are one batched call of attention.

    ``order``: clip i of the input is ``indices[order[i]]``. No pixel is copied twice; no ClipInfo is looked at.
    """
    order: NDArray[np.int64] = np.argsort(tokens.lengths_S[indices], kind="stable")
    sorted_S = indices[order]
    rows, lengths = tokens.rows(sorted_S), tokens.lengths_S[sorted_S]
    if change is not None:
        rows, lengths = change.kept(rows, lengths)
    patches = torch.from_numpy(np.array(tokens.patches_ND[rows])).to(device)
    places = np.array(tokens.model_positions_N3[rows])
    positions = torch.from_numpy(places if change is None else change.positions(places, lengths)).to(device)
    x_ND = normalize_patches(patches) if change is None else change.pixels(patches, lengths)
    bounds = [0, *np.cumsum(lengths).tolist()]
    return TuningInput(x_ND=x_ND, positions_N3=positions, cu_seqlens=bounds), order


@dataclass(frozen=True, kw_only=True, eq=False)
class Augment:
    """What happens to the clips of one step, drawn from ``generator`` on the CPU."""

    kinds: Sequence[Augmentation]
    generator: np.random.Generator

    def kept(self, rows: NDArray[np.int64], lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows and lengths without the tokens that are dropped: of each clip the same share, at least one is kept."""
        if "drop" not in self.kinds:
            return rows, lengths
        stay = np.maximum(1, lengths - np.floor(DROP_SHARE * lengths).astype(np.int64))
        first = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        parts = [
            rows[start + np.sort(self.generator.permutation(length)[:count])]
            for start, length, count in zip(first, lengths, stay, strict=True)
        ]
        return np.concatenate(parts), stay

    def positions(self, positions_N3: NDArray[np.float32], lengths: NDArray[np.int64]) -> NDArray[np.float32]:
        """(t, h, w) with each clip moved as a whole by whole patches."""
        if "shift" not in self.kinds:
            return positions_N3
        moved_S3 = np.zeros((len(lengths), 3), np.float32)
        moved_S3[:, 1:] = self.generator.integers(-SHIFT, SHIFT + 1, (len(lengths), 2))
        return positions_N3 + np.repeat(moved_S3, lengths, 0)

    def pixels(self, patches_ND: Tensor, lengths: NDArray[np.int64]) -> Tensor:
        """Normalised float32 pixels; colours change alike in a whole clip, so that motion stays what it was."""
        if not {"colour", "noise"} & set(self.kinds):
            return normalize_patches(patches_ND)
        x_N3P = torch.unflatten(patches_ND.float(), 1, (3, -1))
        if "colour" in self.kinds:
            draw_2S3 = self.generator.uniform(-1, 1, (2, len(lengths), 3))
            gain, offset = (
                np.repeat(part, lengths, 0)[..., None] for part in (1 + GAIN * draw_2S3[0], OFFSET * draw_2S3[1])
            )
            x_N3P = (x_N3P - 127.5) * _like(gain, x_N3P) + 127.5 + _like(offset, x_N3P)
        if "noise" in self.kinds:
            x_N3P = x_N3P + _like(self.generator.standard_normal(x_N3P.shape, np.float32) * NOISE_SD, x_N3P)
        return normalize_patches(x_N3P.clamp(0, 255).round().to(torch.uint8).flatten(1))


def _like(array: NDArray[Any], x: Tensor) -> Tensor:
    return torch.as_tensor(array, dtype=x.dtype, device=x.device)


def check_patch(encoder: OneVisionEncoderModel, tokens: TokenSet) -> None:
    """Raise ShapeError where the tokens are not of the encoder's patch size."""
    if encoder.config.patch_size != tokens.patch:
        raise ShapeError("patch size of the tokens", tokens.patch, f"{encoder.config.patch_size}, the encoder's")


def attention_for(config: TuneConfig, tokens: TokenSet, device: torch.device) -> str:
    """Name of the attention implementation that ``config.attention`` stands for."""
    low, longest = config.precision == "bfloat16", int(tokens.lengths_S.max())
    return attention_for_training(config.attention, device=device, bfloat16=low, longest=longest)
