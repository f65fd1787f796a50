"""The benchmarks that ``ove lmm eval`` knows: which files each expects, and how a row becomes a question.

Files are local: the annotations as their authors, or lmms-lab's tables on the hub, publish them, and the media beside
them. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.lmm import benchmarks_image, benchmarks_video
from onevision_encoder.lmm.benchmark_rows import Rows, generic
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
    """

    name: str
    about: str
    annotations: tuple[str, ...]
    media: str
    question: Rows
    average: Literal["questions", "groups"] = "questions"
    scale: int = 100

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
        seen: set[str] = set()
        root = folder.parent if folder.is_file() else folder
        for path in self.files(folder):
            for number, row in enumerate(rows_of(path)):
                for question in self._of_row(root, path, number, row):
                    if question.id in seen:
                        raise InvalidArgumentError("id", question.id, f"once in {self.name}: {path.name}, row {number}")
                    seen.add(question.id)
                    yield question

    def _of_row(self, root: Path, path: Path, number: int, row: Mapping[str, Any]) -> list[Question | LeftOut]:
        try:
            return list(self.question(root, path, row))
        except (KeyError, TypeError, ValueError) as error:
            missing = f"no {error}" if isinstance(error, KeyError) else str(error)
            allowed = f"a row of {self.name} ({missing})"
            raise InvalidArgumentError(f"{path.name}, row {number}", sorted(row), allowed) from error


_VIDEO = benchmarks_video
_IMAGE = benchmarks_image
_ENTRIES: tuple[tuple[Any, ...], ...] = (
    # name, about, annotations, media, rows, then average and scale where they are not the usual ones
    ("videomme", "Video-MME, four options, by duration", ("videomme/*.parquet", "*test*.*", "*.parquet"), "data", _VIDEO.videomme),
    ("mvbench", "MVBench, 20 tasks, mean of tasks", ("json/*.json",), "video", _VIDEO.mvbench, "groups"),
    ("nextqa", "NExT-QA multiple choice, five options", ("MC/*.parquet", "*val*.csv", "*test*.csv"), "NExTVideo", _VIDEO.nextqa),
    ("mlvu", "MLVU dev, 7 tasks, mean of tasks", ("json/*.json", "*.parquet"), "video", _VIDEO.mlvu, "groups"),
    ("longvideobench", "LongVideoBench val, without subtitles", ("lvb_val.json",), "videos", _VIDEO.longvideobench),
    ("tomato", "TOMATO, six kinds of temporal reasoning", ("data/*.json", "data/*.parquet"), "videos", _VIDEO.tomato),
    ("perception", "Perception Test, three options", ("mc_question_val/*.parquet", "*valid*.json"), "videos", _VIDEO.perception),
    ("ai2d", "AI2D, diagrams, four options", ("data/test*.*", "test*.*"), "inside the table, or images", _IMAGE.ai2d),
    ("chartqa", "ChartQA test, relaxed accuracy", ("data/test*.*", "test_*.json"), "inside the table, or png", _IMAGE.chartqa),
    ("docvqa", "DocVQA val, ANLS", ("DocVQA/val*.*", "val*.json", "data/val*.*"), "inside the table, or as the rows say", _IMAGE.docvqa),
    ("infovqa", "InfographicVQA val, ANLS", ("InfographicVQA/val*.*", "*val*.json", "data/val*.*"), "inside the table, or images", _IMAGE.docvqa),
    ("mmbench", "MMBench-EN dev, circular", ("mmbench_dev_en*.tsv", "en/dev*.*", "*dev*.tsv"), "inside the table", _IMAGE.mmbench),
    ("ocrbench", "OCRBench, out of 1000", ("OCRBench.json", "data/test*.*"), "inside the table, or OCRBench_Images", _IMAGE.ocrbench, "questions", 1000),
    ("ocrbench_v2", "OCRBench v2: the kinds whose metric is about text or a box", ("OCRBench_v2.json", "data/test*.*"), "inside the table, or as the rows say", _IMAGE.ocrbench_v2, "groups"),
    ("mmstar", "MMStar, four options", ("val*.*", "mmstar*.*", "data/val*.*"), "inside the table", _IMAGE.mmstar),
    ("realworldqa", "RealWorldQA, options or a word", ("data/test*.*", "test*.*"), "inside the table, or images", _IMAGE.realworldqa),
    ("jsonl", "your own questions, one a line", ("*.jsonl",), "as the rows say", generic),
)  # fmt: skip


def benchmarks() -> dict[str, Benchmark]:
    """Name -> entry."""
    names = ("name", "about", "annotations", "media", "question", "average", "scale")
    return {entry[0]: Benchmark(**dict(zip(names, entry, strict=False))) for entry in _ENTRIES}


def benchmark_named(name: str) -> Benchmark:
    """Raises InvalidArgumentError for a name that is none."""
    known = benchmarks()
    if name not in known:
        raise InvalidArgumentError("benchmark", name, f"one of {', '.join(known)}")
    return known[name]


