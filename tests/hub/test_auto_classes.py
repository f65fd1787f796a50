"""AutoConfig, AutoModel, AutoProcessor, AutoImageProcessor know the encoder, and never run a folder's own code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_folders import AUTO_MAPS, ORIGINAL_IMAGES, edit_json, original_folder, pillow_clip, poison, write_json
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoProcessor,
    BertConfig,
    dynamic_module_utils,
)
from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING
from transformers.processing_utils import ProcessorMixin
from transformers.utils import is_flash_attn_3_available

from onevision_encoder import OneVisionEncoderConfig, OneVisionEncoderModel, OneVisionEncoderProcessor
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.hub import OneVisionEncoderImageProcessor, register_auto_classes

AUTO = (AutoConfig, AutoModel, AutoProcessor, AutoImageProcessor)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return original_folder(tmp_path / "checkpoint")


@pytest.fixture(autouse=True)
def _modules_of_remote_code_stay_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("from onevision_encoder import OneVisionEncoderModel", marks=pytest.mark.slow),
        pytest.param("from onevision_encoder import OneVisionEncoderProcessor", marks=pytest.mark.slow),
        pytest.param(
            "from onevision_encoder.hub import OneVisionEncoderImageProcessor, register_auto_classes",
            marks=pytest.mark.slow,
        ),
        "from onevision_encoder.model import load_encoder",
    ],
)
def test_any_name_that_concerns_transformers_registers_all_four(statement: str, folder: Path) -> None:
    code = f"""{statement}
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoProcessor
for auto in (AutoConfig, AutoModel, AutoProcessor):
    print(type(auto.from_pretrained({str(folder)!r})).__module__)
print(type(AutoImageProcessor.from_pretrained({str(folder)!r})).__name__)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert [module.split(".")[0] for module in out[:3]] == ["onevision_encoder"] * 3
    assert out[3].startswith("CLIPImageProcessor")  # what the folder's own file names


def test_auto_model_gives_our_model_with_the_folders_weights(folder: Path) -> None:
    ours = OneVisionEncoderModel.from_pretrained(folder)
    auto = AutoModel.from_pretrained(folder)
    assert type(auto) is OneVisionEncoderModel
    assert type(AutoConfig.from_pretrained(folder)) is OneVisionEncoderConfig
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), auto.parameters(), strict=True))


@pytest.mark.parametrize("trust", [None, False, True])
@pytest.mark.parametrize("files", ["original", "ours"])
def test_remote_code_is_never_run(folder: Path, trust: bool | None, files: str) -> None:
    if files == "ours":
        OneVisionEncoderProcessor().save_pretrained(folder)
    marker = poison(folder)
    made = [auto.from_pretrained(folder, trust_remote_code=trust) for auto in AUTO]
    assert not marker.exists()
    modules = [type(thing).__module__.split(".")[0] for thing in made]
    assert modules == ["onevision_encoder"] * 3 + ["transformers" if files == "original" else "onevision_encoder"]
    for thing in made:
        thing.save_pretrained(folder / "again")
    saved = [json.loads(file.read_text(encoding="utf-8")) for file in (folder / "again").glob("*.json")]
    assert len(saved) >= 3
    assert not [entries for entries in saved if "auto_map" in json.dumps(entries)]


def test_remote_code_of_an_image_processor_that_has_no_type_is_not_run(folder: Path) -> None:
    marker = poison(folder)
    file = folder / "preprocessor_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps({"auto_map": settings["auto_map"]}), encoding="utf-8")
    assert type(AutoImageProcessor.from_pretrained(folder, trust_remote_code=True)) is OneVisionEncoderImageProcessor
    assert not marker.exists()


@pytest.mark.parametrize("auto", AUTO)
@pytest.mark.parametrize("files", ["original", "ours"])
def test_remote_code_of_a_subfolder_is_not_run(folder: Path, auto: Any, files: str) -> None:
    """Only the subfolder holds the encoder: the ``config.json`` at the top is another model's, or missing."""
    if files == "ours":
        OneVisionEncoderProcessor().save_pretrained(folder)
        write_json(folder.parent / "config.json", {"model_type": "bert"})
    marker = poison(folder)
    shutil.copy(folder / "poison.py", folder.parent)  # where transformers looks for it
    made = auto.from_pretrained(folder.parent, subfolder=folder.name, trust_remote_code=True)
    assert not marker.exists()
    clip = auto is AutoImageProcessor and files == "original"
    assert type(made).__module__.split(".")[0] == ("transformers" if clip else "onevision_encoder")
    edit_json(folder / "config.json", model_type="somebody_elses")
    if files == "original":
        with pytest.raises(RuntimeError, match="remote code ran"):
            auto.from_pretrained(folder.parent, subfolder=folder.name, trust_remote_code=True)


def test_the_poison_works_and_other_models_are_left_alone(folder: Path) -> None:
    marker = poison(folder)
    edit_json(folder / "config.json", model_type="somebody_elses")
    for auto in AUTO:
        with pytest.raises(RuntimeError, match="remote code ran"):
            auto.from_pretrained(folder, trust_remote_code=True)
        assert marker.exists()
        marker.unlink()


def test_transformers_can_look_through_what_is_registered() -> None:
    """As ``ProcessorMixin.get_possibly_dynamic_module`` does on behalf of other libraries."""
    register_auto_classes()
    registered = list(IMAGE_PROCESSOR_MAPPING._extra_content.values())
    assert registered
    for entry in registered:
        names = [one.__name__ for one in (entry if isinstance(entry, tuple) else (entry,)) if one is not None]
        assert "SomebodyElsesImageProcessor" not in names


def test_from_pretrained_of_our_own_classes_ignores_remote_code(folder: Path) -> None:
    marker = poison(folder)
    for ours in (OneVisionEncoderModel, OneVisionEncoderProcessor, OneVisionEncoderImageProcessor):
        assert type(ours.from_pretrained(folder, trust_remote_code=True)) is ours
    assert not marker.exists()


@pytest.mark.skipif(is_flash_attn_3_available(), reason="the kernel is installed")
def test_missing_attention_kernel_says_what_to_write_instead(folder: Path) -> None:
    with pytest.raises(InvalidArgumentError, match='attn_implementation="sdpa"'):
        AutoModel.from_pretrained(folder, attn_implementation="flash_attention_3")


@pytest.mark.parametrize(
    ("reader", "file", "settings"),
    [
        (BertConfig.get_config_dict, "config.json", {"model_type": "bert", "hidden_size": 96}),
        (pillow_clip().get_image_processor_dict, "preprocessor_config.json", ORIGINAL_IMAGES),
        (ProcessorMixin.get_processor_dict, "processor_config.json", {"processor_class": "LlavaProcessor"}),
    ],
)
def test_other_models_name_the_argument_of_a_reader(
    reader: Any, file: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    register_auto_classes()
    write_json(tmp_path / file, {**settings, "auto_map": AUTO_MAPS[file]})
    wrapped = getattr(reader.__self__, reader.__name__)  # as anybody takes it from now on
    found, rest = wrapped(pretrained_model_name_or_path=str(tmp_path), unused=1)
    assert {name: found[name] for name in settings} == settings
    assert found["auto_map"] == AUTO_MAPS[file]
    assert rest["unused"] == 1
