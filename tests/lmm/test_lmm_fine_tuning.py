"""`ove lmm make, train, merge, extract-encoder`: a person's whole way, resumed runs, stages, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from conversation_files import ROWS, media_folder, write_rows
from safetensors.torch import load_file
from tiny_parts import tiny_encoder_config, tiny_model, tiny_text_config, tiny_tokenizer

from onevision_encoder import OneVisionEncoderModel, load_encoder
from onevision_encoder.cli import main
from onevision_encoder.errors import BrokenSamplesError, CheckpointError, InvalidArgumentError
from onevision_encoder.lmm import TrainingConfig, extract_encoder, fine_tune, load_language_model, load_trained

NEEDS_ACCELERATE = pytest.mark.skipif(not importlib.util.find_spec("accelerate"), reason="needs accelerate, of dev")
NEEDS_PEFT = pytest.mark.skipif(not importlib.util.find_spec("peft"), reason="needs peft, of the extra lmm")
CPU: dict[str, Any] = {"device": "cpu"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = media_folder(tmp_path_factory.mktemp("media"))
    write_rows(folder / "x.jsonl", ROWS)
    model, processor = tiny_model()
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    return folder


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return dict(load_file(folder / "model.safetensors"))


def changed(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> set[str]:
    assert set(one) == set(other)
    return {name.split(".")[0] for name in one if not torch.equal(one[name], other[name])}


def steps(number: int, **options: Any) -> TrainingConfig:
    fields = {"steps": number, "batch": 2, "log_every": 1, "learning_rate": 3e-3}
    return TrainingConfig(**(fields | options))


def test_the_encoder_comes_out_bit_for_bit(tmp_path: Path) -> None:
    model, processor = tiny_model()
    model.to(torch.bfloat16).save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    done = extract_encoder(tmp_path / "model", tmp_path / "encoder")
    assert done.dtypes == ("bfloat16",)
    found = OneVisionEncoderModel.from_pretrained(tmp_path / "encoder", dtype="auto").state_dict()
    wanted = model.vision_model.state_dict()
    assert set(found) == set(wanted)
    assert all(torch.equal(found[name], wanted[name]) and found[name].dtype == torch.bfloat16 for name in wanted)
    assert load_encoder(tmp_path / "encoder").pretrained
    with pytest.raises(InvalidArgumentError, match="new folder"):
        extract_encoder(tmp_path / "model", tmp_path / "encoder")


@NEEDS_ACCELERATE
def test_broken_samples_are_refused_or_left_out_by_name(place: Path, tmp_path: Path) -> None:
    (place / "broken.mp4").write_bytes(b"no video")
    talk = [{"from": "human", "value": "<video>what"}, {"from": "gpt", "value": "left"}]
    rows = [*ROWS[:2], *({"conversations": talk, "video": name} for name in ("absent.mp4", "broken.mp4"))]
    data = write_rows(place / "broken.jsonl", rows)
    with pytest.raises(BrokenSamplesError) as caught:
        fine_tune(place / "model", data, tmp_path / "refused", steps(1), **CPU)
    assert [line for line, _ in caught.value.problems] == [3, 4]
    for resume in (False, True):  # the tokens that were read are in nobody's way
        with pytest.raises(BrokenSamplesError):
            fine_tune(place / "model", data, tmp_path / "refused", steps(1), resume=resume, **CPU)
    for (_, cause), name in zip(caught.value.problems, ("absent.mp4", "broken.mp4"), strict=True):
        assert name in cause
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        report = fine_tune(place / "model", data, tmp_path / "left", steps(1, broken="leave-out"), **CPU)
    assert report.broken == caught.value.problems
    assert [item["line"] for item in report.facts["data"]["train"]["left_out"]] == [3, 4]
    assert report.facts["data"]["train"]["samples"] == 2
    assert changed(tensors(place / "model"), tensors(tmp_path / "left")) == {"merger", "projector"}
    with pytest.raises(InvalidArgumentError, match="new folder"):
        fine_tune(place / "model", data, tmp_path / "left", steps(1), **CPU)
    with pytest.raises(InvalidArgumentError, match=r"^steps=2 is not accepted: to resume, the run's own: 1$"):
        fine_tune(place / "model", data, tmp_path / "left", steps(2, broken="leave-out"), resume=True, **CPU)


@NEEDS_ACCELERATE
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_trained_is_said_before_a_sample_is_read(place: Path, tmp_path: Path) -> None:
    extract_encoder(place / "model", tmp_path / "encoder")
    with pytest.raises(CheckpointError, match="an encoder alone: ove lmm make"):
        fine_tune(tmp_path / "encoder", place / "x.jsonl", tmp_path / "out", steps(1), **CPU)
    model, processor = tiny_model()
    processor.tokenizer.chat_template = None
    model.save_pretrained(tmp_path / "mute")
    processor.save_pretrained(tmp_path / "mute")
    with pytest.raises(InvalidArgumentError, match="ove lmm make --chat-template"):
        fine_tune(tmp_path / "mute", place / "x.jsonl", tmp_path / "out", steps(1), **CPU)
    assert not (tmp_path / "out").exists()


@NEEDS_ACCELERATE
@pytest.mark.filterwarnings("ignore")
def test_the_last_loss_is_that_of_the_last_step(place: Path, tmp_path: Path) -> None:
    report = fine_tune(place / "model", place / "x.jsonl", tmp_path / "out", steps(3, log_every=10), **CPU)
    rows = [json.loads(line) for line in (tmp_path / "out/log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 3]
    assert (report.facts["first_loss"], report.facts["last_loss"]) == (rows[0]["loss"], rows[1]["loss"])


def test_values_out_of_range_are_refused() -> None:
    for name, value in (("stage", "all"), ("batch", 0), ("epochs", 0), ("learning_rate", -1), ("lora_dropout", 1)):
        with pytest.raises(InvalidArgumentError, match=name):
            TrainingConfig(**{name: value})
    with pytest.raises(InvalidArgumentError, match="freeze_encoder"):
        TrainingConfig(freeze_encoder=True)


@NEEDS_ACCELERATE
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the Trainer's own
@pytest.mark.parametrize("pack", [None, 90])
def test_a_run_that_goes_on_equals_one_that_was_never_stopped(place: Path, tmp_path: Path, pack: int | None) -> None:
    config = steps(6, stage="full", save_every=2, pack=pack, schedule="linear", seed=3, keep=9, batch=1)
    runs = {name: tmp_path / name for name in ("whole", "again", "stopped")}
    for name in ("whole", "again"):
        fine_tune(place / "model", place / "x.jsonl", runs[name], config, cache=tmp_path / "cache", **CPU)

    def stop(what: str, done: int, total: int) -> None:
        if (what, done) == ("steps", 5):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fine_tune(place / "model", place / "x.jsonl", runs["stopped"], config, tick=stop, **CPU)
    assert not (runs["stopped"] / "model.safetensors").exists()
    fine_tune(place / "model", place / "x.jsonl", runs["stopped"], config, resume=True, **CPU)
    for name in ("again", "stopped"):
        assert not changed(tensors(runs["whole"]), tensors(runs[name])), name
        assert (runs[name] / "log.jsonl").read_text() == (runs["whole"] / "log.jsonl").read_text()


@NEEDS_ACCELERATE
@NEEDS_PEFT
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_lora_trains_adapters_and_merges_into_the_same_answers(place: Path, tmp_path: Path) -> None:
    config = steps(8, stage="lora", lora_rank=4, pack=90)
    report = fine_tune(place / "model", place / "x.jsonl", tmp_path / "lora", config, **CPU)
    assert report.facts["last_loss"] < report.facts["first_loss"]
    saved = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    assert all("lora_" in name or ".merger." in name or ".projector." in name for name in saved)
    assert main(["lmm", "merge", str(tmp_path / "lora"), "--out", str(tmp_path / "merged")]) == 0
    before, after = tensors(place / "model"), tensors(tmp_path / "merged")
    assert changed(before, after) == {"merger", "projector", "language_model"}
    moved = {
        name for name in before if not torch.equal(before[name], after[name]) and name.startswith("language_model")
    }
    assert all(name.endswith("_proj.weight") for name in moved), "norms and embeddings stay"
    one, _ = load_trained(tmp_path / "lora")
    other, _ = load_trained(tmp_path / "merged")
    ids = torch.arange(2, 20)[None] % 33
    with torch.inference_mode():
        assert torch.allclose(one(input_ids=ids).logits, other(input_ids=ids).logits, atol=1e-5)
    speaking, _ = load_language_model(tmp_path / "lora", device="cpu")  # chat, eval and serve read adapters as well
    assert all(torch.equal(a, b) for a, b in zip(speaking.parameters(), one.parameters(), strict=True))
    assert not speaking.training
    base = json.loads((tmp_path / "lora/adapter_config.json").read_text())["base_model_name_or_path"]
    assert base == str((place / "model").resolve()), "found from any working directory"
    with pytest.raises(InvalidArgumentError, match="ove lmm merge"):  # the second adapters would replace the first
        fine_tune(tmp_path / "lora", place / "x.jsonl", tmp_path / "more", config, **CPU)


@NEEDS_ACCELERATE
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_persons_whole_way(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """make, projector, full with learning by heart, out with the encoder, encode with it."""
    OneVisionEncoderModel(tiny_encoder_config()).save_pretrained(tmp_path / "encoder")
    from transformers import AutoModelForCausalLM

    AutoModelForCausalLM.from_config(tiny_text_config()).save_pretrained(tmp_path / "language")
    tiny_tokenizer().save_pretrained(tmp_path / "language")

    def ove(*words: object) -> str:
        code = main([str(word) for word in words])
        out, err = capsys.readouterr()
        assert code == 0, err
        return out

    parts = ("--encoder", tmp_path / "encoder", "--language-model", tmp_path / "language")
    assert "merger and projector are new" in ove("lmm", "make", *parts, "--out", tmp_path / "made")
    how = ("--data", place / "x.jsonl", "--device", "cpu", "--learning-rate", 3e-3, "--log-every", 10)
    ove("lmm", "train", "--model", tmp_path / "made", "--out", tmp_path / "one", *how, "--steps", 10, "--json")
    done = json.loads(
        ove("lmm", "train", "--model", tmp_path / "one", "--out", tmp_path / "two", *how, "--stage", "full",
            "--steps", 120, "--val", place / "x.jsonl", "--save-every", 60, "--budget", 8, "--pack", 128, "--json")
    )  # fmt: skip
    assert done["last_loss"] < 0.05
    logged = [json.loads(line) for line in (tmp_path / "two" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in logged if "eval_loss" in row] == [60, 120]
    model, processor = load_trained(tmp_path / "two")
    assert processor.budget == 8
    question = [{"role": "user", "content": [{"type": "video", "path": str(place / "1.mp4")}, "what"]}]
    inputs = processor.apply_chat_template(question, tokenize=True, add_generation_prompt=True)
    written = model.generate(**inputs, max_new_tokens=3, do_sample=False, pad_token_id=1, eos_token_id=3)
    assert processor.batch_decode(written[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True) == ["still"]
    ove("lmm", "extract-encoder", tmp_path / "two", tmp_path / "lang")
    wanted = {
        k.removeprefix("vision_model."): v for k, v in tensors(tmp_path / "two").items() if k.startswith("vision")
    }
    assert not changed(wanted, tensors(tmp_path / "lang"))
    ove("encode", place / "0.mp4", "--model", tmp_path / "lang", "--output", "tokens", "--budget", 16,
        "--out", tmp_path / "embeddings")  # fmt: skip
