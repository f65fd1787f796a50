"""Layouts of weights: bits are kept both ways, and what is converted computes the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from encoders import scaled_model
from ov2_reference import Tower, block_order, random_tower, vision_config, window_bounds
from safetensors.torch import load_file, save_file

from onevision_encoder.errors import CheckpointError, InvalidArgumentError, WriteError
from onevision_encoder.model import (
    OneVisionEncoderModel,
    convert_checkpoint,
    load_encoder,
    preset_config,
    read_weights,
)

CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def write_vlm(
    folder: Path, prefix: str = "model.visual.", shards: int = 3, **config: object
) -> dict[str, torch.Tensor]:
    """A model with an LLM around the tower, in shards; returns the tower's tensors."""
    tower = random_tower()
    llm = {
        "model.language_model.embed_tokens.weight": torch.ones(50, 96),
        "model.language_model.layers.0.self_attn.q_proj.weight": torch.ones(96, 96),
        "model.language_model.layers.0.mlp.up_proj.weight": torch.ones(4000, 2000),
        "lm_head.weight": torch.ones(50, 96),
    }
    everything = {**llm, **{prefix + name: tensor for name, tensor in tower.items()}}
    names = sorted(everything)
    index = {}
    folder.mkdir()
    for i in range(shards):
        file = f"model-{i + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: everything[name] for name in names[i::shards]}
        save_file(part, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    whole = {"model_type": "llava_onevision2", "text_config": {"model_type": "qwen3"}, "vision_config": vision_config()}
    (folder / "config.json").write_text(json.dumps(whole | config))
    return tower


def canvases(count: int, h: int, w: int, side: int, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Patches and positions of packed canvases in block order: blocks of many frames, whole blocks at a time."""
    generator = torch.Generator().manual_seed(seed)
    blocks = count * (h // side) * (w // side)
    t = torch.randint(0, 900, (blocks,), generator=generator).sort().values
    row = torch.randint(0, h // side, (blocks,), generator=generator) * side
    column = torch.randint(0, w // side, (blocks,), generator=generator) * side
    inside = [(dy, dx) for dy in range(side) for dx in range(side)]
    positions = [[t[b], row[b] + dy, column[b] + dx] for b in range(blocks) for dy, dx in inside]
    patches = torch.randn(len(positions), 48, generator=generator)
    return patches, torch.tensor(positions)


@pytest.mark.parametrize("side", [2, 3])
@pytest.mark.parametrize("prefix", ["model.visual.", "visual.", "module._orig_mod.vision_tower."])
def test_a_converted_tower_computes_the_same(tmp_path: Path, side: int, prefix: str) -> None:
    tower = write_vlm(tmp_path / "vlm", prefix)
    report = convert_checkpoint(tmp_path / "vlm", tmp_path / "ours")
    model = OneVisionEncoderModel.from_pretrained(tmp_path / "ours").eval()
    assert model.config.window_frames == 4
    assert model.head is None
    assert report.left_out["merger"] == 6

    h, w = 2 * side, 3 * side
    patches, positions = canvases(6, h, w, side)
    bounds = window_bounds(6, h * w, 4)
    expected = Tower(tower, heads=2)(patches, positions, bounds)
    with torch.no_grad():
        got = model(patches, patch_positions=positions, window_cu_seqlens=bounds).last_hidden_state
        unseen = model(patches, patch_positions=positions, window_cu_seqlens=[0, len(patches)]).last_hidden_state
        model.config.window_frames = None
        apart = model(patches, patch_positions=positions, cu_seqlens=bounds).last_hidden_state
    torch.testing.assert_close(got, expected, **CLOSE)
    torch.testing.assert_close(apart, expected, **CLOSE)
    assert (unseen - expected).abs().max() > 0.01, "the windows must matter, or this test sees nothing"


@pytest.mark.parametrize("side", [2, 3])
def test_whole_frames_need_no_bounds(tmp_path: Path, side: int) -> None:
    """Frames of one clip in block order: config.window_frames says where attention ends, as grid_thw does there."""
    tower = write_vlm(tmp_path / "vlm")
    convert_checkpoint(tmp_path / "vlm", tmp_path / "ours")
    model = OneVisionEncoderModel.from_pretrained(tmp_path / "ours").eval()
    T, h, w = 6, side, 2 * side
    video = torch.randn(1, 3, T, 4 * h, 4 * w, generator=torch.Generator().manual_seed(1))
    patches = video[0].reshape(3, T, h, 4, w, 4).permute(1, 2, 4, 0, 3, 5).reshape(T * h * w, 48)
    raster = torch.cartesian_prod(torch.arange(T), torch.arange(h), torch.arange(w))
    order = block_order(T, h, w, side)
    expected = Tower(tower, heads=2)(patches[order], raster[order], window_bounds(T, h * w, 4))
    with torch.no_grad():
        dense = model(video).last_hidden_state[0]
        packed = model(patches[order], patch_positions=raster[order]).last_hidden_state
    torch.testing.assert_close(dense[order], expected, **CLOSE)
    torch.testing.assert_close(packed, expected, **CLOSE)


@pytest.mark.parametrize("to", ["ov2", "mage"])
def test_our_encoder_as_a_tower_computes_the_same(tmp_path: Path, to: str) -> None:
    model = scaled_model(use_head=False, window_frames=4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and "q_proj" not in name and "k_proj" not in name:
                parameter.mul_(0.4)  # outputs of size 1
    model.save_pretrained(tmp_path / "ours")
    convert_checkpoint(tmp_path / "ours", tmp_path / "tower", to=to, prefix="visual.")  # type: ignore[arg-type]
    stored = load_file(tmp_path / "tower" / "model.safetensors")
    tower = {name.removeprefix("visual."): tensor for name, tensor in stored.items()}
    assert all(name.startswith("visual.") for name in stored)
    patches, positions = canvases(5, 4, 4, 2)
    bounds = window_bounds(5, 16, 4)
    with torch.no_grad():
        ours = model(patches, patch_positions=positions, window_cu_seqlens=bounds).last_hidden_state
    torch.testing.assert_close(ours, Tower(tower, heads=2)(patches, positions, bounds), **CLOSE)
    config = json.loads((tmp_path / "tower" / "config.json").read_text())
    assert config["frame_windows_size"] == 4
    assert config["use_head"] is False


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_there_and_back_keeps_every_bit(tmp_path: Path, dtype: torch.dtype) -> None:
    model = scaled_model(use_head=False).to(dtype)
    model.save_pretrained(tmp_path / "a")
    for number, to in enumerate(("ov2", "ours", "original", "mage", "ours")):
        source, target = tmp_path / ("a" if number == 0 else str(number - 1)), tmp_path / str(number)
        convert_checkpoint(source, target, to=to)  # type: ignore[arg-type]
    first, last = (load_file(tmp_path / name / "model.safetensors") for name in ("a", "4"))
    assert first.keys() == last.keys()
    assert all(last[name].dtype == dtype and torch.equal(last[name], first[name]) for name in first)


def test_a_tower_comes_back_bit_for_bit(tmp_path: Path) -> None:
    tower = write_vlm(tmp_path / "vlm")
    convert_checkpoint(tmp_path / "vlm", tmp_path / "ours")
    convert_checkpoint(tmp_path / "ours", tmp_path / "tower", to="ov2")
    back = load_file(tmp_path / "tower" / "model.safetensors")
    assert back.keys() == {name for name in tower if not name.startswith("merger.")}
    assert all(torch.equal(back[name], tower[name]) for name in back)


def test_the_head_is_left_out_and_said_to_be(tmp_path: Path) -> None:
    (model := scaled_model()).save_pretrained(tmp_path / "ours")
    report = convert_checkpoint(tmp_path / "ours", tmp_path / "tower", to="ov2")
    heads = [name for name in model.state_dict() if name.startswith("head.")]
    assert report.left_out == {"pooling head": len(heads), "layernorm_post": 2}
    assert any("last_hidden_state differs" in note for note in report.notes)
    assert report.found == "ours"
    assert json.loads((tmp_path / "tower" / "conversion.json").read_text())["left_out"] == dict(report.left_out)


def test_names_and_shapes_of_a_published_tower(tmp_path: Path) -> None:
    """297 tensors with the merger's six, as counted in the published Mage-VL index; patch 16, 24 blocks."""
    with torch.device("meta"):
        model = OneVisionEncoderModel(preset_config("large", use_head=False, patch_size=16, window_frames=4))
    from onevision_encoder.model.layouts import to_fused, to_ours

    state = {name: torch.empty(tensor.shape, device="meta") for name, tensor in model.state_dict().items()}
    tower = to_fused(state)
    assert len(tower) + 6 == 297
    assert tower["encoder.layers.23.self_attn.qkv.weight"].shape == (3072, 1024)
    assert tower["encoder.layers.0.self_attn.proj.bias"].shape == (1024,)
    assert tower["embeddings.patch_embedding.weight"].shape == (1024, 3, 16, 16)
    assert {name: tensor.shape for name, tensor in to_ours(tower.items())} == {n: t.shape for n, t in state.items()}


def test_mage_is_recognised(tmp_path: Path) -> None:
    write_vlm(tmp_path / "mage", model_type="mage_vl", vision_config=vision_config(model_type="mage_vl_vision"))
    (tmp_path / "mage" / "streammind_gate.safetensors").write_bytes(b"not in the index, never opened")
    report = convert_checkpoint(tmp_path / "mage", tmp_path / "ours")
    assert (report.found, report.prefix) == ("mage", "model.visual.")
    assert report.left_out == {"lm_head": 1, "merger": 6, "model.language_model": 3}
    assert load_encoder(tmp_path / "ours", dtype="float32").model.config.window_frames == 4


def test_only_the_tower_is_read(tmp_path: Path) -> None:
    """The language model never comes in: shards are mapped, and tensors asked for one by one."""
    write_vlm(tmp_path / "vlm")
    asked = []
    from onevision_encoder.model import weight_files

    original = weight_files.SafetensorsWeights.tensor
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            weight_files.SafetensorsWeights,
            "tensor",
            lambda self, name: (asked.append(name), original(self, name))[1],
        )
        read_weights(tmp_path / "vlm")
    assert asked
    assert all(name.startswith("model.visual.") and ".merger." not in name for name in asked)


@pytest.mark.parametrize("envelope", [None, "state_dict", "model"])
def test_training_checkpoints(tmp_path: Path, envelope: str | None) -> None:
    """backbone.pt of a compiled DDP run: prefixes on every name, no config.json."""
    model = OneVisionEncoderModel(preset_config("tiny")).eval()
    state = {f"module._orig_mod.{name}": tensor for name, tensor in model.state_dict().items()}
    state["module._orig_mod.video_rope.inv_freq_t"] = torch.ones(4)
    torch.save({envelope: state, "step": 7} if envelope else state, tmp_path / "backbone.pt")
    report = convert_checkpoint(tmp_path / "backbone.pt", tmp_path / "ours")
    assert report.left_out == {"computed buffers": 1}
    assert "preset 'tiny'" in report.notes[0]
    back = load_encoder(tmp_path / "ours", dtype="float32").model
    assert all(torch.equal(back.state_dict()[name], tensor) for name, tensor in model.state_dict().items())


def test_towers_with_separate_q_k_v(tmp_path: Path) -> None:
    """Earlier code of LLaVA-OneVision-2 had the original's names under the same configuration."""
    model = scaled_model(use_head=False)
    state = {f"visual.{name}": tensor.clone() for name, tensor in model.state_dict().items()}
    (tmp_path / "early").mkdir()
    save_file(state, tmp_path / "early" / "model.safetensors")
    config = {"model_type": "llava_onevision2", "vision_config": vision_config(frame_windows_size=0)}
    (tmp_path / "early" / "config.json").write_text(json.dumps(config))
    weights = read_weights(tmp_path / "early")
    assert (weights.layout, weights.config.window_frames) == ("ov2", None)
    assert all(torch.equal(weights.state[name], tensor) for name, tensor in model.state_dict().items())


def test_a_model_of_another_family_wants_the_encoders_own_config(tmp_path: Path) -> None:
    """The original's language models keep the tower under model.vision_tower and do not describe it."""
    model = scaled_model()
    place = tmp_path / "llava"
    place.mkdir()
    save_file(
        {f"model.vision_tower.vision_tower.{n}": t.clone() for n, t in model.state_dict().items()},
        place / "model.safetensors",
    )
    (place / "config.json").write_text(json.dumps({"model_type": "llava_qwen3", "hidden_size": 2560}))
    with pytest.raises(CheckpointError, match=r"llava_qwen3.*--config"):
        read_weights(place)
    model.config.save_pretrained(tmp_path / "own")
    back = read_weights(place, config=tmp_path / "own" / "config.json").model()
    assert all(torch.equal(back.state_dict()[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("vision_config", [1]),
        ("num_attention_heads", "two"),
        ("num_attention_heads", 0),
        ("num_attention_heads", None),
        ("hidden_act", "swish-like"),
        ("frame_windows_size", "4"),
        ("rope_theta", None),
        ("layer_norm_type", 3),
        ("use_head", True),
    ],
)
def test_configurations_that_make_no_sense(tmp_path: Path, field: str, value: object) -> None:
    whole = {"vision_config": value} if field == "vision_config" else {"vision_config": vision_config(**{field: value})}
    write_vlm(tmp_path / "vlm", **whole)
    with pytest.raises((CheckpointError, InvalidArgumentError)):
        read_weights(tmp_path / "vlm")


def test_wrappers_inside_names(tmp_path: Path) -> None:
    model = scaled_model()
    state = {
        name.replace("encoder.layers.1.", "encoder.layers.1._checkpoint_wrapped_module."): tensor
        for name, tensor in model.state_dict().items()
    }
    torch.save(state, tmp_path / "run.pt")
    model.config.save_pretrained(tmp_path)
    back = read_weights(tmp_path / "run.pt").model()
    assert all(torch.equal(back.state_dict()[name], tensor) for name, tensor in model.state_dict().items())


def test_a_linear_patch_embedding_is_the_convolution(tmp_path: Path) -> None:
    model = scaled_model(use_head=False)
    state = dict(model.state_dict())
    state["embeddings.patch_embedding.weight"] = state["embeddings.patch_embedding.weight"].flatten(1)
    torch.save(state, tmp_path / "linear.pt")
    model.config.save_pretrained(tmp_path)
    back = read_weights(tmp_path / "linear.pt").model()
    patches, positions = canvases(2, 4, 4, 2)
    with torch.no_grad():
        ours, theirs = (m(patches, patch_positions=positions).last_hidden_state for m in (model, back))
    assert torch.equal(ours, theirs)


def test_pickled_code_is_not_run(tmp_path: Path) -> None:
    class Boom:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "boom",))  # type: ignore[return-value]

    torch.save({"embeddings.patch_embedding.weight": torch.ones(4, 12), "x": Boom()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match="not opened"):
        read_weights(tmp_path / "evil.pt")
    assert not (tmp_path / "boom").exists()


def test_what_the_configuration_does_not_say_is_noted(tmp_path: Path) -> None:
    fields = vision_config()
    for name in ("frame_windows_size", "hidden_size", "rope_theta", "hidden_act"):
        del fields[name]
    write_vlm(tmp_path / "vlm", vision_config=fields | {"rope_parameters": {"rope_theta": 5000.0}})
    report = convert_checkpoint(tmp_path / "vlm", tmp_path / "ours")
    notes = "\n".join(report.notes)
    for name in ("frame_windows_size", "hidden_size", "hidden_act"):
        assert f"does not say {name}" in notes
    assert "1e-5 (1e-4 before the first block)" in notes
    config = OneVisionEncoderModel.from_pretrained(tmp_path / "ours").config
    assert (config.rope_theta, config.window_frames, config.hidden_size) == (5000.0, 4, 128)


def spoil(folder: Path, how: str) -> None:
    file = folder / "model.safetensors"
    state = load_file(file)
    config = json.loads((folder / "config.json").read_text())
    if how == "missing tensor":
        del state["encoder.layers.1.mlp.fc2.bias"]
    elif how == "unknown tensor":
        state["encoder.layers.0.self_attn.q_norm.weight"] = torch.ones(4)
    elif how == "no encoder":
        state = {"language.weight": torch.ones(3)}
    elif how == "two encoders":
        state |= {f"teacher.{name}": tensor.clone() for name, tensor in state.items()}
    elif how == "other shape":
        state["layernorm_pre.weight"] = torch.ones(5)
    elif how == "config of another size":
        config["intermediate_size"] = 999
    elif how == "config of something else":
        config["model_type"] = "clip"
    if how == "cut short":
        file.write_bytes(file.read_bytes()[:1000])
        return
    save_file(state, file)
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("missing tensor", "fc2.bias"),
        ("unknown tensor", "q_norm"),
        ("no encoder", "no encoder"),
        ("two encoders", "2 encoders"),
        ("other shape", "layernorm_pre"),
        ("config of another size", "intermediate_size=999"),
        ("config of something else", "clip"),
        ("cut short", "safetensors"),
    ],
)
def test_what_cannot_be_converted_is_named(tmp_path: Path, how: str, says: str) -> None:
    scaled_model().save_pretrained(tmp_path / "ours")
    spoil(tmp_path / "ours", how)
    with pytest.raises(CheckpointError, match=says):
        convert_checkpoint(tmp_path / "ours", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["ours"], "nothing is left behind"


def test_layouts_say_what_they_have_no_word_for(tmp_path: Path) -> None:
    scaled_model(rope_mode="rotary").save_pretrained(tmp_path / "rotary")
    scaled_model(window_frames=4).save_pretrained(tmp_path / "windows")
    with pytest.raises(CheckpointError, match="rope_mode='rotary'"):
        convert_checkpoint(tmp_path / "rotary", tmp_path / "out", to="ov2")
    with pytest.raises(CheckpointError, match="window_frames=4"):
        convert_checkpoint(tmp_path / "windows", tmp_path / "out", to="original")
    with pytest.raises(InvalidArgumentError, match="prefix"):
        convert_checkpoint(tmp_path / "windows", tmp_path / "out", prefix="visual.")
    with pytest.raises(InvalidArgumentError, match="one of"):
        convert_checkpoint(tmp_path / "windows", tmp_path / "out", to="onnx")  # type: ignore[arg-type]
    with pytest.raises(WriteError, match="exists"):
        convert_checkpoint(tmp_path / "windows", tmp_path / "rotary")
    assert not (tmp_path / "out").exists()


def test_no_such_source(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file or folder"):
        read_weights(tmp_path / "absent")
    with pytest.raises(CheckpointError, match="no weights"):
        read_weights(tmp_path)
    write_vlm(tmp_path / "vlm")
    (tmp_path / "vlm" / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match="model-00002-of-00003"):
        read_weights(tmp_path / "vlm")


def test_a_mixed_file_loads_in_its_widest_dtype(tmp_path: Path) -> None:
    state = {n: t.bfloat16() if "mlp" in n else t for n, t in scaled_model(use_head=False).state_dict().items()}
    torch.save(state, tmp_path / "mixed.pt")
    scaled_model(use_head=False).config.save_pretrained(tmp_path)
    report = convert_checkpoint(tmp_path / "mixed.pt", tmp_path / "ours")
    assert set(report.dtypes) == {"bfloat16", "float32"}
    stored = load_file(tmp_path / "ours" / "model.safetensors")
    assert all(
        stored[name].dtype == tensor.dtype and torch.equal(stored[name], tensor) for name, tensor in state.items()
    )
