"""Tuning on a data set, judged as a probe is: seeds, folds, a test set that opens once, the same report.

Axes: S clips, M classes.

A cell is one seed of one fold. Processes divide the cells and train each one alone, so that a cell's numbers do not
depend on how many processes there are (but on the number of threads of each); what they find is gathered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from onevision_encoder.errors import OneVisionError
from onevision_encoder.evaluate.choosing import best_cell, judge, parts_of
from onevision_encoder.evaluate.datasets import DataSet, Example
from onevision_encoder.evaluate.distributed import Team, team
from onevision_encoder.evaluate.probe_config import ProbeConfig, Recipe
from onevision_encoder.evaluate.probe_report import ProbeResult, make_report, rows_by_video
from onevision_encoder.evaluate.splits import make_folds
from onevision_encoder.evaluate.token_files import TokenSetCache
from onevision_encoder.evaluate.token_making import NoTokensError, make_token_set
from onevision_encoder.evaluate.token_sets import TokenSet
from onevision_encoder.evaluate.training import ProbeFailedError, Rows
from onevision_encoder.evaluate.tuning import Tuned, TuningFailedError, tune
from onevision_encoder.evaluate.tuning_config import USUAL_EPOCHS, TuneConfig
from onevision_encoder.evaluate.tuning_model import MakeEncoder
from onevision_encoder.evaluate.verification import verify
from onevision_encoder.tokens import TokenizeConfig

Tick = Callable[[int], object]
CURVE_POINTS = 50
_Cell = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Learner:
    """What is tuned.

    Attributes:
        make_encoder: see :func:`~onevision_encoder.evaluate.tuning.tune`. config: its ``steps`` or ``epochs`` hold.
        name, about: of the encoder, JSON-able: what decides its first weights.
        lrs, weight_decays: the grid; none given: the one cell of ``config``.
    """

    make_encoder: MakeEncoder
    config: TuneConfig
    name: str
    about: Mapping[str, Any]
    lrs: tuple[float, ...] = ()
    weight_decays: tuple[float, ...] = ()

    def cells(self) -> list[TuneConfig]:
        """The configurations to choose among."""
        rates, decays = self.lrs or (self.config.peak,), self.weight_decays or (self.config.weight_decay,)
        return [replace(self.config, lr=lr, weight_decay=decay) for lr in rates for decay in decays]


@dataclass
class _Tokens:
    """Tokens of examples by id, of sets that are made when they are asked for; broken ones are noted."""

    make: Callable[[Sequence[Example]], TokenSet]
    sets: list[TokenSet] = field(default_factory=list)
    broken: dict[str, str] = field(default_factory=dict)

    def read(self, examples: Sequence[Example]) -> None:
        """Make a set of those that are in none yet."""
        known = {name for tokens in self.sets for name in tokens.ids} | set(self.broken)
        new = {e.id: e for e in examples if e.id not in known}
        if not new:
            return
        try:
            tokens = self.make(list(new.values()))
        except NoTokensError as error:
            self.broken |= dict.fromkeys(new, f"{type(error).__name__}: {error}")
            return
        self.broken |= {b.id: b.cause for b in tokens.broken}
        self.sets.append(tokens)

    def of(self, examples: Sequence[Example], purpose: str) -> TokenSet:
        """Of those that can be read. Raises ProbeFailedError where that is none."""
        wanted = {e.id for e in examples}
        for tokens in self.sets:
            found = [name for name in tokens.ids if name in wanted]
            if found:  # all examples of one purpose are in one set
                return tokens.named(found)
        first = next((f"; {e.id}: {self.broken[e.id]}" for e in examples if e.id in self.broken), "")
        raise ProbeFailedError(f"not one of {len(examples)} {purpose} examples can be read{first}")


def run_tuning(
    data: DataSet,
    learner: Learner,
    reading: TokenizeConfig,
    config: ProbeConfig,
    *,
    cache: TokenSetCache | None = None,
    workers: int = 1,
    device: str | torch.device = "cpu",
    tick: Tick = lambda _: None,
    announce: Tick = lambda _: None,
) -> ProbeResult:
    """Tune on a data set; call it on every process that is joined (see ``distributed.joined``).

    Args:
        reading: which tokens clips give. config: ``seeds``, ``folds``, ``views``, ``val_share``, ``resamples`` hold.
        cache, workers: see ``make_token_sets``. With a cache one process reads the clips, the others find them there.
        announce: told once how many steps this process has to go. tick: told 1 after each.
    Raises:
        ProbeFailedError: nothing can be trained, chosen or tested. InvalidArgumentError: see ``make_folds``.
    """
    started = time.perf_counter()
    members, where = team(), torch.device(device)
    checked = verify(data)
    folds = make_folds(data, config.folds, config.views, seed=0)
    tokens = _Tokens(_maker(data, reading, cache, workers, members))
    tokens.read([e for fold in folds for e in (*fold.train, *fold.val)])
    recipe = _recipe(learner)
    mine = members.mine([(seed, i) for seed in range(config.seeds) for i in range(len(folds))])
    parts = {(seed, i): parts_of(config, recipe, folds[i], seed) for seed, i in mine}
    announce(sum(learner.config.total_steps(len(parts[cell][0])) * len(recipe.cells) for cell in mine))
    chosen = {cell: _guarded(_choose, data, learner, recipe, tokens, parts[cell], cell, where, tick) for cell in mine}
    records = _gathered(members, {cell: found[1] for cell, found in chosen.items()})
    examples = [fold.test.look() for fold in folds]
    tokens.read([e for of_fold in examples for e in of_fold])
    tested = _test(members, examples, tokens, {cell: found[0] for cell, found in chosen.items()}, config.seeds)
    predictions = rows_by_video(folds, tested)
    report = make_report(
        data,
        kind="tuning",
        backbone={"name": learner.name, **learner.about},
        reading=reading.as_dict(),
        probe=_told(learner, config, recipe),
        checked=checked,
        folds=folds,
        predictions=predictions,
        failures=tokens.broken,
        records=[[records[seed, i] for i in range(len(folds))] for seed in range(config.seeds)],
    )
    run = {
        "seconds": time.perf_counter() - started,
        "processes": members.world,
        "threads": torch.get_num_threads(),
        "device": str(where),
        "data": str(data.root),
        "rank_0": _cost(tokens, chosen, cache),
    }
    return ProbeResult(report=report, run=run, predictions=predictions)


def _maker(
    data: DataSet, reading: TokenizeConfig, cache: TokenSetCache | None, workers: int, members: Team
) -> Callable[[Sequence[Example]], TokenSet]:
    classes = len(data.classes) if data.multi_label else None

    def make(examples: Sequence[Example]) -> TokenSet:
        return make_token_set(examples, reading, num_classes=classes, data=data.name, cache=cache, workers=workers)

    def one_first(examples: Sequence[Example]) -> TokenSet:
        """The leader reads; the others wait and find its work."""
        if cache is None or members.world == 1:
            return make(examples)
        made = _or_error(make, examples) if members.leads else None
        members.gather(None)
        made = made or _or_error(make, examples)
        if isinstance(made, OneVisionError):
            raise made
        return made

    return one_first


def _or_error(make: Callable[[Sequence[Example]], TokenSet], examples: Sequence[Example]) -> TokenSet | OneVisionError:
    try:
        return make(examples)
    except OneVisionError as error:
        return error


def _recipe(learner: Learner) -> Recipe:
    """The training in the words of a probe's recipe."""
    config = learner.config
    return Recipe(
        cells=tuple({"lr": cell.peak, "weight_decay": cell.weight_decay} for cell in learner.cells()),
        epochs=round(config.epochs or (0 if config.steps or config.init == "scratch" else USUAL_EPOCHS)),
        batch_size=config.batch_size,
        schedule="cosine",
        final_lr=0.0,
        betas=config.betas,
        clip_norm=config.clip_norm,
        label_smoothing=config.label_smoothing,
    )


