"""What goes wrong between two layouts: each fault is a typed error, and nothing is left under the final name."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from encoders import scaled_model
from safetensors.torch import load_file, save_file
from torch import Tensor

from onevision_encoder.errors import CheckpointError, WriteError
from onevision_encoder.model import OneVisionEncoderModel, convert, convert_checkpoint, read_weights
from onevision_encoder.model.layouts import to_ours

PATCH = "embeddings.patch_embedding.weight"


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Never written to."""
    folder = tmp_path_factory.mktemp("encoder") / "ours"
    scaled_model().save_pretrained(folder)
    return folder


@pytest.fixture
def copied(encoder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(encoder, tmp_path / "ours"))


def test_model_safetensors_is_the_one(copied: Path) -> None:
    """An average of the weights beside them never takes their place."""
    state = load_file(copied / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in state.items()}, copied / "model_ema.safetensors")
    read = read_weights(copied).state
    assert all(torch.equal(read[name], tensor) for name, tensor in state.items())
    (copied / "model.safetensors").rename(copied / "model_last.safetensors")
    with pytest.raises(CheckpointError, match=r"model_ema\.safetensors.*model_last\.safetensors"):
        read_weights(copied)
    (copied / "model_ema.safetensors").unlink()
    assert torch.equal(read_weights(copied).state[PATCH], state[PATCH])


def test_one_file_or_an_index_that_names_it(copied: Path) -> None:
    shutil.copyfile(copied / "model.safetensors", copied / "model-00001-of-00001.safetensors")
    names = list(load_file(copied / "model.safetensors"))
    index = copied / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(names, "model-00001-of-00001.safetensors")}))
    with pytest.raises(CheckpointError, match=r"both model\.safetensors and"):
        read_weights(copied)
    index.write_text(json.dumps({"weight_map": dict.fromkeys(names, "model.safetensors")}))
    assert list(read_weights(copied).state)


def test_a_full_disk_is_a_write_error(encoder: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(WriteError, match="out"):
            convert_checkpoint(encoder, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_read_back_was_not_unwritable(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("model.safetensors is not readable")

    monkeypatch.setattr(OneVisionEncoderModel, "from_pretrained", broken)
    with pytest.raises(CheckpointError, match=r"cannot be read back: .*not readable"):
        convert_checkpoint(encoder, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def _one_bit(state: dict[str, Tensor]) -> None:
    name = sorted(state)[0]
    state[name] = state[name].clone()
    state[name].view(torch.int32).view(-1)[0] ^= 1


def _sign_of_zero(state: dict[str, Tensor]) -> None:
    name = next(name for name, tensor in state.items() if (tensor == 0).any())
    state[name] = torch.where(state[name] == 0, -state[name], state[name])


def _narrower(state: dict[str, Tensor]) -> None:
    for name in list(state):
        state[name] = state[name].half()


@pytest.mark.parametrize("spoil", [_one_bit, _sign_of_zero, _narrower])
@pytest.mark.parametrize("to", ["ours", "original", "ov2"])
def test_another_bit_in_the_file_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: Any, spoil: Any) -> None:
    model = scaled_model(use_head=False)
    model.layernorm_pre.bias.data.zero_()
    model.save_pretrained(tmp_path / "ours")

    def save(state: dict[str, Tensor], path: Path, **options: Any) -> None:
        spoil(state := dict(state))
        save_file(state, path, **options)

    monkeypatch.setattr(convert, "save_file", save)
    with pytest.raises(CheckpointError, match="reads back differently"):
        convert_checkpoint(tmp_path / "ours", tmp_path / "out", to=to)
    assert [file.name for file in tmp_path.iterdir()] == ["ours"]


def test_not_a_number_is_a_bit_pattern_like_others(tmp_path: Path) -> None:
    model = scaled_model(use_head=False)
    model.layernorm_pre.bias.data[:3] = torch.tensor([float("nan"), float("inf"), -0.0])
    model.save_pretrained(tmp_path / "ours")
    convert_checkpoint(tmp_path / "ours", tmp_path / "out", to="ov2")
    back = load_file(tmp_path / "out" / "model.safetensors")["layernorm_pre.bias"]
    assert torch.equal(back.view(torch.int32), model.layernorm_pre.bias.data.view(torch.int32))


@pytest.mark.parametrize("to", ["ours", "original", "ov2"])
def test_another_configuration_in_the_file_is_seen(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: Any
) -> None:
    whole = convert._write

    def write(folder: Path, *given: Any) -> list[str]:
        notes = whole(folder, *given)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | {"rope_theta": 5.0, "rope_parameters": None}))
        return notes

    monkeypatch.setattr(convert, "_write", write)
    with pytest.raises(CheckpointError, match=r"reads back differently.*rope_theta"):
        convert_checkpoint(encoder, tmp_path / "out", to=to)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["ov2", "mage"])
