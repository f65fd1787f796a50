"""What is wrong with a data set, told by name before anything is computed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onevision_encoder.evaluate.datasets import BENCHMARKS, DataSet, Example, Problem, Split

TRAINING: tuple[Split, ...] = ("train", "val")


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Problems of a data set, sorted by kind and id, and what there is of it."""

    name: str
    examples: dict[str, int]
    classes: int
    expected_classes: int | None
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not self.problems and self.expected_classes in (None, self.classes)

    def counts(self) -> dict[str, int]:
        """Problems of each kind."""
        return dict(sorted(Counter(problem.kind for problem in self.problems).items()))

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "name": self.name,
            "ok": self.ok,
            "examples": self.examples,
            "classes": self.classes,
            "expected_classes": self.expected_classes,
            "counts": self.counts(),
            "problems": [{"kind": p.kind, "id": p.id, "detail": p.detail} for p in self.problems],
        }


def verify(data: DataSet) -> Verification:
    """Missing files, labels that are no class, ids that are there twice, videos (by id, path or bytes) that are both
    in training and in test. Only files of equal size in both are read; a folder of frames is told by its path."""
    benchmark = BENCHMARKS.get(data.name)
    problems = [*data.problems, *_missing(data), *_same_ids(data), *_shared(data)]
    return Verification(
        name=data.name,
        examples=data.counts(),
        classes=len(data.classes),
        expected_classes=benchmark.num_classes if benchmark else None,
        problems=tuple(sorted(problems, key=lambda p: (p.kind, p.id, p.detail))),
    )


def _missing(data: DataSet) -> Iterable[Problem]:
    for e in data.examples:
        if not e.path.exists():
            yield Problem(kind="missing file", id=e.id, detail=str(e.path))


def _same_ids(data: DataSet) -> Iterable[Problem]:
    for name, number in Counter(e.id for e in data.examples).items():
        if number > 1:
            yield Problem(kind="same id", id=name, detail=f"{number} examples")


def _shared(data: DataSet) -> Iterable[Problem]:
    """What test shares with training. Two stretches of one file may be on both sides: only equal ones are the same."""
    trained, tested = data.of(*TRAINING), data.of("test")
    keys = {_stretch(e.path, e): e.id for e in trained} | {("video", e.video): e.id for e in trained}
    left = []
    for e in tested:
        other = keys.get(_stretch(e.path, e)) or keys.get(("video", e.video))
        if other is None:
            left.append(e)
        else:
            yield Problem(kind="in two splits", id=e.id, detail=f"is {other} of the training split")
    by_content = {_stretch(digest, e): e.id for digest, e in _digests(trained, left)}
    for digest, e in _digests(left, trained):
        if (other := by_content.get(_stretch(digest, e))) is not None:
            detail = f"has the bytes of {other} of the training split"
            yield Problem(kind="same content in two splits", id=e.id, detail=detail)


def _stretch(what: object, e: Example) -> tuple[object, ...]:
    return str(what), e.start_seconds, e.end_seconds


def _digests(these: list[Example], others: list[Example]) -> Iterable[tuple[str, Example]]:
    """SHA-256 of those files whose size some file of the others has too."""
    sizes = {e.path.stat().st_size for e in others if e.path.is_file()}
    done: dict[Path, str] = {}
    for e in these:
        if e.path.is_file() and e.path.stat().st_size in sizes:
            if e.path not in done:
                with e.path.open("rb") as file:
                    done[e.path] = hashlib.file_digest(file, "sha256").hexdigest()
            yield done[e.path], e