def _told(learner: Learner, config: ProbeConfig, recipe: Recipe) -> dict[str, Any]:
    """How it was trained and judged; ``head`` is what the classifier reads."""
    return {
        **asdict(config),
        "head": learner.config.pool,
        "recipe": asdict(recipe),
        "tuning": asdict(learner.config),
        "split_seed": 0,
    }


def _choose(
    data: DataSet,
    learner: Learner,
    recipe: Recipe,
    tokens: _Tokens,
    parts: tuple[list[Example], list[Example]],
    cell: _Cell,
    device: torch.device,
    tick: Tick,
) -> tuple[Tuned, dict[str, Any]]:
    """Train the grid and keep the cell that is best on videos held out of training."""
    train = tokens.of(parts[0], "training")
    val = tokens.of(parts[1], "held-out") if parts[1] else None
    name = "map" if data.multi_label else "top1"
    grid: list[Tuned | None] = []
    judged: list[tuple[float, float] | None] = []
    for config in learner.cells():
        try:
            tuned = tune(
                learner.make_encoder,
                train,
                config,
                num_classes=len(data.classes),
                seed=cell[0],
                device=device,
                tick=tick,
            )
            rows = {} if val is None else dict(zip(val.ids, tuned.predict(val), strict=True))
        except TuningFailedError:
            grid, judged = [*grid, None], [*judged, None]
            continue
        grid.append(tuned)
        judged.append(judge(name, rows, parts[1], data))
    diverged = [i for i, tuned in enumerate(grid) if tuned is None]
    best = best_cell(judged, diverged)
    chosen = grid[best]
    assert chosen is not None
    record = {
        "train": len(train),
        "held_out": 0 if val is None else len(val),
        "chosen": dict(recipe.cells[best]),
        "grid": [
            {**of, f"val_{name}": found and found[0], "val_loss": found and found[1]}
            for of, found in zip(recipe.cells, judged, strict=True)
        ],
        "diverged": diverged,
        "steps": chosen.record["steps"],
        "parameters": chosen.record["parameters"],
        "curve": curve_of(chosen.record),
    }
    return chosen, record


