"""Figures of a classifier, and how sure they are.

Axes: V videos, M classes, R bootstrap resamples. A metric is a function of logits, truth and how often each video
counts, so that a resample is a row of counts and nothing is copied.

A tie is no win: a class counts as ranked below every class of equal logit. A classifier that says the same of every
class so scores 0, not the share of class 0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.checks import require
from onevision_encoder.errors import InvalidArgumentError

Floats = NDArray[np.float64]
Metric = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], Floats]


def rank_of_truth(logits_VM: NDArray[Any], label_V: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many other classes have at least the logit of the true one: 0 = right."""
    own_V1 = np.take_along_axis(logits_VM, label_V[:, None], 1)
    return np.asarray((logits_VM >= own_V1).sum(1) - 1, dtype=np.int64)


def _top(k: int) -> Metric:
    def metric(logits_VM: NDArray[Any], label_V: NDArray[Any], counts_RV: NDArray[Any]) -> Floats:
        hit_V = rank_of_truth(logits_VM, label_V) < k
        share: Floats = counts_RV @ hit_V.astype(np.float64) / counts_RV.sum(1)
        return share

    return metric


def mean_class_accuracy(logits_VM: NDArray[Any], label_V: NDArray[Any], counts_RV: NDArray[Any]) -> Floats:
    """Mean over the classes that occur of the share of their videos that are right: float64 [R]."""
    hit_V = rank_of_truth(logits_VM, label_V) < 1
    member_VM = np.eye(logits_VM.shape[1])[label_V]
    total_RM = counts_RV @ member_VM
    right_RM = counts_RV @ (member_VM * hit_V[:, None])
    present_RM = total_RM > 0
    share_RM = np.divide(right_RM, total_RM, out=np.zeros_like(total_RM), where=present_RM)
    mean: Floats = share_RM.sum(1) / present_RM.sum(1)
    return mean


def mean_average_precision(logits_VM: NDArray[Any], truth_VM: NDArray[Any], counts_RV: NDArray[Any]) -> Floats:
    """Mean over the classes with a positive video of average precision: float64 [R].

    Average precision of a class = sum over thresholds, from the highest logit down, of (recall_i - recall_(i-1)) *
    precision_i; videos of equal logit share a threshold, so that their order does not matter. No interpolation.
    Where a resample holds no positive of any class, NaN.
    """
    found_MR = np.full((logits_VM.shape[1], len(counts_RV)), np.nan)
    for m in range(logits_VM.shape[1]):
        order_V = np.argsort(-logits_VM[:, m], kind="stable")
        value_V = logits_VM[order_V, m]
        last_V = np.append(value_V[1:] != value_V[:-1], True)  # where a threshold ends
        weight_RV = counts_RV[:, order_V].astype(np.float64)
        seen_RI = np.cumsum(weight_RV, 1)[:, last_V]
        right_RI = np.cumsum(weight_RV * truth_VM[order_V, m], 1)[:, last_V]
        gained_RI = np.diff(right_RI, axis=1, prepend=0.0)
        precision_RI = np.divide(right_RI, seen_RI, out=np.zeros_like(seen_RI), where=seen_RI > 0)
        positives_R = right_RI[:, -1]
        some_R = positives_R > 0
        found_MR[m, some_R] = (gained_RI * precision_RI).sum(1)[some_R] / positives_R[some_R]
    there_MR = ~np.isnan(found_MR)
    total_R = np.where(there_MR, found_MR, 0.0).sum(0)
    number_R = there_MR.sum(0)
    mean: Floats = np.divide(total_R, number_R, out=np.full(len(number_R), np.nan), where=number_R > 0)
    return mean


METRICS: Mapping[str, Metric] = MappingProxyType(
    {"top1": _top(1), "top5": _top(5), "mean_class": mean_class_accuracy, "map": mean_average_precision}
)
"""Name -> metric: logits [V, M], truth (labels int64 [V], for ``map`` 0/1 [V, M]), counts [R, V] -> float64 [R]."""


def metrics_for(multi_label: bool, num_classes: int) -> tuple[str, ...]:
    """Names that make sense: top-5 needs more than five classes, several labels have mAP only."""
    if multi_label:
        return ("map",)
    return ("top1", "top5", "mean_class") if num_classes > 5 else ("top1", "mean_class")


def score(name: str, logits_VM: NDArray[Any], truth: NDArray[Any], counts_RV: NDArray[Any] | None = None) -> Floats:
    """One metric, of the videos as they are or of each row of counts.

    Args:
        logits_VM: finite. truth: int64 [V] labels, or 0/1 [V, M] for ``map``.
        counts_RV: how often each video counts in each resample; None = once.
    Returns:
        float64 [R], R = 1 without counts; shares from 0 to 1.
    Raises:
        InvalidArgumentError: no such metric. ShapeError: arrays that do not fit, no video, logits not finite.
    """
    if name not in METRICS:
        raise InvalidArgumentError("metric", name, f"one of {', '.join(METRICS)}")
    V = len(logits_VM)
    require(logits_VM.ndim == 2 and V > 0, "logits_VM", logits_VM.shape, "[V, M], at least one video")
    require(bool(np.isfinite(logits_VM).all()), "logits_VM", "values that are not finite", "finite numbers")
    wanted = logits_VM.shape if name == "map" else (V,)
    require(truth.shape == wanted, "truth", truth.shape, f"{wanted}")
    counts_RV = np.ones((1, V), np.int64) if counts_RV is None else counts_RV
    require(counts_RV.ndim == 2 and counts_RV.shape[1] == V, "counts_RV", counts_RV.shape, f"[R, {V}]")
    return METRICS[name](logits_VM, truth, counts_RV)


def resample_counts(num_videos: int, resamples: int, seed: int) -> NDArray[np.int64]:
    """How often each of V videos is drawn in V draws with replacement: int64 [R, V], rows sum to V."""
    generator = np.random.default_rng(seed)
    drawn_RV = generator.integers(0, num_videos, (resamples, num_videos))
    return np.stack([np.bincount(row, minlength=num_videos) for row in drawn_RV]).astype(np.int64)


def interval(
    name: str,
    logits: Sequence[NDArray[Any]],
    truth: NDArray[Any],
    *,
    resamples: int,
    seed: int,
    level: float = 0.95,
) -> tuple[float, float]:
    """Percentile bootstrap over videos of a metric's mean over runs.

    Args:
        logits: one [V, M] for each run (seed), of the same videos in the same order; a resample draws the same videos
            for all runs, as runs share the test set.
    Returns:
        The ``(1 - level) / 2`` and ``(1 + level) / 2`` quantiles, linearly interpolated.
    """
    if resamples < 1 or not 0 < level < 1:
        raise InvalidArgumentError("resamples, level", (resamples, level), "at least 1 resample, 0 < level < 1")
    counts_RV = resample_counts(len(truth), resamples, seed)
    mean_R = np.mean([score(name, logits_VM, truth, counts_RV) for logits_VM in logits], axis=0)
    mean_R = mean_R[~np.isnan(mean_R)]
    low, high = np.quantile(mean_R, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
