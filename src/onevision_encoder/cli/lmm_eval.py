"""`ove lmm eval --model DIR --benchmark NAME --data DIR`: a model's score on a benchmark in local files."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tqdm import tqdm

from onevision_encoder.checks import counted
from onevision_encoder.cli.batch import INTERRUPTED
from onevision_encoder.cli.lmm_options import SpeakingOptions
from onevision_encoder.errors import InvalidArgumentError

if TYPE_CHECKING:
    from onevision_encoder.lmm.benchmarks import Benchmark
    from onevision_encoder.lmm.questions import LeftOut, Question


@dataclass(frozen=True, kw_only=True)
class Judge(SpeakingOptions):
    """Ask a model every question of a benchmark; writes predictions.jsonl, report.json and report.md.

    The same command goes on where one was interrupted. Exit code 1: some media could not be read (they are listed), or
    questions were left out.
    """

    benchmark: str
    """See ove lmm benchmarks; jsonl for questions of your own."""
    data: Path
    """Folder with annotations and media, or one annotation file in it."""
    out: Path = Path("judged")
    """Folder for what is found."""
    how: Literal["generation", "likelihood", "both"] = "generation"
    """Multiple choice: the answer is written and its letter read, or the likeliest letter counts; both records both."""
    instruction: str | None = None
    """Last line of every question. Unset: to answer with a letter, or a word or phrase."""
    max_new_tokens: int = 32
    """An answer has at most so many."""
    limit: int | None = None
    """Only the first so many questions."""
    json: bool = False
    """Print the report as JSON."""

    def run(self) -> int:
        from onevision_encoder.lmm.benchmarks import benchmark_named
        from onevision_encoder.lmm.judged import in_words, summary

        if self.limit is not None and self.limit < 1:
            raise InvalidArgumentError("limit", self.limit, "a whole number of at least 1")
        benchmark = benchmark_named(self.benchmark)
        try:
            lines = self._lines(benchmark)
        except KeyboardInterrupt:
            print("ove: interrupted; the same command goes on where this one stopped", file=sys.stderr)
            return INTERRUPTED
        report = summary(lines, benchmark)
        (self.out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        (self.out / "report.md").write_text(in_words(report), encoding="utf-8")
        print(json.dumps(report, indent=2) if self.json else in_words(report), end="\n" if self.json else "")
        if report["broken"]:
            print(f"ove: {counted(len(report['broken']), 'question')} could not be asked", file=sys.stderr)
        return 1 if report["broken"] or report["left_out"] else 0

    def _lines(self, benchmark: Benchmark) -> list[dict[str, Any]]:
        from onevision_encoder.lmm.answering import Writing
        from onevision_encoder.lmm.judging import Asking, judge
        from onevision_encoder.lmm.loading import model_digest

        total = sum(1 for _ in self._questions(benchmark))  # wrong rows are found before anything is asked
        asking = Asking(
            how=self.how,
            instruction=self.instruction,
            writing=Writing(max_new_tokens=self.max_new_tokens),
            options=self.reading,
        )
        model, processor = self.load()
        about = {
            "model": self.model,
            "weights": model_digest(self.model, model.config),
            "dtype": self.dtype,
            "benchmark": benchmark.name,
            "data": str(self.data.resolve()),
        }
        bar = tqdm(total=total, desc=benchmark.name, unit="question", disable=self.json or None, file=sys.stderr)
        with bar:
            return judge(
                model, processor, self._questions(benchmark), self.out, asking=asking, about=about, tick=bar.update
            )

    def _questions(self, benchmark: Benchmark) -> Iterator[Question | LeftOut]:
        return islice(benchmark.questions(self.data), self.limit)
