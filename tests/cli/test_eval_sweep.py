"""`ove eval sweep` as a person would call it: data that is not whole is named, counted, and left out."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from calling import call
from clips import write_video

from onevision_encoder.cli import verb_of

RESULTS = Path(__file__).parents[2] / "benchmarks/results"
SMALL = ("--policies", "codec:bits", "uniform", "--budgets", 4, "--num-frames", 3, "--max-patches", 4, "--seeds", 1)
SMALL += ("--steps", 2, "--width", 32, "--layers", 1, "--heads", 1, "--costs", "skip", "--resamples", 20)


def test_broken_data_is_named_counted_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = []
    for i, (name, tone) in enumerate([("dark", 40), ("bright", 200)] * 3):
        noise = np.random.default_rng(i).integers(-30, 31, (3, 28, 28, 3))
        write_video(tmp_path / f"{i}.mp4", (tone + noise).astype(np.uint8), codec="mpeg4")
        rows.append({"file": f"{i}.mp4", "id": f"clip{i}", "label": name, "split": "test" if i > 3 else "train"})
    (tmp_path / "torn.mp4").write_bytes((tmp_path / "0.mp4").read_bytes()[:200])
    rows.append({"file": "torn.mp4", "id": "torn", "label": "dark", "split": "test"})
    rows.append({"file": "absent.mp4", "id": "absent", "label": "dark", "split": "train"})
    rows.append({"file": "1.mp4", "id": "nameless", "label": "", "split": "test"})
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    argv = ("eval", "sweep", "--data", tmp_path, *SMALL, "--out", tmp_path / "out")
    code, out, err = call(capsys, *argv)
    assert code == 1
    for words in ("missing file: 1", "wrong label: 1", "absent: MediaNotFoundError", "torn: ", "2 clips could not be"):
        assert words in err, err
    assert "cannot be read: 2 clips" in out
    report = json.loads((tmp_path / "out/sweep.json").read_text())
    assert set(report["broken"]) == {"absent", "torn"}
    assert {s["videos"] for s in report["summary"]} == {2}, "what cannot be read counts neither as right nor as wrong"
    code, out, _ = call(capsys, *argv, "--json")
    assert code == 1
    assert json.loads(out) == report, "from what was kept, the same"


def test_held_out_clips_need_the_final_word(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "eval", "sweep", "--data", "motion", "--family", "held_out", "--out", tmp_path / "o")
    assert code == 2
    assert "--final" in err
    assert not (tmp_path / "o").exists()


def test_each_published_table_names_the_command_that_gives_it() -> None:
    """The command is understood, and asks for the policies, budgets and encoders of the table's rows."""
    published = json.loads((RESULTS / "motion.json").read_text(encoding="utf-8"))
    commands = {part: kept["command"] for part, kept in published["parts"].items()}
    assert {"main", "interventions"} <= set(commands)
    for part, command in commands.items():
        asked = verb_of(shlex.split(command)[1:]).config
        rows = [row for row in published["rows"] if row["part"] == part]
        assert {row["variant"] for row in rows} == set(asked.encoders), part
        assert {row["budget"] for row in rows} == set(asked.token_budgets), part
        assert len({row["policy"] for row in rows}) == len(asked.policies), part
        assert {row["seed"] for row in rows} == set(range(asked.seeds)), part
        assert f"`{command}`" in (RESULTS / "motion.md").read_text(encoding="utf-8")
