"""A model asked all questions of a benchmark: predictions line by line, resumable, and nothing replaced.

``predictions.jsonl`` holds a line for each question: its answer, score, tokens, times and the path of each medium, or
what was wrong with it, and a digest of the question as it was. ``run.json`` holds what was asked for, and of which
weights; a run goes on only where that is the same.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from onevision_encoder import __version__
from onevision_encoder.errors import (
    BudgetError,
    InvalidArgumentError,
    MediaError,
    PlaceholderError,
    SignalUnavailableError,
    TokenFileError,
)
from onevision_encoder.lmm.answering import Writing, answer, continuation_scores, prompt_inputs
from onevision_encoder.lmm.questions import LeftOut, Question

PREDICTIONS, RUN = "predictions.jsonl", "run.json"
How = Literal["generation", "likelihood", "both"]
HOWS: tuple[How, ...] = ("generation", "likelihood", "both")
BROKEN = (MediaError, BudgetError, TokenFileError, SignalUnavailableError, PlaceholderError)
"""What may be wrong with one sample; anything else is wrong with the call."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """How questions are asked.

    Attributes:
        how: multiple choice by ``generation`` (the answer is written and its letter read), by ``likelihood`` (the
            likeliest letter after the prompt) or ``both``: scored by generation, likelihood recorded beside it. Other
            questions are always written. instruction: the last line of every question; None = see
            :class:`Question`, "" = none. writing: of answers. options: of the processor's call.
            template_options: of the chat template.
    Raises:
        InvalidArgumentError: another ``how``.
    """

    how: How = "generation"
    instruction: str | None = None
    writing: Writing = field(default_factory=lambda: Writing(max_new_tokens=32))
    options: Mapping[str, Any] | None = None
    template_options: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if self.how not in HOWS:
            raise InvalidArgumentError("how", self.how, f"one of {', '.join(HOWS)}")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return json.loads(json.dumps({**vars(self), "writing": vars(self.writing)}))  # type: ignore[no-any-return]


def ask(model: Any, processor: Any, question: Question, asking: Asking) -> dict[str, Any]:
    """The line of one question. Media that cannot be read make a line with ``error`` and no score.

    Raises:
        InvalidArgumentError: what is wrong for every question, such as an option that does not exist.
    """
    line: dict[str, Any] = {"id": question.id, "group": question.group, "together": question.together}
    line["question"] = question.digest
    line |= {"metric": question.metric, "answers": list(question.answers)}
    messages = question.messages(asking.instruction)
    more = {**(asking.options or {}), "template_options": asking.template_options}
    try:
        if not question.is_choice or asking.how != "likelihood":
            found = answer(model, processor, messages, writing=asking.writing, **more)
            line |= {"prediction": found.text, "score": question.score(found.text)}
            line |= {"letter": question.letter(found.text)} if question.is_choice else {}
            line |= _cost(vars(found))
        if question.is_choice and asking.how != "generation":
            line = {**_likeliest(model, processor, question, messages, more), **line}
    except BROKEN as error:
        return {**line, "score": None, "error": {"type": type(error).__name__, "cause": str(error)}}
    return {**line, "error": None}


def _cost(found: Mapping[str, Any]) -> dict[str, Any]:
    names = ("prompt_tokens", "visual_tokens", "answer_tokens", "seconds_reading", "seconds_to_first", "seconds")
    kept = ("modality", "name", "path", "frames", "frames_lost", "frames_corrupt", "patches", "tokens")
    media = [{name: medium[name] for name in kept} for medium in found["media"]]
    return {**{name: found[name] for name in names}, "media": media}


def _likeliest(
    model: Any, processor: Any, question: Question, messages: Any, more: Mapping[str, Any]
) -> dict[str, Any]:
    """By likelihood; the time to the first token is that of reading and one pass over the prompt."""
    started = time.perf_counter()
    inputs = prompt_inputs(model, processor, messages, **more)
    read = time.perf_counter()
    scores = [score for score, _ in continuation_scores(model, processor, inputs, question.letters)]
    ended = time.perf_counter()
    letter = question.letters[scores.index(max(scores))]
    found = {
        "prompt_tokens": int(inputs["input_ids"].shape[1]),
        "visual_tokens": sum(record.tokens for record in inputs.media),
        "answer_tokens": 0,
        "seconds_reading": read - started,
        "seconds_to_first": ended - started,
        "seconds": ended - started,
        "media": [record.as_dict() for record in inputs.media],
    }
    right = float(letter == question.answers[0])
    likelihood = {
        "letter": letter,
        "score": right,
        "log_probabilities": dict(zip(question.letters, scores, strict=True)),
    }
    return {"prediction": letter, "letter": letter, "score": right, "likelihood": likelihood, **_cost(found)}


def judge(
    model: Any,
    processor: Any,
    questions: Iterable[Question | LeftOut],
    out: Path,
    *,
    asking: Asking | None = None,
    about: Mapping[str, Any] | None = None,
    tick: Callable[[], object] | None = None,
) -> list[dict[str, Any]]:
    """Every question's line, asked or found in ``out``, in the order of ``questions``.

    Args:
        out: folder of the run. Lines of an earlier run of the same kind are kept; those with an error, or of a question
            that was changed since, are asked again; a line cut short by a crash is dropped. about: what else makes a
            run the same (model and its weights, benchmark, data).
        tick: called after each question.
    Raises:
        InvalidArgumentError: ``out`` holds another run, or cannot be written.
    """
    asking = asking or Asking()
    run = json.loads(json.dumps({"version": __version__, **(about or {}), "asking": asking.as_dict()}))
    known = _start(out, run)
    lines = []
    with (out / PREDICTIONS).open("a", encoding="utf-8") as file:
        for question in questions:
            if isinstance(question, LeftOut):
                lines.append({**vars(question), "score": None, "error": None, "left_out": question.cause})
            elif known.get(question.id, {}).get("question") == question.digest:
                lines.append(known[question.id])
            else:
                lines.append(ask(model, processor, question, asking))
                file.write(json.dumps(lines[-1]) + "\n")
                file.flush()
            if tick:
                tick()
    return lines


def _start(out: Path, run: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The lines that an earlier run like this one left, by id; the file then holds just these."""
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgumentError("out", str(out), f"a folder that can be made ({error.strerror})") from error
    record = out / RUN
    if record.is_file():
        before = json.loads(record.read_text(encoding="utf-8"))
        other = sorted(name for name in {*before, *run} if before.get(name) != run.get(name))
        if other:
            raise InvalidArgumentError(
                "out", str(out), f"another folder: the run in this one has other {', '.join(other)}"
            )
    _replace(record, json.dumps(run, indent=2) + "\n")
    path = out / PREDICTIONS
    known = {line["id"]: line for line in _whole_lines(path) if line.get("error") is None}
    _replace(path, "".join(json.dumps(line) + "\n" for line in known.values()))
    return known


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    whole = path.read_text(encoding="utf-8").split("\n")[:-1]  # what is behind the last line end was cut short
    return [json.loads(line) for line in whole if line]


def _replace(path: Path, text: str) -> None:
    beside = path.with_name(path.name + ".part")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)  # noqa: PTH105  (both are Paths; the name says what it does)
