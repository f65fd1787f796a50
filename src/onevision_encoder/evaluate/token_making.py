"""From labelled examples to token sets: every clip decoded as few times as its configurations allow, by several
processes if asked, kept on disk if asked.

Axes: N tokens, S clips, D = 3*p*p.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onevision_encoder import __version__
from onevision_encoder.errors import InvalidArgumentError, OneVisionError, WriteError
from onevision_encoder.evaluate.datasets import Example
from onevision_encoder.evaluate.features import source_of
from onevision_encoder.evaluate.token_files import TokenSetCache
from onevision_encoder.evaluate.token_sets import Broken, TokenSet, labels_of
from onevision_encoder.tokens import ClipReading, TokenizeConfig
from onevision_encoder.tokens.variants import read_variants
from onevision_encoder.types import ClipInfo, PatchTokens
from onevision_encoder.video import fingerprint

_BESIDE_PIXELS = ("positions_N3", "model_positions_N3", "score_N", "kind_N")


class NoTokensError(OneVisionError):
    """Not one example gave tokens."""


class Change(Protocol):
    """What is done to the tokens of a clip after it was read, an intervention say.

    It is called in other processes: a frozen dataclass of a module will do. ``describe`` goes into the key of the set.
    """

    def describe(self) -> dict[str, Any]: ...

    def __call__(self, reading: ClipReading, id: str) -> PatchTokens:
        """Tokens of the one clip. ``id`` of the example, for a seed."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Read:
    """Tokens of one clip under one configuration, or why there are none."""

    tokens: PatchTokens | None
    cause: str
    decode_ms: float
    select_ms: float


def make_token_set(
    examples: Sequence[Example],
    config: TokenizeConfig,
    *,
    num_classes: int | None = None,
    data: str = "",
    change: Change | None = None,
    cache: TokenSetCache | Path | None = None,
    workers: int = 1,
    tick: Callable[[int], object] = lambda _: None,
) -> TokenSet:
    """:func:`make_token_sets` of one configuration. Raises NoTokensError where not one clip can be read."""
    sets = make_token_sets(
        examples,
        {"set": config},
        num_classes=num_classes,
        data=data,
        changes={} if change is None else {"set": change},
        cache=cache,
        workers=workers,
        tick=tick,
    )
    return sets["set"]


def make_token_sets(
    examples: Sequence[Example],
    configs: Mapping[str, TokenizeConfig],
    *,
    num_classes: int | None = None,
    data: str = "",
    changes: Mapping[str, Change] | None = None,
    cache: TokenSetCache | Path | None = None,
    workers: int = 1,
    tick: Callable[[int], object] = lambda _: None,
) -> dict[str, TokenSet]:
    """Tokens of each example under each configuration, examples sorted by id.

    An example that cannot be read, or not under one of the configurations, is left out there and listed in ``broken``.

    Args:
        configs: as for ``read_clip``; the tokens are those that it gives. A stretch of an example sets the window of
            the sampling. num_classes: M of a multi-label set; None = one class each.
        data: name of the data set, for ``describe``. changes: what is done to the tokens, by name of the configuration.
        cache: a folder; a set that is there already is not made again. workers: processes; a script that asks for more
            than one must do so under ``if __name__ == "__main__":``. tick: told 1 for each example that was read.
    Raises:
        NoTokensError: not one example gives tokens under a configuration. WriteError: the cache cannot be written.
        InvalidArgumentError: no example, ids that are there twice, a configuration with an option that nothing reads.
    """
    ordered = sorted(examples, key=lambda e: e.id)
    _check(ordered, configs, workers)
    labels_of(ordered, num_classes)
    plan = _Plan(
        configs=dict(configs),
        changes=dict(changes or {}),
        store=TokenSetCache(cache) if isinstance(cache, Path) else cache,
        contents=None if cache is None else [_content(e) for e in ordered],
        about={"data": data, "num_classes": num_classes},
    )
    made = plan.known(ordered)
    missing = {name: config for name, config in plan.configs.items() if name not in made}
    builders = {name: _Builder(plan, name) for name in missing}
    try:
        for e, read in _read_all(ordered, missing, plan.changes, workers if missing else 1):
            for name, one in read.items():
                builders[name].add(e, one)
            tick(1)
        for name, builder in builders.items():
            made[name] = builder.finish(plan.key(name, ordered) if plan.store else {})
    finally:
        for builder in builders.values():
            builder.discard()
    return {name: made[name] for name in configs}


