"""Training batches from a mixture of corpora: resumable at the exact sample, the same for any number of threads.

Batch ``step`` of rank r is a pure function of (configuration, world size, position), and the position of the next one
follows from it. So a state is a few integers, the same on every rank; another world size goes on from the position.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.checks import require, short_repr
from onevision_encoder.errors import InvalidArgumentError, OneVisionError
from onevision_encoder.pretrain.corpus import Corpus
from onevision_encoder.pretrain.planning import Planner, Position, SamplePlan
from onevision_encoder.pretrain.sample_reading import Labels, SampleReader
from onevision_encoder.pretrain.stream_config import StreamConfig
from onevision_encoder.tokens import pack
from onevision_encoder.types import PatchTokens

SCHEMA = 1
_MAY_CHANGE = ("corpora", "banks", "text", "missing_labels", "batch_samples", "batch_tokens", "image_size")
"""Options that decide nothing about which sample stands where: a stage may go on with larger pictures, say. Corpora are
told by their content instead."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingBatch:
    """What one rank trains on in one step. S samples, P labels of a sample.

    Attributes:
        tokens: packed uint8 patches, a clip a sample, augmented; samples of fewer tokens first.
        labels: bank -> int64 [S, P], -1 where there is no label.
        modes: of each sample ``image``, ``codec``, ``frames`` or ``tiled``.
        ids: of each sample, as its corpus calls it. corpora: name of the corpus of each sample.
        positions: int64 [S], place of each sample in the run over all ranks. step: batches before this one.
    """

    tokens: PatchTokens
    labels: Mapping[str, NDArray[np.int64]]
    modes: tuple[str, ...]
    ids: tuple[str, ...]
    corpora: tuple[str, ...]
    positions: NDArray[np.int64]
    step: int
    __repr__ = short_repr

    def __post_init__(self) -> None:
        samples = len(self.tokens.clips)
        for name in ("modes", "ids", "corpora", "positions"):
            require(len(getattr(self, name)) == samples, name, len(getattr(self, name)), f"one a clip, {samples}")
        for bank, rows in self.labels.items():
            fits = rows.ndim == 2 and len(rows) == samples and rows.dtype == np.int64
            require(fits, f"labels[{bank!r}]", (rows.shape, str(rows.dtype)), f"int64 [{samples}, P]")

    def __len__(self) -> int:
        return len(self.tokens.clips)


