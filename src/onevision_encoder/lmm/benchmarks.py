"""The benchmarks that ``ove lmm eval`` knows: which files each expects, and how a row becomes a question.

Files are local: the annotations as their authors, or lmms-lab's tables on the hub, publish them, and the media beside
them. Nothing is downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.lmm import benchmarks_image, benchmarks_video
from onevision_encoder.lmm.benchmark_rows import Row, Rows, generic
from onevision_encoder.lmm.questions import LeftOut, Question
from onevision_encoder.lmm.tables import SUFFIXES, rows_of


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """An entry of the registry.

    Attributes:
        about: what it asks, and its metric, in a line. annotations: patterns of its annotation files below the data
            folder, the first that matches anything decides. media: where the media lie below it.
        question: (folder, annotation file, row) -> its questions. average: of all questions, or the mean over groups,
            as its authors report it. scale: of the reported score (OCRBench is out of 1000).
        rows: annotation file -> its rows. own_ids: its rows have ids. Without, rows that are alike are what its authors
            ask and count more than once.
    """

    name: str
    about: str
    annotations: tuple[str, ...]
    media: str
    question: Rows
    average: Literal["questions", "groups"] = "questions"
    scale: int = 100
    rows: Callable[[Path], Iterator[Row]] = rows_of
    own_ids: bool = True

    def files(self, folder: Path) -> list[Path]:
        """Its annotation files, sorted; ``folder`` may be one file itself.

        Raises:
            InvalidArgumentError: none.
        """
        if folder.is_file():
            return [folder]
        for pattern in self.annotations:
            found = sorted(path for path in folder.glob(pattern) if path.suffix in SUFFIXES)
            if found:
                return found
        raise InvalidArgumentError("data", str(folder), f"a folder with {' or '.join(self.annotations)} ({self.name})")

    def questions(self, folder: Path) -> Iterator[Question | LeftOut]:
        """All its questions, in the order of its files.

        Raises:
            InvalidArgumentError: no files, a row without what it must have, two questions with one id.
        """
        seen: dict[str, tuple[str, int]] = {}
        root = folder.parent if folder.is_file() else folder
        for path in self.files(folder):
            table = re.sub(r"-\d+-of-\d+$", "", path.stem)  # a table of the hub may be several files
            for number, row in enumerate(self.rows(path), 1):
                for question in self._of_row(root, path, number, row):
                    first, times = seen.get(question.id, (table, 0))
                    if times and (self.own_ids or first != table):
                        raise InvalidArgumentError("id", question.id, f"once in {self.name}: {path.name}, row {number}")
                    seen[question.id] = (table, times + 1)
                    yield replace(question, id=f"{question.id} ({times + 1})") if times else question

    def _of_row(self, root: Path, path: Path, number: int, row: Mapping[str, Any]) -> list[Question | LeftOut]:
        try:
            return list(self.question(root, path, row))
        except (KeyError, TypeError, ValueError) as error:
            missing = f"no {error}" if isinstance(error, KeyError) else str(error)
            allowed = f"a row of {self.name} ({missing})"
            raise InvalidArgumentError(f"{path.name}, row {number}", sorted(row), allowed) from error


_INSIDE = "inside the table"


def _entries() -> list[Benchmark]:
    of, on = benchmarks_video, benchmarks_image
    known: list[tuple[str, str, tuple[str, ...], str, Rows]] = [
        (
            "videomme",
            "Video-MME, four options, by duration",
            ("videomme/*", "*test*", "*.parquet"),
            "data",
            of.videomme,
        ),
        ("mvbench", "MVBench, 20 tasks, mean of tasks", ("json/*",), "video", of.mvbench),
        ("nextqa", "NExT-QA multiple choice, five options", ("MC/*", "*val*", "*test*"), "NExTVideo", of.nextqa),
        (
            "mlvu",
            "MLVU dev, 7 tasks, mean of tasks",
            ("json/*", "*.parquet", "data/test*", "*/*.parquet"),
            "video",
            of.mlvu,
        ),
        (
            "longvideobench",
            "LongVideoBench val, no subtitles",
            ("lvb_val.json", "validation*"),
            "videos",
            of.longvideobench,
        ),
        ("tomato", "TOMATO, six kinds of temporal reasoning", ("data/*",), "videos", of.tomato),
        ("perception", "Perception Test", ("mc_question_val/*", "*valid*.json"), "videos", of.perception),
        ("ai2d", "AI2D, diagrams, four options", ("data/test*", "test*"), f"{_INSIDE}, or images", on.ai2d),
        ("chartqa", "ChartQA test, relaxed accuracy", ("data/test*", "test_*.json"), f"{_INSIDE}, or png", on.chartqa),
        ("docvqa", "DocVQA val, ANLS", ("DocVQA/val*", "val*", "data/val*"), f"{_INSIDE}, or by name", on.docvqa),
        (
            "infovqa",
            "InfographicVQA val, ANLS",
            ("Info*/val*", "*val*", "data/val*"),
            f"{_INSIDE}, or images",
            on.docvqa,
        ),
        (
            "mmbench",
            "MMBench-EN dev, circular",
            ("mmbench_dev_en*", "MMBench_DEV_EN*", "en/dev*", "*dev*"),
            _INSIDE,
            on.mmbench,
        ),
        (
            "ocrbench",
            "OCRBench",
            ("OCRBench.json", "*/OCRBench.json", "data/test*"),
            f"{_INSIDE}, or OCRBench_Images",
            on.ocrbench,
        ),
        ("ocrbench_v2", _V2, ("OCRBench_v2.json", "data/test*"), f"{_INSIDE}, or by name", on.ocrbench_v2),
        ("mmstar", "MMStar, four options", ("val*", "mmstar*", "data/val*"), _INSIDE, on.mmstar),
        ("realworldqa", "RealWorldQA", ("data/test*", "test*"), f"{_INSIDE}, or images", on.realworldqa),
        ("jsonl", "your own questions, one a line", ("*.jsonl",), "by name", generic),
    ]
    names = ("name", "about", "annotations", "media", "question")
    made = []
    for one in known:
        fields: dict[str, Any] = {**dict(zip(names, one, strict=True)), **_UNUSUAL.get(one[0], {})}
        made.append(Benchmark(**fields))
    return made


_V2 = "OCRBench v2, the kinds whose metric is about words, a count or a box, mean of kinds"
_UNUSUAL: Mapping[str, Any] = {
    "mvbench": {"average": "groups", "own_ids": False},
    "mlvu": {"average": "groups", "own_ids": False},
    "tomato": {"own_ids": False},
    "ai2d": {"own_ids": False},
    "chartqa": {"own_ids": False},
    "mmbench": {"rows": benchmarks_image.mmbench_rows},
    "ocrbench": {"scale": 1000, "own_ids": False},
    "ocrbench_v2": {"average": "groups"},
    "realworldqa": {"own_ids": False},
}


def benchmarks() -> dict[str, Benchmark]:
    """Name -> entry."""
    return {one.name: one for one in _entries()}


def benchmark_named(name: str) -> Benchmark:
    """Raises InvalidArgumentError for a name that is none."""
    known = benchmarks()
    if name not in known:
        raise InvalidArgumentError("benchmark", name, f"one of {', '.join(known)}")
    return known[name]
