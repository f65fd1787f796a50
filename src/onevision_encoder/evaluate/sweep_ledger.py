"""What a sweep has found so far, line by line in a file: a run that is stopped loses nothing that was finished.

A row is JSON with a ``digest`` of everything that decides it. A line that was cut short by a crash is dropped, and the
cell is computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onevision_encoder.errors import WriteError


def digest_of(what: Mapping[str, Any]) -> str:
    """32 hexadecimal digits of a JSON-able mapping, the same for any order of its keys."""
    canonical = json.dumps(what, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


@dataclass
class Ledger:
    """Rows by digest, in a file that only grows. ``dropped``: lines that could not be read."""

    path: Path
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    dropped: int = 0

    @classmethod
    def open(cls, path: Path) -> Ledger:
        """What is there already. Raises WriteError where the file cannot be written."""
        ledger = cls(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab+") as file:
                file.seek(0)
                text = file.read()
                if text and not text.endswith(b"\n"):  # cut short: what follows must start on a line of its own
                    file.write(b"\n")
        except OSError as error:
            raise WriteError(path, error.strerror or str(error)) from error
        for line in text.splitlines():
            row = _row(line)
            if row is None:
                ledger.dropped += 1
            else:
                ledger.rows[row["digest"]] = row
        return ledger

    def __contains__(self, digest: str) -> bool:
        return digest in self.rows

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row, on disk before this returns. A digest that is there already is left as it is."""
        if row["digest"] in self.rows:
            return
        line = json.dumps(row, sort_keys=True) + "\n"
        try:
            with self.path.open("a", encoding="utf-8", newline="\n") as file:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise WriteError(self.path, error.strerror or str(error)) from error
        self.rows[row["digest"]] = json.loads(line)


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("digest"), str) else None
