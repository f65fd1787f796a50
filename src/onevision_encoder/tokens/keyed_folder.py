"""A folder of files that are found again by what they were made of: what caches have in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class KeyedFolder:
    """A folder of entries, each named by a digest of its key: a JSON-able mapping of all that decides what is in it.

    Attributes:
        found, stored: how many entries were read and written. corrupt: those that could not be used, with the cause.
    """

    folder: Path
    found: int = 0
    stored: int = 0
    corrupt: list[str] = field(default_factory=list)

    def path(self, key: Mapping[str, Any]) -> Path:
        """Where the entry of this key is, or would be: ``ab/abcd... .safetensors``."""
        name = hashlib.blake2b(canonical(key).encode(), digest_size=20).hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"


def canonical(key: Mapping[str, Any]) -> str:
    """The same text for any order of the keys."""
    return json.dumps(key, sort_keys=True)
