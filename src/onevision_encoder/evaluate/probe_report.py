"""What a probe or a tuning found, in one form: figures over seeds and folds, what they rest on, what was wrong.

Axes: V videos, M classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from onevision_encoder import __version__
from onevision_encoder.evaluate.choosing import membership
from onevision_encoder.evaluate.datasets import BENCHMARKS, DataSet
from onevision_encoder.evaluate.metrics import interval, metrics_for, score
from onevision_encoder.evaluate.splits import Fold
from onevision_encoder.evaluate.training import Rows, by_video
from onevision_encoder.evaluate.verification import Verification


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


def rows_by_video(folds: Sequence[Fold], tested: Sequence[Sequence[Rows]]) -> tuple[dict[str, Any], ...]:
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


def make_report(
    data: DataSet,
    *,
    kind: str,
    backbone: Mapping[str, Any],
    reading: Mapping[str, Any],
    probe: Mapping[str, Any],
    checked: Verification,
    folds: Sequence[Fold],
    predictions: Sequence[Mapping[str, Any]],
    failures: Mapping[str, str],
    records: Sequence[Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """The report, JSON-able.

    Args:
        kind: ``probe`` or ``tuning``. backbone, reading, probe: what was judged, how it reads, how it was trained;
            ``probe`` holds ``seeds`` and ``resamples``.
        predictions: of :func:`rows_by_video`. failures: id -> cause. records: of each seed, of each fold.
    """
    truth = membership([row["classes"] for row in predictions], data)
    logits = [np.stack([row["logits"][seed] for row in predictions]) for seed in range(probe["seeds"])]
    results = {}
    for name in metrics_for(data.multi_label, len(data.classes)):
        per_seed = [float(score(name, of_seed, truth)[0]) for of_seed in logits]
        low, high = interval(name, logits, truth, resamples=probe["resamples"], seed=0)
        sd = float(np.std(per_seed, ddof=1)) if len(per_seed) > 1 else None
        results[name] = {"mean": float(np.mean(per_seed)), "sd": sd, "interval95": [low, high], "per_seed": per_seed}
    known = BENCHMARKS.get(data.name)
    return {
        "schema": 1,
        "kind": kind,
        "version": __version__,
        "data": {"name": data.name, "multi_label": data.multi_label, "verification": checked.as_dict()},
        "metric": known.metric if known else ("map" if data.multi_label else "top1"),
        "backbone": dict(backbone),
        "reading": dict(reading),
        "probe": dict(probe),
        "results": results,
        "test": {
            "videos": len(predictions),
            "examples": sum(len(fold.test) for fold in folds),
            "looks": [fold.test.looks for fold in folds],
            "chance_of_largest_class": None if data.multi_label else float(np.bincount(truth).max() / len(truth)),
        },
        "broken": [{"id": name, "cause": failures[name]} for name in sorted(failures)],
        "seeds": [{"seed": seed, "folds": list(of_seed)} for seed, of_seed in enumerate(records)],
    }
