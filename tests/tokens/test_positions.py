from __future__ import annotations

import numpy as np
import pytest

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.tokens import model_positions, model_time


@pytest.mark.parametrize("T", [1, 2, 7, 16, 63, 64])
def test_virtual_time_spreads_short_clips_over_whole_slots(T: int) -> None:
    time = model_time(np.arange(T, dtype=float))
    expected = [int(63 * i / (T - 1)) if T > 1 else 0 for i in range(T)]
    assert time.dtype == np.float32
    # i * 63 / (T - 1) in exact arithmetic; linspace may land a hair below a whole number, which trunc would drop
    assert np.abs(time - expected).max() <= (0 if T in (1, 2, 7, 64) else 1)
    assert len(np.unique(time)) == T
    assert np.array_equal(time, np.trunc(np.linspace(0, 63, T)).astype(np.float32))


def test_virtual_time_of_long_clips_is_fractional_and_increasing() -> None:
    time = model_time(np.arange(200, dtype=float))
    assert time[0] == 0
    assert time[-1] == 63
    assert np.allclose(np.diff(time), 63 / 199, atol=1e-5)


def test_index_and_seconds() -> None:
    pts = np.array([0.0, 0.5, 2.0])
    assert model_time(pts, "index").tolist() == [0, 1, 2]
    assert model_time(pts, "seconds", ticks_per_second=2.0).tolist() == [0, 1, 4]
    with pytest.raises(InvalidArgumentError, match="ticks_per_second=0"):
        model_time(pts, "seconds", ticks_per_second=0)
    with pytest.raises(InvalidArgumentError, match="'virtual', 'slots', 'index', 'seconds'"):
        model_time(pts, "frames")  # type: ignore[arg-type]


def test_slots_are_the_frames_own() -> None:
    pts, slots = np.arange(4.0), np.array([3, 11, 40, 63])
    time = model_time(pts, "slots", slot_T=slots)
    assert time.dtype == np.float32
    assert time.tolist() == [3, 11, 40, 63]
    assert model_time(pts, "virtual", slot_T=slots).tolist() == [0, 21, 42, 63]


def test_slots_that_are_unknown_or_shared_are_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="carry no slot_T"):
        model_time(np.arange(3.0), "slots")
    with pytest.raises(InvalidArgumentError, match=r"frames 1 and 2 of 3 both have slot 7.*divides 64"):
        model_time(np.arange(3.0), "slots", slot_T=np.array([0, 7, 7]))


def test_tiled_frames_become_one_tall_picture_at_time_zero() -> None:
    """Dense tiled positions are those of one (n * h) x w picture."""
    h, w, chosen = 3, 4, [2, 5, 9]
    address = np.array([(t, y, x) for t in chosen for y in range(h) for x in range(w)], np.int32)
    positions = model_positions(address, model_time(np.arange(10.0)), layout="tiled", grid=(h, w))
    one_picture = [(0, y, x) for y in range(3 * h) for x in range(w)]
    assert positions.tolist() == [list(p) for p in one_picture]


def test_addresses_outside_the_clip_are_named() -> None:
    with pytest.raises(ShapeError, match=r"0\.\.2"):
        model_positions(np.array([[3, 0, 0]], np.int32), np.zeros(3, np.float32), grid=(4, 4))
    with pytest.raises(ShapeError, match=r"inside the grid \(4, 4\)"):
        model_positions(np.array([[0, 4, 0]], np.int32), np.zeros(3, np.float32), grid=(4, 4))
