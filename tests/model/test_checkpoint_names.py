"""Names, shapes and sizes of the published checkpoints; configuration files; initial weights; round trips."""

from __future__ import annotations

import json

import pytest
import torch
from encoders import scaled_model, small_config
from safetensors.torch import load_file, save_file
from torch import nn

from onevision_encoder.errors import CheckpointError
from onevision_encoder.model import (
    PRESETS,
    OneVisionEncoderConfig,
    OneVisionEncoderModel,
    preset_config,
)


def published_names(C, M, layers, p=14):
    """Name -> shape, written out from the published files' layout."""
    names = {"embeddings.patch_embedding.weight": (C, 3, p, p)}

    def linear(name, rows, columns):
        names[f"{name}.weight"], names[f"{name}.bias"] = (rows, columns), (rows,)

    def norm(name):
        names[f"{name}.weight"], names[f"{name}.bias"] = (C,), (C,)

    norm("layernorm_pre")
    for i in range(layers):
        layer = f"encoder.layers.{i}"
        norm(f"{layer}.layer_norm1")
        norm(f"{layer}.layer_norm2")
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(f"{layer}.self_attn.{part}", C, C)
        linear(f"{layer}.mlp.fc1", M, C)
        linear(f"{layer}.mlp.fc2", C, M)
    norm("layernorm_post")
    names["head.probe"] = (1, 1, C)
    names["head.attention.in_proj_weight"], names["head.attention.in_proj_bias"] = (3 * C, C), (3 * C,)
    linear("head.attention.out_proj", C, C)
    names["head.norm.weight"] = (C,)
    linear("head.mlp.fc1", M, C)
    linear("head.mlp.fc2", C, M)
    return names


def test_large_is_the_published_encoder():
    with torch.device("meta"):
        model = OneVisionEncoderModel(preset_config("large"))
    names = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    assert names == published_names(1024, 4096, 24)
    assert len(names) == 399
    assert sum(p.numel() for p in model.parameters()) == 315_509_760
    assert sum(p.numel() for p in model.head.parameters()) == 12_594_176


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name):
    width, layers, heads = PRESETS[name]
    config = preset_config(name)
    assert width == 64 * heads
    with torch.device("meta"):
        model = OneVisionEncoderModel(config)
    names = {name: tuple(t.shape) for name, t in model.state_dict().items()}
    assert names == published_names(width, 4 * width, layers)
    assert preset_config(name, rope_mode="rotary").rope_mode == "rotary"


def test_there_are_no_buffers():
    assert list(scaled_model().buffers()) == []


def test_rms_norm_and_headless_names():
    names = set(scaled_model(layer_norm_type="rms_norm", use_head=False).state_dict())
    assert "encoder.layers.0.layer_norm1.bias" not in names
    assert not [name for name in names if name.startswith(("head.", "layernorm_post."))]


def test_published_config_loads_and_remote_code_is_dropped(tmp_path):
    published = {
        "architectures": ["OneVisionEncoderModel"],
        "auto_map": {"AutoConfig": "configuration_onevision_encoder.OneVisionEncoderConfig"},
        "dtype": "bfloat16",
        "hidden_size": 1024,
        "image_size": 448,
        "layer_norm_type": "layer_norm",
        "model_type": "onevision_encoder",
        "rope_theta": 10000.0,
        "transformers_version": "4.57.1",
    }
    (tmp_path / "config.json").write_text(json.dumps(published))
    config = OneVisionEncoderConfig.from_pretrained(tmp_path)
    assert config.rope_mode == "pairwise"
    assert config.rope_theta == 10000.0
    config.save_pretrained(tmp_path / "again")
    written = json.loads((tmp_path / "again" / "config.json").read_text())
    assert "auto_map" not in written
    assert written["rope_mode"] == "pairwise"
    assert OneVisionEncoderConfig.from_pretrained(tmp_path / "again").to_dict() == config.to_dict()


def test_every_construction_path_gives_sdpa(tmp_path):
    built = OneVisionEncoderModel(small_config())
    built.save_pretrained(tmp_path)
    loaded = OneVisionEncoderModel.from_pretrained(tmp_path)
    from_config = OneVisionEncoderModel._from_config(small_config())
    for model in (built, loaded, from_config):
        assert model.config._attn_implementation == "sdpa"
    assert (
        OneVisionEncoderModel.from_pretrained(tmp_path, attn_implementation="eager").config._attn_implementation
        == "eager"
    )


def test_initial_weights_cover_every_parameter():
    model = OneVisionEncoderModel(small_config(initializer_range=0.05))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(torch.nan)
    for module in model.modules():
        model._init_weights(module)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert (parameter == 0).all(), name
        elif "norm" in name:
            assert (parameter == 1).all(), name
        else:
            assert 0.04 < parameter.std() < 0.06, name
    assert isinstance(model.head.attention, nn.MultiheadAttention)


def test_input_embeddings():
    model = scaled_model()
    assert model.get_input_embeddings() is model.embeddings.patch_embedding


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_round_trip_is_bit_equal(tmp_path, dtype):
    model = scaled_model(rope_mode="rotary").to(dtype)
    model.save_pretrained(tmp_path)
    again, info = OneVisionEncoderModel.from_pretrained(tmp_path, dtype=dtype, output_loading_info=True)
    assert not info["missing_keys"]
    assert again.config.rope_mode == "rotary"
    for (name, mine), (other, theirs) in zip(model.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == other
        assert torch.equal(mine, theirs)
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        assert torch.equal(model(image).pooler_output, again.eval()(image).pooler_output)


def edit(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def test_missing_and_unexpected_tensors_are_errors(tmp_path):
    scaled_model().save_pretrained(tmp_path)
    edit(tmp_path, lambda t: t.pop("encoder.layers.1.mlp.fc2.bias"))
    with pytest.raises(CheckpointError, match=r"1 tensors are missing \(encoder.layers.1.mlp.fc2.bias\)"):
        OneVisionEncoderModel.from_pretrained(tmp_path)
    edit(tmp_path, lambda t: t.update({"encoder.layers.1.mlp.fc2.bias": torch.zeros(128), "cls_token": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=r"no place in the model \(cls_token\)"):
        OneVisionEncoderModel.from_pretrained(tmp_path)
    edit(tmp_path, lambda t: t.update({"head.extra": t.pop("cls_token")}))
    with pytest.raises(CheckpointError, match=r"no place in the model \(head.extra\)"):
        OneVisionEncoderModel.from_pretrained(tmp_path)


def test_the_head_may_be_left_out_on_purpose(tmp_path):
    model = scaled_model()
    model.save_pretrained(tmp_path)
    headless = OneVisionEncoderModel.from_pretrained(tmp_path, use_head=False, dtype=torch.float32).eval()
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    output = headless(image)
    assert output.pooler_output is None
    states = model(image, output_hidden_states=True).hidden_states
    assert torch.equal(output.last_hidden_state, states[-1])
