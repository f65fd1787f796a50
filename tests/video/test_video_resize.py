from __future__ import annotations

import numpy as np
import pytest

from onevision_encoder.errors import ShapeError
from onevision_encoder.video import Sizing, frames_from_array, resize_frames


def test_halving_is_the_mean_of_four_pixels_and_times_are_kept() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (6, 56, 84, 3), dtype=np.uint8)
    frames = frames_from_array(rgb, fps=10)
    small = resize_frames(frames, (28, 42), rows=np.array([0, 2, 5]))
    mean = rgb[[0, 2, 5]].reshape(3, 28, 2, 42, 2, 3).mean(axis=(2, 4))
    assert np.abs(small.rgb_THW3 - mean).max() <= 1
    assert small.frame_index_T.tolist() == [0, 2, 5]
    assert small.pts_seconds_T.tolist() == [0.0, 0.2, 0.5]
    assert small.provenance["resized_again"]["from"] == [56, 84]


def test_enlarging_and_letterbox_are_refused() -> None:
    rgb = np.zeros((1, 56, 84, 3), np.uint8)
    with pytest.raises(ShapeError, match="at most"):
        resize_frames(frames_from_array(rgb), (70, 84))
    boxed = frames_from_array(rgb, sizing=Sizing(recipe="letterbox", side=84))
    with pytest.raises(ShapeError, match="without padding"):
        resize_frames(boxed, (28, 28))
