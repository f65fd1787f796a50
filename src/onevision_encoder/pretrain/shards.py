"""Shards: plain tar files in WebDataset's layout, with an index beside each, so that any sample is one seek away.

``shard-000012.tar`` holds the members of its samples one after another: ``{key}.json``, ``{key}.jpg`` ... It is the
same bytes for the same samples: no times, no owners, USTAR headers.
``shard-000012.index.json`` holds ``schema``, ``bytes`` and ``blake2b`` of the tar, and ``samples``: for each its
``key``, ``facts`` (what a reader wants to know without opening it) and ``members``: suffix -> [offset, size, crc32].
Every member is compared with its crc32 as it is read.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from onevision_encoder.checks import counted
from onevision_encoder.errors import ShardError
from onevision_encoder.pretrain.versioned_json import read_versioned_json
from onevision_encoder.tokens.files import atomic_path, write_atomically

SCHEMA = 1
AGAIN = (
    "copy it again, or remove the shard with its index and run the same `ove corpus build`, which makes what lacks "
    "(a run that has begun goes on with a copy alone)"
)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """What goes into a shard: ``members`` maps a suffix (``json``, ``codec.safetensors``) to its bytes."""

    key: str
    members: Mapping[str, bytes]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes in the tar, headers and padding included."""
        return sum(2 * tarfile.BLOCKSIZE + len(payload) for payload in self.members.values())


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A sample in a shard: ``members`` maps a suffix to (offset, size, crc32)."""

    key: str
    members: Mapping[str, tuple[int, int, int]]
    facts: Mapping[str, Any]


def index_path(shard: Path) -> Path:
    """``shard-000012.index.json`` beside ``shard-000012.tar``."""
    return shard.with_suffix(".index.json")


def write_shard(path: Path, samples: Sequence[Sample]) -> None:
    """Write a tar and then its index, each whole or not at all; a tar without an index counts as not written.

    Raises:
        ShardError: a key that is there twice or cannot be the stem of a file name. WriteError: the disk is full ...
    """
    keys: set[str] = set()
    entries: list[dict[str, Any]] = []
    digest, size = hashlib.blake2b(digest_size=16), 0
    with atomic_path(path) as part, part.open("wb") as file:
        for sample in samples:
            _check_key(path, sample.key, keys)
            members: dict[str, tuple[int, int, int]] = {}
            for suffix, payload in sample.members.items():
                info = tarfile.TarInfo(f"{sample.key}.{suffix}")
                info.size, info.mode = len(payload), 0o644
                header = info.tobuf(tarfile.USTAR_FORMAT)
                members[suffix] = (size + len(header), len(payload), zlib.crc32(payload))
                size += _put(file, digest, header, payload, bytes(-len(payload) % tarfile.BLOCKSIZE))
            entries.append({"key": sample.key, "facts": sample.facts, "members": members})
        end = 2 * tarfile.BLOCKSIZE
        size += _put(file, digest, bytes(end + -(size + end) % tarfile.RECORDSIZE))
    _write_index(path, entries, size, digest.hexdigest())


def _put(file: BinaryIO, digest: hashlib.blake2b, *parts: bytes) -> int:
    for part in parts:
        file.write(part)
        digest.update(part)
    return sum(map(len, parts))


def _check_key(path: Path, key: str, keys: set[str]) -> None:
    if not key or any(sign in key for sign in "./\\"):
        raise ShardError(path, f"sample key {key!r} is not accepted: a file name without dots")
    if key in keys:
        raise ShardError(path, f"sample key {key!r} is there twice: give every sample its own")
    keys.add(key)


def _write_index(shard: Path, entries: Sequence[Mapping[str, Any]], size: int, digest: str) -> None:
    index = {"schema": SCHEMA, "shard": shard.name, "bytes": size, "blake2b": digest, "samples": entries}
    write_atomically(index_path(shard), json.dumps(index, sort_keys=True, separators=(",", ":")).encode())


def index_shard(path: Path) -> None:
    """Make the index of a WebDataset tar that has none (one that another tool wrote, say); ``facts`` are its json.

    Raises:
        ShardError: missing, cut short, members of one sample apart, a sample without json. WriteError.
    """
    members: dict[str, dict[str, tuple[int, int, int]]] = {}
    facts: dict[str, Any] = {}
    last = ""
    try:
        with tarfile.open(path, "r:") as tar:
            for info in tar:
                if not info.isfile():
                    continue
                name, _, suffix = Path(info.name).name.partition(".")
                if (name != last and name in members) or suffix in members.get(name, {}):
                    raise ShardError(path, f"sample key {name!r} is there twice: members must follow one another")
                payload = tar.extractfile(info).read()  # type: ignore[union-attr]
                members.setdefault(name, {})[suffix] = (info.offset_data, info.size, zlib.crc32(payload))
                if suffix == "json":
                    facts[name] = json.loads(payload)
                last = name
    except FileNotFoundError as error:
        raise ShardError(path, f"no such shard: {AGAIN}") from error
    except (tarfile.TarError, OSError, ValueError) as error:
        raise ShardError(path, f"not a whole tar: {error}; {AGAIN}") from error
    lacking = sorted(set(members) - set(facts))
    if lacking:
        raise ShardError(path, f"{counted(len(lacking), 'sample')} without json, {lacking[0]!r} first")
    entries = [{"key": key, "facts": facts[key], "members": members[key]} for key in members]
    _write_index(path, entries, path.stat().st_size, digest_of(path))


def digest_of(path: Path) -> str:
    """blake2b of a file, 16 bytes in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


