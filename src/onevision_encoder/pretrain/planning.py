"""What a batch will hold, before anything is read: places, modes and exact numbers of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from onevision_encoder.errors import BudgetError, CorpusError
from onevision_encoder.pretrain.corpus import Corpus
from onevision_encoder.pretrain.corpus_config import CorpusConfig
from onevision_encoder.pretrain.counter_random import uniform
from onevision_encoder.pretrain.mixing import Draws, EpochOrder
from onevision_encoder.pretrain.shards import Entry, Shard
from onevision_encoder.pretrain.stored_video import VideoMode, level_budgets
from onevision_encoder.pretrain.stream_config import StreamConfig

Mode = Literal["image", "codec", "frames", "tiled"]


@dataclass(frozen=True)
class Position:
    """Where a run stands, over all ranks: batches that were made, samples that were taken, of each corpus too."""

    step: int
    samples: int
    visits: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class SamplePlan:
    """One sample of a batch: where it is, how it is read, and how many tokens it will have after dropping.

    ``budget``: patches to choose of a video, before any are dropped; 0 of a picture.
    """

    position: int
    corpus: int
    epoch: int
    shard: Shard
    entry: Entry
    mode: Mode
    budget: int
    tokens: int


class Planner:
    """Plans the batches of all ranks from a position. Looks at indexes only.

    Raises:
        CorpusError: a corpus without samples, or without a mode that is drawn.
    """

    def __init__(self, config: StreamConfig, corpora: Sequence[Corpus]) -> None:
        self.config, self.corpora = config, corpora
        for corpus in corpora:
            if not len(corpus):
                raise CorpusError(corpus.folder, "holds no samples: `ove corpus build` lists why in failures.jsonl")
        self._names = [f"{number}/{corpus.name}" for number, corpus in enumerate(corpora)]
        self._orders = [
            EpochOrder(corpus.sizes_S, window=config.window, seed=config.seed, name=name)
            for corpus, name in zip(corpora, self._names, strict=True)
        ]
        self._corpus = Draws([share.weight for share in config.corpora], seed=config.seed, purpose="corpora")
        self._modes: tuple[VideoMode, ...] = tuple(sorted(config.modes))
        self._mode = Draws([config.modes[mode] for mode in self._modes], seed=config.seed, purpose="modes")
        self._levels = [_levels(corpus) for corpus in corpora]

    def batch(self, here: Position, rank: int, world: int) -> tuple[list[SamplePlan], Position]:
        """The samples of ``rank`` in the next batch, and the position after the batches of all ranks."""
        if self.config.batch_samples is not None:
            return self._by_samples(here, rank, world, self.config.batch_samples)
        return self._by_tokens(here, rank, world, self.config.batch_tokens or 0)

    def _by_samples(self, here: Position, rank: int, world: int, size: int) -> tuple[list[SamplePlan], Position]:
        choices = self._corpus.at(here.samples, here.samples + size * world)
        count = len(self.corpora)
        visits = np.array(here.visits) + np.bincount(choices[: rank * size], minlength=count)
        plans = []
        for place in range(rank * size, (rank + 1) * size):
            corpus = int(choices[place])
            plans.append(self._plan(here, here.samples + place, corpus, int(visits[corpus])))
            visits[corpus] += 1
        after = np.array(here.visits) + np.bincount(choices, minlength=count)
        return plans, Position(here.step + 1, here.samples + len(choices), tuple(after.tolist()))

    def _by_tokens(self, here: Position, rank: int, world: int, most: int) -> tuple[list[SamplePlan], Position]:
        """Rank after rank is filled with the samples that follow; what does not fit is the next one's first."""
        visits, position = list(here.visits), here.samples
        mine: list[SamplePlan] = []
        for one in range(world):
            plans: list[SamplePlan] = []
            tokens = 0
            while True:
                corpus = int(self._corpus.at(position, position + 1)[0])
                plan = self._plan(here, position, corpus, visits[corpus])
                if plans and tokens + plan.tokens > most:
                    break
                plans.append(plan)
                tokens += plan.tokens
                visits[corpus] += 1
                position += 1
            mine = plans if one == rank else mine
        return mine, Position(here.step + 1, position, tuple(visits))

    def _plan(self, here: Position, position: int, corpus: int, visit: int) -> SamplePlan:
        epoch, number, row = self._orders[corpus].place(visit)
        shard = self.corpora[corpus].shard(number)
        entry = shard.entries[row]
        plan = SamplePlan(
            position=position,
            corpus=corpus,
            epoch=epoch,
            shard=shard,
            entry=entry,
            mode="image",
            budget=0,
            tokens=self.config.augment.kept((self.config.image_size // self.config.patch) ** 2),
        )
        if entry.facts["kind"] == "image":
            return plan
        mode = self._modes[int(self._mode.at(position, position + 1)[0])]
        facts = self._mode_facts(shard, entry, mode)
        budget = self._budget(here.step, corpus, mode, facts, f"{shard.path}: {entry.facts['id']}")
        kept = self.config.augment.kept(budget, _dropped_together(self.corpora[corpus], budget))
        return replace(plan, mode=mode, budget=budget, tokens=kept)

    def _mode_facts(self, shard: Shard, entry: Entry, mode: VideoMode) -> dict[str, Any]:
        modes = entry.facts["modes"]
        if mode not in modes:
            cause = f"sample {entry.key!r} is stored as {', '.join(sorted(modes))}, and mode {mode!r} was drawn"
            raise CorpusError(shard.path, f"{cause}: build the corpus with --modes {mode}, or do not draw it")
        found: dict[str, Any] = modes[mode]
        return found

    def _budget(self, step: int, corpus: int, mode: VideoMode, facts: dict[str, Any], name: str) -> int:
        """Patches to choose: what is drawn for the batch, of this clip."""
        low, high = self.config.budget_range()
        draw = float(uniform(self.config.seed, "budget", step, 1)[0])
        levels = level_budgets(self._levels[corpus][mode], facts["available"], facts["unit"])
        if isinstance(low, int) and isinstance(high, int):
            asked = low + int(draw * (high - low + 1))
            if asked > levels[-1] and self.config.short == "error":
                stored = f"{name} keeps at most {levels[-1]} of its patches as {mode}; short='cap' takes those"
                raise BudgetError("budget", asked, stored)
            asked = min(asked, levels[-1])
            return max(facts["unit"], asked // facts["unit"] * facts["unit"]) if low != high else asked
        share = low + Fraction(draw) * (high - low)
        return min(levels, key=lambda level: (abs(level - share * facts["available"]), level))


def _levels(corpus: Corpus) -> dict[VideoMode, tuple[str, ...]]:
    """The ladder of every mode, as the corpus was built with."""
    names = ("low", "high", "steps", "frame_levels")
    try:
        asked = {name: corpus.request[name] for name in names}
        config = CorpusConfig(**{**asked, "frame_levels": tuple(asked["frame_levels"])})
    except (LookupError, TypeError, ValueError) as error:
        raise CorpusError(corpus.folder, f"corpus.json does not say which budgets are kept: {error}") from error
    return {mode: config.levels(mode) for mode in ("codec", "frames", "tiled")}


def _dropped_together(corpus: Corpus, budget: int) -> int:
    """Patches that are dropped as one: those of a block, where rows are stored by blocks."""
    order = corpus.request["reading"]["selection"]["order"]
    block = {"raster": 1, "block2": 4, "block3": 9}[order]
    return block if budget % block == 0 else 1
