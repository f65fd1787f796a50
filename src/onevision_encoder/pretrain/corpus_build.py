"""Building a corpus from local media: goes on where it stopped, lists what it cannot read, loses nothing.

Shards are filled in an order that the names of the items decide and that looks random: folders of classes would fill
shards of one class each otherwise, and training mixes a few shards at a time. The order is always the same, so that an
interrupted build, run again, ends with the same bytes as one that was not. Every shard that is written is listed in
``corpus.json`` at once; at most one is ever made again.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from onevision_encoder.errors import CorpusError, InvalidArgumentError, OneVisionError
from onevision_encoder.pretrain.corpus import FAILURES, MANIFEST, SCHEMA, ShardFacts, read_manifest
from onevision_encoder.pretrain.corpus_config import CorpusConfig
from onevision_encoder.pretrain.corpus_sources import Item, content_digest, find_items
from onevision_encoder.pretrain.idx_archive import is_idx
from onevision_encoder.pretrain.samples import Made, make_samples
from onevision_encoder.pretrain.shards import Sample, Shard, write_shard
from onevision_encoder.tokens.files import write_atomically

_INDEXED = ("id", "kind", "source", "digest", "class", "suffix", "modes")
_AHEAD = 2
"""Items per worker that may be done before they are needed."""


@dataclass
class BuildReport:
    """What became of each item: ``stored`` and ``kept`` count samples, ``failed`` lists items; ``lost`` are shards that
    were listed and are gone, whose samples are made again where their media are among those given."""

    stored: int = 0
    kept: int = 0
    lost: list[str] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    interrupted: bool = False


def _place(item: Item) -> bytes:
    """Where an item stands among others, whichever these are."""
    return hashlib.blake2b(item.id.encode(), digest_size=8).digest()


def build_corpus(
    media: Sequence[str | Path],
    out: str | Path,
    config: CorpusConfig | None = None,
    *,
    licence: str = "unknown",
    origin: str = "",
    workers: int = 1,
    tick: Callable[[], object] = lambda: None,
) -> BuildReport:
    """Store pictures, videos and IDX archives in shards; what is stored already is kept.

    Args:
        media: files, or folders that are searched. out: the corpus's folder, made where it is missing.
        licence, origin: recorded with every sample of this call; calls with others may add to the same corpus.
        workers: threads that decode; the shards are the same for any number. tick: called once an item.
    Returns:
        Counts, and the items that failed with the reason, which ``failures.jsonl`` lists too.
    Raises:
        InvalidArgumentError: ``out`` holds a corpus of another request. WriteError: the disk is full ...; what was
            listed before stays as it is.
    """
    config, folder = config or CorpusConfig(), Path(out)
    if workers < 1:
        raise InvalidArgumentError("workers", workers, "at least 1")
    items = sorted(find_items(media), key=_place)
    book = _Book.open(folder, config)
    report = BuildReport(lost=[row.name for row in book.lost])
    maker = _Maker(config, licence, origin, book.known)
    pending: list[Sample] = []
    size = 0
    try:
        for item, made in _in_order(items, maker, workers):
            if isinstance(made, OneVisionError):
                report.failed.append(_failure(item, made))
            else:
                report.kept += made.kept
                for members, facts in made.samples:
                    pending.append(_sample(book.next_key + len(pending), members, facts))
                    size += pending[-1].size
                    if len(pending) >= config.shard_samples or size >= config.shard_mb << 20:
                        report.stored += book.write(pending)
                        pending, size = [], 0
            tick()
        if pending:
            report.stored += book.write(pending)
    except KeyboardInterrupt:
        report.interrupted = True
    book.save()
    _write_failures(folder, report, items)
    return report


def _sample(number: int, members: dict[str, bytes], facts: dict[str, Any]) -> Sample:
    described = json.dumps(facts, sort_keys=True).encode()
    indexed = {name: facts[name] for name in _INDEXED if name in facts}
    return Sample(key=f"{number:08d}", members={"json": described, **members}, facts=indexed)


def _failure(item: Item, error: OneVisionError) -> dict[str, str]:
    return {"id": item.id, "source": str(item.path), "error": type(error).__name__, "message": str(error)}


@dataclass(frozen=True)
class _Result:
    samples: Sequence[Made]
    kept: int


@dataclass(frozen=True)
class _Maker:
    """Makes the samples of an item that are not stored yet."""

    config: CorpusConfig
    licence: str
    origin: str
    known: dict[str, dict[str, str]]

    def __call__(self, item: Item) -> _Result | OneVisionError:
        try:
            stored = self.known.get(item.id, {})
            digest = content_digest(item.path) if stored else ""
            if any(known != digest for known in stored.values()):
                cause = "has changed since it was stored in this corpus: build another, or give the file another name"
                return CorpusError(item.path, cause)
            if stored and not is_idx(item.path):
                return _Result([], len(stored))
            made = make_samples(item, self.config, licence=self.licence, origin=self.origin)
            new = [(members, facts) for members, facts in made if facts["id"] not in stored]
            return _Result(new, len(stored))
        except OneVisionError as error:
            return error


def _in_order(items: Sequence[Item], maker: _Maker, workers: int) -> Iterator[tuple[Item, _Result | OneVisionError]]:
    """Results in the order of the items, a few made ahead by threads."""
    if workers == 1:
        for item in items:
            yield item, maker(item)
        return
    ahead: deque[tuple[Item, Future[_Result | OneVisionError]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                ahead.append((item, pool.submit(maker, item)))
                if len(ahead) > workers * _AHEAD:
                    first, future = ahead.popleft()
                    yield first, future.result()
            while ahead:
                first, future = ahead.popleft()
                yield first, future.result()
        finally:
            for _, future in ahead:
                future.cancel()


@dataclass
class _Book:
    """The corpus as far as it is written. ``known``: source -> id of its samples -> digest of the file."""

    folder: Path
    request: dict[str, Any]
    shards: list[ShardFacts]
    known: dict[str, dict[str, str]]
    name: str
    next_key: int = 0
    lost: list[ShardFacts] = field(default_factory=list)

    @classmethod
    def open(cls, folder: Path, config: CorpusConfig) -> _Book:
        """Begin or go on. Raises InvalidArgumentError where another request made what is there."""
        request = json.loads(json.dumps(config.as_dict()))
        if not (folder / MANIFEST).is_file():
            return cls(folder, request, [], {}, folder.resolve().name)
        listed = read_manifest(folder)
        if listed["request"] != request:
            changed = sorted(k for k in request if listed["request"].get(k) != request[k])
            allowed = f"another folder: the corpus in this one was built with other {', '.join(changed)}"
            raise InvalidArgumentError("out", str(folder), allowed)
        book = cls(folder, request, [ShardFacts(**row) for row in listed["shards"]], {}, listed["name"])
        book._drop_lost()
        return book

    def _drop_lost(self) -> None:
        """Shards that are gone are no longer listed: their samples are made again where their media are given."""
        self.lost = [row for row in self.shards if not (self.folder / row.name).is_file()]
        self.shards = [row for row in self.shards if row not in self.lost]
        for row in self.shards:
            for entry in Shard(self.folder / row.name).entries:
                self.known.setdefault(entry.facts["source"], {})[entry.facts["id"]] = entry.facts["digest"]
                self.next_key = max(self.next_key, int(entry.key) + 1)

    def write(self, pending: Sequence[Sample]) -> int:
        """One more shard, listed. Returns its number of samples. Raises WriteError."""
        numbers = [int(row.name.removeprefix("shard-").removesuffix(".tar")) for row in self.shards]
        path = self.folder / f"shard-{max(numbers, default=-1) + 1:06d}.tar"
        write_shard(path, pending)
        shard = Shard(path)
        facts = ShardFacts(name=path.name, samples=len(shard), bytes=shard.size, blake2b=shard.digest)
        self.shards.append(facts)
        self.next_key += len(shard)
        self.save()
        return len(shard)

    def save(self) -> None:
        """Write ``corpus.json``. Raises WriteError."""
        rows = [asdict(row) for row in self.shards]
        listed = {"schema": SCHEMA, "name": self.name, "request": self.request, "shards": rows}
        write_atomically(self.folder / MANIFEST, (json.dumps(listed, indent=1, sort_keys=True) + "\n").encode())


def _write_failures(folder: Path, report: BuildReport, items: Sequence[Item]) -> None:
    """Failures of this call, and of earlier ones where this call did not try the item."""
    path, tried = folder / FAILURES, {item.id for item in items}
    rows: list[dict[str, str]] = []
    if path.is_file():
        rows = [row for row in map(json.loads, path.read_text("utf-8").splitlines()) if row["id"] not in tried]
    rows += report.failed
    if rows or path.is_file():
        write_atomically(path, "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows).encode())
