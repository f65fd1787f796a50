"""Each benchmark's rows, as its authors publish them, become the questions that a person reads in them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from benchmark_files import made, only, place

from onevision_encoder.errors import InvalidArgumentError, MissingExtraError
from onevision_encoder.lmm.benchmarks import benchmark_named, benchmarks
from onevision_encoder.lmm.questions import LeftOut, Question

PAPER = {
    *("videomme", "mvbench", "nextqa", "mlvu", "longvideobench", "tomato", "perception", "ai2d", "chartqa", "docvqa"),
    *("infovqa", "mmbench", "ocrbench", "ocrbench_v2", "mmstar", "realworldqa"),
}
PICTURE = {"bytes": b"picture", "path": "x.png"}


def test_the_papers_sixteen_are_there() -> None:
    assert set(benchmarks()) == PAPER | {"jsonl"}
    assert len(PAPER) == 16
    with pytest.raises(InvalidArgumentError, match="videomme"):
        benchmark_named("video-mme")


def test_videomme(tmp_path: Path) -> None:
    row = {"videoID": "abc", "question_id": "001-1", "question": "Who?", "answer": "C", "duration": "short"}
    row["options"] = ["A. Ann.", "B. Bob.", "C. Cid.", "D. Dora."]
    question = only("videomme", made(tmp_path, "test.json", [row], ("data/abc.mkv",)))
    assert (question.options, question.answers, question.group) == (("Ann.", "Bob.", "Cid.", "Dora."), ("C",), "short")
    assert place(question, tmp_path) == "data/abc.mkv"
    assert question.messages()[0]["content"][-1]["text"].splitlines()[:3] == ["Who?", "A. Ann.", "B. Bob."]


def test_mvbench_asks_about_the_part_of_a_video(tmp_path: Path) -> None:
    row = {"video": "v.mp4", "question": "?", "candidates": ["x", "y", "z"], "answer": "y", "start": 1.5, "end": 4}
    made(tmp_path, "json/action_sequence.json", [row], ("video/star/Charades_v1_480/v.mp4",))
    made(tmp_path, "json/moving_count.json", [{**row, "answer": "z"}])
    one, other = benchmark_named("mvbench").questions(tmp_path)
    assert isinstance(one, Question)
    assert isinstance(other, Question)
    assert one.media[0]["start_seconds"] == 1.5
    assert one.media[0]["end_seconds"] == 4
    assert place(one, tmp_path) == "video/star/Charades_v1_480/v.mp4"
    assert "start_seconds" not in other.media[0]
    assert place(other, tmp_path) == "video/clevrer/video_validation/v.mp4"
    assert [(q.group, q.answers) for q in (one, other)] == [("action_sequence", ("B",)), ("moving_count", ("C",))]


def test_nextqa(tmp_path: Path) -> None:
    row = {"video": "42", "qid": 7, "type": "CH", "question": "why ", "answer": 3} | {
        f"a{i}": f"o{i}" for i in range(5)
    }
    question = only("nextqa", made(tmp_path, "val.csv", [row], ("NExTVideo/1164/42.mp4",)))
    assert (question.answers, question.group, question.id) == (("D",), "C", "42_7")
    assert place(question, tmp_path) == "NExTVideo/1164/42.mp4"


def test_mlvu_as_files_and_as_a_table(tmp_path: Path) -> None:
    row = {"video": "a.mp4", "question": "How many?", "candidates": ["3", "0", "1", "2"], "answer": "1"}
    question = only("mlvu", made(tmp_path / "a", "json/4_count.json", [row]))
    assert (question.answers, question.group) == (("C",), "count")  # the option's text, not its number
    assert place(question, tmp_path / "a") == "video/4_count/a.mp4"
    text = "What?\n(A) x\n(B) y"
    table = {"video_name": "v.mp4", "task_type": "ego", "question": text, "answer": "B"}
    question = only("mlvu", made(tmp_path / "b", "json/table.json", [table]))
    assert (question.letters, question.options, question.answers) == (("A", "B"), (), ("B",))


def test_longvideobench_tomato_and_perception(tmp_path: Path) -> None:
    row = {"id": "l_0", "video_path": "l.mp4", "question": "?", "candidates": ["p", "q"], "correct_choice": 1}
    made(tmp_path, "lvb_val.json", [{**row, "duration_group": 15}], ("videos/l.mp4",))
    question = only("longvideobench", tmp_path)
    assert (question.answers, question.group, place(question, tmp_path)) == (("B",), "15", "videos/l.mp4")

    row = {"question": "?", "options": ["p", "q"], "answer": 0, "demonstration_type": "human", "key": "0001-1"}
    made(tmp_path / "t", "data/rotation.json", {"17": row}, ("videos/human/0001-1.mp4",))
    question = only("tomato", tmp_path / "t")
    assert (question.answers, question.group) == (("A",), "rotation")
    assert place(question, tmp_path / "t") == "videos/human/0001-1.mp4"

    asked = [
        {"id": i, "question": f"{i}?", "options": ["x", "y", "z"], "answer_id": i, "area": "physics"} for i in (0, 2)
    ]
    made(tmp_path / "p", "all_valid.json", {"video_1": {"mc_question": asked}}, ("videos/video_1.mp4",))
    found = list(benchmark_named("perception").questions(tmp_path / "p"))
    assert [(q.id, q.answers) for q in found if isinstance(q, Question)] == [
        ("video_1_0", ("A",)),
        ("video_1_2", ("C",)),
    ]


def test_pictures_in_files(tmp_path: Path) -> None:
    made(tmp_path / "c", "test_human.json", [{"imgname": "1.png", "query": "max?", "label": "7"}])
    question = only("chartqa", tmp_path / "c")
    assert (question.metric, question.group, place(question, tmp_path / "c")) == ("relaxed", "human", "png/1.png")
    rows = {"data": [{"questionId": 5, "question": "who", "image": "documents/a.png", "answers": ["Ann", "A."]}]}
    question = only("docvqa", made(tmp_path / "d", "val_v1.0_withQT.json", rows))
    assert (question.answers, question.metric, question.id) == (("Ann", "A."), "anls", "5")
    assert place(question, tmp_path / "d") == "documents/a.png"
    rows = {"data": [{"questionId": 6, "question": "who", "image_local_name": "3.jpg", "answers": ["x"]}]}
    question = only("infovqa", made(tmp_path / "i", "infographicsVQA_val_v1.0_withQT.json", rows))
    assert place(question, tmp_path / "i") == "images/3.jpg"
    row = {"id": 1, "question": "?", "options": ["p", "q"], "answer": "1", "image": "1.png"}
    question = only("ai2d", made(tmp_path / "a", "test.json", [row]))
    assert (question.answers, place(question, tmp_path / "a")) == (("B",), "images/1.png")


def test_mmbench_counts_rotations_as_one(tmp_path: Path) -> None:
    picture = base64.b64encode(b"p" * 900).decode()
    row = {"index": 3, "question": "?", "hint": "nan", "A": "x", "B": "y", "C": "", "D": "nan", "answer": "A"}
    row |= {"category": "c", "l2-category": "l2", "image": picture}
    turned = {**row, "index": 1_000_003, "A": "y", "B": "x", "answer": "B", "hint": "look"}
    found = list(benchmark_named("mmbench").questions(made(tmp_path, "mmbench_dev_en.tsv", [row, turned])))
    assert all(isinstance(q, Question) for q in found)
    one, other = found
    assert isinstance(one, Question)
    assert isinstance(other, Question)
    assert (one.together, other.together, one.options, one.answers) == ("3", "3", ("x", "y"), ("A",))
    assert one.media[0]["bytes"] == b"p" * 900
    assert other.text == "look\n?"


def test_ocr_benchmarks(tmp_path: Path) -> None:
    rows = [
        {
            "dataset_name": "IIIT5K",
            "id": 0,
            "question": "?",
            "answers": ["CENTRE"],
            "type": "Regular",
            "image_path": "a/1.png",
        },
        {
            "dataset_name": "HME100k",
            "id": 1,
            "question": "?",
            "answers": "x ^ 2",
            "type": "Math",
            "image_path": "h/1.png",
        },
    ]
    one, other = benchmark_named("ocrbench").questions(made(tmp_path, "OCRBench.json", rows))
    assert isinstance(one, Question)
    assert isinstance(other, Question)
    assert (one.metric, other.metric, other.score("so X^2, x^2")) == ("contained", "contained_formula", 1)
    assert place(one, tmp_path) == "OCRBench_Images/a/1.png"
    kinds = {
        "reasoning VQA en": ("", "contained_or_near"),
        "science QA en": ("multiple choice", "bare_letters"),
        "text recognition en": ("case sensitive", "contained_or_near_case"),
        "cognition VQA cn": ("", "contained_or_near_cn"),
        "text counting en": ("regression", "counted_near"),
        "text grounding en": ("", "box_overlap"),
        "formula recognition cn": ("", "formula_cn"),
        "table parsing en": ("", None),
    }
    base = {"question": "?", "answers": ["1"], "image_path": "x.png"}
    rows = [{**base, "id": i, "type": kind, "eval": how} for i, (kind, (how, _)) in enumerate(kinds.items())]
    found = list(benchmark_named("ocrbench_v2").questions(made(tmp_path / "2", "OCRBench_v2.json", rows)))
    assert [q.metric if isinstance(q, Question) else None for q in found] == [metric for _, metric in kinds.values()]
    assert isinstance(found[-1], LeftOut)


def test_options_inside_the_question(tmp_path: Path) -> None:
    row = {"index": 0, "question": "Which?\nOptions: A: x, B: y, C: z, D: w", "answer": "D", "image": "p.png"}
    question = only("mmstar", made(tmp_path, "val.jsonl", [{**row, "category": "math"}]))
    assert (question.letters, question.answers, question.score("D: w")) == (tuple("ABCD"), ("D",), 1)
    text = "Which way?\n\nA. Left\nB. Right\nPlease answer directly with only the letter of the correct option."
    rows = [
        {"id": 1, "question": text, "answer": "B", "image": "1.webp"},
        {
            "id": 2,
            "question": "How many?\nPlease answer directly with a single word or number.",
            "answer": "3",
            "image": "2",
        },
    ]
    choice, word = benchmark_named("realworldqa").questions(made(tmp_path / "r", "test.jsonl", rows))
    assert isinstance(choice, Question)
    assert isinstance(word, Question)
    assert choice.text.endswith("B. Right")
    assert (choice.metric, word.metric, word.text, word.score("3.")) == ("letter", "exact", "How many?", 1)


def test_what_is_wrong_with_files_is_said(tmp_path: Path) -> None:
    entry = benchmark_named("jsonl")
    with pytest.raises(InvalidArgumentError, match=r"\*\.jsonl"):
        list(entry.questions(tmp_path))
    same = {"id": "x", "question": "?", "answer": "y"}
    with pytest.raises(InvalidArgumentError, match="once"):
        list(entry.questions(made(tmp_path / "1", "a.jsonl", [same, same])))
    with pytest.raises(InvalidArgumentError, match=r"row 1.*question"):
        list(entry.questions(made(tmp_path / "2", "a.jsonl", [{"answer": "y"}])))
    with pytest.raises(InvalidArgumentError, match="answer"):
        list(
            entry.questions(made(tmp_path / "3", "a.jsonl", [{"question": "?", "options": ["p", "q"], "answer": "r"}]))
        )
    (tmp_path / "4.jsonl").write_text("{not json}\n")
    with pytest.raises(InvalidArgumentError, match=r"readable \.jsonl"):
        list(entry.questions(tmp_path / "4.jsonl"))


def test_tables_of_the_hub(tmp_path: Path) -> None:
    path = tmp_path / "data" / "test-00000-of-00001.parquet"
    path.parent.mkdir()
    row = {"question": "max?", "answer": "7", "type": "augmented_test", "image": PICTURE}
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        path.write_bytes(b"PAR1")
        with pytest.raises(MissingExtraError, match="pyarrow"):
            list(benchmark_named("chartqa").questions(tmp_path))
        return
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row]), path)
    question = only("chartqa", tmp_path)
    assert (question.media[0]["bytes"], question.group, question.answers) == (b"picture", "augmented", ("7",))
