"""`ove eval verify --data DIR`: what is there of a data set, and what is wrong with it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Verify:
    """List missing files, labels that are no class, and videos that are in training and test; without --data, the
    benchmarks whose annotation files are known."""

    data: Path | None = None
    """Folder of labelled videos."""
    benchmark: str | None = None
    """How its annotation files look; not given: by what is there."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        from onevision_encoder.evaluate import BENCHMARKS, load_dataset, verify

        if self.data is None:
            rows = [asdict(known) for known in BENCHMARKS.values()]
            lines = [f"{r['name']:<16} {r['num_classes']:>4} classes, {r['metric']:<5} {r['layout']}" for r in rows]
            print(json.dumps(rows, indent=2) if self.json else "\n".join(lines))
            return 0
        found = verify(load_dataset(self.data, self.benchmark))
        if self.json:
            print(json.dumps(found.as_dict(), indent=2))
            return 0 if found.ok else 1
        expected = f" of {found.expected_classes}" if found.expected_classes else ""
        print(f"{found.name}: {found.classes}{expected} classes, {found.examples}")
        for kind, number in found.counts().items():
            print(f"{kind}: {number}")
        for problem in found.problems:
            print(f"  {problem.kind}: {problem.id} ({problem.detail})")
        return 0 if found.ok else 1
