"""uniform_lowres: more frames at lower resolution for the same tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from selection_clips import fixed, make_frames

from onevision_encoder.errors import BudgetError, InvalidArgumentError
from onevision_encoder.selection import SelectionConfig, lower_resolution, select
from onevision_encoder.selection.lowres import smallest_grid


def test_every_other_policy_leaves_the_frames_alone() -> None:
    frames = make_frames(8, 4, 6)
    for policy in ("codec", "uniform", "dense", "random", "run_length", "tiled"):
        config = SelectionConfig(policy=policy)  # type: ignore[arg-type]
        assert lower_resolution(frames, config) == (frames, config)


@fixed
@given(
    T=st.integers(1, 40), grid=st.tuples(st.integers(1, 10), st.integers(1, 10)), merge=st.sampled_from((1, 2)),
    share=st.floats(0.001, 1.0),
)  # fmt: skip
def test_any_budget_is_met_exactly(T: int, grid: tuple[int, int], merge: int, share: float) -> None:
    frames = make_frames(T, grid[0] * merge, grid[1] * merge, merge=merge)
    unit = merge**2
    K = max(unit, int(share * frames.num_patches) // unit * unit)
    smaller, config = lower_resolution(frames, SelectionConfig(policy="uniform_lowres", budget=K))
    chosen = select(smaller, None, config)
    assert len(chosen) == K
    assert set(smaller.frame_index_T.tolist()) <= set(frames.frame_index_T.tolist())
    assert smaller.grid[0] <= frames.grid[0]
    assert smaller.grid[1] <= frames.grid[1]


def test_a_percentage_is_of_the_patches_before_shrinking() -> None:
    frames = make_frames(64, 12, 16)
    smaller, config = lower_resolution(frames, SelectionConfig(policy="uniform_lowres", budget="12.5%"))
    assert config.budget == 64 * 12 * 16 // 8 == 64 * 24
    assert smaller.num_frames == 64
    assert smaller.grid[0] * smaller.grid[1] >= 24
    assert len(select(smaller, None, config)) == 64 * 24


def test_it_reads_more_frames_than_uniform() -> None:
    frames = make_frames(64, 12, 16)
    smaller, config = lower_resolution(frames, SelectionConfig(policy="uniform_lowres", budget=1536))
    uniform = select(frames, None, SelectionConfig(policy="uniform", budget=1536))
    seen = len(np.unique(select(smaller, None, config).positions_K3[:, 0]))
    assert seen >= 60
    assert len(np.unique(uniform.positions_K3[:, 0])) == 8


def test_frames_are_not_shrunk_to_nothing() -> None:
    smaller, _ = lower_resolution(make_frames(64, 12, 16), SelectionConfig(policy="uniform_lowres", budget=64))
    assert smaller.num_frames == 4
    assert 16 <= smaller.grid[0] * smaller.grid[1] <= 20


@pytest.mark.parametrize(
    ("units", "rows", "cols", "best"),
    [(1, 5, 7, (1, 1)), (35, 5, 7, (5, 7)), (252, 12, 21, (12, 21)), (32, 12, 24, (4, 8)), (63, 12, 21, (6, 11))],
)
def test_the_grid_keeps_the_shape_and_wastes_little(units: int, rows: int, cols: int, best: tuple[int, int]) -> None:
    assert smallest_grid(units, rows, cols) == best


def test_what_cannot_be_is_refused() -> None:
    frames = make_frames(4, 4, 4)
    with pytest.raises(BudgetError, match="budget=65"):
        lower_resolution(frames, SelectionConfig(policy="uniform_lowres", budget=65))
    content = np.ones((4, 4), np.bool_)
    content[0] = False
    boxed = make_frames(4, 4, 4, content_hw=content)
    with pytest.raises(InvalidArgumentError, match="letterboxed"):
        lower_resolution(boxed, SelectionConfig(policy="uniform_lowres", budget=8))
