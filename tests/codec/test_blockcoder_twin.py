"""The readable twin and the C core agree to the bit: two programs written apart, one in numpy, one in C."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import cut, faded, moving_object, noisy, pan, still, zoom

from onevision_encoder.codec import blockcoder_signals
from onevision_encoder.codec.twin import twin_signals

FIELDS = ("bits_Tyx", "residual_Tyx", "motion_Tyx2", "intra_Tyx", "cut_T")

CLIPS = {
    "object in noise": lambda: noisy(moving_object((3.25, -1.5), 4, 64, 80, side=24, start=(20, 8))[0], 3.0),
    "object on a pan": lambda: moving_object((-2, 1), 3, 64, 96, side=24, start=(20, 40), background=(4.5, 2))[0],
    "pan": lambda: pan((2.25, 1.5), 3, 50, 70),
    "zoom": lambda: zoom(1.06, 3, 64, 64),
    "cut": lambda: cut(2, 4, 64, 64),
    "cut in noise": lambda: noisy(cut(2, 4, 64, 64), 9.0),
    "noise that ends": lambda: np.concatenate([noisy(still(3, 48, 64), 7.0), still(2, 48, 64)]),
    "fade": lambda: faded(still(5, 48, 48), [1, 0.6, 0.2, 0, 1]),
    "noise": lambda: np.random.default_rng(0).integers(0, 256, (3, 33, 41), np.uint8),
    "faster than the search": lambda: pan((70.0, -31.0), 3, 160, 160),
    "one pixel": lambda: np.full((2, 1, 1), 9, np.uint8),
    "ribbon": lambda: pan((3.0, 0.0), 3, 5, 200),
}


def assert_equal_to_the_bit(luma_THW: np.ndarray, constants: dict[str, int] | None = None) -> None:
    core, twin = blockcoder_signals(luma_THW, constants=constants), twin_signals(luma_THW, constants=constants)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(core, name), getattr(twin, name), err_msg=name)


@pytest.mark.parametrize("name", CLIPS)
def test_equal_to_the_bit(name: str) -> None:
    assert_equal_to_the_bit(CLIPS[name]())


def any_clip(seed: int, T: int, H: int, W: int) -> np.ndarray:
    """Blurred noise that moves, with some noise on top: every tool of the coder is used."""
    rng = np.random.default_rng(seed)
    wide = rng.integers(0, 256, (H + 80, W + 80)).cumsum(0).cumsum(1)
    n = int(rng.integers(1, 12))
    smooth = (wide[n:, n:] - wide[:-n, n:] - wide[n:, :-n] + wide[:-n, :-n]) / n**2
    smooth = (smooth - 128) * n * 0.8 + 128
    step = rng.integers(-12, 13, 2)
    frames = []
    for t in range(T):
        y, x = (30 + t * step[0]) % 60, (30 + t * step[1]) % 60
        frames.append(np.resize(smooth[y : y + H, x : x + W], (H, W)))
        if rng.random() < 0.3:
            frames[-1] = np.where(np.indices((H, W)).sum(0) < (H + W) // 2, frames[-1], rng.integers(0, 256))
    return (np.stack(frames) + rng.normal(0, rng.integers(0, 8), (T, H, W))).clip(0, 255).astype(np.uint8)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), H=st.integers(1, 48), W=st.integers(1, 48), qp=st.integers(64, 400))
def test_equal_to_the_bit_anywhere(seed: int, H: int, W: int, qp: int) -> None:
    assert_equal_to_the_bit(any_clip(seed, 3, H, W), {"qp_inter": qp, "qp_intra": qp, "split_from": seed % 2000})


@pytest.mark.slow
def test_equal_to_the_bit_on_many_clips() -> None:
    for seed in range(150):
        rng = np.random.default_rng(seed)
        constants = {
            "between": int(rng.integers(0, 4)),
            "merges": int(rng.integers(1, 6)),
            "gain": int(rng.integers(0, 20)),
        }
        constants |= {
            "rate": int(rng.integers(1, 9)),
            "still_from": int(rng.integers(0, 600)),
            "lambda": int(rng.integers(0, 900)),
            "noise": int(rng.integers(0, 400)),
        }
        assert_equal_to_the_bit(any_clip(seed, 4, int(rng.integers(1, 90)), int(rng.integers(1, 90))), constants)
