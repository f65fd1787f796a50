"""Rows of annotation files: JSON, JSONL, CSV, TSV and Parquet, read one file at a time."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onevision_encoder.errors import InvalidArgumentError, MissingExtraError

SUFFIXES = (".json", ".jsonl", ".csv", ".tsv", ".parquet")


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Each row as a dict. A JSON file is a list, a dict with such a list under ``data``, or a dict of rows, whose keys
    become ``key`` where a row has none.

    Raises:
        InvalidArgumentError: a file that is not what its name says. MissingExtraError: Parquet without pyarrow.
    """
    reader = _READERS.get(path.suffix)
    if reader is None:
        raise InvalidArgumentError("annotations", str(path), f"a file {', '.join(SUFFIXES)}")
    try:
        yield from reader(path)
    except (OSError, ValueError, csv.Error) as error:
        raise InvalidArgumentError("annotations", str(path), f"a readable {path.suffix} file ({error})") from error


def _json(path: Path) -> Iterator[dict[str, Any]]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(found, dict) and isinstance(found.get("data"), list):
        found = found["data"]
    if isinstance(found, dict):
        found = [{"key": key, **row} for key, row in found.items() if isinstance(row, dict)]
    yield from _dicts(found)


def _jsonl(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from _dicts([json.loads(line) for line in file if line.strip()])


def _dicts(found: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError("no list of rows")
    yield from found


def _separated(path: Path) -> Iterator[dict[str, Any]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # MMBench keeps pictures in its cells
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        parquet = importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtraError("eval", ["pyarrow"], f"reading {path.name}") from error
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=16):
            yield from batch.to_pylist()


_READERS = {".json": _json, ".jsonl": _jsonl, ".csv": _separated, ".tsv": _separated, ".parquet": _parquet}
