"""The model card: true, complete, and never in the way of somebody's own README."""

from __future__ import annotations

import ast

import pytest
import torch
from encoders import scaled_model
from huggingface_hub import ModelCard, ModelCardData
from transformers import modeling_utils
from transformers.utils import hub

from onevision_encoder.errors import InvalidArgumentError, WriteError
from onevision_encoder.model import OneVisionEncoderModel, write_model_card
from onevision_encoder.model.card import is_blank_card, model_card


def test_a_card_is_written_and_read_by_the_hub(tmp_path):
    model = scaled_model(rope_mode="rotary", window_frames=4).to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.license == "unknown"
    assert card.data.pipeline_tag == "feature-extraction"
    parameters = sum(p.numel() for p in model.parameters())
    for words in (f"{parameters:,}", "`rotary`", "windows of 4 frames", "bfloat16", "random at first", "0.48145466"):
        assert words in card.text
    assert not is_blank_card(card.text)


def test_the_card_names_the_source_but_no_path(tmp_path):
    scaled_model().save_pretrained(tmp_path / "first")
    OneVisionEncoderModel.from_pretrained(tmp_path / "first").save_pretrained(tmp_path / "second")
    text = (tmp_path / "second" / "README.md").read_text(encoding="utf-8")
    assert "Loaded from `first`" in text
    assert str(tmp_path) not in text


def test_a_readme_that_is_there_stays(tmp_path):
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    model = scaled_model()
    model.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "mine"
    assert not write_model_card(model, tmp_path)
    assert write_model_card(model, tmp_path, name="org/x", license="apache-2.0", weights="A test.", overwrite=True)
    card = ModelCard.load(tmp_path / "README.md")
    assert card.data.license == "apache-2.0"
    assert "# org/x" in card.text
    assert "A test." in card.text
    with pytest.raises(WriteError, match="README"):
        write_model_card(model, tmp_path / "no such folder")


def test_other_processes_write_nothing(tmp_path):
    scaled_model().save_pretrained(tmp_path, is_main_process=False)
    assert not (tmp_path / "README.md").exists()


@pytest.fixture
def pushed(monkeypatch):
    """The Hub, as far as a push sees it; the card that lies there already may be set."""
    seen = {}

    class Api:
        def create_repo(self, repo_id, **_):
            return type("Url", (), {"repo_id": repo_id, "url": f"https://hub/{repo_id}"})()

    def card(*_, **__):
        return seen.get("there") or ModelCard.from_template(
            ModelCardData(library_name="transformers"),
            model_description="This is the model card of a 🤗 transformers model that has been pushed on the Hub. This "
            "model card has been automatically generated.",
        )

    def upload(self, working_dir, repo_id, *_, **__):
        from pathlib import Path

        seen["files"] = sorted(file.name for file in Path(working_dir).iterdir())
        seen["card"] = (Path(working_dir) / "README.md").read_text(encoding="utf-8")

    for module in (modeling_utils, hub):
        monkeypatch.setattr(module, "create_and_tag_model_card", card, raising=False)
        monkeypatch.setattr(module, "create_repo", Api().create_repo, raising=False)
        monkeypatch.setattr(module, "hf_api", Api, raising=False)
    monkeypatch.setattr(hub.PushToHubMixin, "_upload_modified_files", upload)
    monkeypatch.setattr(hub.PushToHubMixin, "_create_repo", lambda self, repo_id, **_: repo_id, raising=False)
    return seen


def test_a_push_carries_the_card(pushed):
    scaled_model().push_to_hub("org/name")
    assert "model.safetensors" in pushed["files"]
    assert "# org/name" in pushed["card"]
    assert 'load_encoder("org/name")' in pushed["card"]


def test_a_push_keeps_the_card_of_the_hub(pushed):
    pushed["there"] = ModelCard("---\nlicense: mit\n---\n# Somebody's own card")
    scaled_model().push_to_hub("org/name")
    assert "Somebody's own card" in pushed["card"]


def test_a_save_that_pushes_keeps_the_readme(pushed, tmp_path):
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    scaled_model().save_pretrained(tmp_path, push_to_hub=True, repo_id="org/name")
    assert pushed["card"] == "mine"
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("license", ["mit\nbase_model: x", "mit: no", "", "[a", "a b", "x" * 200, 3])
def test_a_licence_is_an_identifier(tmp_path, license):
    with pytest.raises(InvalidArgumentError, match="license"):
        write_model_card(scaled_model(), tmp_path, license=license)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ['my "best" one', "back\\slash", "Ünïcode 7"])
def test_names_are_quoted_in_code(name):
    text = model_card(scaled_model(), name=name)
    tree = ast.parse(text.split("```python\n")[1].split("```")[0])
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "load_encoder"
    ]
    assert [ast.literal_eval(call.args[0]) for call in calls] == [name]
    assert f"# {name}\n" in text


def test_a_name_is_one_line():
    with pytest.raises(InvalidArgumentError, match="name"):
        model_card(scaled_model(), name="a\n---\nlicense: mit")
