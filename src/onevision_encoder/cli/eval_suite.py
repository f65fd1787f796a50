"""`ove eval suite --out DIR`: write the motion suite, videos whose class is motion alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path

from onevision_encoder.evaluate.motion_suite import SPLITS, MotionSuite, make_suite


@dataclass(frozen=True, kw_only=True)
class EvalSuite(MotionSuite):
    """Write videos whose class is motion alone, with their labels: train, val and test, coded by real codecs.

    The same options write the same pictures. The folder is read as one of classes, by labels.jsonl or by the CSV files.
    """

    out: Path
    """Folder to write; must be empty or absent."""
    workers: int = 1
    """Processes."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        labels = make_suite(self.out, self.suite, workers=self.workers, quiet=self.json)
        counts = {split: self.suite.count(split) for split in SPLITS}
        if self.json:
            print(json.dumps({"labels": str(labels), "classes": len(self.labels), **counts}, indent=2))
        else:
            made = ", ".join(f"{count} {split}" for split, count in counts.items())
            print(f"{self.family}: {made} clips of {len(self.labels)} classes -> {labels}")
        return 0

    @property
    def suite(self) -> MotionSuite:
        """The options that decide the clips."""
        return MotionSuite(**{f.name: getattr(self, f.name) for f in fields(MotionSuite)})
