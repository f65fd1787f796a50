"""Benchmarks as files, and what is asked of them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

from onevision_encoder.lmm.benchmarks import benchmark_named
from onevision_encoder.lmm.questions import LeftOut, Question


def made(folder: Path, name: str, rows: Any, media: tuple[str, ...] = ()) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    for medium in media:
        (folder / medium).parent.mkdir(parents=True, exist_ok=True)
        (folder / medium).write_bytes(b"")
    if path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0], delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return folder


def asked(name: str, folder: Path) -> list[Question]:
    found = list(benchmark_named(name).questions(folder))
    return [one for one in found if not isinstance(one, LeftOut)]


def only(name: str, folder: Path) -> Question:
    (found,) = asked(name, folder)
    return found


def place(question: Question, folder: Path) -> str:
    return Path(question.media[0]["path"]).relative_to(folder).as_posix()
