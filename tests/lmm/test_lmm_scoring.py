"""Metrics against hand-computed cases and, where a formula has one, brute force."""

from __future__ import annotations

from functools import cache
from random import Random

import pytest

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.lmm.questions import Question, lettered, worded
from onevision_encoder.lmm.scoring import (
    METRICS,
    anls,
    box_overlap,
    contained,
    contained_formula,
    contained_or_near,
    counted_near,
    edit_distance,
    exact,
    letter_of,
    relaxed_accuracy,
)

OPTIONS = ("a cat", "a black cat", "the moon", "nothing")


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        (" (c). ", "C"),
        ("**D**", "D"),
        ("B. a black cat", "B"),
        ("D) nothing at all", "D"),
        ("The answer is (C).", "C"),
        ("The correct answer is C because B is wrong", "C"),
        ("Answer: D", "D"),
        ("I would say option B", "B"),
        ("It is the moon.", "C"),
        ("There is a black cat", "B"),  # which holds the words of A too
        ("A cat or the moon", None),
        ("A dog is there, so (D)", "D"),
        ("A dog is there", None),  # an article
        ("It is A.", "A"),
        ("I think B", "B"),
        ("B or D", None),
        ("E", None),
        ("", None),
        ("Because", None),
    ],
)
def test_letters(said: str, letter: str | None) -> None:
    assert letter_of(said, tuple("ABCD"), OPTIONS) == letter


def test_answers_of_rows_become_letters() -> None:
    options = ["3", "0", "2", "1"]
    assert [lettered(options, one) for one in (0, "0", "B", "2")] == ["A", "B", "B", "C"]
    assert lettered(["left", "right"], "1") == "B"
    for wrong in (4, -1, "E", "five"):
        with pytest.raises(InvalidArgumentError):
            lettered(options, wrong)
    with pytest.raises(InvalidArgumentError):
        lettered(["same", "same"], "same")
    assert worded(["B", "A", "0"], "A") == "B"
    for wrong in ("1", "C", "b"):  # a number or a letter that is no option's text is no answer
        with pytest.raises(InvalidArgumentError, match="just one"):
            worded(["B", "A", "0"], wrong)


def test_edit_distance_is_the_recursive_definition() -> None:
    @cache
    def distance(one: str, other: str) -> int:
        if not one or not other:
            return len(one) + len(other)
        swap = distance(one[1:], other[1:]) + (one[0] != other[0])
        return min(distance(one[1:], other) + 1, distance(one, other[1:]) + 1, swap)

    draw = Random(0)
    words = ["".join(draw.choices("abc", k=draw.randrange(8))) for _ in range(24)]
    for one in words:
        for other in words:
            assert edit_distance(one, other) == distance(one, other)


def test_anls_by_hand() -> None:
    assert anls("Hello  World", ["hello world"]) == 1
    assert anls("helo", ["hello"]) == pytest.approx(1 - 1 / 5)
    assert anls("ab", ["abcd"]) == 0.5  # at the threshold, as the challenge's program scores it
    assert anls("ab", ["abcde"]) == 0
    assert anls("abc", ["abcde", "abd"]) == pytest.approx(1 - 1 / 3)  # the best answer: 2/5 away, or 1/3
    assert anls("", ["x"]) == 0
    assert anls("", [""]) == 1


@pytest.mark.parametrize(
    ("said", "truth", "score"),
    [
        ("104.9", "100", 1),
        ("105", "100", 1),
        ("105.1", "100", 0),
        ("-95", "-100", 1),
        ("95", "-100", 0),
        ("0.0", "0", 1),
        ("0.01", "0", 0),
        ("12%", "0.12", 1),
        ("12", "12%", 0),
        ("Yes", "yes", 1),
        ("yes.", "yes", 0),
        ("2010", "the year 2010", 0),
        ("nan", "NaN", 1),
    ],
)
def test_relaxed_accuracy_by_hand(said: str, truth: str, score: float) -> None:
    assert relaxed_accuracy(said, [truth]) == score
    assert relaxed_accuracy(said, ["never", truth]) == score


def test_what_ocr_benchmarks_ask_for() -> None:
    assert contained("The sign says\nSTOP here", ["stop HERE"]) == 1
    assert contained("ＳＴＯＰ", ["stop"]) == 1  # full-width letters
    assert contained("sto p", ["stop"]) == 0
    assert contained_formula(r"so \frac { a } {b} it is", [r"\frac{a}{b}"]) == 1
    assert contained_formula("A + b", ["a+b"]) == 0
    assert contained_or_near("it is Forty two", ["forty two"]) == 1
    assert contained_or_near("it is Forty two", ["forty two"], case=True) == 0
    long = "one two three four five"
    assert contained_or_near("one two three four fiv", [long]) == pytest.approx(1 - 1 / len(long))
    assert contained_or_near(f"well {long} and many more words that follow", [long]) == 0
    assert contained_or_near("答 案", ["答案"], chinese=True) == 1
    assert [counted_near(said, ["10"]) for said in ("10", "about 8", "12 or 10", "5", "20", "ten")] == pytest.approx(
        [1, 0.8, 0.8, 0, 0, 0]
    )
    assert box_overlap("first [0, 0, 9, 9], then (5, 0, 15, 10)", ["0", "0", "10", "10"]) == pytest.approx(50 / 150)
    assert box_overlap("[20, 20, 30, 30]", ["0", "0", "10", "10"]) == 0
    assert box_overlap("nowhere", ["0", "0", "10", "10"]) == 0
    assert METRICS["bare_letters"]("(B).", ["B"]) == 1
    assert METRICS["bare_letters"]("B cat", ["B"]) == 0
    assert METRICS["formula_cn"](r"\text{高} = 3", [r"高=\text{3}"]) == 1
    assert exact(" Down hill. ", ["down hill"]) == 1
    assert exact("downhill", ["down hill"]) == 0


def test_questions_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="question q"):
        Question(id="q", text="?", media=(), options=("x", "y"), answers=("C",))
    with pytest.raises(InvalidArgumentError, match="metric"):
        Question(id="q", text="?", media=(), answers=("x",), metric="bleu")
    with pytest.raises(InvalidArgumentError, match="at least one"):
        Question(id="q", text="?", media=(), answers=(), metric="anls")
