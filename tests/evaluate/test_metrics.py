"""Each figure against the plainest program that computes it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.evaluate.metrics import interval, resample_counts, score


def made(seed: int, videos: int = 23, classes: int = 7, ties: bool = False) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(videos, classes))
    return (np.round(logits) if ties else logits), generator.integers(0, classes, videos)


def plain_top(logits: np.ndarray, labels: np.ndarray, k: int) -> float:
    right = 0
    for row, label in zip(logits, labels, strict=True):
        ahead = [c for c in range(len(row)) if c != label and row[c] >= row[label]]
        right += len(ahead) < k
    return right / len(labels)


def plain_mean_class(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(
        np.mean([plain_top(logits[labels == c], labels[labels == c], 1) for c in sorted(set(labels.tolist()))])
    )


def plain_map(logits: np.ndarray, truth: np.ndarray) -> float:
    found = []
    for c in range(truth.shape[1]):
        positives = int(truth[:, c].sum())
        if not positives:
            continue
        area, recall = 0.0, 0.0
        for threshold in sorted(set(logits[:, c].tolist()), reverse=True):
            chosen = [i for i in range(len(logits)) if logits[i, c] >= threshold]
            right = sum(truth[i, c] for i in chosen)
            area += (right / positives - recall) * right / len(chosen)
            recall = right / positives
        found.append(area)
    return float(np.mean(found))


@given(seed=st.integers(0, 10_000), ties=st.booleans())
@settings(max_examples=40, deadline=None)
def test_figures_are_those_of_the_definition(seed: int, ties: bool) -> None:
    logits, labels = made(seed, ties=ties)
    truth = np.random.default_rng(seed + 1).random(logits.shape) < 0.3
    truth[0, 0] = True
    assert score("top1", logits, labels)[0] == pytest.approx(plain_top(logits, labels, 1))
    assert score("top5", logits, labels)[0] == pytest.approx(plain_top(logits, labels, 5))
    assert score("mean_class", logits, labels)[0] == pytest.approx(plain_mean_class(logits, labels))
    assert score("map", logits, truth)[0] == pytest.approx(plain_map(logits, truth))


@pytest.mark.parametrize("name", ["top1", "top5", "mean_class", "map"])
def test_a_row_of_counts_is_the_resample_itself(name: str) -> None:
    logits, truth = made(3, ties=True)
    if name == "map":
        truth = (np.random.default_rng(4).random(logits.shape) < 0.4).astype(float)
    generator = np.random.default_rng(9)
    for _ in range(20):
        drawn = generator.integers(0, len(logits), len(logits))
        counts = np.bincount(drawn, minlength=len(logits))[None]
        assert score(name, logits, truth, counts)[0] == pytest.approx(score(name, logits[drawn], truth[drawn])[0])


def test_the_interval_is_the_percentiles_of_plain_resampling() -> None:
    logits, labels = made(5)
    other, _ = made(6)
    generator = np.random.default_rng(11)
    drawn_RV = generator.integers(0, len(labels), (200, len(labels)))
    means = [np.mean([plain_top(run[d], labels[d], 1) for run in (logits, other)]) for d in drawn_RV]
    expected = np.quantile(means, [0.05, 0.95])
    found = interval("top1", [logits, other], labels, resamples=200, seed=11, level=0.9)
    assert found == pytest.approx(tuple(expected))
    assert resample_counts(23, 200, 11).sum(1).tolist() == [23] * 200


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    covered = 0
    for run in range(200):
        right = generator.random(100) < 0.7
        logits = np.where(right[:, None], [[1.0, 0.0]], [[0.0, 1.0]])
        low, high = interval("top1", [logits], np.zeros(100, np.int64), resamples=200, seed=run)
        covered += low <= 0.7 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_a_classifier_that_says_nothing_scores_nothing() -> None:
    labels = np.zeros(5, np.int64)
    assert score("top1", np.zeros((5, 3)), labels)[0] == 0.0
    assert score("map", np.zeros((4, 1)), np.array([[1], [0], [0], [0]]))[0] == 0.25


def test_what_makes_no_figure_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="one of top1"):
        score("accuracy", np.zeros((2, 2)), np.zeros(2, np.int64))
    with pytest.raises(ShapeError, match="finite"):
        score("top1", np.full((2, 2), np.nan), np.zeros(2, np.int64))
    with pytest.raises(ShapeError, match="at least one video"):
        score("top1", np.zeros((0, 2)), np.zeros(0, np.int64))
