"""Every way transformers has to make and load the model, judged by what it then computes."""

from __future__ import annotations

import importlib.util
import json

import pytest
import torch
from encoders import random_pack, scaled_model, small_config
from safetensors.torch import load_file

from onevision_encoder.model import OneVisionEncoderModel, load_encoder

HAS_ACCELERATE = importlib.util.find_spec("accelerate") is not None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("checkpoint")
    scaled_model(rope_mode="rotary").save_pretrained(place)
    return place


def outputs(model):
    patches, positions, bounds = random_pack([9, 4, 4])
    with torch.inference_mode():
        output = model.eval()(patches, patch_positions=positions, cu_seqlens=bounds)
    return output.last_hidden_state, output.pooler_output


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(outputs(one), outputs(other), strict=True))


def test_shards(tmp_path):
    model = scaled_model()
    model.save_pretrained(tmp_path, max_shard_size="200KB")
    assert len(list(tmp_path.glob("model-*-of-*.safetensors"))) > 2
    assert not (tmp_path / "model.safetensors").exists()
    assert same(OneVisionEncoderModel.from_pretrained(tmp_path, dtype=torch.float32), model)
    assert same(load_encoder(tmp_path, dtype="float32", device="cpu").model, model)


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16])
def test_dtypes(tmp_path, name, stored):
    model = scaled_model().to(stored)
    model.save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors")["head.probe"].dtype == stored
    for asked in (torch.float32, torch.bfloat16, "auto"):
        loaded = OneVisionEncoderModel.from_pretrained(tmp_path, **{name: asked})
        assert loaded.dtype == (stored if asked == "auto" else asked)
        assert same(loaded, scaled_model().to(stored).to(loaded.dtype))


@pytest.mark.parametrize("place", ["cpu", "auto", {"": "cpu"}])
def test_device_map(folder, place):
    if not HAS_ACCELERATE:
        with pytest.raises((ImportError, ValueError), match="accelerate"):
            OneVisionEncoderModel.from_pretrained(folder, device_map=place)
        return
    loaded = OneVisionEncoderModel.from_pretrained(folder, device_map=place, dtype=torch.float32)
    whole = OneVisionEncoderModel.from_pretrained(folder, dtype=torch.float32).to(loaded.device)
    if loaded.device.type == "cpu":
        assert same(loaded, whole)


@pytest.mark.skipif(not HAS_ACCELERATE, reason="needs accelerate, of the extra dev")
def test_weights_offloaded_to_disk(folder, tmp_path):
    """accelerate hooks every block: the model must call them, in tiles or not."""
    places = {"embeddings": "cpu", "layernorm_pre": "cpu", "layernorm_post": "cpu", "head": "cpu"}
    places |= {"encoder.layers.0": "cpu", "encoder.layers.1": "disk"}
    loaded = OneVisionEncoderModel.from_pretrained(
        folder, device_map=places, offload_folder=tmp_path, dtype=torch.float32
    )
    assert loaded.encoder.layers[1].mlp.fc1.weight.device.type == "meta"
    whole = OneVisionEncoderModel.from_pretrained(folder, dtype=torch.float32)
    for mine, theirs in zip(outputs(loaded), outputs(whole), strict=True):
        assert (mine - theirs).abs().max() < 1e-5


def on_meta():
    with torch.device("meta"):
        return OneVisionEncoderModel(small_config(rope_mode="rotary"))


def emptied():
    from accelerate import init_empty_weights

    with init_empty_weights():
        return OneVisionEncoderModel(small_config(rope_mode="rotary"))


@pytest.mark.parametrize(
    "make",
    [on_meta, pytest.param(emptied, marks=pytest.mark.skipif(not HAS_ACCELERATE, reason="needs accelerate"))],
)
def test_meta_device_then_weights(folder, make):
    model = make()
    assert {p.device.type for p in model.parameters()} == {"meta"}
    model.to_empty(device="cpu")
    model.load_state_dict(load_file(folder / "model.safetensors"))
    assert same(model, scaled_model(rope_mode="rotary"))


def test_shapes_on_the_meta_device():
    model = on_meta()
    patches, positions, bounds = random_pack([9, 4, 4])
    output = model(patches.to("meta"), patch_positions=positions.to("meta"), cu_seqlens=bounds.tolist())
    assert output.last_hidden_state.shape == (17, 128)
    assert output.pooler_output.shape == (3, 128)
    assert output.pooler_output.device.type == "meta"


def test_initial_weights_after_meta(tmp_path):
    """What from_pretrained does inside: no tensor of a model may stay uninitialised memory."""
    config = small_config(initializer_range=0.05)
    scaled_model().save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config.to_dict()))
    loaded = OneVisionEncoderModel.from_pretrained(tmp_path, dtype=torch.float32)
    assert same(loaded, scaled_model(initializer_range=0.05))


def test_no_remote_code_is_named_on_save(tmp_path):
    model = scaled_model()
    model.config.auto_map = {"AutoModel": "modeling_onevision_encoder.OneVisionEncoderModel"}
    model.save_pretrained(tmp_path)
    assert "auto_map" not in (tmp_path / "config.json").read_text()
    assert not list(tmp_path.glob("*.py"))
    assert same(OneVisionEncoderModel.from_pretrained(tmp_path, dtype=torch.float32), model)
