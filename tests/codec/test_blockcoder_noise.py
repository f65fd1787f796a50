"""Sensor noise of a known strength: how much the coder sees, and what it makes of it. Axes: T frames, H W pixels."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import cut, moving_object, noisy, pan, still

from onevision_encoder.codec import blockcoder_signals
from onevision_encoder.codec.twin.noise import lasting, noise_of

SIZE = (112, 160)


def seen(clip_THW: np.ndarray) -> float:
    """Grey levels of noise that the second frame shows."""
    before, source = (frame.astype(np.int64) for frame in clip_THW[:2])
    return lasting(*noise_of(source, before, clip_THW.shape[1:]), 0) / 16


def flat(grey: float) -> np.ndarray:
    return np.full((2, *SIZE), grey, np.uint8)


@pytest.mark.parametrize("sigma", [2.0, 5.0, 10.0])
def test_noise_is_measured(sigma: float) -> None:
    """The calmest tenth of the cells shows three quarters of the noise or more, whatever lies below it."""
    slope = np.repeat(np.broadcast_to(np.linspace(60, 200, SIZE[1]), SIZE)[None], 2, 0).astype(np.uint8)
    for clip in (flat(128), slope, still(2, *SIZE), moving_object((6, 2), 2, *SIZE)[0]):
        found = [seen(noisy(clip, sigma, seed=seed)) for seed in range(4)]
        assert 0.7 * sigma <= np.mean(found) <= 1.1 * sigma


def test_texture_motion_and_drawings_are_no_noise() -> None:
    assert seen(still(2, *SIZE)) == 0  # strong texture that stands still
    ramp = np.linspace(20, 230, 200)
    moving = np.stack([np.broadcast_to(ramp[20 * t : 20 * t + 160], SIZE) for t in range(2)]).astype(np.uint8)
    assert seen(moving) < 1  # smooth and fast
    drawn = flat(255)
    drawn[1, 20:60, 20:60] = np.random.default_rng(0).integers(0, 2, (40, 40)) * 255
    assert seen(drawn) == 0  # a screen: most cells are exactly flat
    bars = noisy(flat(90), 5.0)
    bars[:, :24] = bars[:, -24:] = 16
    assert seen(bars) > 3.5  # black bars do not hide the noise of what lies between them


def test_a_repeated_frame_does_not_end_the_noise() -> None:
    clip = noisy(still(6), 6.0)
    repeated = blockcoder_signals(clip.repeat(2, axis=0))
    assert repeated.bits_Tyx is not None
    assert repeated.bits_Tyx[3::2].mean() < 1.5 * repeated.bits_Tyx[2::2].mean()
    assert repeated.residual_Tyx[3::2].mean() < 0.1


@pytest.mark.parametrize("sigma", [5.0, 10.0])
def test_noise_is_not_coded_but_what_moves_is(sigma: float) -> None:
    clip_THW, inside_THW = moving_object((4.0, -1.5), start=(60.0, 8.0))
    signals = blockcoder_signals(noisy(clip_THW, sigma))
    covered_Tyx = inside_THW.reshape(8, 14, 8, 14, 8).mean((2, 4))[1:]
    on, off = covered_Tyx == 1, (covered_Tyx == 0) & (np.roll(covered_Tyx, 1, 0) == 0)
    length_Tyx = np.hypot(*np.moveaxis(signals.motion_Tyx2[1:], -1, 0))
    assert (length_Tyx[off] > 0.5).mean() < 0.05
    assert signals.intra_Tyx[1:][off].mean() < 0.02
    near = np.abs(signals.motion_Tyx2[1:][on] - (4.0, -1.5)).max(-1) <= 0.5
    assert near.mean() > 0.85
    assert signals.residual_Tyx[1:][off].mean() < 0.2 * sigma


@pytest.mark.parametrize("sigma", [2.0, 5.0, 10.0])
def test_cuts_are_found_in_noise_and_only_they(sigma: float) -> None:
    for seed in range(3):
        assert np.flatnonzero(blockcoder_signals(noisy(cut(4, seed=seed), sigma)).cut_T).tolist() == [0, 4]
    weak = (pan((5.0, 3.0), 8, 160, 160) * 0.3 + 80).astype(np.uint8)  # less texture than noise in most cells
    assert np.flatnonzero(blockcoder_signals(noisy(weak, sigma)).cut_T).tolist() == [0]
