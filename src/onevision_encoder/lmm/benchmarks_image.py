"""Rows of the nine image benchmarks, as their authors publish them and as lmms-lab's tables have them."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Iterator
from pathlib import Path

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.lmm.benchmark_rows import Row, image, listed
from onevision_encoder.lmm.questions import LETTER, LeftOut, Question, lettered
from onevision_encoder.lmm.tables import rows_of


def _key(row: Row, *names: str) -> str:
    """The row's own id, or one made of its words and picture."""
    for name in names:
        if row.get(name) is not None:
            return str(row[name])
    picture = row.get("image") or {}
    data = picture.get("bytes") if isinstance(picture, dict) else picture
    raw = data if isinstance(data, bytes) else repr(data).encode()
    return f"{row['question']} {hashlib.sha256(raw).hexdigest()[:12]}"


def ai2d(root: Path, _: Path, row: Row) -> Iterator[Question]:
    """``answer`` counts from 0, as text."""
    options = listed(row["options"])
    yield Question(
        id=f"{_key(row, 'id', 'questionId')}/{'|'.join(options)}",
        text=str(row["question"]),
        media=(image(root / "images" if isinstance(row["image"], str) else root, row["image"]),),
        options=tuple(options),
        answers=(lettered(options, int(row["answer"])),),
    )


def chartqa(root: Path, path: Path, row: Row) -> Iterator[Question]:
    """Groups: questions of people, and made ones."""
    authors = "imgname" in row
    kind = path.stem if authors else str(row["type"])
    yield Question(
        id=f"{kind}/{row['imgname']}/{row['query']}" if authors else f"{kind}/{_key(row)}",
        text=str(row["query"] if authors else row["question"]),
        media=(image(root, f"png/{row['imgname']}" if authors else row["image"]),),
        answers=tuple(listed(row["label"] if authors else row["answer"])),
        metric="relaxed",
        group="human" if "human" in kind else "augmented",
    )


def docvqa(root: Path, _: Path, row: Row) -> Iterator[Question]:
    """DocVQA and InfographicVQA. Splits without answers are no use here."""
    answers = listed(row.get("answers") or [])
    if not answers:
        raise InvalidArgumentError("answers", row.get("answers"), "a split with answers (val)")
    yield Question(
        id=_key(row, "questionId"),
        text=str(row["question"]),
        media=(image(root, row["image"] if row.get("image") else f"images/{row['image_local_name']}"),),
        answers=tuple(answers),
        metric="anls",
    )


def mmbench_rows(path: Path) -> Iterator[Row]:
    """Rows with their pictures: OpenCompass's TSV files hold each picture once, to save space, and elsewhere the index
    of the row that has it.

    Raises:
        InvalidArgumentError: an index whose row has no picture.
    """
    wanted = {row["image"] for row in rows_of(path) if _refers(row)} if path.suffix == ".tsv" else set()
    if not wanted:
        yield from rows_of(path)
        return
    having = (row for row in rows_of(path) if row.get("index") in wanted and not _refers(row))
    pictures = {row["index"]: row["image"] for row in having}
    for number, row in enumerate(rows_of(path), 1):
        if not _refers(row):
            yield row
        elif pictures.get(row["image"]):
            yield {**row, "image": pictures[row["image"]]}
        else:
            allowed = f"a picture, or the index of a row that has one: {path.name}, row {number}"
            raise InvalidArgumentError("image", row["image"], allowed)


def _refers(row: Row) -> bool:
    found = row.get("image")
    return isinstance(found, str) and found.isdecimal() and len(found) <= 64


def mmbench(root: Path, _: Path, row: Row) -> Iterator[Question]:
    """Each question comes with its options rotated, under index + n * 1,000,000; all must be right (circular). Empty
    options ("", nan) do not exist."""
    number = int(row["index"])
    options = [str(row[name]) for name in "ABCDE" if _is_there(row.get(name))]
    hint = str(row["hint"]) if _is_there(row.get("hint")) else ""
    yield Question(
        id=str(number),
        text="\n".join(part for part in (hint, str(row["question"])) if part),
        media=(image(root, row["image"]),),
        options=tuple(options),
        answers=(str(row["answer"]).strip(),),
        group=str(row.get("l2-category") or row.get("L2-category") or row.get("category") or ""),
        together=str(number % 1_000_000),
    )


