"""What the world has shown before, or what the camera brings in, is no event. Scenes whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scenes import moving_object, pan, to_rgb, zoom
from selection_clips import make_frames, make_signals

from onevision_encoder.codec import ProviderName, compute_signals
from onevision_encoder.selection import SelectionConfig, clip_saliency, select
from onevision_encoder.selection.camera import fit_camera
from onevision_encoder.selection.config import ScoreName
from onevision_encoder.selection.world import came_in, seen_before
from onevision_encoder.types import Kind
from onevision_encoder.video import frames_from_array


def test_background_that_an_object_uncovers_is_no_event() -> None:
    """An object hops over a still textured world; where it was, the coder finds nothing to predict from."""
    rng = np.random.default_rng(8)
    world = rng.integers(60, 200, (128, 128), dtype=np.uint8)
    luma, intra = np.repeat(world[None], 12, 0), np.zeros((12, 16, 16), np.bool_)
    where = np.zeros((12, 8, 8), np.bool_)
    for t in range(12):
        y, x = 16 * (t * 3 % 7), 16 * (t * 2 % 7)
        luma[t, y : y + 16, x : x + 16] = rng.integers(0, 256, (16, 16))
        where[t, y // 16, x // 16] = True
        cells = np.kron(where[max(0, t - 1) : t + 1].any(0), np.ones((2, 2), np.bool_))
        intra[t] = cells  # where it is and where it was
    frames = make_frames(12, 8, 8, patch=16, luma_THW=luma)
    signals = make_signals(frames, residual=np.where(intra, 40, 0).astype(np.float32), intra=intra)
    chosen = select(frames, signals, SelectionConfig(budget=1 + 12, anchor_share=0.08, anchors=1))
    by_score = chosen.positions_K3[chosen.positions_K3[:, 0] >= 2]  # at t = 1 what is uncovered is new
    assert len(by_score) == 10
    assert where[tuple(by_score.T)].all()


def test_stripes_that_are_drawn_anew_are_no_event() -> None:
    """Intra coding of a still, regular texture is cheap, not surprising; a small change elsewhere is worth more."""
    rng = np.random.default_rng(9)
    luma = np.repeat(np.kron(rng.integers(20, 230, (16, 1)), np.ones((8, 128)))[None], 10, 0).astype(np.uint8)
    luma = np.roll(luma, 4, 1)  # an edge inside every cell
    intra = np.zeros((10, 16, 16), np.bool_)
    intra[:, :2] = True
    residual = np.where(intra, 50, 0.2).astype(np.float32)
    residual[:, 10:12, 6:8] = 12
    luma[1::2, 80:96, 48:64] //= 2
    luma[2::4, 80:96, 48:64] //= 3
    frames = make_frames(10, 8, 8, patch=16, luma_THW=luma)
    config = SelectionConfig(budget=9, score="residual", anchors=0, min_per_frame=0)
    chosen = select(frames, make_signals(frames, residual=residual, intra=intra), config)
    ranked = chosen.positions_K3[chosen.kind_K == Kind.CODEC]
    assert (ranked[:, 1:] == (5, 3)).all(1).mean() > 0.7


def over_a_pan(speed: float, provider: ProviderName, score: ScoreName, frames: int = 20) -> tuple[float, float]:
    """Share of the non-anchor tokens on an object of 3 x 3 patches that moves on its own, and the most there can be."""
    clip_THW, inside_THW = moving_object(
        (2.0, 0.5), frames, 224, 224, side=42, start=(60.0, 60.0), background=(-speed, 0.0)
    )
    clip = frames_from_array(to_rgb(clip_THW), fps=25)
    holds_Thw = inside_THW.reshape(frames, 16, 14, 16, 14).any((2, 4))
    budget = int(holds_Thw[1:].sum())
    chosen = select(clip, compute_signals(clip, provider=provider), SelectionConfig(budget=budget, score=score))
    rows = chosen.positions_K3[chosen.kind_K != Kind.ANCHOR]
    anchors = chosen.provenance["anchor_frames"]
    room = int(np.delete(holds_Thw, anchors, 0).sum())
    return float(holds_Thw[tuple(rows.T)].mean()), room / len(rows)


@pytest.mark.parametrize("speed", [4.0, 12.0, 24.0])
@pytest.mark.parametrize(
    ("provider", "score", "least"),
    [("blockcoder", "fused", 0.85), ("blockcoder", "bits", 0.7), ("x264proxy", "fused", 0.85)],
)
def test_an_object_over_a_fast_pan_takes_the_tokens(
    provider: ProviderName, score: ScoreName, least: float, speed: float
) -> None:
    share, ceiling = over_a_pan(speed, provider, score)
    assert ceiling > 1  # the object has room for every token
    assert share >= least


@pytest.mark.parametrize("motion", [(-12.0, 0.0), (7.0, 0.0), (0.0, 20.0), (0.0, -3.0), (0.0, 0.0)])
def test_what_a_pan_brings_in_is_where_it_comes_from(motion: tuple[float, float]) -> None:
    dx, dy = motion
    flow_Tyx2 = np.broadcast_to(np.float32(motion), (5, 14, 14, 2))
    new_Tyx = came_in(fit_camera(flow_Tyx2, np.ones((5, 14, 14), np.bool_), frame_size=(112, 112)), (112, 112))
    here_HW = np.stack(np.mgrid[:112, :112])  # brute force: which pixels had no place in the frame before
    before = here_HW - np.array([dy, dx])[:, None, None]
    outside_HW = ((before < 0) | (before > 111)).any(0)
    truth_yx = outside_HW.reshape(14, 8, 14, 8).any((1, 3))
    np.testing.assert_array_equal(new_Tyx, np.broadcast_to(truth_yx, (5, 14, 14)))


@pytest.mark.parametrize("scene", ["pan", "zoom in", "zoom out"])
def test_a_moving_camera_recognises_its_world(scene: str) -> None:
    """All cells asked: those that were in the picture two frames ago are known again, at the right place only."""
    luma_THW = {
        "pan": lambda: pan((9.0, -5.0), 8, 168, 168),
        "zoom in": lambda: zoom(1.03, 8, 168, 168),
        "zoom out": lambda: zoom(0.97, 8, 168, 168),
    }[scene]()
    clip = frames_from_array(to_rgb(luma_THW), fps=25)
    H, W = clip.luma_THW.shape[1:]
    signals = compute_signals(clip.luma_THW, provider="blockcoder")
    known_Tyx = ~signals.intra_Tyx
    moved = fit_camera(signals.motion_Tyx2, known_Tyx, frame_size=(H, W))
    strict_Tyx = np.full(known_Tyx.shape, 8, np.float32)  # 3 + half of it = 7 grey levels of a contrast of 45
    asked_Tyx = np.ones_like(known_Tyx)
    seen_Tyx = seen_before(clip, signals, strict_Tyx, moved, asked_Tyx)
    assert seen_Tyx[3:, 4:-4, 4:-4].mean() > 0.95
    wrong = fit_camera(-signals.motion_Tyx2, known_Tyx, frame_size=(H, W))
    assert seen_before(clip, signals, strict_Tyx, wrong, asked_Tyx)[3:].mean() < 0.4


def test_motion_since_the_frame_before_in_the_source_is_followed_to_no_earlier_sample() -> None:
    """Between two samples lie many source frames, and its motion is that of the last of them alone."""
    clip = frames_from_array(to_rgb(pan((9.0, -5.0), 8, 168, 168)), fps=25)
    signals = compute_signals(clip)
    moved = fit_camera(signals.motion_Tyx2, ~signals.intra_Tyx, frame_size=signals.frame_size)
    slope_Tyx = np.full(signals.intra_Tyx.shape, 8, np.float32)
    asked_Tyx = np.ones_like(signals.intra_Tyx)
    of_frames = replace(signals, interval="frame")
    alone_Tyx = seen_before(clip, of_frames, slope_Tyx, None, asked_Tyx)  # no camera at all
    np.testing.assert_array_equal(seen_before(clip, of_frames, slope_Tyx, moved, asked_Tyx), alone_Tyx)
    assert (seen_before(clip, signals, slope_Tyx, moved, asked_Tyx) & ~alone_Tyx).mean() > 0.3


def test_where_nothing_else_happens_the_news_of_a_pan_are_read() -> None:
    clip = frames_from_array(to_rgb(pan((-12.0, 0.0), 16, 224, 224)), fps=25)
    chosen = select(clip, compute_signals(clip), SelectionConfig(budget="12.5%"))
    rows = chosen.positions_K3[chosen.kind_K == Kind.CODEC]
    assert len(rows) > 0.7 * (chosen.kind_K != Kind.ANCHOR).sum()
    right = clip_saliency(clip, compute_signals(clip)).value_Thw[1:, :, -1]
    assert (right > 0).mean() > 0.9
    assert (rows[:, 2] >= 14).mean() > 0.5
