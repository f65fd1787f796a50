"""A probe of a frozen backbone: train a grid of heads, choose on held-out training videos, open the test set once.

Axes: V videos, M classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onevision_encoder import __version__
from onevision_encoder.evaluate.datasets import BENCHMARKS, DataSet, Example
from onevision_encoder.evaluate.distributed import Team, team
from onevision_encoder.evaluate.features import Batch, FeatureReader, SharedFeatures
from onevision_encoder.evaluate.metrics import interval, metrics_for, score
from onevision_encoder.evaluate.probe_config import ProbeConfig, Recipe
from onevision_encoder.evaluate.splits import Fold, hold_out, make_folds
from onevision_encoder.evaluate.training import (
    Candidate,
    ProbeFailedError,
    Rows,
    Trainer,
    by_video,
    predict,
)
from onevision_encoder.evaluate.verification import Verification, verify

Tick = Callable[[int], object]


@dataclass(frozen=True, kw_only=True, eq=False)
class ProbeResult:
    """What a probe found.

    Attributes:
        report: deterministic: the same data, options and machine give the same JSON, cached or not, on however many
            processes. run: how it went this time: seconds, cache, processes.
        predictions: one row a test video: id, classes, fold, logits of each seed.
    """

    report: dict[str, Any]
    run: dict[str, Any]
    predictions: tuple[dict[str, Any], ...]

    @property
    def complete(self) -> bool:
        """Nothing was wrong with the data, and every clip could be read."""
        return bool(self.report["data"]["verification"]["ok"]) and not self.report["broken"]


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
    parts = [len(_parts(config, recipe, fold, seed)[0]) for seed in range(config.seeds) for fold in folds]
    announce(recipe.epochs * sum(parts) + sum(len(members.mine(fold.test.examples)) for fold in folds))
    chosen = [
        [_choose(data, config, recipe, features, fold, seed, tick) for fold in folds] for seed in range(config.seeds)
    ]
    tested = [_test(features, fold, [of_seed[i] for of_seed in chosen], tick) for i, fold in enumerate(folds)]
    predictions = _by_video(folds, tested)
    report = _report(data, reader, config, recipe, checked, folds, chosen, predictions)
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
    train, val = _parts(config, recipe, fold, seed)
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
    judged = [_judge(name, found.get(member.index), val, data) for member in grid]
    diverged = _diverged(grid, features.team)
    best = _best(grid, judged, diverged)
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


def _parts(config: ProbeConfig, recipe: Recipe, fold: Fold, seed: int) -> tuple[list[Example], list[Example]]:
    """(to train on, to choose on). One cell leaves nothing to choose: all of train is trained on."""
    if len(recipe.cells) > 1 and not fold.val:
        return hold_out(fold.train, config.val_share, seed)
    return list(fold.train), list(fold.val)


def _judge(name: str, rows: Rows | None, val: Sequence[Example], data: DataSet) -> tuple[float, float] | None:
    """(metric, mean loss) of a cell on the held-out videos; None: it diverged, or none of them can be read."""
    if not rows:
        return None
    videos = by_video(rows, val)
    logits_VM = np.stack(list(videos.values()))
    classes: dict[str, set[int]] = {}
    for e in val:
        classes.setdefault(e.video, set()).update(e.classes)
    labels = [sorted(classes[video]) for video in videos]
    loss = mean_loss(logits_VM, _membership(labels, data), multi_label=data.multi_label)
    return float(score(name, logits_VM, _membership(labels, data))[0]), loss


def mean_loss(logits_VM: NDArray[Any], truth: NDArray[Any], *, multi_label: bool) -> float:
    """Mean cross entropy of int64 [V] labels, or mean binary cross entropy of 0/1 [V, M]; no smoothing."""
    if multi_label:
        return float(np.mean(np.logaddexp(0, logits_VM) - truth * logits_VM))
    total_V = np.logaddexp.reduce(logits_VM, axis=1)
    return float(np.mean(total_V - np.take_along_axis(logits_VM, truth[:, None], 1)[:, 0]))


def _best(grid: Sequence[Candidate], judged: Sequence[tuple[float, float] | None], diverged: Sequence[int]) -> int:
    """The cell of the best metric; of equals the one of least loss, then the first. A lone cell needs no judge."""
    if len(grid) == 1 and not diverged:
        return 0
    order = [(-found[0], found[1], i) for i, found in enumerate(judged) if found is not None]
    if not order:
        raise ProbeFailedError(
            "every cell of the grid diverged, or no held-out video can be read: there is nothing to choose"
        )
    return min(order)[2]


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


def _by_video(folds: Sequence[Fold], tested: Sequence[Sequence[Rows]]) -> tuple[dict[str, Any], ...]:
    """One row a video, sorted by video."""
    out = []
    for number, (fold, seeds) in enumerate(zip(folds, tested, strict=True)):
        classes: dict[str, set[int]] = {}
        for e in fold.test.examples:
            classes.setdefault(e.video, set()).update(e.classes)
        videos = [by_video(rows, fold.test.examples) for rows in seeds]
        out += [
            {"id": video, "classes": sorted(classes[video]), "fold": number, "logits": [of[video] for of in videos]}
            for video in videos[0]
        ]
    return tuple(sorted(out, key=lambda row: row["id"]))


def _membership(classes: Sequence[Sequence[int]], data: DataSet) -> NDArray[Any]:
    """int64 [V], or 0/1 [V, M] of a multi-label set."""
    if not data.multi_label:
        return np.array([labels[0] for labels in classes], dtype=np.int64)
    truth_VM = np.zeros((len(classes), len(data.classes)))
    for row, labels in zip(truth_VM, classes, strict=True):
        row[list(labels)] = 1
    return truth_VM


def _report(
    data: DataSet,
    reader: FeatureReader,
    config: ProbeConfig,
    recipe: Recipe,
    checked: Verification,
    folds: Sequence[Fold],
    chosen: Sequence[Sequence[_Chosen]],
    predictions: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    truth = _membership([row["classes"] for row in predictions], data)
    logits = [np.stack([row["logits"][seed] for row in predictions]) for seed in range(config.seeds)]
    results = {}
    for name in metrics_for(data.multi_label, len(data.classes)):
        per_seed = [float(score(name, of_seed, truth)[0]) for of_seed in logits]
        low, high = interval(name, logits, truth, resamples=config.resamples, seed=0)
        sd = float(np.std(per_seed, ddof=1)) if len(per_seed) > 1 else None
        results[name] = {"mean": float(np.mean(per_seed)), "sd": sd, "interval95": [low, high], "per_seed": per_seed}
    known = BENCHMARKS.get(data.name)
    return {
        "schema": 1,
        "kind": "probe",
        "version": __version__,
        "data": {"name": data.name, "multi_label": data.multi_label, "verification": checked.as_dict()},
        "metric": known.metric if known else ("map" if data.multi_label else "top1"),
        "backbone": {"name": reader.backbone.name, "width": reader.backbone.width, **reader.backbone.describe()},
        "reading": reader.reading.as_dict(),
        "probe": {**asdict(config), "recipe": asdict(recipe), "split_seed": 0, "precision": "float32"},
        "results": results,
        "test": {
            "videos": len(predictions),
            "examples": sum(len(fold.test) for fold in folds),
            "looks": [fold.test.looks for fold in folds],
            "chance_of_largest_class": None if data.multi_label else float(np.bincount(truth).max() / len(truth)),
        },
        "broken": [{"id": name, "cause": reader.failures[name]} for name in sorted(reader.failures)],
        "seeds": [
            {"seed": seed, "folds": [of_fold.record for of_fold in of_seed]} for seed, of_seed in enumerate(chosen)
        ],
    }


def _cost(reader: FeatureReader) -> dict[str, Any]:
    cache = reader.cache
    found = {} if cache is None else {"found": cache.found, "stored": cache.stored, "corrupt": list(cache.corrupt)}
    return {"clips_encoded": reader.computed, "cache": found or None}
