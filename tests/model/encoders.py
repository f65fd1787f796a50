"""Small encoders whose weights are large enough for every part to show in the output."""

from __future__ import annotations

import warnings

import torch

from onevision_encoder.errors import RandomWeightsWarning
from onevision_encoder.model import LoadedEncoder, OneVisionEncoderConfig, OneVisionEncoderModel, load_encoder


def small_config(**overrides) -> OneVisionEncoderConfig:
    fields = {
        "hidden_size": 128,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "patch_size": 4,
    }
    return OneVisionEncoderConfig(**(fields | overrides))


def scaled_model(seed: int = 0, config: OneVisionEncoderConfig | None = None, **overrides) -> OneVisionEncoderModel:
    """With initial weights attention is nearly uniform and RoPE all but invisible: draw wider ones."""
    model = OneVisionEncoderModel(config or small_config(**overrides)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if name.endswith("weight") and parameter.ndim == 1:
                parameter.copy_(1 + 0.1 * noise)
            else:
                parameter.copy_((0.2 if "q_proj" in name or "k_proj" in name else 0.1) * noise)
    return model


def random_pack(lengths, patch: int = 4, seed: int = 1):
    """Patches, float positions and bounds of clips of the given lengths."""
    generator = torch.Generator().manual_seed(seed)
    N = sum(lengths)
    patches = torch.randn(N, 3 * patch * patch, generator=generator)
    positions = torch.rand(N, 3, generator=generator) * torch.tensor([63.0, 15.0, 15.0])
    bounds = torch.tensor([0, *lengths]).cumsum(0)
    return patches, positions, bounds


def quiet_encoder(preset: str, **options) -> LoadedEncoder:
    """A preset for tests that know its weights are random."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RandomWeightsWarning)
        return load_encoder(preset, **options)
