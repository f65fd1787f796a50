"""The camera fit against motion fields of known cameras and objects. Fields are made here, in pixels."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from selection_clips import fixed

from onevision_encoder.selection import CameraMotion, fit_camera
from onevision_encoder.selection.camera import MODELS

SIZE = (180, 320)  # not square: x and y must share one scale
ROWS, COLS = 23, 40
STATIC, TRANSLATION, SIMILARITY, UNKNOWN = range(4)
assert MODELS == ("static", "translation", "similarity", "unknown")


def field(tx: float = 0, ty: float = 0, zoom: float = 0, turn: float = 0) -> NDArray[np.float32]:
    """[1, y, x, 2]: where a still world moves when the camera shifts, zooms and turns."""
    out = np.zeros((1, ROWS, COLS, 2), np.float32)
    for r in range(ROWS):
        for c in range(COLS):
            x, y = 8 * c + 4 - SIZE[1] / 2, 8 * r + 4 - SIZE[0] / 2
            out[0, r, c] = tx + zoom * x - turn * y, ty + turn * x + zoom * y
    return out


def coded(motion: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """As a coder sees it: quarter-pel steps, a little off, and one cell in 20 anywhere."""
    rng = np.random.default_rng(seed)
    noisy = motion + rng.normal(0, 0.15, motion.shape)
    wild = rng.random(motion.shape[:-1]) < 0.05
    noisy[wild] = rng.uniform(-16, 16, (int(wild.sum()), 2))
    return (np.round(noisy * 4) / 4).astype(np.float32)


def fit(motion: NDArray[np.float32], known: NDArray[np.bool_] | None = None) -> CameraMotion:
    return fit_camera(motion, np.ones(motion.shape[:3], np.bool_) if known is None else known, frame_size=SIZE)


@pytest.mark.parametrize("speed", [2, 8, 40])
@pytest.mark.parametrize("share", [0.05, 0.13, 0.35])
def test_a_static_camera_does_not_follow_the_object(speed: float, share: float) -> None:
    """The original leaves zero vectors out of its fit, and so takes the object for the camera."""
    motion = field()
    side = int(np.sqrt(share * ROWS * COLS))
    motion[0, :side, 5 : 5 + side, 0] = speed
    camera = fit(coded(motion))
    assert camera.model_T[0] == STATIC
    assert not camera.flow_Tyx2.any()


@pytest.mark.parametrize("pan", [(7, 0), (-3, 12), (1.5, -1.5), (60, 4)])
def test_a_pan_is_found_under_an_object(pan: tuple[float, float]) -> None:
    truth = field(*pan)
    motion = truth.copy()
    motion[0, 5:12, 10:20] += (-9, 4)
    camera = fit(coded(motion))
    assert camera.model_T[0] == TRANSLATION
    assert np.abs(camera.flow_Tyx2 - truth).max() < 0.1
    assert 0.8 < camera.agree_T[0] < 0.95


@fixed
@given(
    tx=st.floats(-12, 12),
    ty=st.floats(-12, 12),
    zoom=st.sampled_from((-0.08, -0.02, 0.0, 0.015, 0.1)),
    turn=st.sampled_from((-0.06, 0.0, 0.02, 0.1)),
    object_at=st.tuples(st.integers(0, ROWS - 8), st.integers(0, COLS - 10)),
    seed=st.integers(0, 99),
)
def test_zoom_and_turn_are_found_under_an_object(
    tx: float, ty: float, zoom: float, turn: float, object_at: tuple[int, int], seed: int
) -> None:
    truth = field(tx, ty, zoom, turn)
    motion = truth.copy()
    r, c = object_at
    motion[0, r : r + 8, c : c + 10] += (10, -6)
    camera = fit(coded(motion, seed))
    assert np.abs(camera.flow_Tyx2 - truth).max() < 0.5
    left = np.hypot(*np.moveaxis(motion - camera.flow_Tyx2, -1, 0))[0]
    assert left[r : r + 8, c : c + 10].min() > 10


def test_parameters_are_in_pixels_and_ratios() -> None:
    camera = fit(coded(field(3, -2, 0.05, 0.04)))
    assert camera.model_T[0] == SIMILARITY
    assert camera.params_T4[0] == pytest.approx([3, -2, 0.05, 0.04], abs=0.02)
    assert camera.summary()["model"] == ["similarity"]


def test_the_simplest_model_that_explains_the_field_is_taken() -> None:
    assert fit(coded(field())).model_T[0] == STATIC
    assert fit(coded(field(5, 5))).model_T[0] == TRANSLATION
    assert fit(coded(field(zoom=0.02))).model_T[0] == SIMILARITY
    assert fit(coded(field(turn=0.03))).model_T[0] == SIMILARITY


def test_motion_without_order_is_no_camera() -> None:
    rng = np.random.default_rng(3)
    motion = rng.uniform(-20, 20, (1, ROWS, COLS, 2)).astype(np.float32)
    camera = fit(motion)
    assert np.abs(camera.flow_Tyx2).max() < 2 or camera.model_T[0] == STATIC


def test_unknown_cells_have_no_say_and_too_few_say_nothing() -> None:
    motion, known = field(6, 0), np.ones((1, ROWS, COLS), np.bool_)
    motion[0, :, :30] = 0
    known[0, :, :30] = False  # intra: motion 0 means unknown there
    assert fit(motion, known).params_T4[0, 0] == pytest.approx(6, abs=0.01)
    known[:] = False
    known[0, 0, :5] = True
    few = fit(motion, known)
    assert few.model_T[0] == UNKNOWN
    assert not few.flow_Tyx2.any()


def test_frames_do_not_see_each_other() -> None:
    fields = [coded(field(*p), seed=i) for i, p in enumerate([(0, 0), (9, 1), (0, 0, 0.04), (-4, 2, 0, 0.05)])]
    together = fit(np.concatenate(fields))
    for i, alone in enumerate(fields):
        assert np.allclose(fit(alone).flow_Tyx2[0], together.flow_Tyx2[i], atol=1e-3)


def test_it_is_fast() -> None:
    motion = np.concatenate([coded(field(5, 1, 0.03), seed=i) for i in range(64)])
    known = np.ones(motion.shape[:3], np.bool_)
    best = min(_seconds(motion, known) for _ in range(5))
    assert best < 0.1  # about 8 ms on one idle core; the rest is for a loaded machine


def _seconds(motion: NDArray[np.float32], known: NDArray[np.bool_]) -> float:
    begin = time.perf_counter()
    fit(motion, known)
    return time.perf_counter() - begin
