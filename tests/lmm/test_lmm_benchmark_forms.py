"""The forms in which benchmarks are published, beside the first of each: hub tables, cut videos, files with references.

What the forms are was read from their authors' repositories and from lmms-eval's tasks.
"""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from benchmark_files import asked, made, only, place

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.lmm.benchmarks import benchmark_named
from onevision_encoder.lmm.questions import LeftOut

PART = {"question": "?", "candidates": ["x", "y", "z"], "answer": "y", "start": 1.5, "end": 15.4}


def test_mlvu_leaves_out_what_a_language_model_judges(tmp_path: Path) -> None:
    row = {"video": "a.mp4", "question": "How many?", "candidates": ["3", "0"], "answer": "3"}
    made(tmp_path, "json/4_count.json", [row])
    made(tmp_path, "json/8_sub_scene.json", [{"video": "b.mp4", "question": "Describe.", "answer": "Words."}])
    made(tmp_path, "json/9_summary.json", [{"video": "c.mp4", "question": "Sum up.", "answer": "Words."}])
    found = list(benchmark_named("mlvu").questions(tmp_path))
    assert [(one.group, isinstance(one, LeftOut)) for one in found] == [
        ("count", False),
        ("sub_scene", True),
        ("summary", True),
    ]
    del row["candidates"]  # in a task with options it is a mistake
    with pytest.raises(InvalidArgumentError, match=r"4_count\.json, row 1.*candidates"):
        asked("mlvu", made(tmp_path / "b", "json/4_count.json", [row]))


def test_mlvus_table_has_candidates_too(tmp_path: Path) -> None:
    row = {"video_name": "v.mp4", "task_type": "count", "candidates": ["3", "0", "1", "2"], "answer": "C"}
    lines = "How many?\n(A) 3\n(B) 0\n(C) 1\n(D) 2"
    question = only("mlvu", made(tmp_path / "a", "data/test.jsonl", [{**row, "question": lines}], ("v.mp4",)))
    assert (question.letters, question.options, question.answers) == (tuple("ABCD"), (), ("C",))
    assert place(question, tmp_path / "a") == "v.mp4"
    question = only("mlvu", made(tmp_path / "b", "data/test.jsonl", [{**row, "question": "How many?"}]))
    assert (question.options, question.answers) == (("3", "0", "1", "2"), ("C",))


def test_answers_in_words_are_no_numbers(tmp_path: Path) -> None:
    row = {"video": "a.mp4", "question": "How many?", "candidates": ["5", "6", "7", "8"], "answer": "3"}
    with pytest.raises(InvalidArgumentError, match=r"4_count\.json, row 1"):  # not the fourth
        asked("mlvu", made(tmp_path / "a", "json/4_count.json", [row]))
    with pytest.raises(InvalidArgumentError, match=r"moving_count\.json, row 1"):
        asked("mvbench", made(tmp_path / "b", "json/moving_count.json", [row]))


def test_mvbenchs_parts_may_be_cut_out_already(tmp_path: Path) -> None:
    cut = "NBMH9_1.5_15.4.mp4"
    for folder, row in (
        ("named", {**PART, "video": cut}),
        ("bare", {name: PART[name] for name in ("question", "candidates", "answer")} | {"video": cut}),
        ("whole", {**PART, "video": "NBMH9.mp4"}),
    ):
        top = tmp_path / folder
        question = only("mvbench", made(top, "json/action_localization.json", [row], (f"sta/sta_video_segment/{cut}",)))
        assert place(question, top) == f"sta/sta_video_segment/{cut}"
        assert "start_seconds" not in question.media[0]  # it would be taken a second time
    made(tmp_path / "anew", "json/action_antonym.json", [{**PART, "video": "7.mp4"}], ("ssv2_video_mp4/7.mp4",))
    assert place(only("mvbench", tmp_path / "anew"), tmp_path / "anew") == "ssv2_video_mp4/7.mp4"


def test_mvbenchs_later_videos(tmp_path: Path) -> None:
    later = "video/data0613/star/Charades_v1_480/EDXBD.mp4"
    made(tmp_path, "json/action_sequence.json", [{**PART, "video": "EDXBD.mp4"}], (later,))
    question = only("mvbench", tmp_path)
    assert (place(question, tmp_path), question.media[0]["end_seconds"]) == (later, 15.4)


