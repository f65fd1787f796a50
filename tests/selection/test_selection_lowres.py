"""uniform_lowres: more frames at lower resolution for the same tokens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from selection_clips import fixed, make_frames

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.selection import SelectionConfig, sampling_for, select
from onevision_encoder.video import Sampling, Sizing


def test_every_other_policy_leaves_sampling_alone() -> None:
    sampling, sizing = Sampling(num_frames=32), Sizing(max_patches=100)
    for policy in ("codec", "uniform", "dense", "random", "run_length", "tiled"):
        assert sampling_for(SelectionConfig(policy=policy), sampling, sizing) == (sampling, sizing)  # type: ignore[arg-type]


def test_a_percentage_shrinks_every_frame_by_it() -> None:
    config = SelectionConfig(policy="uniform_lowres", budget="12.5%")
    sampling, sizing = sampling_for(config, Sampling(), Sizing())
    assert (sampling.num_frames, sizing.max_patches) == (64, 32)
    frames = make_frames(64, 4, 8)
    assert len(select(frames, None, config)) == 64 * 32


@fixed
@given(
    budget=st.integers(4, 3000), frames=st.integers(1, 80), merge=st.sampled_from((1, 2)),
    size=st.tuples(st.integers(200, 2000), st.integers(200, 2000)),
)  # fmt: skip
def test_an_integer_budget_stays_in_reach_at_lower_resolution(
    budget: int, frames: int, merge: int, size: tuple[int, int]
) -> None:
    from onevision_encoder.video.geometry import native_grid

    budget = budget // merge**2 * merge**2
    config = SelectionConfig(policy="uniform_lowres", budget=budget)
    before = Sampling(num_frames=frames), Sizing(merge=merge)
    sampling, sizing = sampling_for(config, *before)
    assert sampling.num_frames is not None
    assert sampling.num_frames <= frames
    assert sizing.max_patches <= before[1].max_patches
    rows, cols = native_grid(*size, before[1])
    if frames * rows * cols * merge**2 < budget or max(size) > 3 * min(size):
        return  # out of reach at full size, or an extreme shape
    rows, cols = native_grid(*size, sizing)
    assert sampling.num_frames * rows * cols * merge**2 >= budget


def test_frames_are_not_shrunk_to_nothing() -> None:
    sampling, sizing = sampling_for(SelectionConfig(policy="uniform_lowres", budget=64), Sampling(), Sizing())
    assert (sampling.num_frames, sizing.max_patches) == (4, 28)


def test_sizes_that_are_fixed_are_refused() -> None:
    config = SelectionConfig(policy="uniform_lowres")
    with pytest.raises(InvalidArgumentError, match="recipe='crop224'"):
        sampling_for(config, Sampling(), Sizing(recipe="crop224"))
    with pytest.raises(InvalidArgumentError, match="num_frames=None"):
        sampling_for(config, Sampling(num_frames=None), Sizing())
