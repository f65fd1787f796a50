"""Labelled videos and pictures in the simplest forms: a folder of classes, CSV files, JSON lines."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.evaluate.datasets import Problem, Reading, Split
from onevision_encoder.video.suffixes import is_picture_name, is_video_name

SPLITS: Mapping[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def read(root: Path) -> Reading:
    """``labels.jsonl``, else ``labels.csv`` or ``train.csv`` / ``val.csv`` / ``test.csv``, else a folder of classes."""
    if (root / "labels.jsonl").is_file():
        return read_jsonl(root / "labels.jsonl")
    tables = [root / "labels.csv"] if (root / "labels.csv").is_file() else _split_tables(root)
    return read_csv(tables) if tables else read_folder(root)


def _split_tables(root: Path) -> list[Path]:
    return [path for name in SPLITS if (path := root / f"{name}.csv").is_file()]


def read_folder(root: Path) -> Reading:
    """``[train|val|test/]CLASS/file``; the classes are the sorted names of the folders.

    Videos count however deep they lie. Pictures count where they lie in the folder of the class itself: further down
    they may be the frames of one clip, which CSV or JSON lines can name by its folder.
    """
    splits = {SPLITS[d.name]: d for d in sorted(root.iterdir()) if d.is_dir() and d.name in SPLITS}
    found: list[tuple[str, Path, Split]] = []
    tops: dict[Split, Path] = splits or {"none": root}
    for split, top in tops.items():
        folders = [d for d in sorted(top.iterdir()) if d.is_dir() and not d.name.startswith(".")]
        found += [(d.name, p, split) for d in folders for p in sorted(d.rglob("*")) if _counts(p, d)]
    reading = Reading(root=root, classes=tuple(sorted({name for name, _, _ in found})))
    for name, path, split in found:
        reading.add(path.relative_to(root).as_posix(), path, (name,), split)
    return reading


def _counts(path: Path, folder: Path) -> bool:
    return is_video_name(path) or (path.parent == folder and is_picture_name(path))


def read_csv(tables: list[Path]) -> Reading:
    """Tables of ``file,label`` (no header, one table a split), or with a header that names ``file`` and ``label`` and
    may name ``id``, ``split``, ``video``, ``start``, ``end``."""
    rows: list[dict[str, Any]] = []
    for table in tables:
        with table.open(encoding="utf-8", newline="") as file:
            lines = [line for line in csv.reader(file) if line]
        header = [cell.strip().lower() for cell in lines[0]] if lines else []
        if {"file", "label"} <= set(header):
            cells = (dict(zip(header, line, strict=False)) for line in lines[1:])
        else:
            wrong = next((line for line in lines if len(line) != 2), None)
            if wrong:
                raise InvalidArgumentError(str(table), wrong, "rows of file,label or a header with file and label")
            cells = ({"file": line[0].strip(), "label": line[1].strip()} for line in lines)
        rows += [{"split": table.stem, **row} for row in cells]
    return _from_rows(tables[0].parent, rows, ids=len(tables) == 1)


def read_jsonl(path: Path) -> Reading:
    """One object a line: ``file`` and ``label`` (a name, a number, or a list of them: multi-label), and as it may be
    ``id``, ``split``, ``video``, ``start``, ``end``."""
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise InvalidArgumentError(f"{path.name} line {number}", line[:80], f"a JSON object ({error})") from error
        if not isinstance(row, dict) or not {"file", "label"} <= set(row):
            raise InvalidArgumentError(f"{path.name} line {number}", line[:80], "an object with file and label")
        rows.append(row)
    return _from_rows(path.parent, rows, ids=True)


def _from_rows(root: Path, rows: list[dict[str, Any]], *, ids: bool) -> Reading:
    """Examples of rows. Labels that are all numbers are rows of a list of classes, else the names are sorted."""
    labels = {id(row): _labels(row["label"]) for row in rows}
    reading = Reading(root=root, classes=_classes(label for many in labels.values() for label in many))
    reading.multi_label = any(isinstance(row["label"], list) for row in rows)
    for row in rows:
        file = str(row["file"])
        split_name = str(row.get("split") or "none").lower()
        given = str(row.get("id") or "") if ids else ""
        name = given or (file if ids else f"{SPLITS.get(split_name, split_name)}/{file}")
        split: Split | None = "none" if split_name in ("none", "labels") else SPLITS.get(split_name)
        if split is None:
            detail = f"split {split_name!r} is none of {', '.join(SPLITS)}"
            reading.problems.append(Problem(kind="wrong label", id=name, detail=detail))
            continue
        window = (_seconds(row.get("start")), _seconds(row.get("end")))
        reading.add(name, root / file, labels[id(row)], split, video=row.get("video"), window=window)
    return reading


def _labels(given: Any) -> tuple[str, ...]:
    many = given if isinstance(given, list) else [given]
    return tuple("" if label is None else str(label).strip() for label in many)


def _classes(labels: Iterable[str]) -> tuple[str, ...]:
    """All numbers: the class list is 0 to the highest. An empty label is no class: it is reported."""
    names = {label for label in labels if label}
    if names and all(name.isdecimal() for name in names):
        return tuple(str(i) for i in range(max(map(int, names)) + 1))
    return tuple(sorted(names))


def _seconds(value: Any) -> float | None:
    return None if value in (None, "") else float(value)
