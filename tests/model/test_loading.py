from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import pytest
import torch
from encoders import quiet_encoder, scaled_model

from onevision_encoder.errors import CheckpointError, InvalidArgumentError, RandomWeightsWarning
from onevision_encoder.model import load_encoder, precision


def test_preset_is_random_and_says_so():
    state = torch.get_rng_state()
    loaded = quiet_encoder("tiny", device="cpu")
    assert torch.equal(torch.get_rng_state(), state)
    assert loaded.weights == "random (seed 0), preset tiny"
    assert not loaded.pretrained
    assert not loaded.model.training
    assert loaded.provenance["weights"] == loaded.weights
    assert loaded.provenance["dtype"] == str(precision.inference_dtype("cpu").dtype).removeprefix("torch.")
    assert "CPU" in loaded.provenance["dtype_reason"]
    json.dumps(loaded.provenance)
    torch.manual_seed(123)
    again = quiet_encoder("tiny", device="cpu", dtype=torch.float32)
    torch.manual_seed(321)
    third = quiet_encoder("tiny", device="cpu", dtype="float32")
    assert again.provenance["dtype_reason"] == "asked for"
    for mine, theirs in zip(again.model.parameters(), third.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_preset_warns_and_a_checkpoint_does_not(tmp_path):
    with pytest.warns(RandomWeightsWarning, match=r"^the weights are random.*'tiny'.*load_encoder\(") as caught:
        load_encoder("tiny", device="cpu")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    scaled_model().save_pretrained(tmp_path)
    load_encoder(tmp_path)  # warnings are errors here


@pytest.mark.parametrize("device", ["xpu", "vulkan", "meta", "cuda:99", "hpu", None, 3.5])
def test_devices_that_cannot_compute_are_refused(device):
    with pytest.raises(InvalidArgumentError, match=rf"device={device!r}"):
        load_encoder("tiny", device=device)


def test_folder(tmp_path):
    model = scaled_model()
    model.save_pretrained(tmp_path)
    loaded = load_encoder(tmp_path, dtype="float32", attn_implementation="eager")
    assert loaded.pretrained
    assert f"folder {tmp_path}, sha256 " in loaded.weights
    assert loaded.provenance["attention"] == "eager"
    for mine, theirs in zip(model.parameters(), loaded.model.parameters(), strict=True):
        assert torch.equal(mine, theirs)
    with torch.no_grad():
        model.head.probe += 1
    model.save_pretrained(tmp_path / "other")
    other = load_encoder(tmp_path / "other", dtype="bfloat16")
    assert other.model.dtype == torch.bfloat16
    assert other.weights.split("sha256 ")[1] != loaded.weights.split("sha256 ")[1]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "config.json").unlink(), "holds no config.json"),
        (lambda f: (f / "model.safetensors").unlink(), "holds no weights"),
        (lambda f: (f / "config.json").write_text("[1]"), "not a JSON object"),
        (lambda f: (f / "config.json").write_text("{"), "not a JSON object"),
        (lambda f: (f / "config.json").write_text('{"model_type": "clip"}'), "accepted is 'onevision_encoder'"),
        (lambda f: (f / "model.safetensors").write_bytes(b"not weights"), "cannot be loaded"),
    ],
)
def test_bad_folders(tmp_path, spoil, words):
    folder = tmp_path / "broken"
    scaled_model().save_pretrained(folder)
    spoil(folder)
    with pytest.raises(CheckpointError) as caught:
        load_encoder(folder)
    assert words in str(caught.value)
    assert str(folder) in str(caught.value)


def test_weights_of_another_shape(tmp_path):
    scaled_model().save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"intermediate_size": 200}))
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        load_encoder(tmp_path)


def test_names_that_are_nothing(tmp_path):
    with pytest.raises(InvalidArgumentError, match=r"larg.*tiny.*owner/name"):
        load_encoder("larg")
    with pytest.raises(InvalidArgumentError, match="existing folder"):
        load_encoder("./no/such/folder")
    file = tmp_path / "weights.bin"
    file.write_bytes(b"")
    with pytest.raises(CheckpointError, match="is a file"):
        load_encoder(file)
    with pytest.raises(InvalidArgumentError, match="int7"):
        load_encoder("tiny", dtype="int7")
    with pytest.raises(InvalidArgumentError, match="toaster"):
        load_encoder("tiny", device="toaster")


def test_hub_failure_names_what_was_tried(monkeypatch):
    def refuse(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(CheckpointError, match=r"owner/name: no such folder here.*no route to host"):
        load_encoder("owner/name")


def test_hub_snapshot_is_loaded_and_its_commit_recorded(monkeypatch, tmp_path):
    folder = tmp_path / "0123abcd"
    scaled_model().save_pretrained(folder)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda repo, **_: str(folder))
    loaded = load_encoder("owner/name")
    assert loaded.weights.startswith("hub owner/name at 0123abcd, sha256 ")
    assert loaded.provenance["model"] == "owner/name"


@pytest.mark.parametrize(
    ("machine", "amx", "avx", "mkldnn", "unit"),
    [
        ("x86_64", True, True, True, "AMX"),
        ("AMD64", False, True, True, "AVX512_BF16"),
        ("x86_64", False, False, True, None),
        ("x86_64", True, True, False, None),
    ],
)
def test_bfloat16_only_where_the_cpu_has_it(monkeypatch, machine, amx, avx, mkldnn, unit):
    monkeypatch.setattr(precision.platform, "machine", lambda: machine)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: mkldnn)
    assert precision.native_bf16_unit() == unit
    choice = precision.inference_dtype("cpu")
    assert choice.dtype == (torch.float32 if unit is None else torch.bfloat16)
    assert unit is None or unit in choice.reason


def test_other_devices_stay_exact():
    assert precision.inference_dtype("mps").dtype == torch.float32


def test_importing_the_room_is_light():
    script = (
        "import sys, onevision_encoder.model as m;"
        "assert not {'torch', 'transformers'} & set(sys.modules);"
        "from onevision_encoder.model import preset_config, PRESETS; print(all(hasattr(m, n) for n in m.__all__))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert done.stdout.strip() == "True"
