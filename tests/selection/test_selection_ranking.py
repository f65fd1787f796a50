"""Choosing again, without the pixels, is choosing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from clips import moving_square
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import cut, noisy, to_rgb

from onevision_encoder.codec import read_with_signals
from onevision_encoder.errors import BudgetError, InvalidArgumentError, ShapeError
from onevision_encoder.selection import Ranking, SelectionConfig, rank, select, select_ranked
from onevision_encoder.types import CodecSignals, FrameSequence
from onevision_encoder.video import Sizing


def clip(merge: int = 1) -> tuple[FrameSequence, CodecSignals]:
    frames = np.concatenate([moving_square(7), to_rgb(noisy(cut(3), 2.0))])
    return read_with_signals(frames, sizing=Sizing(merge=merge))


CLIPS = {merge: clip(merge) for merge in (1, 2)}


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    merge=st.sampled_from((1, 2)),
    units=st.integers(1, 200),
    policy=st.sampled_from(("codec", "uniform", "tiled", "random")),
    scope=st.sampled_from(("global", "chunk")),
    least=st.integers(0, 3),
    anchors=st.sampled_from((None, 0, 3)),
)
def test_choosing_again_is_choosing(
    merge: int, units: int, policy: str, scope: str, least: int, anchors: int | None
) -> None:
    frames, signals = CLIPS[merge]
    config = SelectionConfig(policy=policy, scope=scope, min_per_frame=least, anchors=anchors)  # type: ignore[arg-type]
    ranking = rank(frames, signals, config)
    config = replace(config, budget=units * merge**2)
    wanted, got = select(frames, signals, config), select_ranked(ranking, config)
    for name in ("positions_K3", "score_K", "kind_K"):
        np.testing.assert_array_equal(getattr(got, name), getattr(wanted, name), strict=True)
    assert (got.shape, got.layout, got.order) == (wanted.shape, wanted.layout, wanted.order)


def test_what_a_ranking_cannot_do_is_refused() -> None:
    frames, signals = CLIPS[1]
    with pytest.raises(InvalidArgumentError, match="it needs the pixels"):
        rank(frames, signals, SelectionConfig(policy="run_length"))
    plain = rank(frames, None, SelectionConfig(policy="uniform"))
    with pytest.raises(InvalidArgumentError, match="a ranking made for policy='codec'"):
        select_ranked(plain, SelectionConfig(budget=8))
    with pytest.raises(BudgetError):
        select_ranked(plain, SelectionConfig(policy="uniform", budget=10**6))
    with pytest.raises(ShapeError, match="all three or none"):
        replace(plain, ranked_T=np.ones(plain.num_frames, np.bool_))
    with pytest.raises(ShapeError, match="value_TU"):
        Ranking(num_frames=2, grid=(2, 2), merge=1, value_TU=np.zeros((2, 3), np.float32))
