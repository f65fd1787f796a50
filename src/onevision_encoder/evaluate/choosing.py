"""Which cell of a grid goes to the test set: the best on videos held out of training.

Axes: V videos, M classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.evaluate.datasets import DataSet, Example
from onevision_encoder.evaluate.metrics import score
from onevision_encoder.evaluate.probe_config import ProbeConfig, Recipe
from onevision_encoder.evaluate.splits import Fold, hold_out
from onevision_encoder.evaluate.training import ProbeFailedError, Rows, by_video


def parts_of(config: ProbeConfig, recipe: Recipe, fold: Fold, seed: int) -> tuple[list[Example], list[Example]]:
    """(to train on, to choose on). One cell leaves nothing to choose: all of train is trained on."""
    if len(recipe.cells) > 1 and not fold.val:
        return hold_out(fold.train, config.val_share, seed)
    return list(fold.train), list(fold.val)


def judge(name: str, rows: Rows | None, val: Sequence[Example], data: DataSet) -> tuple[float, float] | None:
    """(metric, mean loss) of a cell on the held-out videos; None: it diverged, or none of them can be read."""
    if not rows:
        return None
    videos = by_video(rows, val)
    logits_VM = np.stack(list(videos.values()))
    classes: dict[str, set[int]] = {}
    for e in val:
        classes.setdefault(e.video, set()).update(e.classes)
    labels = [sorted(classes[video]) for video in videos]
    loss = mean_loss(logits_VM, membership(labels, data), multi_label=data.multi_label)
    return float(score(name, logits_VM, membership(labels, data))[0]), loss


def best_cell(judged: Sequence[tuple[float, float] | None], diverged: Sequence[int]) -> int:
    """The cell of the best metric; of equals the one of least loss, then the first. A lone cell needs no judge."""
    if len(judged) == 1 and not diverged:
        return 0
    order = [(-found[0], found[1], i) for i, found in enumerate(judged) if found is not None]
    if not order:
        raise ProbeFailedError(
            "every cell of the grid diverged, or no held-out video can be read: there is nothing to choose"
        )
    return min(order)[2]


def mean_loss(logits_VM: NDArray[Any], truth: NDArray[Any], *, multi_label: bool) -> float:
    """Mean cross entropy of int64 [V] labels, or mean binary cross entropy of 0/1 [V, M]; no smoothing."""
    if multi_label:
        return float(np.mean(np.logaddexp(0, logits_VM) - truth * logits_VM))
    total_V = np.logaddexp.reduce(logits_VM, axis=1)
    return float(np.mean(total_V - np.take_along_axis(logits_VM, truth[:, None], 1)[:, 0]))


def membership(classes: Sequence[Sequence[int]], data: DataSet) -> NDArray[Any]:
    """int64 [V], or 0/1 [V, M] of a multi-label set."""
    if not data.multi_label:
        return np.array([labels[0] for labels in classes], dtype=np.int64)
    truth_VM = np.zeros((len(classes), len(data.classes)))
    for row, labels in zip(truth_VM, classes, strict=True):
        row[list(labels)] = 1
    return truth_VM
