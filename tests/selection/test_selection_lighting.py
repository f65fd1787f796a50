"""A change of the light: found where it happens, and no event."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from selection_clips import make_frames

from onevision_encoder.codec import ProviderName, compute_signals
from onevision_encoder.selection import SelectionConfig, clip_saliency, select
from onevision_encoder.selection.lighting import fit_light
from onevision_encoder.types import Kind, Selection


def on_object(chosen: Selection, where: NDArray[np.bool_]) -> float:
    beside = chosen.positions_K3[chosen.kind_K != Kind.ANCHOR]
    return float(where[tuple(beside.T)].mean())


def relit(gain: float, offset: float) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A textured object moves over a still textured world; the light changes at frames 4 and 6. bool [T, h, w]."""
    rng = np.random.default_rng(0)
    world = np.kron(rng.integers(40, 180, (14, 14)), np.ones((8, 8)))
    thing = np.kron(rng.integers(40, 180, (6, 6)), np.ones((4, 4)))
    luma, where = np.empty((9, 112, 112), np.uint8), np.zeros((9, 112, 112), np.bool_)
    for t in range(9):
        picture = world.copy()
        picture[40:64, 8 * t : 8 * t + 24] = thing
        where[t, 40:64, 8 * t : 8 * t + 24] = True
        lit = picture * (gain if t in (4, 5) else 1) + (offset if t in (4, 5) else 0) + rng.normal(0, 0.5, (112, 112))
        luma[t] = np.clip(np.rint(lit), 0, 255)
    return luma, where.reshape(9, 14, 8, 14, 8).any((2, 4))


@pytest.mark.parametrize(("provider", "least"), [("x264proxy", 0.8), ("blockcoder", 0.7)])
@pytest.mark.parametrize(("gain", "offset"), [(1.3, 0), (0.7, 0), (1.0, 25), (0.8, 40)])
def test_a_change_of_the_light_is_found_and_is_no_event(
    gain: float, offset: float, provider: ProviderName, least: float
) -> None:
    luma, where_Thw = relit(gain, offset)
    light = fit_light(luma, np.ones((14, 14), np.bool_), np.ones(9, np.bool_))
    assert sorted(light) == [4, 6]
    assert light[4] == (pytest.approx(gain, abs=0.02), pytest.approx(offset, abs=2))
    clip = make_frames(9, 14, 14, luma_THW=luma)
    budget = int(where_Thw[1:].sum())
    signals = compute_signals(luma, provider=provider)
    chosen = select(clip, signals, SelectionConfig(budget=budget, score="residual", anchors=0))
    assert chosen.provenance["light_changes"] == [4, 6]
    where_Thw[1:] |= where_Thw[:-1]  # what it uncovers is new, too
    assert where_Thw[tuple(chosen.positions_K3[chosen.kind_K == Kind.CODEC].T)].mean() > least  # without: 0.41 to 0.59


def test_motion_noise_and_cuts_are_no_change_of_the_light() -> None:
    rng = np.random.default_rng(1)
    world = np.kron(rng.integers(20, 235, (40, 40)), np.ones((8, 8))).astype(np.uint8)
    pan = np.stack([world[:112, 6 * t : 6 * t + 112] for t in range(8)])
    noise = np.clip(rng.normal(128, 40, (8, 112, 112)), 0, 255).astype(np.uint8)
    cut = np.stack([world[112:224, :112]] * 4 + [world[:112, 112:224]] * 4)
    for luma in (pan, noise, cut, np.repeat(world[None, :112, :112], 8, 0)):
        assert not fit_light(luma, np.ones((14, 14), np.bool_), np.ones(8, np.bool_))
    assert not fit_light(pan, np.zeros((14, 14), np.bool_), np.ones(8, np.bool_))


def test_light_since_the_sample_before_explains_nothing_since_the_frame_before() -> None:
    """A residual since another frame than the light was fitted to stays what the coder measured."""
    luma, _ = relit(1.3, 0)
    clip, signals = make_frames(9, 14, 14, luma_THW=luma), compute_signals(luma)
    assert clip_saliency(clip, signals).facts["light_changes"] == [4, 6]
    of_frames = clip_saliency(clip, replace(signals, interval="frame"))
    assert of_frames.facts["light_changes"] == []
    assert of_frames.value_Thw[4].mean() > 2 * clip_saliency(clip, signals).value_Thw[4].mean()
