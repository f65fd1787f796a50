"""A probe of a frozen backbone: train a grid of heads, choose on held-out training videos, open the test set once.

Axes: V videos, M classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from onevision_encoder.evaluate.choosing import best_cell, judge, parts_of
from onevision_encoder.evaluate.datasets import DataSet
from onevision_encoder.evaluate.distributed import Team, team
from onevision_encoder.evaluate.features import Batch, FeatureReader, SharedFeatures
from onevision_encoder.evaluate.probe_config import ProbeConfig, Recipe
from onevision_encoder.evaluate.probe_report import ProbeResult, make_report, rows_by_video
from onevision_encoder.evaluate.splits import Fold, make_folds
from onevision_encoder.evaluate.training import (
    Candidate,
    ProbeFailedError,
    Rows,
    Trainer,
    predict,
)
from onevision_encoder.evaluate.verification import verify

Tick = Callable[[int], object]


@dataclass
class _Chosen:
    """The head that one seed takes to the test set of one fold."""

    logits: Callable[[Batch], Tensor]
    record: dict[str, Any]


def run_probe(
    data: DataSet,
    reader: FeatureReader,
    config: ProbeConfig,
    *,
    device: str | torch.device = "cpu",
    tick: Tick = lambda _: None,
    announce: Tick = lambda _: None,
) -> ProbeResult:
    """Probe a backbone on a data set; call it on every process that is joined (see ``distributed.joined``).

    Args:
        reader: the backbone and how clips are read; its ``pool`` must suit the head.
        device: where the heads are trained. announce: told once how many examples there are to go through, over all
            epochs, seeds and folds. tick: told the number of examples after each batch.
    Raises:
        ProbeFailedError: nothing can be trained, chosen or tested. InvalidArgumentError: see ``make_folds``.
    """
    started = time.perf_counter()
    members = team()
    checked = verify(data)
    folds = make_folds(data, config.folds, config.views, seed=0)
    everyone = [e for fold in folds[:1] for e in (*fold.train, *fold.val, *fold.test.examples)]
    features = SharedFeatures.of(reader, members, everyone, torch.device(device))
    recipe = config.recipe(data.epochs, data.batch_size)
    parts = [len(parts_of(config, recipe, fold, seed)[0]) for seed in range(config.seeds) for fold in folds]
    announce(recipe.epochs * sum(parts) + sum(len(members.mine(fold.test.examples)) for fold in folds))
    chosen = [
        [_choose(data, config, recipe, features, fold, seed, tick) for fold in folds] for seed in range(config.seeds)
    ]
    tested = [_test(features, fold, [of_seed[i] for of_seed in chosen], tick) for i, fold in enumerate(folds)]
    predictions = rows_by_video(folds, tested)
    report = make_report(
        data,
        kind="probe",
        backbone={"name": reader.backbone.name, "width": reader.backbone.width, **reader.backbone.describe()},
        reading=reader.reading.as_dict(),
        probe={**asdict(config), "recipe": asdict(recipe), "split_seed": 0, "precision": "float32"},
        checked=checked,
        folds=folds,
        predictions=predictions,
        failures=reader.failures,
        records=[[of_fold.record for of_fold in of_seed] for of_seed in chosen],
    )
    run = {
        "seconds": time.perf_counter() - started,
        "processes": members.world,
        "threads": torch.get_num_threads(),
        "device": str(device),
        "data": str(data.root),
        "rank_0": _cost(reader),
    }
    return ProbeResult(report=report, run=run, predictions=predictions)


def _choose(
    data: DataSet, config: ProbeConfig, recipe: Recipe, features: SharedFeatures, fold: Fold, seed: int, tick: Tick
) -> _Chosen:
    """Train the grid and take the cell that is best on videos held out of training."""
    train, val = parts_of(config, recipe, fold, seed)
    trainer = Trainer(
        features,
        recipe,
        head=config.head,
        num_classes=len(data.classes),
        multi_label=data.multi_label,
        seed=seed,
        tick=tick,
    )
    grid = trainer.train(train)
    found = trainer.evaluate(grid, val) if val else {}
    name = "map" if data.multi_label else "top1"
    judged = [judge(name, found.get(member.index), val, data) for member in grid]
    diverged = _diverged(grid, features.team)
    best = best_cell(judged, diverged)
    record = {
        "train": len(train),
        "held_out": len(val),
        "chosen": dict(recipe.cells[best]),
        "grid": [
            {**member.cell, f"val_{name}": found and found[0], "val_loss": found and found[1]}
            for member, found in zip(grid, judged, strict=True)
        ],
        "diverged": diverged,
    }
    return _Chosen(trainer.hand_out(grid[best]), record)


def _diverged(grid: Sequence[Candidate], members: Team) -> list[int]:
    """Indices of the cells whose loss stopped being finite."""
    mine = [member.index for member in grid if member.diverged_at is not None]
    return sorted({index for part in members.gather(mine) for index in part})


def _test(features: SharedFeatures, fold: Fold, chosen: Sequence[_Chosen], tick: Tick) -> list[Rows]:
    """Logits by id of each seed's head. Each process takes its own examples, one at a time; all get all."""
    examples = fold.test.look()
    mine = [e for e in examples if features.owner[e.id] == features.team.rank]
    rows: list[Rows] = [{} for _ in chosen]
    for e in mine:
        batch = features.own([e])
        tick(1)
        for of_seed, head in zip(rows, chosen, strict=True):
            if batch is not None:
                of_seed |= predict(head.logits, batch)
    failures = features.reader.failures
    for part in features.team.gather({e.id: failures[e.id] for e in mine if e.id in failures}):
        failures.update(part)
    ids = [e.id for e in examples if e.id not in failures]
    if not ids:
        raise ProbeFailedError(f"not one of {len(examples)} test examples can be read")
    return [features.team.gather_rows(of_seed, ids) for of_seed in rows]


def _cost(reader: FeatureReader) -> dict[str, Any]:
    cache = reader.cache
    found = {} if cache is None else {"found": cache.found, "stored": cache.stored, "corrupt": list(cache.corrupt)}
    return {"clips_encoded": reader.computed, "cache": found or None}
