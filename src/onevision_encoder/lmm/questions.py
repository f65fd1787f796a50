"""A question of a benchmark, as the model is asked it, and whether an answer is right."""

from __future__ import annotations

import hashlib
import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.lmm.scoring import letter_of, metric_named

LETTER = "letter"
ASK_LETTER = "Answer with the letter of the right option alone."
ASK_WORDS = "Answer with a single word or phrase."


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A row that cannot be scored here, and why."""

    id: str
    group: str
    cause: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question.

    Attributes:
        id: unique in its benchmark. media: parts of a message (see :mod:`..conversation`), shown before the words.
        options: of a multiple choice, without letters. letters: of its options, where they stand in ``text`` already.
        answers: of a multiple choice its one letter; else every accepted answer.
        metric: ``letter``, or a name of :data:`..scoring.METRICS`. group: task or category; results are by group too.
        together: questions that share this one count as one, right only if all are (MMBench asks each several times).
    Raises:
        InvalidArgumentError: parts that do not fit each other.
    """

    id: str
    text: str
    media: tuple[Mapping[str, Any], ...]
    answers: tuple[str, ...]
    metric: str = LETTER
    options: tuple[str, ...] = ()
    letters: tuple[str, ...] = ()
    group: str = ""
    together: str | None = None

    def __post_init__(self) -> None:
        if self.options:
            object.__setattr__(self, "letters", tuple(string.ascii_uppercase[: len(self.options)]))
        if not self.answers:
            raise InvalidArgumentError("answers", self.answers, f"at least one: question {self.id}")
        if self.metric != LETTER:
            metric_named(self.metric)
        elif len(self.letters) < 2 or len(self.answers) != 1 or self.answers[0] not in self.letters:
            allowed = f"one letter of {len(self.letters)} options ({''.join(self.letters)}): question {self.id}"
            raise InvalidArgumentError("answers", self.answers, allowed)

    @property
    def is_choice(self) -> bool:
        return self.metric == LETTER

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of all of it but what lies in the files of its media."""
        canonical = json.dumps(vars(self), sort_keys=True, default=_of_bytes)
        return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()

    def messages(self, instruction: str | None = None) -> list[dict[str, Any]]:
        """What the model is asked. ``instruction``: the last line; None = as the kind of question wants, "" = none."""
        lines = [
            self.text,
            *(f"{letter}. {option}" for letter, option in zip(self.letters, self.options, strict=False)),
        ]
        ask = instruction if instruction is not None else ASK_LETTER if self.is_choice else ASK_WORDS
        text = "\n".join([*lines, ask] if ask else lines)
        return [{"role": "user", "content": [*self.media, {"type": "text", "text": text}]}]

    def letter(self, prediction: str) -> str | None:
        """The letter that a free answer names."""
        return letter_of(prediction, self.letters, self.options)

    def score(self, prediction: str) -> float:
        """0..1 of a free answer."""
        if self.is_choice:
            return float(self.letter(prediction) == self.answers[0])
        return metric_named(self.metric)(prediction, self.answers)


def lettered(options: Sequence[str], answer: str | int) -> str:
    """The letter of ``answer``: a number of an option from 0 on, a letter, or an option's text.

    Raises:
        InvalidArgumentError: none of them, or a text that two options have.
    """
    letters = string.ascii_uppercase[: len(options)]
    if isinstance(answer, int) or (answer.isdecimal() and answer not in options):
        number = int(answer)
        if 0 <= number < len(options):
            return letters[number]
    elif options.count(answer) == 1:
        return letters[list(options).index(answer)]
    elif len(answer) == 1 and answer in letters:
        return answer
    raise InvalidArgumentError("answer", answer, f"the number (from 0 on), letter or text of one of {list(options)}")


def worded(options: Sequence[str], answer: str) -> str:
    """The letter of the option that ``answer`` is, word for word: ``"1"`` and ``"B"`` are words too.

    Raises:
        InvalidArgumentError: no option, or more than one.
    """
    if options.count(answer) != 1:
        raise InvalidArgumentError("answer", answer, f"just one of {list(options)}")
    return string.ascii_uppercase[options.index(answer)]


def _of_bytes(value: Any) -> str:
    return hashlib.blake2b(value, digest_size=8).hexdigest() if isinstance(value, bytes) else str(value)
