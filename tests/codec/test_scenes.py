"""Coders on scenes whose truth is known by construction. Axes: T frames, y x cells of 8 pixels, h w patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scenes import cut, faded, moving_object, noisy, pan, still, to_uint8, zoom, zoom_motion

import onevision_encoder.codec as codec
from onevision_encoder.codec import ProviderName, ScoreName
from onevision_encoder.types import CodecSignals


@dataclass(frozen=True)
class Coder:
    """A provider under test."""

    name: ProviderName

    def signals(self, luma_THW: np.ndarray) -> CodecSignals:
        return codec.compute_signals(luma_THW, provider=self.name)

    def scores(self, luma_THW: np.ndarray, score: ScoreName = "fused") -> np.ndarray:
        return codec.patch_scores(luma_THW, patch=14, provider=self.name, score=score)


@pytest.fixture(params=["blockcoder", "x264proxy"])
def coder(request: pytest.FixtureRequest) -> Coder:
    return Coder(request.param)


@pytest.fixture
def blockcoder() -> Coder:
    """For what only our own coder promises."""
    return Coder("blockcoder")


def touched(inside_THW: np.ndarray) -> np.ndarray:
    """bool [T - 1, h, w]: patches of 14 that share a cell with the object, where it is or was a frame before."""
    T, H, W = inside_THW.shape
    moved_THW = (inside_THW | np.roll(inside_THW, 1, 0))[1:]
    cells_Tyx = moved_THW.reshape(T - 1, H // 8, 8, W // 8, 8).any((2, 4))
    return cells_Tyx.repeat(8, 1).repeat(8, 2).reshape(T - 1, H // 14, 14, W // 14, 14).any((2, 4))


def test_static_camera_moving_object_scores_land_on_the_object(coder: Coder) -> None:
    step = (4.0, -1.5)
    luma_THW, inside_THW = moving_object(step, start=(60.0, 8.0))
    signals = coder.signals(luma_THW)
    assert np.flatnonzero(signals.cut_T).tolist() == [0]
    covered_Tyx = inside_THW.reshape(8, 14, 8, 14, 8).mean((2, 4))
    on, off = covered_Tyx[1:] == 1, covered_Tyx[1:] == 0
    np.testing.assert_allclose(np.median(signals.motion_Tyx2[1:][on], 0), step, atol=0.25)
    near = np.abs(signals.motion_Tyx2[1:][on] - step).max(-1) <= 0.5
    assert near.mean() > 0.9
    # The background stands still, except where the object has just uncovered it.
    uncovered = np.roll(covered_Tyx, 1, 0)[1:] > 0
    length_Tyx = np.hypot(*np.moveaxis(signals.motion_Tyx2[1:], -1, 0))[off & ~uncovered]
    assert (length_Tyx == 0).mean() > 0.99
    assert length_Tyx.max() < 0.5

    for score in ("fused", "motion", "residual"):
        scores_Thw = coder.scores(luma_THW, score=score)[1:]
        touched_Thw = touched(inside_THW)
        top = np.sort(scores_Thw.ravel())[-28:].min()  # four patches a frame; the object covers 3 x 3 in part
        assert touched_Thw[scores_Thw >= top].mean() == 1.0, score
        assert scores_Thw[~touched_Thw].mean() < 0.03 * scores_Thw[touched_Thw].mean(), score


@pytest.mark.parametrize("motion", [(3.0, 0.0), (0.0, -5.0), (-2.25, 1.5), (0.5, 0.25), (16.0, -12.0)])
def test_pan_gives_its_own_vector_everywhere_and_little_residual(coder: Coder, motion: tuple[float, float]) -> None:
    signals = coder.signals(pan(motion, 6, 160, 160))
    assert np.flatnonzero(signals.cut_T).tolist() == [0]
    inner_Tyx2 = signals.motion_Tyx2[1:, 3:-3, 3:-3]  # the border holds content that no frame had before
    assert (np.abs(inner_Tyx2 - motion).max(-1) <= 0.25).mean() > 0.95
    assert signals.intra_Tyx[1:, 3:-3, 3:-3].mean() < 0.05
    texture_levels = signals.residual_Tyx[0].mean()
    assert signals.residual_Tyx[1:, 3:-3, 3:-3].mean() < 0.05 * texture_levels


@pytest.mark.parametrize("factor", [1.04, 0.96])
def test_zoom_points_radially_and_grows_outwards(coder: Coder, factor: float) -> None:
    signals = coder.signals(zoom(factor, 6, 160, 160))
    centre = np.arange(20) * 8 + 3.5
    true_yx2 = zoom_motion(factor, 160, 160, centre[:, None], centre[None, :])
    inner = np.s_[2:-2, 2:-2]
    error_Tyx = np.hypot(*np.moveaxis(signals.motion_Tyx2[1:] - true_yx2, -1, 0))[:, *inner]
    assert np.median(error_Tyx) < 0.3
    assert (error_Tyx < 1).mean() > 0.9
    length_yx = np.median(np.hypot(*np.moveaxis(signals.motion_Tyx2[1:], -1, 0)), 0)[inner]
    radius_yx = np.hypot(*np.moveaxis(true_yx2, -1, 0))[inner]
    assert np.corrcoef(length_yx.ravel(), radius_yx.ravel())[0, 1] > 0.97


@pytest.mark.parametrize("at", [1, 4, 7])
def test_scene_cut_is_found_where_it_is_and_nowhere_else(coder: Coder, at: int) -> None:
    signals = coder.signals(cut(at))
    assert np.flatnonzero(signals.cut_T).tolist() == [0, at]
    assert signals.intra_Tyx[[0, at]].all()
    assert not signals.motion_Tyx2.any()
    quiet = [t for t in range(8) if t not in (0, at)]
    assert not signals.intra_Tyx[quiet].any()
    assert signals.residual_Tyx[quiet].mean() < 0.1  # the encoder may still refine the frame after the cut
    assert signals.residual_Tyx[quiet].max() < 3
    assert signals.residual_Tyx[at].mean() > 5


def test_cut_in_a_letterboxed_picture(coder: Coder) -> None:
    luma_THW = cut(4, height=128, width=160)
    luma_THW[:, :, :48] = luma_THW[:, :, -48:] = 16  # bars left and right: 40 % of the frame is left
    assert np.flatnonzero(coder.signals(luma_THW).cut_T).tolist() == [0, 4]


def test_still_clip_has_no_motion_and_no_residual(coder: Coder) -> None:
    signals = coder.signals(still())
    assert not signals.motion_Tyx2.any()
    assert signals.residual_Tyx[1:].max() < 1
    assert not signals.intra_Tyx[1:].any()


@pytest.mark.parametrize("sigma", [1.0, 2.0])
def test_sensor_noise_does_not_become_motion(coder: Coder, sigma: float) -> None:
    signals = coder.signals(noisy(still(8), sigma))
    length_Tyx = np.hypot(*np.moveaxis(signals.motion_Tyx2[1:], -1, 0))
    assert (length_Tyx > 0.5).mean() <= 0.05  # the bound this provider promises up to sigma = 2 grey levels
    assert signals.residual_Tyx[1:].mean() <= 0.25 * sigma
    assert np.flatnonzero(signals.cut_T).tolist() == [0]


@pytest.mark.parametrize("sigma", [5.0, 12.0])
def test_heavy_noise_is_no_scene_cut(coder: Coder, sigma: float) -> None:
    assert np.flatnonzero(coder.signals(noisy(still(6), sigma)).cut_T).tolist() == [0]


@pytest.mark.parametrize("sigma", [5.0, 10.0])
def test_noise_in_the_dark_is_no_cut(coder: Coder, sigma: float) -> None:
    """At 12 % of its light the texture is weaker than the noise, which is new in every frame."""
    dark = noisy(faded(still(8), np.full(8, 0.12)), sigma)
    assert np.flatnonzero(coder.signals(dark).cut_T).tolist() == [0]


def test_a_cut_in_the_dark_is_one_where_texture_stands_out_of_the_noise(coder: Coder) -> None:
    dark = noisy(faded(cut(4), np.full(8, 0.25)), 1.0)
    assert np.flatnonzero(coder.signals(dark).cut_T).tolist() == [0, 4]


def test_object_stands_out_of_sensor_noise(coder: Coder) -> None:
    clip_THW, inside_THW = moving_object((4.0, 0.0))
    scores_Thw = coder.scores(noisy(clip_THW, 2.0))[1:]
    touched_Thw = touched(inside_THW)
    chosen = scores_Thw >= np.sort(scores_Thw.ravel())[-42]
    assert touched_Thw[chosen].mean() > 0.95


@pytest.mark.parametrize("level", [0, 16, 255])
def test_flat_frames_are_all_zeros(coder: Coder, level: int) -> None:
    flat_THW = np.full((4, 112, 112), level, np.uint8)
    signals = coder.signals(flat_THW)
    assert not signals.residual_Tyx.any()
    assert not signals.motion_Tyx2.any()
    assert np.flatnonzero(signals.cut_T).tolist() == [0]
    for score in ("fused", "motion", "residual", "frame_difference"):
        assert not coder.scores(flat_THW, score=score).any(), score


def test_pan_faster_than_the_motion_search_is_no_cut(coder: Coder) -> None:
    assert np.flatnonzero(coder.signals(pan((70.0, -31.0), 4, 224, 224)).cut_T).tolist() == [0]


def test_fades_and_flashes_are_no_cuts_but_the_picture_after_black_is(coder: Coder) -> None:
    scene_THW = pan((1.0, 0.0), 9)
    fade = [1, 0.85, 0.7, 0.55, 0.4, 0.25, 0.1, 0.0, 0.0]
    assert np.flatnonzero(coder.signals(faded(scene_THW, fade)).cut_T).tolist() == [0]
    flash = [1, 1, 1, 1.6, 1, 1, 1, 1, 1]
    assert np.flatnonzero(coder.signals(faded(scene_THW, flash)).cut_T).tolist() == [0]
    black_then_picture = [1, 1, 1, 0, 0, 1, 1, 1, 1]
    assert np.flatnonzero(coder.signals(faded(scene_THW, black_then_picture)).cut_T).tolist() == [0, 5]


def test_dissolve_is_no_cut(coder: Coder) -> None:
    a, b = still(9)[0].astype(float), still(9, seed=100)[0].astype(float)
    luma_THW = np.stack([to_uint8(a + (b - a) * k) for k in np.linspace(0, 1, 9)])
    assert np.flatnonzero(coder.signals(luma_THW).cut_T).tolist() == [0]


@pytest.mark.parametrize("size", [(14, 14), (8, 8), (1, 1), (15, 33), (98, 126), (2, 200)])
def test_any_size_and_any_length(coder: Coder, size: tuple[int, int]) -> None:
    for frames in (1, 3):
        luma_THW = pan((1.0, 0.5), frames, *size)
        signals = coder.signals(luma_THW)
        cells = (frames, -(-size[0] // 8), -(-size[1] // 8))
        assert signals.residual_Tyx.shape == cells
        assert signals.intra_Tyx[0].all()
        assert signals.valid_T.all()
        assert np.isfinite(signals.residual_Tyx).all()
        assert np.isfinite(signals.motion_Tyx2).all()


def test_same_input_same_signals_and_the_past_alone_decides(coder: Coder) -> None:
    luma_THW = noisy(moving_object()[0], 3.0)
    a, b, head = coder.signals(luma_THW), coder.signals(luma_THW.copy()), coder.signals(luma_THW[:5])
    for name in ("residual_Tyx", "motion_Tyx2", "intra_Tyx", "cut_T"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        np.testing.assert_array_equal(getattr(a, name)[:5], getattr(head, name))


def test_bits_follow_what_is_new(blockcoder: Coder) -> None:
    luma_THW, inside_THW = moving_object((4.0, -1.5), start=(60.0, 8.0))
    bits_Tyx = blockcoder.signals(luma_THW).bits_Tyx
    assert bits_Tyx is not None
    new_Tyx = (inside_THW | np.roll(inside_THW, 1, 0)).reshape(8, 14, 8, 14, 8).any((2, 4))[1:]
    assert bits_Tyx[1:][~new_Tyx].mean() < 2  # a share of the headers of blocks of 16 that touch the object
    assert bits_Tyx[1:][new_Tyx].mean() > 20
    assert bits_Tyx[0].mean() > 100  # frame 0 is new as a whole
    quiet_Tyx = blockcoder.signals(still()).bits_Tyx
    assert quiet_Tyx is not None
    assert quiet_Tyx[1:].max() < 1


def test_a_small_object_on_a_fast_pan_takes_the_bits(blockcoder: Coder) -> None:
    """Strong texture moves by 6.5 pixels a frame, a small object on its own; frame difference sees only the pan."""
    luma_THW, inside_THW = moving_object((-3.0, 1.0), 8, 224, 224, side=24, start=(90.0, 150.0), background=(6.5, 2.0))
    inner = np.s_[1:, 2:-2, 2:-2]  # the border is new content: it comes in with the pan
    scores_Thw, touched_Thw = blockcoder.scores(luma_THW, score="bits")[inner], touched(inside_THW)[:, 2:-2, 2:-2]
    k = 4 * 7  # about what the object covers
    chosen = np.argsort(-scores_Thw, axis=None, kind="stable")[:k]
    assert touched_Thw.ravel()[chosen].mean() >= 0.85
    baseline_Thw = codec.frame_difference(luma_THW, patch=14)[inner]
    assert touched_Thw.ravel()[np.argsort(-baseline_Thw, axis=None, kind="stable")[:k]].mean() < 0.5


def test_faster_than_the_search_is_found_by_the_picture_as_a_whole(blockcoder: Coder) -> None:
    signals = blockcoder.signals(pan((70.0, -31.0), 4, 224, 224))
    seen_Tyx2 = signals.motion_Tyx2[1:, 2:-6, 12:-2]  # what was in the picture a frame before
    assert (np.abs(seen_Tyx2 - (70.0, -31.0)).max(-1) <= 0.25).mean() > 0.9


@pytest.mark.parametrize(
    ("size", "motion"),
    [(224, (24.0, 0.0)), (224, (-24.0, 8.0)), (224, (34.0, 34.0)), (224, (64.0, 0.0)), (448, (48.0, 0.0))],
)
def test_fast_pans_of_any_speed_and_direction(size: int, motion: tuple[float, float], blockcoder: Coder) -> None:
    """Cells whose content was in the picture a frame before: a first frame may miss some, the others may not."""
    signals = blockcoder.signals(pan(motion, 4, size, size, seed=3))
    centre = np.arange(size // 8) * 8 + 3.5
    known_x, known_y = (((centre - v) >= 4) & ((centre - v) <= size - 5) for v in motion)
    near_Tyx = np.abs(signals.motion_Tyx2[1:] - motion).max(-1) <= 0.5
    share_T = near_Tyx[:, known_y[:, None] & known_x[None, :]].mean(1)
    assert share_T[0] > 0.85
    assert share_T[1:].min() > 0.98
    assert np.flatnonzero(signals.cut_T).tolist() == [0]


def test_provenance_says_how_it_was_made(coder: Coder) -> None:
    provenance = coder.signals(still(2)).provenance
    assert provenance["provider"] == coder.name
    if coder.name == "blockcoder":
        assert provenance["constants"]["qp_inter"] == 184
        assert {"bits", "motion", "residual", "cut"} <= set(provenance)
    else:
        assert provenance["x264"]["qp"] == 22
        assert {"motion", "residual", "cut", "av", "libavcodec"} <= set(provenance)
