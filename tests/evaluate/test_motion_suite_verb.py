"""The options of the verb that writes the motion suite."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tyro

from onevision_encoder.cli.eval_suite import EvalSuite
from onevision_encoder.evaluate import MotionSuite

FLAGS = (tyro.conf.OmitArgPrefixes, tyro.conf.FlagCreatePairsOff)


def parsed(*words: str) -> EvalSuite:
    return tyro.cli(EvalSuite, args=words, config=FLAGS)


def test_the_verb_writes_what_the_options_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--size", "56", "--frames", "32", "32", "--clips-per-class", "0", "0", "1", "--seed", "3", "--json"]
    words = [*small, "--codecs", "h264", "--nuisances", "pan"]
    verb = parsed("--out", str(tmp_path / "made"), *words)
    assert verb.suite == MotionSuite(
        size=56, frames=(32, 32), clips_per_class=(0, 0, 1), codecs=("h264",), nuisances=("pan",), seed=3
    )
    assert verb.run() == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"labels": said["labels"], "classes": 20, "train": 0, "val": 0, "test": 20}
    rows = [json.loads(line) for line in Path(said["labels"]).read_text().splitlines()]
    assert [row["label"] for row in rows] == list(verb.labels)
    assert {row["codec"] for row in rows} == {"h264"}


def test_the_held_out_family_asks_for_final(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parsed("--out", str(tmp_path), "--family", "held_out")
    assert left.value.code == 2
    assert "--final" in capsys.readouterr().err
    assert parsed("--out", str(tmp_path), "--family", "held_out", "--final").suite.final is True