def _is_there(value: object) -> bool:
    return value is not None and str(value).strip().lower() not in ("", "nan")


def ocrbench(root: Path, _: Path, row: Row) -> Iterator[Question]:
    """An answer must occur in the prediction; formulas (HME100k) without spaces."""
    place = row.get("image_path")
    kind = str(row.get("question_type") or row["type"])
    source = str(row.get("dataset") or row["dataset_name"])
    key = row["id"] if place else _key(row, "id")
    yield Question(
        id=f"{source}/{key}/{place or ''}",
        text=str(row["question"]),
        media=(image(root / "OCRBench_Images" if place else root, place or row["image"]),),
        answers=tuple(listed(row["answer"] if "answer" in row else row["answers"])),
        metric="contained_formula" if source == "HME100k" else "contained",
        group=kind,
    )


_V2_WORDS = (
    *("APP agent en", "ASCII art classification en", "math QA en", "reasoning VQA en", "science QA en"),
    *("text recognition en", "document classification en", "cognition VQA en", "diagram QA en"),
    *("cognition VQA cn", "reasoning VQA cn"),
)
_V2_METRICS = {"formula recognition en": "contained_formula", "formula recognition cn": "formula_cn"}


def ocrbench_v2(root: Path, _: Path, row: Row) -> Iterator[Question | LeftOut]:
    """The kinds whose metric is about words, a count or a box. The others (tables, charts, whole pages, key-value
    pairs, spotting, translation) need programs of its authors: they are left out, and counted."""
    kind, how = str(row["type"]), str(row.get("eval") or "")
    if kind in _V2_WORDS:
        usual = "contained_or_near_cn" if kind.endswith("cn") else "contained_or_near"
        metric = {"multiple choice": "bare_letters", "case sensitive": "contained_or_near_case"}.get(how, usual)
    elif kind == "text counting en":
        metric = "counted_near" if how == "regression" else "contained"
    elif kind == "text grounding en":
        metric = "box_overlap"
    elif kind in _V2_METRICS:
        metric = _V2_METRICS[kind]
    else:
        yield LeftOut(id=_key(row, "id"), group=kind, cause="its metric is a program of the benchmark's authors")
        return
    yield Question(
        id=_key(row, "id"),
        text=str(row["question"]),
        media=(image(root, row.get("image_path") or row["image"]),),
        answers=tuple(listed(row["answers"])),
        metric=metric,
        group=kind,
    )


def mmstar(root: Path, _: Path, row: Row) -> Iterator[Question]:
    """The options stand in the question."""
    yield Question(
        id=str(row["index"]),
        text=str(row["question"]).strip(),
        media=(image(root, row["image"]),),
        letters=("A", "B", "C", "D"),
        answers=(str(row["answer"]).strip().upper(),),
        group=str(row.get("category", "")),
    )


def realworldqa(root: Path, _: Path, row: Row) -> Iterator[Question]:
    """The options, where there are any, stand in the question, with words on how to answer, which are left out: they
    are ours to say. Two to four options, whatever those words say."""
    answer = str(row["answer"]).strip()
    choice = len(answer) == 1 and answer in string.ascii_uppercase[:8]
    text = re.sub(r"\s*Please answer directly with [^\n]*$", "", str(row["question"]).strip())
    letters = _letters_in(text) if choice else ()
    if choice and answer not in letters:  # options in another form than "A. words"
        letters = tuple(string.ascii_uppercase[: max(4, string.ascii_uppercase.index(answer) + 1)])
    yield Question(
        id=_key(row, "id"),
        text=text,
        media=(image(root / "images" if isinstance(row["image"], str) else root, row["image"]),),
        letters=letters,
        answers=(answer,),
        metric=LETTER if choice else "exact",
    )


def _letters_in(text: str) -> tuple[str, ...]:
    """A, B ... as far as each stands as ``A.`` or ``A)``."""
    found = []
    for letter in string.ascii_uppercase[:8]:
        if not re.search(rf"(?<![A-Za-z]){letter}[.)]", text):
            break
        found.append(letter)
    return tuple(found)
