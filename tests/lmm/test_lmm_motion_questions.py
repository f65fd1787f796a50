"""Questions about the motion suite: every class, both families, and files that training reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from onevision_encoder.evaluate.motion_families import FAMILIES
from onevision_encoder.lmm import read_samples
from onevision_encoder.lmm.motion_questions import motion_questions, write_questions


@pytest.mark.parametrize("family", ["development", "held_out"])
def test_every_class_but_the_still_one_is_asked_about(family: Any) -> None:
    answers: dict[str, set[str]] = {}
    for label in FAMILIES[family].labels:
        asked = motion_questions(label, family)
        assert len(asked) == (0 if label == "static" else 2 if label.startswith("move") else 1)
        for question in asked:
            assert question.answer in question.choices
            assert question.answer.isalnum(), "one word"
            answers.setdefault(question.kind, set()).add(question.answer)
            assert question.chance == 1 / len(set(question.choices))
    assert set(answers) == {"direction", "speed", "rotate", "zoom", "order", "jumps", "which"}
    for label in FAMILIES[family].labels:
        for question in motion_questions(label, family):
            assert answers[question.kind] == set(question.choices), "every choice is somewhere right"


def test_questions_are_written_as_training_reads_them(tmp_path: Path) -> None:
    clips = [
        {"id": f"c{i}", "file": f"test/{label}/{i}.mp4", "label": label, "split": split, "family": "development"}
        for i, (label, split) in enumerate(
            [("move_left_fast", "test"), ("jumps_2", "train"), ("static", "test"), ("order_turn_dash", "test")]
        )
    ]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(clip) + "\n" for clip in clips))
    samples = read_samples(write_questions(tmp_path, "test", tmp_path / "test.jsonl"), tmp_path)
    said = [sample.messages[1]["content"][0]["text"] for sample in samples]
    assert said == ["left", "fast", "turn"]
    assert samples[2].messages[0]["content"][0]["path"] == str(tmp_path / "test/order_turn_dash/3.mp4")
