"""`ove eval` as a person would call it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from calling import call
from clips import write_video

from onevision_encoder.evaluate.features import FeatureReader


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labelled")
    for i, (name, tone) in enumerate([("dark", 40), ("bright", 200)] * 6):
        (root / name).mkdir(exist_ok=True)
        noise = np.random.default_rng(i).integers(-30, 31, (4, 28, 28, 3))
        write_video(root / name / f"{i:02d}.mp4", (tone + noise).astype(np.uint8), codec="mpeg4")
    return root


SMALL = ("--model", "tiny", "--policy", "uniform", "--budget", 8, "--max-patches", 4, "--head", "linear", "--seeds", 2)


def test_a_probe_writes_its_report(labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("eval", "probe", "--data", labelled, *SMALL, "--folds", 3, "--epochs", 8, "--out", tmp_path)
    code, out, err = call(capsys, *argv)
    assert code == 0, err
    assert (tmp_path / "report.md").read_text() == out
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["results"]["top1"]["mean"] == 1.0, "dark and bright are told apart by any weights"
    assert report["test"]["looks"] == [1, 1, 1]
    assert report["reading"]["selection"]["budget"] == 8
    assert "random (seed 0)" in out, "weights without meaning are said to be so"
    assert len((tmp_path / "predictions.jsonl").read_text().splitlines()) == 12
    code, out, _ = call(capsys, *argv, "--json")
    assert json.loads(out) == report


def test_what_is_broken_is_named_and_the_exit_code_says_so(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"file": str(p), "id": p.name, "label": p.parent.name, "split": "test" if i % 3 == 0 else "train"}
        for i, p in enumerate(sorted(labelled.glob("*/*.mp4")))
    ]
    rows += [{"file": "absent.mp4", "label": "dark", "split": "test"}, {"file": rows[0]["file"], "label": ""}]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, out, err = call(capsys, "eval", "verify", "--data", tmp_path)
    assert code == 1
    assert "missing file: 1" in out
    assert "wrong label: 1" in out
    code, out, err = call(capsys, "eval", "probe", "--data", tmp_path, *SMALL, "--epochs", 2, "--out", tmp_path / "o")
    assert code == 1
    assert "absent.mp4: MediaNotFoundError" in out
    assert "1 clip could not be read" in err
    assert json.loads((tmp_path / "o/report.json").read_text())["test"]["videos"] == 4


def test_a_good_folder_verifies(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "eval", "verify", "--data", labelled, "--json")
    assert code == 0
    assert json.loads(out) == {
        "name": labelled.name,
        "ok": True,
        "examples": {"none": 12},
        "classes": 2,
        "expected_classes": None,
        "counts": {},
        "problems": [],
    }
    code, out, _ = call(capsys, "eval", "verify")
    assert code == 0
    assert len(out.splitlines()) == 10


def test_without_a_test_split_folds_are_asked_for(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = call(capsys, "eval", "probe", "--data", labelled, *SMALL, "--out", tmp_path)
    assert code == 2
    assert "folds of 2 or more" in err


def test_an_interrupt_leaves_no_report(
    labelled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = FeatureReader.read

    def twice(self: FeatureReader, examples: object) -> object:
        if self.computed >= 6:
            raise KeyboardInterrupt
        return read(self, examples)  # type: ignore[arg-type]

    monkeypatch.setattr(FeatureReader, "read", twice)
    argv = ("eval", "probe", "--data", labelled, *SMALL, "--folds", 2, "--batch-size", 3, "--out", tmp_path / "o")
    code, _, err = call(capsys, *argv, "--cache", tmp_path / "cache")
    assert code == 130
    assert "goes on where" in err
    assert list((tmp_path / "o").iterdir()) == []
    assert len(list((tmp_path / "cache").rglob("*.safetensors"))) == 6


def test_help_lists_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "--help")
    assert code == 0
    assert "eval" in out
    code, out, _ = call(capsys, "eval", "--help")
    assert code == 0
    assert "probe" in out
    assert "verify" in out
    code, out, _ = call(capsys, "eval", "probe", "--help")
    assert code == 0
    for option in ("--head", "--policy", "--budget", "--seeds", "--folds", "--cache"):
        assert option in out
