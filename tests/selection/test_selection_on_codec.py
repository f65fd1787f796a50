"""Selection on signals of a real encoder (x264proxy), over clips whose truth is known by construction."""

from __future__ import annotations

import numpy as np
import pytest
from clips import textured
from numpy.typing import NDArray

from onevision_encoder.codec import compute_signals
from onevision_encoder.selection import SelectionConfig, select
from onevision_encoder.types import FrameSequence, Kind, Selection
from onevision_encoder.video import frames_from_array


def filmed(
    pan: tuple[int, int], *, cut: int | None = None, noise: float = 0.0, frames: int = 24, side: int = 42
) -> tuple[FrameSequence, NDArray[np.bool_]]:
    """A textured object on a path of its own over a textured world that the camera pans over by ``pan`` = (dx, dy)
    pixels a frame; a new world from ``cut`` on. Also returns which patches hold some of the object, bool [T, h, w]."""
    N, dx, dy = 168, *pan
    worlds = [textured(N + frames * abs(dy), N + frames * abs(dx), seed) for seed in (1, 2)]
    thing = 255 - textured(side, side, 3)
    clip, mask = np.zeros((frames, N, N, 3), np.uint8), np.zeros((frames, N, N), np.bool_)
    for t in range(frames):
        y0, x0 = abs(dy) * t, abs(dx) * t
        clip[t] = worlds[cut is not None and t >= cut][y0 : y0 + N, x0 : x0 + N]
        y, x = (round((N - side) / 2 * (1 + f(t * r))) for f, r in ((np.sin, 0.21), (np.cos, 0.13)))
        clip[t, y : y + side, x : x + side], mask[t, y : y + side, x : x + side] = thing, True
    if noise:
        grain = np.random.default_rng(0).normal(0, noise, (frames, N, N, 1))
        clip = np.clip(clip + grain, 0, 255).astype(np.uint8)
    return frames_from_array(clip, fps=25), mask.reshape(frames, 12, 14, 12, 14).any((2, 4))


def on_object(chosen: Selection, where: NDArray[np.bool_]) -> float:
    return float(where[tuple(chosen.positions_K3[chosen.kind_K != Kind.ANCHOR].T)].mean())


@pytest.mark.parametrize("pan", [(0, 0), (9, 4), (3, 1), (14, 0)])
def test_the_object_is_chosen_and_the_passing_texture_is_not(pan: tuple[int, int]) -> None:
    frames, where = filmed(pan)
    signals = compute_signals(frames, provider="x264proxy")
    budget = int(where.sum() * 0.6)
    share = on_object(select(frames, signals, SelectionConfig(budget=budget)), where)
    by_chance = on_object(select(frames, None, SelectionConfig(budget=budget, policy="random")), where)
    assert by_chance < 0.25
    assert share > 0.85


def test_a_cut_costs_an_anchor_and_no_more() -> None:
    frames, where = filmed((0, 0), cut=13)
    signals = compute_signals(frames, provider="x264proxy")
    assert np.flatnonzero(signals.cut_T).tolist() == [0, 13]
    chosen = select(frames, signals, SelectionConfig(budget=300))
    assert chosen.provenance["anchor_frames"] == [0, 13]
    assert chosen.tokens_per_frame_T[13] <= 300 / 8 + 1
    assert on_object(chosen, where) > 0.85


def test_grain_is_no_event() -> None:
    frames, where = filmed((0, 0), noise=6.0)
    signals = compute_signals(frames, provider="x264proxy")
    assert on_object(select(frames, signals, SelectionConfig(budget=int(where.sum() * 0.6))), where) > 0.85


def test_a_still_clip_with_grain_is_covered_evenly() -> None:
    still = np.repeat(textured(168, 168, 1)[None], 16, 0) + np.random.default_rng(0).normal(0, 3, (16, 168, 168, 1))
    frames = frames_from_array(np.clip(still, 0, 255).astype(np.uint8), fps=25)
    chosen = select(frames, compute_signals(frames, provider="x264proxy"), SelectionConfig(budget="25%"))
    assert np.ptp(chosen.tokens_per_frame_T[1:]) <= 12
    assert (chosen.kind_K[chosen.kind_K != Kind.ANCHOR] == Kind.FILL).mean() > 0.9
