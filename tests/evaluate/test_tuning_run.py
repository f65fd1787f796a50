"""`ove eval probe --tune`: all of an encoder is trained, and judged as a probe is."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from labelled import folder_of_classes

from onevision_encoder.cli import main
from onevision_encoder.evaluate import ProbeConfig, TokenSetCache, TuneConfig, load_dataset, write_report
from onevision_encoder.evaluate.probe_report import ProbeResult
from onevision_encoder.evaluate.training import ProbeFailedError
from onevision_encoder.evaluate.tuning_model import scratch_encoder
from onevision_encoder.evaluate.tuning_run import Learner, curve_of, run_tuning
from onevision_encoder.model import OneVisionEncoderModel, preset_config
from onevision_encoder.tokens import TokenizeConfig

READING = TokenizeConfig.of(policy="dense", max_patches=4)
SMALL = TuneConfig(width=32, layers=1, heads=1, steps=25, batch_size=8, lr=1e-2, init_std=0.02, place_waves=0)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_classes(tmp_path_factory.mktemp("tones"), 6)


def run(root: Path, config: ProbeConfig, tuning: TuneConfig = SMALL, **more: Any) -> ProbeResult:
    grid = {name: more.pop(name) for name in ("lrs", "weight_decays") if name in more}
    learner = Learner(partial(scratch_encoder, tuning, 14), tuning, "mite", {"family": "onevision_encoder"}, **grid)
    return run_tuning(load_dataset(root), learner, READING, config, **more)


def test_a_fresh_encoder_learns_and_is_judged_once(tones: Path) -> None:
    steps: list[int] = []
    told: list[int] = []
    found = run(tones, ProbeConfig(seeds=2), tick=steps.append, announce=told.append)
    assert found.report["results"]["top1"]["mean"] == 1.0
    assert found.report["test"] == {**found.report["test"], "videos": 6, "looks": [1]}
    assert told == [len(steps)] == [50]
    fold = found.report["seeds"][0]["folds"][0]
    assert (fold["train"], fold["held_out"], fold["steps"]) == (12, 0, 25)
    assert fold["curve"]["loss"][-1] < fold["curve"]["loss"][0]
    assert fold["curve"] != found.report["seeds"][1]["folds"][0]["curve"]
    assert found.complete


def test_the_cell_is_chosen_on_held_out_training_videos(tones: Path) -> None:
    """One that diverges and one that learns nothing lose; folds test every video once."""
    found = run(tones, ProbeConfig(seeds=1, folds=2, val_share=0.3), lrs=(1e-9, 1e-2, 1e30))
    assert found.report["test"]["looks"] == [1, 1]
    assert found.report["test"]["videos"] == 18
    for fold in found.report["seeds"][0]["folds"]:
        assert fold["chosen"]["lr"] == 1e-2
        assert fold["diverged"] == [2]
        assert fold["grid"][2]["val_top1"] is None
        assert fold["train"] + fold["held_out"] == 9


def test_a_run_from_the_cache_gives_the_same_report(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path / "data", 4)
    (root / "train/dark/train000.mp4").write_bytes(b"no video")
    (root / "test/bright/test001.mp4").write_bytes(b"")
    for name, found in (("one", 0), ("two", 2)):
        cache = TokenSetCache(tmp_path / "cache")
        result = run(root, ProbeConfig(seeds=1), cache=cache)
        write_report(tmp_path / name, result)
        assert cache.found == found
        assert not result.complete
        assert [b["id"] for b in result.report["broken"]] == ["test/bright/test001.mp4", "train/dark/train000.mp4"]
    for file in ("report.json", "report.md", "predictions.jsonl"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert "mite from scratch" in (tmp_path / "one/report.md").read_text()


def test_what_cannot_be_trained_is_an_error(tmp_path: Path, tones: Path) -> None:
    root = folder_of_classes(tmp_path, 2)
    for file in root.rglob("train*.mp4"):
        file.write_bytes(b"no video")
    with pytest.raises(ProbeFailedError, match=r"not one of 4 training examples.*train000\.mp4: UnreadableMedia"):
        run(root, ProbeConfig(seeds=1))
    with pytest.raises(ProbeFailedError, match="seed 0, fold 0: ProbeFailedError: every cell of the grid diverged"):
        run(tones, ProbeConfig(seeds=1), lrs=(1e30,))


def test_a_curve_is_made_of_means() -> None:
    record = {"steps": 120, "loss": list(range(120)), "accuracy": None}
    curve = curve_of(record)
    assert curve["step"] is not None
    assert (len(curve["step"]), curve["step"][-1], curve["accuracy"]) == (50, 120, None)
    assert curve["loss"] is not None
    assert curve["loss"][0] == 0.5
    assert curve["loss"][-1] == 118.0


def words(root: Path, out: Path, *more: object) -> list[str]:
    options = [
        "eval",
        "probe",
        "--data",
        root,
        "--policy",
        "dense",
        "--max-patches",
        4,
        "--seeds",
        1,
        "--device",
        "cpu",
    ]
    return [str(word) for word in (*options, "--out", out, *more)]


def test_loaded_weights_go_on_learning(tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1}
    OneVisionEncoderModel(preset_config("tiny", **small)).save_pretrained(tmp_path / "own")
    fast = ("--tune", "full", "--steps", 30, "--batch-size", 8, "--lrs", "1e-2")
    assert main(words(tones, tmp_path / "out", "--model", tmp_path / "own", *fast)) == 0
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert report["results"]["top1"]["mean"] == 1.0
    assert report["kind"] == "tuning"
    assert "sha256" in report["backbone"]["weights"]
    assert report["probe"]["tuning"]["init"] == "weights"
    assert "fine-tuned" in capsys.readouterr().out


def test_options_that_nothing_reads_are_refused(
    tones: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for options, said in (
        (("--model", "tiny", "--steps", 3), "only --tune full"),
        (("--model", "tiny", "--tune", "scratch", "--head", "linear"), "only --tune head"),
        (("--model", "tiny", "--tune", "full", "--width", 64), "only --tune scratch"),
    ):
        with pytest.raises(SystemExit):
            main(words(tones, tmp_path / "o", *options))
        assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())
    for options, said in (
        (("--model", "tiny", "--tune", "full"), "a preset has none"),
        (("--model", tmp_path, "--tune", "scratch"), "a preset"),
        (("--model", "tiny", "--tune", "scratch", "--dtype", "float16"), "float32 (auto) or bfloat16"),
        (("--model", "tiny", "--tune", "scratch", "--steps", 2, "--epochs", 3), "one of the two"),
    ):
        assert main(words(tones, tmp_path / "o", *options)) == 2
        assert said in capsys.readouterr().err