def curve_of(record: Mapping[str, Any]) -> dict[str, list[float] | None]:
    """Means over stretches of the training, at most ``CURVE_POINTS``: ``step`` is the last of each."""
    edges = np.linspace(0, record["steps"], min(CURVE_POINTS, record["steps"]) + 1).astype(int)
    spans = list(pairwise(edges.tolist()))
    curve: dict[str, list[float] | None] = {"step": [stop for _, stop in spans]}
    for name in ("loss", "accuracy"):
        values = record[name]
        curve[name] = values and [float(np.mean(values[start:stop])) for start, stop in spans]
    return curve


def _guarded(choose: Callable[..., tuple[Tuned, dict[str, Any]]], *args: Any) -> tuple[Tuned | None, dict[str, Any]]:
    """A failure as a record: the other processes wait for one, and all must hear of it."""
    try:
        return choose(*args)
    except OneVisionError as error:
        return None, {"failed": f"{type(error).__name__}: {error}"}


def _gathered(members: Team, records: Mapping[_Cell, dict[str, Any]]) -> dict[_Cell, dict[str, Any]]:
    """The record of every cell, on every process. Raises ProbeFailedError where a cell failed."""
    whole = {cell: record for part in members.gather(dict(records)) for cell, record in part.items()}
    for (seed, fold), record in sorted(whole.items()):
        if "failed" in record:
            raise ProbeFailedError(f"seed {seed}, fold {fold}: {record['failed']}")
    return whole


def _test(
    members: Team,
    examples: Sequence[Sequence[Example]],
    tokens: _Tokens,
    tuned: Mapping[_Cell, Tuned | None],
    seeds: int,
) -> list[list[Rows]]:
    """Logits by id of each seed, of each fold, on every process; every id of every cell exactly once."""
    sets = [tokens.of(of_fold, "test") for of_fold in examples]
    rows: Rows = {}
    for (seed, i), model in tuned.items():
        assert model is not None
        rows |= {f"{seed}/{i}/{name}": row for name, row in zip(sets[i].ids, model.predict(sets[i]), strict=True)}
    wanted = [f"{seed}/{i}/{name}" for seed in range(seeds) for i, of_fold in enumerate(sets) for name in of_fold.ids]
    whole = members.gather_rows(rows, wanted)
    return [
        [{name: whole[f"{seed}/{i}/{name}"] for name in of_fold.ids} for seed in range(seeds)]
        for i, of_fold in enumerate(sets)
    ]


def _cost(
    tokens: _Tokens, chosen: Mapping[_Cell, tuple[Tuned | None, Any]], cache: TokenSetCache | None
) -> dict[str, Any]:
    """What this process spent: CPU ms of a clip (median), steps a second of its cells."""
    found = {} if cache is None else {"found": cache.found, "stored": cache.stored, "corrupt": list(cache.corrupt)}
    speeds = [tuned.cost["steps_per_second"] for tuned, _ in chosen.values() if tuned is not None]
    return {
        "decode_ms": float(np.median(np.concatenate([s.decode_ms_S for s in tokens.sets]))),
        "select_ms": float(np.median(np.concatenate([s.select_ms_S for s in tokens.sets]))),
        "steps_per_second": speeds,
        "tokens": [s.fingerprint for s in tokens.sets],
        "cache": found or None,
    }