def _check(examples: Sequence[Example], configs: Mapping[str, TokenizeConfig], workers: int) -> None:
    ids = [e.id for e in examples]
    if not ids or len(set(ids)) != len(ids):
        raise InvalidArgumentError("examples", len(ids), "at least one example, each with an id of its own")
    if not configs:
        raise InvalidArgumentError("configs", {}, "at least one configuration")
    if workers < 1:
        raise InvalidArgumentError("workers", workers, "at least 1")
    for config in configs.values():
        config.check_read()


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is to be made, and where it is kept. ``contents``: what decides the tokens of each example."""

    configs: Mapping[str, TokenizeConfig]
    changes: Mapping[str, Change]
    store: TokenSetCache | None
    contents: Sequence[Any] | None
    about: Mapping[str, Any]

    def key(self, name: str, examples: Sequence[Example]) -> dict[str, Any]:
        change = self.changes.get(name)
        key = {
            "version": __version__,
            **self.about,
            "tokenize": self.configs[name].as_dict(),
            "change": None if change is None else change.describe(),
            "examples": [[e.id, e.video, list(e.classes)] for e in examples],
            "contents": self.contents,
        }
        found: dict[str, Any] = json.loads(json.dumps(key))  # as it reads back from a file
        return found

    def known(self, examples: Sequence[Example]) -> dict[str, TokenSet]:
        found = {}
        for name, config in self.configs.items() if self.store is not None else ():
            assert self.store is not None
            tokens = self.store.get(self.key(name, examples), config)
            if tokens is not None:
                found[name] = tokens
        return found


def _content(e: Example) -> list[Any]:
    try:
        stated: str | None = fingerprint(source_of(e.path))
    except OneVisionError as error:
        stated = f"{type(error).__name__}: {error}"
    return [stated, e.start_seconds, e.end_seconds]


def _read_all(
    examples: Sequence[Example], configs: Mapping[str, TokenizeConfig], changes: Mapping[str, Change], workers: int
) -> Iterator[tuple[Example, dict[str, _Read]]]:
    """What each example gives, in order."""
    if not configs:
        return
    read = partial(_read_one, configs=configs, changes=changes)
    if workers == 1:
        yield from zip(examples, map(read, examples), strict=True)
        return
    # Fresh processes: a fork would copy threads' locks in whatever state they are.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        chunk = max(1, min(8, len(examples) // (4 * workers)))
        yield from zip(examples, pool.map(read, examples, chunksize=chunk), strict=True)


def _read_one(e: Example, *, configs: Mapping[str, TokenizeConfig], changes: Mapping[str, Change]) -> dict[str, _Read]:
    try:
        variants = read_variants(source_of(e.path), {name: windowed(c, e) for name, c in configs.items()})
    except OneVisionError as error:
        return dict.fromkeys(configs, _Read(tokens=None, cause=_cause(error), decode_ms=0.0, select_ms=0.0))
    out = {}
    for name, variant in variants.items():
        tokens, cause = _tokens(variant.reading, e, changes.get(name))
        out[name] = _Read(tokens=tokens, cause=cause, decode_ms=variant.decode_ms, select_ms=variant.select_ms)
    return out


def _tokens(reading: ClipReading | OneVisionError, e: Example, change: Change | None) -> tuple[PatchTokens | None, str]:
    if isinstance(reading, OneVisionError):
        return None, _cause(reading)
    try:
        tokens = reading.tokens() if change is None else change(reading, e.id)
    except OneVisionError as error:
        return None, _cause(error)
    return replace(tokens, clips=tuple(replace(clip, provenance={}) for clip in tokens.clips)), ""


def _cause(error: OneVisionError) -> str:
    return f"{type(error).__name__}: {error}"


def windowed(config: TokenizeConfig, e: Example) -> TokenizeConfig:
    """The configuration for an example: its stretch is the window of the sampling."""
    if e.start_seconds is None and e.end_seconds is None:
        return config
    window = replace(config.sampling, start_seconds=e.start_seconds, end_seconds=e.end_seconds)
    return replace(config, sampling=window)


@dataclass
class _Builder:
    """Gathers the clips of one set; patches go to a file as they come where there is a cache."""

    plan: _Plan
    name: str
    kept: list[tuple[Example, _Read, dict[str, NDArray[Any]], ClipInfo]] = field(default_factory=list)
    patches: list[NDArray[np.uint8]] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    spool: Path | None = None

    def add(self, e: Example, read: _Read) -> None:
        tokens = read.tokens
        if tokens is None:
            self.broken.append(Broken(id=e.id, cause=read.cause))
            return
        small = {name: getattr(tokens, name) for name in _BESIDE_PIXELS}
        self.kept.append((e, replace(read, tokens=None), small, tokens.clips[0]))
        if self.plan.store is None:
            self.patches.append(tokens.patches_ND)
            return
        self.spool = self.spool or self.plan.store.spool()
        try:
            with self.spool.open("ab") as file:
                file.write(np.ascontiguousarray(tokens.patches_ND).data)
        except OSError as error:
            raise WriteError(self.spool, error.strerror or str(error)) from error

    def finish(self, key: Mapping[str, Any]) -> TokenSet:
        if not self.kept:
            first = self.broken[0]
            cause = f"not one of {len(self.broken)} clips gave tokens for {self.name!r}; {first.id}: {first.cause}"
            raise NoTokensError(cause)
        if self.plan.store is None or self.spool is None:
            return self._set(np.concatenate(self.patches))
        return self.plan.store.put(key, self.spool, 3 * self.kept[0][3].patch ** 2, self._set)

    def _set(self, patches_ND: NDArray[np.uint8]) -> TokenSet:
        examples, reads, arrays, clips = zip(*self.kept, strict=True)
        lengths = [len(one["score_N"]) for one in arrays]
        change = self.plan.changes.get(self.name)
        return TokenSet(
            patches_ND=patches_ND,
            **{name: np.concatenate([one[name] for one in arrays]) for name in _BESIDE_PIXELS},
            cu_seqlens=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            clips=clips,
            ids=tuple(e.id for e in examples),
            videos=tuple(e.video for e in examples),
            labels=labels_of(examples, self.plan.about["num_classes"]),
            decode_ms_S=np.array([read.decode_ms for read in reads], np.float32),
            select_ms_S=np.array([read.select_ms for read in reads], np.float32),
            config=self.plan.configs[self.name],
            data=self.plan.about["data"],
            change=None if change is None else change.describe(),
            broken=tuple(self.broken),
        )

    def discard(self) -> None:
        """Remove what was spooled and not kept."""
        if self.spool is not None:
            self.spool.unlink(missing_ok=True)
