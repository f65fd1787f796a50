"""Absolute places: the formula, that the published model has none, and what they are for."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from onevision_encoder.errors import CheckpointError, InvalidArgumentError
from onevision_encoder.model import OneVisionEncoderModel, preset_config
from onevision_encoder.model.foreign_config import write_config


def tiny(**options: object) -> OneVisionEncoderModel:
    torch.manual_seed(0)
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 2}
    return OneVisionEncoderModel(preset_config("tiny", **sizes, **options)).eval()


def pack() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(0)
    patches = torch.from_numpy(rng.standard_normal((20, 588), np.float32))
    positions = torch.from_numpy(rng.integers(0, (64, 16, 16), (20, 3)))
    return patches, positions


def test_the_published_model_has_no_places() -> None:
    assert not [name for name in tiny().state_dict() if "place" in name]


def test_places_are_the_stated_waves_through_the_map() -> None:
    model = tiny(place_waves=3, place_size=(10, 5, 4))
    patches_ND, positions_N3 = pack()
    weight = model.embeddings.place_embedding.weight.detach().numpy().astype(np.float64)
    want = []
    for row in positions_N3.tolist():
        angles = [math.pi * k * p / size for p, size in zip(row, (10, 5, 4), strict=True) for k in (1, 2, 3)]
        want.append(weight @ np.array([math.sin(a) for a in angles] + [math.cos(a) for a in angles]))
    with torch.no_grad():
        plain = model.embeddings.patch_embedding(patches_ND)
        got = model.embeddings(patches_ND, positions_N3) - plain
    np.testing.assert_allclose(got.numpy(), np.array(want), atol=2e-5)


def test_alike_patches_tell_where_they_are_only_with_places() -> None:
    """Attention weights sum to one: with equal contents, RoPE alone gives the same output wherever the patches are."""
    one = torch.randn(1, 588, generator=torch.Generator().manual_seed(0)).expand(12, 588)
    _, positions_N3 = pack()
    for places in (0, 4):
        model = tiny(place_waves=places)
        with torch.no_grad():
            here = model(one, patch_positions=positions_N3[:12]).pooler_output
            there = model(one, patch_positions=positions_N3[8:]).pooler_output
        moved = (here - there).abs().max().item()
        assert (moved > 1e-2) == bool(places), moved


def test_windows_and_clips_keep_their_places() -> None:
    """Windowed tokens are sorted inside; two clips in a pack are what each is alone."""
    patches_ND, positions_N3 = pack()
    positions_N3 = positions_N3.sort(0).values
    for options in ({}, {"window_frames": 8}):
        model = tiny(place_waves=4, **options)
        with torch.no_grad():
            both = model(patches_ND, patch_positions=positions_N3, cu_seqlens=[0, 12, 20]).last_hidden_state
            last = model(patches_ND[12:], patch_positions=positions_N3[12:]).last_hidden_state
        torch.testing.assert_close(both[12:], last, atol=1e-5, rtol=1e-5)


def test_saved_and_loaded_places_are_the_same_bits(tmp_path: Path) -> None:
    model = tiny(place_waves=5, place_size=(32, 8, 8), place_std=0.3)
    model.save_pretrained(tmp_path)
    again = OneVisionEncoderModel.from_pretrained(tmp_path).eval()
    patches_ND, positions_N3 = pack()
    with torch.no_grad():
        same = [m(patches_ND, patch_positions=positions_N3).pooler_output for m in (model, again)]
    assert torch.equal(*same)
    assert again.config.place_size == [32, 8, 8]


def test_first_weights_have_the_stated_spread() -> None:
    weight = tiny(place_waves=16, place_std=0.5).embeddings.place_embedding.weight
    assert abs(weight.std().item() - 0.5) < 0.03


@pytest.mark.parametrize(
    "wrong", [{"place_waves": -1}, {"place_waves": 1.5}, {"place_size": (1, 2)}, {"place_size": (1, 2, 0)}]
)
def test_values_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
        preset_config("tiny", **wrong)


def test_no_other_layout_has_places() -> None:
    with pytest.raises(CheckpointError, match="place_waves=4"):
        write_config("model", preset_config("tiny", place_waves=4), "original")