def test_what_a_tower_has_no_word_for_is_noted(tmp_path: Path, to: Any) -> None:
    scaled_model(use_head=False, rope_temporal_size=None).save_pretrained(tmp_path / "a")
    report = convert_checkpoint(tmp_path / "a", tmp_path / "b", to=to)
    assert any("rope_temporal_size=None" in note for note in report.notes)
    scaled_model(use_head=False).save_pretrained(tmp_path / "c")
    assert not any("rope_temporal_size" in note for note in convert_checkpoint(tmp_path / "c", tmp_path / "d").notes)


def test_one_weight_under_two_names(tmp_path: Path) -> None:
    model = scaled_model(use_head=False)
    model.config.save_pretrained(tmp_path)
    state = dict(model.state_dict())
    attention = "encoder.layers.0.self_attn."
    both = state | {f"{attention}qkv.weight": torch.zeros(3 * 128, 128), f"{attention}qkv.bias": torch.zeros(3 * 128)}
    for name, given in (("fused", both), ("wrapped", state | {f"_orig_mod.{PATCH}": state[PATCH] + 1})):
        torch.save(given, tmp_path / f"{name}.pt")
        with pytest.raises(CheckpointError, match="twice"):
            read_weights(tmp_path / f"{name}.pt")


@pytest.mark.parametrize(
    "odd",
    [
        torch.tensor(1.0),
        torch.ones(6, 2).to_sparse(),
        torch.ones(6, 2, dtype=torch.int32),
        torch.ones(6, 2, dtype=torch.complex64),
    ],
    ids=["0-d", "sparse", "integers", "complex"],
)
@pytest.mark.parametrize("name", ["encoder.layers.0.self_attn.qkv.weight", PATCH, "layernorm_pre.weight"])
def test_tensors_that_are_no_weights(odd: Tensor, name: str) -> None:
    with pytest.raises(CheckpointError, match=name):
        list(to_ours([(name, odd)]))


def test_damaged_pickles_are_typed(encoder: Path, tmp_path: Path) -> None:
    """A short run of what tests/soak does at length; bytes of the pickle itself, where most ways to fail are."""
    state = {"encoder.layers.0.self_attn.qkv.weight": torch.ones(6, 2), PATCH: torch.ones(2, 12)}
    torch.save(state, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    start = whole.index(b"data.pkl")
    rng = random.Random(0)
    kinds = set()
    for _ in range(600):
        damaged = bytearray(whole)
        for _ in range(rng.randrange(1, 4)):
            damaged[start + rng.randrange(600)] = rng.randrange(256)
        (tmp_path / "damaged.pt").write_bytes(damaged)
        with pytest.raises(CheckpointError) as caught:
            read_weights(tmp_path / "damaged.pt")
        kinds.add(type(caught.value.__cause__).__name__)
    assert len(kinds) > 3


def test_the_report_names_no_folders_of_this_machine(encoder: Path, tmp_path: Path) -> None:
    convert_checkpoint(encoder, tmp_path / "out")
    text = (tmp_path / "out" / "conversion.json").read_text()
    assert str(tmp_path) not in text
    assert str(encoder.parent) not in text
    report = json.loads(text)
    assert (report["source"], report["destination"]) == ("ours", "out")
