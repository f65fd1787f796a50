"""Cells of 8 pixels to patches of p pixels, against painting every pixel. Axes: T frames, y x cells, H W pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onevision_encoder.codec import cells_to_patches
from onevision_encoder.codec.cells import cell_deviation, cell_difference, luma_of, pad_to
from onevision_encoder.errors import InvalidArgumentError, ShapeError


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_equals_the_mean_of_painted_pixels(patch: int, rows: int, cols: int, seed: int) -> None:
    H, W = rows * patch, cols * patch
    cells_Tyx = np.random.default_rng(seed).random((2, -(-H // 8), -(-W // 8)), np.float32)
    pixels_THW = cells_Tyx.repeat(8, 1).repeat(8, 2)[:, :H, :W]
    expected = pixels_THW.reshape(2, rows, patch, cols, patch).astype(np.float64).mean((2, 4))
    np.testing.assert_allclose(cells_to_patches(cells_Tyx, patch=patch, frame_size=(H, W)), expected, atol=1e-6)


def test_patches_of_cell_size_are_the_cells_themselves() -> None:
    cells_Tyx = np.random.default_rng(0).random((3, 4, 5), np.float32)
    np.testing.assert_array_equal(cells_to_patches(cells_Tyx, patch=8, frame_size=(32, 40)), cells_Tyx)


@pytest.mark.parametrize("patch", [0, -1, 15, True, 14.0])
def test_patch_that_does_not_divide_the_frame_is_refused(patch: object) -> None:
    with pytest.raises(InvalidArgumentError, match="divides both sides of the 28 x 42"):
        cells_to_patches(np.zeros((1, 4, 6)), patch=patch, frame_size=(28, 42))


def test_cells_of_another_size_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\[T, 4, 6\]"):
        cells_to_patches(np.zeros((1, 3, 6)), patch=14, frame_size=(28, 42))


def test_difference_and_deviation_equal_brute_force() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 256, (2, 24, 40), np.uint8)
    a[:8, :8] = 77
    for y in range(3):
        for x in range(5):
            cell = np.s_[y * 8 : y * 8 + 8, x * 8 : x * 8 + 8]
            assert cell_difference(a, b)[y, x] == pytest.approx(
                np.abs(a[cell].astype(float) - b[cell]).mean(), abs=1e-5
            )
            mean = np.floor(a[cell].mean() + 0.5)
            assert cell_deviation(a)[y, x] == pytest.approx(np.abs(a[cell] - mean).mean(), abs=1e-5)
    assert cell_deviation(a)[0, 0] == 0


def test_padding_repeats_the_border() -> None:
    picture = np.arange(15, dtype=np.uint8).reshape(3, 5)
    padded = pad_to(picture, 8)
    assert padded.shape == (8, 8)
    np.testing.assert_array_equal(padded[:3, :5], picture)
    assert (padded[3:] == padded[2]).all()
    assert (padded[:, 5:] == padded[:, 4:5]).all()


@pytest.mark.parametrize("bad", [np.zeros((2, 8, 8)), np.zeros((8, 8), np.uint8), np.zeros((0, 8, 8), np.uint8), [1]])
def test_what_is_no_luma_is_refused(bad: object) -> None:
    with pytest.raises(ShapeError, match=r"uint8 \[T, H, W\]"):
        luma_of(bad)