class MixedStream(Iterator[TrainingBatch]):
    """An endless stream of batches; epochs of each corpus follow one another without a seam.

    Args:
        config: the same on all ranks. rank, world: which share of each step's samples is ours; ranks share none.
        workers: threads that read and decode, 0 reads in ``next()``. ahead: batches that are prepared meanwhile.
            Neither changes what comes.
    Raises:
        CorpusError, ShardError: a corpus that cannot be read. InvalidArgumentError: banks that do not fit it.

    ``next()`` raises what reading a sample raises, and stands where it stood: the state is that before the batch.
    """

    def __init__(
        self, config: StreamConfig, *, rank: int = 0, world: int = 1, workers: int = 0, ahead: int = 2
    ) -> None:
        if not 0 <= rank < world:
            raise InvalidArgumentError("rank", rank, f"0 to {world - 1}")
        for name, value, least in (("workers", workers, 0), ("ahead", ahead, 1)):
            if value < least:
                raise InvalidArgumentError(name, value, f"at least {least}")
        self.config, self.rank, self.world = config, rank, world
        self.corpora = tuple(Corpus(share.folder) for share in config.corpora)
        self._planner = Planner(config, self.corpora)
        self._reader = SampleReader(config, self.corpora)
        self._here = Position(0, 0, (0,) * len(self.corpora))
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="stream") if workers else None
        self._ahead = ahead if workers else 1
        self._queue: deque[tuple[list[SamplePlan], Position, list[Future[tuple[PatchTokens, Labels]]]]] = deque()

    @property
    def banks(self) -> Mapping[str, int]:
        """Bank -> labels of a sample."""
        return dict(self._reader.widths)

    def __next__(self) -> TrainingBatch:
        if self._pool is None:
            plans, after = self._planner.batch(self._here, self.rank, self.world)
            read = [self._reader.read(plan) for plan in plans]
        else:
            self._fill()
            plans, after, futures = self._queue[0]
            try:
                read = [future.result() for future in futures]
            except BaseException:
                self._forget()
                raise
            self._queue.popleft()
        batch = self._batch(plans, read)
        self._here = after
        if self._pool is not None:
            self._fill()
        return batch

    def _fill(self) -> None:
        assert self._pool is not None
        while len(self._queue) < self._ahead:
            here = self._queue[-1][1] if self._queue else self._here
            try:
                plans, after = self._planner.batch(here, self.rank, self.world)
            except OneVisionError as error:  # is told when its batch is asked for, not before
                failed: Future[tuple[PatchTokens, Labels]] = Future()
                failed.set_exception(error)
                self._queue.append(([], here, [failed]))
                return
            self._queue.append((plans, after, [self._pool.submit(self._reader.read, plan) for plan in plans]))

    def _batch(self, plans: list[SamplePlan], read: list[tuple[PatchTokens, Labels]]) -> TrainingBatch:
        # Neighbours of one length share a call of attention: pictures between clips would make a call each.
        order = sorted(range(len(read)), key=lambda i: len(read[i][0]))
        plans, read = [plans[i] for i in order], [read[i] for i in order]
        return TrainingBatch(
            tokens=pack([tokens for tokens, _ in read]),
            labels={bank: np.stack([labels[bank] for _, labels in read]) for bank in self._reader.widths},
            modes=tuple(plan.mode for plan in plans),
            ids=tuple(str(plan.entry.facts["id"]) for plan in plans),
            corpora=tuple(self.corpora[plan.corpus].name for plan in plans),
            positions=np.array([plan.position for plan in plans], np.int64),
            step=self._here.step,
        )

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands, JSON-able: what :meth:`load_state_dict` of the same configuration goes on from."""
        return {
            "schema": SCHEMA,
            "step": self._here.step,
            "samples": self._here.samples,
            "visits": list(self._here.visits),
            "world": self.world,
            "digests": self._digests(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a stream stood. ``world`` may differ, and with it the share of this rank.

        Raises:
            InvalidArgumentError: a state of other corpora or another configuration, which would not be the same run.
        """
        if state.get("schema") != SCHEMA:
            raise InvalidArgumentError("state", state.get("schema"), f"schema {SCHEMA} of a stream's state")
        mine, theirs = self._digests(), state["digests"]
        changed = sorted(name for name in mine if theirs.get(name) != mine[name])
        if changed or set(theirs) != set(mine):
            allowed = "a state of the same corpora and options: these changed since it was saved"
            raise InvalidArgumentError("state", changed or sorted(set(theirs) ^ set(mine)), allowed)
        self._forget()
        self._here = Position(int(state["step"]), int(state["samples"]), tuple(int(v) for v in state["visits"]))

    def _digests(self) -> dict[str, str]:
        """What must not change from save to load, each by its name, so that a complaint can tell it."""
        options = asdict(self.config)
        parts: dict[str, Any] = {name: options[name] for name in options if name not in _MAY_CHANGE}
        parts["corpora"] = [
            [corpus.digest, share.weight] for corpus, share in zip(self.corpora, self.config.corpora, strict=True)
        ]
        encode = partial(json.dumps, sort_keys=True)
        return {name: hashlib.blake2b(encode(part).encode(), digest_size=8).hexdigest() for name, part in parts.items()}

    def _forget(self) -> None:
        """Drop what was prepared ahead."""
        for _, _, futures in self._queue:
            for future in futures:
                future.cancel()
        self._queue.clear()

    def close(self) -> None:
        """End the threads."""
        self._forget()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> MixedStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
