"""Cells of a sweep put together: means over seeds, intervals over test videos, differences between policies.

Axes: V videos, R bootstrap resamples. A group holds the cells that differ in seed and fold alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.evaluate.metrics import resample_counts

Row = Mapping[str, Any]
Key = tuple[str, int, str, str]
"""(policy, budget, encoder, intervention)"""
_NAMES = ("policy", "budget", "variant", "intervention")


def key_of(row: Row) -> Key:
    return row["policy"], row["budget"], row["variant"], row["intervention"]


def grouped(rows: Sequence[Row]) -> dict[Key, list[Row]]:
    """Rows that have an accuracy, by group, in their order."""
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        if row["accuracy"] is not None:
            groups.setdefault(key_of(row), []).append(row)
    return groups


def right_by_video(rows: Sequence[Row], videos: Mapping[str, Sequence[str]]) -> dict[str, float]:
    """Video -> share of the seeds that have it right; the folds of a seed together test every video once."""
    hits: dict[str, list[bool]] = {}
    for row in rows:
        for video, right in zip(videos[row["videos"]], row["correct"], strict=True):
            hits.setdefault(video, []).append(right == "1")
    return {video: float(np.mean(hits[video])) for video in sorted(hits)}


def accuracy_of_seeds(rows: Sequence[Row]) -> list[float]:
    """Share of all tested videos that are right, seed by seed, the folds of a seed pooled."""
    pooled: dict[int, list[str]] = {}
    for row in rows:
        pooled.setdefault(row["seed"], []).append(row["correct"])
    return [float(np.mean([c == "1" for part in parts for c in part])) for _, parts in sorted(pooled.items())]


def mean_interval(value_V: NDArray[np.float64], resamples: int, level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap of the mean over videos; the same videos are drawn for all values of one length."""
    counts_RV = resample_counts(len(value_V), resamples, seed=0)
    mean_R = counts_RV @ value_V / len(value_V)
    low, high = np.quantile(mean_R, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def summary_of(
    rows: Sequence[Row], videos: Mapping[str, Sequence[str]], *, reference: str, resamples: int
) -> list[dict[str, Any]]:
    """One entry for each group: accuracy, its spread over seeds and interval over test videos, what training reached,
    and the paired difference to what it is to be compared with.

    That is: of a disturbed group the undisturbed one; of a further encoder the first; of a policy the reference.
    """
    groups = grouped(rows)
    first = next((row["variant"] for row in rows), "")
    out = []
    for key, cells in groups.items():
        seeds = accuracy_of_seeds(cells)
        right = right_by_video(cells, videos)
        low, high = mean_interval(np.array(list(right.values())), resamples)
        to = _compared_with(key, reference, first)
        out.append(
            {
                **dict(zip(_NAMES, key, strict=True)),
                "score": cells[0]["score"],
                "provider": cells[0]["provider"],
                "seeds": len(seeds),
                "cells": len(cells),
                "videos": len(right),
                "accuracy": float(np.mean(seeds)),
                "sd": float(np.std(seeds, ddof=1)) if len(seeds) > 1 else None,
                "interval95": [low, high],
                "train_accuracy": _mean(cells, "train_accuracy"),
                "train_loss": _mean(cells, "train_loss"),
                "val_accuracy": _mean(cells, "val_accuracy"),
                "against": None if to is None else dict(zip(_NAMES, to, strict=True)),
                **(
                    _difference(right, right_by_video(groups[to], videos), resamples)
                    if to in groups
                    else _NO_DIFFERENCE
                ),
            }
        )
    return out


_NO_DIFFERENCE = {"difference": None, "difference95": None, "videos_in_common": None}


def _compared_with(key: Key, reference: str, first_encoder: str) -> Key | None:
    policy, budget, variant, intervention = key
    if intervention != "none":
        return policy, budget, variant, "none"
    if variant != first_encoder:
        return policy, budget, first_encoder, "none"
    return None if policy == reference else (reference, budget, variant, "none")


def _difference(one: Mapping[str, float], other: Mapping[str, float], resamples: int) -> dict[str, Any]:
    """Paired over the videos that both have tested."""
    shared = sorted(one.keys() & other.keys())
    if not shared:
        return dict(_NO_DIFFERENCE)
    gain_V = np.array([one[video] - other[video] for video in shared])
    low, high = mean_interval(gain_V, resamples)
    return {"difference": float(gain_V.mean()), "difference95": [low, high], "videos_in_common": len(shared)}


def _mean(rows: Sequence[Row], name: str) -> float | None:
    values = [row[name] for row in rows if row[name] is not None]
    return float(np.mean(values)) if values else None