class Shard:
    """A shard to read from, by any number of threads at once.

    Attributes:
        path: of the tar. entries: its samples in order. size, digest: what the index says of the tar.
    Raises:
        ShardError: the tar or its index is missing, is cut short, or is not what the other says.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries, self.size, self.digest = _index_of(path)
        if not path.is_file():
            raise ShardError(path, f"no such shard: {AGAIN}")
        found = path.stat().st_size
        if found != self.size:
            state = "cut short" if found < self.size else "not the one that was indexed"
            raise ShardError(path, f"is {state}: {found} of {self.size} bytes; {AGAIN}")

    def __len__(self) -> int:
        return len(self.entries)

    def read(self, entry: Entry, suffix: str) -> bytes:
        """One member of a sample, compared with its checksum. Raises ShardError."""
        if suffix not in entry.members:
            there = ", ".join(sorted(entry.members))
            raise ShardError(self.path, f"sample {entry.key!r} has no {suffix!r}, only {there}")
        offset, size, crc32 = entry.members[suffix]
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                payload = file.read(size)
        except OSError as error:
            raise ShardError(self.path, f"cannot be read: {error.strerror}; {AGAIN}") from error
        if len(payload) != size or zlib.crc32(payload) != crc32:
            raise ShardError(self.path, f"{entry.key}.{suffix} is not what was written (checksum); {AGAIN}")
        return payload

    def verify(self) -> None:
        """Compare every byte with what was written. Raises ShardError."""
        if digest_of(self.path) != self.digest:
            raise ShardError(self.path, f"is not what was written (blake2b); {AGAIN}")


def _index_of(shard: Path) -> tuple[tuple[Entry, ...], int, str]:
    path = index_path(shard)
    lone = f"no such index; make it with index_shard({str(shard)!r}), or {AGAIN}"
    index = read_versioned_json(
        path,
        SCHEMA,
        "a shard's index",
        error=ShardError,
        missing=lambda: lone if shard.is_file() else f"no such shard or index: {AGAIN}",
        broken=lambda cause: f"not a readable index: {cause}; make it again with index_shard()",
    )
    try:
        entries = tuple(
            Entry(key=row["key"], members={n: tuple(m) for n, m in row["members"].items()}, facts=row["facts"])
            for row in index["samples"]
        )
        size, digest = int(index["bytes"]), str(index["blake2b"])
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise ShardError(path, f"not an index of a shard: {error!r}; make it again with index_shard()") from error
    if len({entry.key for entry in entries}) < len(entries):
        raise ShardError(path, "a sample key is there twice: give every sample its own")
    return entries, size, digest
