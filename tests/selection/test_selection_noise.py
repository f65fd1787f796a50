"""A still clip under a noisy sensor stays a still clip."""

from __future__ import annotations

import numpy as np
import pytest
from scenes import moving_object, noisy, still, to_rgb

from onevision_encoder.codec import compute_signals
from onevision_encoder.codec.noise import clip_noise
from onevision_encoder.selection import clip_saliency
from onevision_encoder.video import frames_from_array


@pytest.mark.parametrize("sigma", [2.0, 5.0, 10.0])
def test_noise_of_a_sensor_is_measured_and_is_no_event(sigma: float) -> None:
    luma_THW = noisy(still(16), sigma)
    assert clip_noise(luma_THW) == pytest.approx(sigma, rel=0.35)
    frames = frames_from_array(to_rgb(luma_THW), fps=25)
    value_Thw = clip_saliency(frames, compute_signals(frames)).value_Thw
    assert (value_Thw > 0).mean() < 0.02
    assert value_Thw.max() < 0.1


def test_clean_pictures_have_no_noise_and_one_frame_tells_none() -> None:
    assert clip_noise(moving_object((3.0, 0.0))[0]) < 1
    assert clip_noise(noisy(still(1), 10.0)) == 0
    assert clip_noise(np.zeros((4, 3, 5), np.uint8)) == 0
