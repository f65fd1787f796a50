"""A dissolve is a change of scene: found where it is, and no event."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scenes import cut, faded, moving_object, noisy, pan, still, to_rgb, to_uint8, zoom

from onevision_encoder.codec import compute_signals
from onevision_encoder.selection import SelectionConfig, clip_saliency, select
from onevision_encoder.selection.dissolve import find_dissolves
from onevision_encoder.video import frames_from_array

Clip = NDArray[np.uint8]


def dissolved(first: Clip, second: Clip, at: int, mixtures: int) -> Clip:
    """``first`` up to frame ``at``, then ``mixtures`` mixtures, then ``second``."""
    share_T = np.clip((np.arange(len(first)) - at) / (mixtures + 1), 0, 1)[:, None, None]
    return to_uint8(first * (1 - share_T) + second * share_T)


def found(luma_THW: Clip) -> list[tuple[int, int]]:
    T, H, W = luma_THW.shape
    return find_dissolves(luma_THW, np.ones((H // 8, W // 8), np.bool_), np.arange(T) > 0)


@pytest.mark.parametrize("mixtures", [1, 4, 10])
@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_a_dissolve_is_found_from_end_to_end(mixtures: int, noise: float) -> None:
    clip = noisy(dissolved(still(24), still(24, seed=9), 6, mixtures), noise)
    assert found(clip) == [(6, 6 + mixtures + 1)]


def test_objects_may_move_in_both_scenes() -> None:
    first, second = (moving_object((2.0, 0.5), 20, 168, 168, seed=seed)[0] for seed in (0, 50))
    assert found(dissolved(first, second, 6, 4)) == [(6, 11)]


@pytest.mark.parametrize(
    "clip",
    [
        pan((9.0, 2.0), 12),
        pan((1.0, 0.0), 12),
        zoom(1.05, 12),
        cut(5, 12),
        still(12),
        faded(still(12), np.linspace(1, 0, 12)),
        faded(still(12), 1 + 0.3 * np.sin(np.arange(12))),
        noisy(still(12), 12.0),
        moving_object((14.0, 0.0), 8, side=80, start=(10.0, -80.0))[0],
    ],
    ids=["fast pan", "pan", "zoom", "cut", "still", "fade to black", "light", "noise", "object"],
)
def test_nothing_else_is_a_dissolve(clip: Clip) -> None:
    assert not found(clip)


def test_the_mixtures_cost_little_and_the_new_scene_gets_an_anchor() -> None:
    first, second = (moving_object((3.0, 1.0), 32, 168, 168, side=42, start=(20.0, 8.0), seed=s)[0] for s in (0, 50))
    clip = frames_from_array(to_rgb(dissolved(first, second, 11, 4)), fps=25)
    chosen = select(clip, compute_signals(clip), SelectionConfig(budget="12.5%"))
    assert chosen.provenance["dissolves"] == [[11, 16]]
    assert 16 in chosen.provenance["anchor_frames"]
    mean = len(chosen) / 32
    assert chosen.tokens_per_frame_T[12:16].max() < mean
    assert np.median(chosen.tokens_per_frame_T[1:11]) > 3


def test_a_dissolve_over_the_samples_says_nothing_of_what_changed_since_the_frame_before() -> None:
    clip = frames_from_array(to_rgb(dissolved(still(20), still(20, seed=9), 6, 4)), fps=25)
    signals = compute_signals(clip)
    assert clip_saliency(clip, signals).facts["dissolves"] == [[6, 11]]
    of_frames = clip_saliency(clip, replace(signals, interval="frame"))
    assert of_frames.facts["dissolves"] == []
    np.testing.assert_array_equal(of_frames.starts_T, signals.cut_T)
