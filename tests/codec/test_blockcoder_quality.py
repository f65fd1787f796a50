"""What the block coder finds of a real x265's signals, and what it costs beside libx264.

Floors lie a little under the figures of ``benchmarks/results/signals.md``.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scenes import noisy

from onevision_encoder.codec import blockcoder_signals, raw_scores

SMALL = ("bbb_224", "bikes_224", "vtest_224")


@pytest.fixture(scope="module")
def judge(signals_truth: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("score", signals_truth / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def figures(judge: ModuleType, folder: Path, name: str, noise: float = 0) -> dict[str, dict[str, float]]:
    truths, keep = judge.truths(str(folder / f"{name}.npz"), 14)
    luma_THW = np.load(folder / f"{name}.npz")["luma_THW"]
    signals = blockcoder_signals(noisy(luma_THW, noise) if noise else luma_THW)
    return {s: judge.compare(raw_scores(signals, patch=14, score=s)[keep], truths[s]) for s in ("fused", "bits")}


def test_mean_of_the_small_clips(judge: ModuleType, signals_truth: Path) -> None:
    found = [figures(judge, signals_truth, name) for name in SMALL]
    for score, measure, floor in (
        ("fused", "capture@0.125", 0.91),
        ("fused", "iou@0.1", 0.56),
        ("bits", "iou@0.1", 0.72),
        ("bits", "capture@0.125", 0.96),
        ("bits", "rho/frame", 0.74),
    ):
        assert np.mean([f[score][measure] for f in found]) >= floor, (score, measure)


def test_the_large_clip(judge: ModuleType, signals_truth: Path) -> None:
    found = figures(judge, signals_truth, "vtest_448")
    assert found["fused"]["capture@0.125"] >= 0.895
    assert found["bits"]["iou@0.1"] >= 0.695


@pytest.mark.parametrize(("sigma", "fused", "bits"), [(5.0, 0.86, 0.66), (10.0, 0.81, 0.59)])
def test_sensor_noise_costs_little(
    judge: ModuleType, signals_truth: Path, sigma: float, fused: float, bits: float
) -> None:
    """Without looking at the noise it was .829 and .638 at sigma 5, .713 and .489 at 10."""
    found = [figures(judge, signals_truth, name, sigma) for name in SMALL]
    assert np.mean([f["fused"]["capture@0.125"] for f in found]) >= fused
    assert np.mean([f["bits"]["iou@0.1"] for f in found]) >= bits


def test_finds_the_scene_cuts_of_real_clips(signals_truth: Path) -> None:
    """Looked up by eye: two films with hard cuts, fades, fast action; a static camera with none."""
    cuts = {"bbb_224": [0, 25, 34, 49], "bikes_224": [0, 8, 20, 35, 48, 62], "vtest_224": [0]}
    for name, expected in cuts.items():
        luma_THW = np.load(signals_truth / f"{name}.npz")["luma_THW"]
        for clip_THW in (luma_THW, noisy(luma_THW, 2.0), noisy(luma_THW, 5.0)):
            assert np.flatnonzero(blockcoder_signals(clip_THW).cut_T).tolist() == expected, name
