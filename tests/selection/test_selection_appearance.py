"""What appears and stays is an event, however few bits it costs; what passes by or flickers is none of its kind."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import faded, moving_object, noisy, still, to_rgb

from onevision_encoder.codec import compute_signals
from onevision_encoder.selection import SelectionConfig, clip_saliency, select
from onevision_encoder.selection.appearance import LEAST_STEP, appeared
from onevision_encoder.types import Kind
from onevision_encoder.video import frames_from_array


def with_window(sigma: float = 0.0, *, until: int = 12) -> np.ndarray:
    """A still picture of 112 x 112 over which a flat window of 48 x 64 lies from frame 6 on."""
    clip = still(12).copy()
    clip[6:until, 32:80, 24:88] = 235
    return noisy(clip, sigma)


@pytest.mark.parametrize("sigma", [0.0, 1.0])
def test_a_window_that_opens_is_found_where_and_when(sigma: float) -> None:
    step_Tyx = appeared(with_window(sigma))
    expected_yx = np.zeros((14, 14))
    expected_yx[4:10, 3:11] = 235 - still(12)[5].reshape(14, 8, 14, 8).mean((1, 3))[4:10, 3:11]
    expected_yx[expected_yx < LEAST_STEP] = 0
    assert (expected_yx > 0).sum() > 40
    assert set(np.nonzero(step_Tyx)[0]) == {6}
    np.testing.assert_allclose(step_Tyx[6], expected_yx, atol=1)


def test_what_does_not_stay_has_not_appeared() -> None:
    assert not appeared(with_window(until=7))[6].any(), "a flash of one frame; what it hid comes back, and stays"
    assert not appeared(moving_object((6.0, 0.0))[0]).any(), "an object that goes on"
    assert not appeared(faded(still(12), np.linspace(0.3, 1, 12))).any(), "a fade"
    assert not appeared(still(1)).any()


def test_what_comes_back_is_known() -> None:
    frames = frames_from_array(to_rgb(with_window(until=7)), fps=10)
    value_Thw = clip_saliency(frames, compute_signals(frames)).value_Thw
    assert value_Thw[7].max() < 0.1


def test_its_patches_are_chosen() -> None:
    frames = frames_from_array(to_rgb(with_window(1.0)), fps=10)
    chosen = select(frames, compute_signals(frames), SelectionConfig(budget=150))
    t, h, w = chosen.positions_K3[chosen.kind_K == Kind.CODEC].T
    inside = (t == 6) & (h >= 2) & (h <= 5) & (w >= 1) & (w <= 6)
    assert inside.sum() >= 20  # of 24 that touch it
