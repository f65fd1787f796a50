"""Answers against ``generate`` and the forward pass called by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from speaking_parts import LETTERS, ROWS, media_folder, speaking_model, write_lines
from tiny_parts import image, user, video

from onevision_encoder.errors import CheckpointError, InvalidArgumentError, MediaError
from onevision_encoder.lmm.answering import Writing, answer, continuation_scores, prompt_inputs
from onevision_encoder.lmm.benchmarks import benchmark_named
from onevision_encoder.lmm.judged import in_words, summary
from onevision_encoder.lmm.judging import PREDICTIONS, Asking, judge
from onevision_encoder.lmm.loading import load_language_model
from onevision_encoder.lmm.questions import Question

MESSAGES = user(video(budget=20), image(), "which way does the object move")
TEN = Writing(max_new_tokens=10)


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    return speaking_model()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = media_folder(tmp_path_factory.mktemp("asked"))
    write_lines(place / "questions.jsonl", ROWS)
    return place


def test_an_answer_is_what_generate_writes_and_says_what_it_cost(parts: tuple[Any, Any]) -> None:
    model, processor = parts
    pieces: list[str] = []
    found = answer(model, processor, MESSAGES, writing=TEN, tell=pieces.append)
    inputs = processor.apply_chat_template(MESSAGES, tokenize=True, add_generation_prompt=True)
    ids = model.generate(**inputs, max_new_tokens=10, do_sample=False, pad_token_id=1)[
        0, inputs["input_ids"].shape[1] :
    ]
    assert found.text == processor.tokenizer.decode(ids, skip_special_tokens=True)
    assert "".join(pieces) == found.text
    assert len(pieces) > 1
    assert (found.answer_tokens, found.prompt_tokens) == (len(ids), inputs["input_ids"].shape[1])
    assert found.finish == ("stop" if int(ids[-1]) == 3 else "length")
    assert [medium["path"] for medium in found.media] == ["codec", "image"]
    assert found.visual_tokens == sum(medium["tokens"] for medium in found.media)
    assert found.media[0]["tokens"] == 20
    assert 0 < found.seconds_reading < found.seconds_to_first <= found.seconds


def test_stop_texts_end_an_answer_before_them(parts: tuple[Any, Any]) -> None:
    model, processor = parts
    whole = answer(model, processor, MESSAGES, writing=TEN).text
    stop = whole.split()[3]
    expected = whole[: whole.index(stop)]
    pieces: list[str] = []
    writing = Writing(max_new_tokens=10, stop=(stop, "never said"))
    cut = answer(model, processor, MESSAGES, writing=writing, tell=pieces.append)
    assert (cut.text, "".join(pieces), cut.finish) == (expected, expected, "stop")
    assert cut.answer_tokens <= 10


def test_drawing_is_by_the_seed_and_leaves_the_callers_alone(parts: tuple[Any, Any]) -> None:
    model, processor = parts

    def drawn(seed: int) -> str:
        return answer(model, processor, MESSAGES, writing=Writing(max_new_tokens=8, temperature=5.0, seed=seed)).text

    torch.manual_seed(7)
    before = torch.get_rng_state()
    texts = [drawn(seed) for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]
    assert torch.equal(torch.get_rng_state(), before)


def test_time_and_cancelling_end_an_answer(parts: tuple[Any, Any]) -> None:
    model, processor = parts
    late = answer(model, processor, MESSAGES, writing=Writing(max_new_tokens=500, max_seconds=1e-6))
    assert (late.finish, late.answer_tokens) == ("time", 1)
    asked: list[int] = []
    gone = answer(model, processor, MESSAGES, writing=TEN, cancelled=lambda: asked.append(0) or len(asked) == 3)
    assert (gone.finish, gone.answer_tokens) == ("cancelled", 2)
    never = answer(model, processor, MESSAGES, writing=TEN, cancelled=lambda: True)
    assert (never.finish, never.answer_tokens, never.text) == ("cancelled", 0, "")
    for wrong in ({"max_new_tokens": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"stop": ("",)}, {"max_seconds": 0.0}):
        with pytest.raises(InvalidArgumentError):
            Writing(**wrong)


def test_scores_of_continuations_are_sums_over_the_whole_text(parts: tuple[Any, Any]) -> None:
    model, processor = parts
    inputs = prompt_inputs(model, processor, MESSAGES)
    texts = ["A", "B", "which way", "a b c d"]
    found = continuation_scores(model, processor, inputs, texts)
    start = inputs["input_ids"].shape[1]
    for text, (score, greedy) in zip(texts, found, strict=True):
        more = processor.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        ids = torch.cat([inputs["input_ids"], more], 1)
        with torch.inference_mode():
            given = {**inputs, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
            logs = model(**given, use_cache=False).logits[0, start - 1 : -1].log_softmax(-1)
        assert score == pytest.approx(float(logs.gather(1, more[0][:, None]).sum()), abs=1e-4)
        assert greedy == bool((logs.argmax(-1) == more[0]).all())
    with pytest.raises(InvalidArgumentError, match="zebra"):
        continuation_scores(model, processor, inputs, ["lion", "zebra"])  # both are unknown words


def test_a_folder_is_loaded_or_said_to_be_none(parts: tuple[Any, Any], tmp_path: Path) -> None:
    model, processor = parts
    model.save_pretrained(tmp_path / "vlm")
    processor.save_pretrained(tmp_path / "vlm")
    again, reader = load_language_model(tmp_path / "vlm", device="cpu")
    assert answer(again, reader, MESSAGES, writing=TEN).text == answer(model, processor, MESSAGES, writing=TEN).text
    with pytest.raises(CheckpointError, match="no such folder"):
        load_language_model(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="empty"):
        load_language_model(tmp_path / "empty")
    with pytest.raises(InvalidArgumentError, match="dtype"):
        load_language_model(tmp_path / "vlm", dtype="int8")
    with pytest.raises(InvalidArgumentError, match="device"):
        load_language_model(tmp_path / "vlm", device="toaster")
    model.vision_model.save_pretrained(tmp_path / "encoder")
    with pytest.raises(CheckpointError, match="an encoder alone: ove lmm make"):
        load_language_model(tmp_path / "encoder")
    model.language_model.save_pretrained(tmp_path / "language")
    with pytest.raises(CheckpointError, match="a model of type qwen3"):
        load_language_model(tmp_path / "language")


def test_a_run_asks_every_question_and_replaces_none(parts: tuple[Any, Any], folder: Path, tmp_path: Path) -> None:
    model, processor = parts
    entry = benchmark_named("jsonl")
    questions = [one for one in entry.questions(folder) if isinstance(one, Question)]
    asking = Asking(how="both", writing=Writing(max_new_tokens=4), options={"budget": 20})
    lines = judge(model, processor, questions, tmp_path, asking=asking)
    assert [line["id"] for line in lines] == ["q1", "q2", "q3", "q4", "q5"]
    broken = lines[2]
    assert broken["score"] is None
    assert broken["error"]["type"] in {kind.__name__ for kind in MediaError.__subclasses__()}
    assert "broken.mp4" in broken["error"]["cause"]
    for question, line in zip(questions, lines, strict=True):
        if line["error"]:
            continue
        messages = question.messages()
        said = answer(model, processor, messages, writing=asking.writing, budget=20)
        assert (line["prediction"], line["score"]) == (said.text, question.score(said.text))
        assert (line["prompt_tokens"], line["visual_tokens"]) == (said.prompt_tokens, said.visual_tokens)
        if question.is_choice:
            inputs = prompt_inputs(model, processor, messages, budget=20)
            with torch.inference_mode():
                last = model(**inputs).logits[0, -1]
            ids = processor.tokenizer.convert_tokens_to_ids(list(question.letters))
            likeliest = question.letters[int(last[ids].argmax())]
            assert line["likelihood"]["letter"] == likeliest
            assert line["likelihood"]["score"] == float(likeliest == question.answers[0])
    report = summary(lines, entry)
    assert report["paths"] == {"codec": 1, "image": 2}
    assert report["samples_by_path"] == {"codec": ["q1"], "image": ["q2", "q4"], "text alone": ["q5"]}
    assert (report["questions"], report["asked"], [one["id"] for one in report["broken"]]) == (5, 4, ["q3"])
    right = sum(line["score"] for line in lines if not line["error"])
    assert report["score"] == pytest.approx(100 * right / 4)
    assert report["score_broken_wrong"] == pytest.approx(100 * right / 5)
    assert report["tokens"]["visual_tokens"]["most"] == max(
        line["visual_tokens"] for line in lines if not line["error"]
    )
    assert "Broken: q3: " in in_words(report)


def test_a_run_goes_on_where_it_stopped(
    parts: tuple[Any, Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = parts
    asking = Asking(how="likelihood", writing=Writing(max_new_tokens=4), options={"budget": 20})
    questions = list(benchmark_named("jsonl").questions(folder))
    first = judge(model, processor, questions, tmp_path / "whole", asking=asking)
    done: list[int] = []

    def stop() -> None:
        done.append(0)
        if len(done) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(model, processor, questions, tmp_path / "cut", asking=asking, tick=stop)
    file = tmp_path / "cut" / PREDICTIONS
    lines = file.read_text().splitlines(keepends=True)
    assert len(lines) == 4
    file.write_text("".join(lines[:3]) + lines[3][:20])  # the machine went down within the fourth line
    calls: list[str] = []
    from onevision_encoder.lmm import judging

    real = judging.ask
    monkeypatch.setattr(judging, "ask", lambda m, p, q, a: calls.append(q.id) or real(m, p, q, a))
    second = judge(model, processor, questions, tmp_path / "cut", asking=asking)
    assert calls == ["q3", "q4", "q5"]  # the broken one is tried again
    timeless = [{k: v for k, v in line.items() if "seconds" not in k} for line in (*first, *second)]
    assert timeless[:5] == timeless[5:]
    with pytest.raises(InvalidArgumentError, match="asking"):
        judge(model, processor, questions, tmp_path / "cut", asking=Asking(how="both"))
    calls.clear()
    mended = replace(questions[0], answers=tuple(x for x in questions[0].letters if x not in questions[0].answers)[:1])
    third = judge(model, processor, [mended, *questions[1:]], tmp_path / "cut", asking=asking)
    assert calls == [mended.id, "q3"]  # the key was wrong: its line is made anew
    assert third[0]["answers"] == list(mended.answers)
    assert third[0]["letter"] == first[0]["letter"]


def test_reports_by_hand() -> None:
    base = {"error": None, "metric": "letter", "letter": "A", "media": [], "prompt_tokens": 1, "visual_tokens": 0}
    base |= {"answer_tokens": 1, "seconds_reading": 1.0, "seconds_to_first": 2.0, "seconds": 3.0}

    def line(i: int, group: str, score: float, together: str | None = None) -> dict[str, Any]:
        return {**base, "id": str(i), "group": group, "score": score, "together": together}

    lines = [line(0, "a", 1.0), line(1, "a", 0.0), line(2, "a", 1.0), line(3, "b", 0.0)]
    assert summary(lines, benchmark_named("videomme"))["score"] == pytest.approx(50)
    assert summary(lines, benchmark_named("mvbench"))["score"] == pytest.approx((200 / 3 + 0) / 2)
    assert summary(lines, benchmark_named("ocrbench"))["score"] == pytest.approx(500)
    circular = [line(0, "a", 1.0, "0"), line(1, "a", 0.0, "0"), line(2, "a", 1.0, "2"), line(3, "a", 1.0, "2")]
    report = summary(circular, benchmark_named("mmbench"))
    assert (report["score"], report["counted_as"]) == (50, 2)
    left = {"id": "x", "group": "table", "cause": "c", "score": None, "error": None, "left_out": "c"}
    assert summary([*lines, left], benchmark_named("ocrbench_v2"))["left_out"] == {"table: c": 1}
    assert summary([], benchmark_named("videomme"))["score"] is None
    assert len(LETTERS) == 5
