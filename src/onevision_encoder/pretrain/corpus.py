"""A corpus on disk: a folder of shards and ``corpus.json``, which says what is in them.

``corpus.json``: ``schema``, ``name``, ``request`` (what was stored of each medium), ``shards``: ``name``, ``samples``,
``bytes``, ``blake2b`` of each. What was left out is listed in ``failures.jsonl``, a line a file.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import CorpusError, ShardError
from onevision_encoder.pretrain.shards import AGAIN, Entry, Shard
from onevision_encoder.pretrain.versioned_json import read_versioned_json

MANIFEST, FAILURES = "corpus.json", "failures.jsonl"
SCHEMA = 1
_KEPT = 16


@dataclass(frozen=True, kw_only=True)
class ShardFacts:
    """A shard as ``corpus.json`` lists it."""

    name: str
    samples: int
    bytes: int
    blake2b: str


class Corpus:
    """A corpus to read from, by any number of threads.

    Attributes:
        folder, name. request: the CorpusConfig that it was built with, as a dict. shards: what is listed.
    Raises:
        CorpusError: no corpus, or of an unknown schema. ShardError: a shard is missing or is another than listed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        listed = read_manifest(self.folder)
        self.name: str = listed["name"]
        self.request: dict[str, Any] = listed["request"]
        self.shards = tuple(ShardFacts(**row) for row in listed["shards"])
        self._read: OrderedDict[int, Shard] = OrderedDict()
        self._lock = threading.Lock()
        for row in self.shards:
            path = self.folder / row.name
            if not path.is_file():
                raise ShardError(path, f"no such shard, though {MANIFEST} lists it: {AGAIN}")
            size = path.stat().st_size
            if size != row.bytes:
                raise ShardError(path, f"has {size} bytes, {MANIFEST} lists {row.bytes}; {AGAIN}")

    def __len__(self) -> int:
        return sum(row.samples for row in self.shards)

    def __repr__(self) -> str:
        return f"Corpus({str(self.folder)!r}, {len(self)} samples in {len(self.shards)} shards)"

    @property
    def sizes_S(self) -> NDArray[np.int64]:
        """Samples of each shard, int64 [shards]."""
        return np.array([row.samples for row in self.shards], np.int64)

    @property
    def digest(self) -> str:
        """What identifies the content: digests of all shards in order."""
        return "+".join(row.blake2b for row in self.shards)

    def shard(self, number: int) -> Shard:
        """A shard, its index read; the last few are kept. Raises ShardError."""
        with self._lock:
            if number in self._read:
                self._read.move_to_end(number)
                return self._read[number]
            listed = self.shards[number]
            shard = Shard(self.folder / listed.name)
            if (shard.digest, len(shard)) != (listed.blake2b, listed.samples):
                raise ShardError(shard.path, f"its index is not that of the shard which {MANIFEST} lists; {AGAIN}")
            self._read[number] = shard
            if len(self._read) > _KEPT:
                self._read.popitem(last=False)
            return shard

    def samples(self) -> Iterator[tuple[Shard, Entry]]:
        """All samples in the order of the shards."""
        for number in range(len(self.shards)):
            shard = self.shard(number)
            for entry in shard.entries:
                yield shard, entry

    def facts(self, shard: Shard, entry: Entry) -> dict[str, Any]:
        """The sample's json: everything that was recorded of it. Raises ShardError."""
        found = json.loads(shard.read(entry, "json"))
        if not isinstance(found, dict):
            raise ShardError(shard.path, f"{entry.key}.json is no JSON object")
        return found

    def verify(self) -> None:
        """Compare every byte of every shard with what was written. Raises ShardError."""
        for number in range(len(self.shards)):
            self.shard(number).verify()


def read_manifest(folder: Path) -> dict[str, Any]:
    """``corpus.json``, checked. Raises CorpusError."""
    path = folder / MANIFEST
    listed = read_versioned_json(
        path,
        SCHEMA,
        "a corpus",
        error=CorpusError,
        missing=lambda: "no such corpus; `ove corpus build MEDIA --out FOLDER` makes one",
        broken=lambda cause: f"cannot be read: {cause}; run the same `ove corpus build` again",
    )
    wanted = {"name": str, "request": dict, "shards": list}
    wrong = [name for name, kind in wanted.items() if not isinstance(listed.get(name), kind)]
    if wrong:
        raise CorpusError(path, f"{wrong[0]} is {listed.get(wrong[0])!r:.80}; run the same `ove corpus build` again")
    return listed