def test_longvideobenchs_table(tmp_path: Path) -> None:
    row = {"id": "l_0", "video_path": "l.mp4", "question": "?", "correct_choice": 1, "duration_group": 15}
    row |= {"option0": "p", "option1": "q", "option2": "r", "option3": "N/A", "option4": "N/A"}
    question = only("longvideobench", made(tmp_path, "validation.jsonl", [row]))
    assert (question.options, question.answers) == (("p", "q", "r"), ("B",))


def test_a_letter_is_that_letter_even_where_it_is_an_options_text(tmp_path: Path) -> None:
    row = {"videoID": "v", "question_id": "1", "question": "Which?", "answer": "C", "duration": "short"}
    row["options"] = ["A. C", "B. D", "C. A", "D. B"]
    assert only("videomme", made(tmp_path / "v", "test.json", [row])).answers == ("C",)
    row = {"index": 3, "question": "Which?", "A": "B", "B": "A", "answer": "B", "category": "c", "image": "p.png"}
    assert only("mmbench", made(tmp_path / "m", "dev.tsv", [row])).answers == ("B",)


def test_mmbenchs_pictures_are_there_once(tmp_path: Path) -> None:
    picture = base64.b64encode(b"p" * 900).decode()
    row = {"index": 3, "question": "?", "A": "x", "B": "y", "answer": "A", "category": "c", "image": picture}
    turned = {**row, "index": 1_000_003, "A": "y", "B": "x", "answer": "B", "image": "3"}
    one, other = asked("mmbench", made(tmp_path, "MMBench_DEV_EN.tsv", [turned, row]))
    assert one.media == other.media
    assert one.media[0]["bytes"] == b"p" * 900
    assert (one.together, other.together) == ("3", "3")
    with pytest.raises(InvalidArgumentError, match=r"image='4'.*MMBench_DEV_EN\.tsv, row 2"):
        asked("mmbench", made(tmp_path, "MMBench_DEV_EN.tsv", [row, {**turned, "image": "4"}]))


def test_realworldqa_has_two_to_four_options(tmp_path: Path) -> None:
    words = {
        "Which way?\n\nA. Left\nB. Right\nPlease answer directly with only the letter of the correct option.": "AB",
        "Is it?\n\nA. Yes\nB. No\nC. Maybe\nPlease answer directly with a single word or number.": "ABC",
        "Is it?\nA: Yes\nB: No": "ABCD",  # a form that is not read: as many as there may be
    }
    rows = [{"question": text, "answer": "B", "image": "1.webp"} for text in words]
    found = asked("realworldqa", made(tmp_path, "test.jsonl", rows))
    assert ["".join(question.letters) for question in found] == list(words.values())
    assert all("Please" not in question.text for question in found)


def test_rows_without_ids_may_be_alike(tmp_path: Path) -> None:
    row = {"imgname": "1.png", "query": "max?", "label": "7"}
    first, second = asked("chartqa", made(tmp_path / "a", "test_human.json", [row, row]))
    assert (first.text, second.id) == (second.text, f"{first.id} (2)")
    table = {"question": "max?", "answer": "7", "type": "human_test", "image": "1.png"}
    made(tmp_path / "b", "data/test-00000-of-00002.jsonl", [table])
    assert len(asked("chartqa", made(tmp_path / "b", "data/test-00001-of-00002.jsonl", [table]))) == 2
    with pytest.raises(InvalidArgumentError, match="once"):  # a second copy of the table
        asked("chartqa", made(tmp_path / "b", "data/test2.jsonl", [table]))


def test_where_files_lie(tmp_path: Path) -> None:
    row = {
        "dataset_name": "svt",
        "id": 1,
        "question": "?",
        "answers": "w",
        "type": "Regular",
        "image_path": "svt/1.png",
    }
    question = only("ocrbench", made(tmp_path / "o", "OCRBench/OCRBench.json", [row]))
    assert place(question, tmp_path / "o") == "OCRBench_Images/svt/1.png"
    picture = {"bytes": b"picture", "path": "x.png"}
    row = {"questionId": 6, "question": "who", "answers": ["x"], "image_local_name": "3.jpg", "image": picture}
    entry = benchmark_named("infovqa")
    (read,) = entry.question(tmp_path, tmp_path / "val.parquet", row)
    assert not isinstance(read, LeftOut)
    assert read.media[0]["bytes"] == b"picture"
