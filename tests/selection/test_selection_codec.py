"""Policy codec: what is ranked, against brute force; anchors, cuts, montages, quiet clips and cameras."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from selection_clips import clips, fixed, make_frames, make_signals, units_of

import onevision_encoder.selection.saliency as saliency_module
from onevision_encoder.selection import SelectionConfig, clip_saliency, select
from onevision_encoder.selection.anchors import plan_anchors
from onevision_encoder.selection.cover import apportion, coverage_order, spread
from onevision_encoder.selection.saliency import MOST_SAMPLES, _percentile, _sample
from onevision_encoder.types import CodecSignals, FrameSequence, Kind, Selection


@fixed
@given(clip=clips(merges=(1,)), percent=st.integers(1, 100))
def test_ranking_is_the_brute_force_top_k_with_ties(clip: tuple[FrameSequence, CodecSignals], percent: int) -> None:
    frames, signals = clip
    config = SelectionConfig(budget=f"{percent}%", score="residual", anchors=0, min_per_frame=0)
    chosen = select(frames, signals, config)
    value_Thw = clip_saliency(frames, signals, score="residual").value_Thw * units_of(frames)
    ranked = sorted((-v, *at) for at, v in np.ndenumerate(value_Thw) if v > 0)  # (score desc, t, h, w)
    by_score = [tuple(r) for r in chosen.positions_K3[chosen.kind_K == Kind.CODEC].tolist()]
    assert by_score == sorted(r[1:] for r in ranked[: len(by_score)])
    if (chosen.kind_K == Kind.FILL).any() and len(by_score) < len(ranked):
        # Only frames that cannot be ranked are filled while something is left to rank.
        ranked_T = signals.valid_T & ~signals.cut_T
        assert not ranked_T[chosen.positions_K3[chosen.kind_K == Kind.FILL, 0]].any()


# --- anchors -----------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _no_sensor(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames here are drawn noise, so that no two look alike; their signals are given and know of no sensor."""
    monkeypatch.setattr(saliency_module, "clip_noise", lambda luma_THW: 0.0)


def plan(budget: int, cuts: tuple[int, ...] = (), frames: int = 64, count: int | None = None) -> dict[int, int]:
    starts_T = np.zeros(frames, np.bool_)
    starts_T[[0, *cuts]] = True
    anchors = plan_anchors(budget=budget, per_frame=256, starts_T=starts_T, count=count, share=0.25)
    return dict(zip(anchors.frame_A.tolist(), anchors.units_A.tolist(), strict=True))


def test_anchors_by_default() -> None:
    assert plan(2048) == {0: 256, 32: 256}
    assert plan(4096) == {0: 256, 32: 256}
    assert plan(4096, count=3) == {0: 256, 16: 256, 32: 256}
    assert plan(2048, frames=20) == {0: 256}


def test_what_does_not_fit_whole_is_coarse() -> None:
    assert plan(1024) == {0: 192, 32: 64} or plan(1024) == {0: 128, 32: 128}
    assert plan(512) == {0: 64, 32: 64}
    assert plan(1600) == {0: 256, 32: 144}
    assert plan(64) == {0: 8, 32: 8}
    assert plan(16) == {0: 4}
    assert plan(3) == {}


def test_scene_starts_are_anchors_and_count() -> None:
    assert plan(2048, cuts=(50,)) == {0: 256, 50: 256}
    assert plan(4096, cuts=(10, 50)) == {0: 256, 10: 256, 50: 256}
    assert plan(2048, cuts=(10, 50)) == {0: 256, 10: 128, 50: 128}
    assert plan(2048, cuts=(10, 50), count=0) == {}


def test_a_montage_shares_the_anchors() -> None:
    anchors = plan(2048, cuts=tuple(range(2, 64, 2)))
    assert set(anchors.values()) == {16}
    assert list(anchors) == list(range(0, 64, 2))
    tiny = plan(64, cuts=tuple(range(2, 64, 2)))
    assert set(tiny.values()) == {4}
    assert len(tiny) == 4
    assert min(tiny) == 0
    assert max(tiny) > 50


@fixed
@given(
    budget=st.integers(1, 3000), per_frame=st.integers(1, 300), frames=st.integers(1, 70),
    count=st.sampled_from((None, 0, 1, 2, 9, 99)), share=st.sampled_from((0.0, 0.25, 0.5, 1.0)),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_anchors_keep_their_share(
    budget: int, per_frame: int, frames: int, count: int | None, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    starts_T = rng.random(frames) < rng.choice((0, 0.1, 1))
    starts_T[0] = True
    anchors = plan_anchors(budget=budget, per_frame=per_frame, starts_T=starts_T, count=count, share=share)
    assert anchors.units_A.sum() <= share * budget
    assert (anchors.units_A >= 1).all()
    assert (anchors.units_A <= per_frame).all()
    assert (np.diff(anchors.frame_A) > 0).all()
    if len(anchors.frame_A):
        assert anchors.frame_A[0] == 0
        wanted = max(int(starts_T.sum()), min(frames, -(-frames // 32) if count is None else count))
        if wanted * per_frame <= int(share * budget):
            assert len(anchors.frame_A) == wanted
            assert (anchors.units_A == per_frame).all()


# --- cuts and frames that cannot be ranked -----------------------------------------------------------------------


def test_a_cut_does_not_swallow_the_budget() -> None:
    """At the cut everything is intra with a large residual; a small object moves in the other frames."""
    frames = make_frames(32, 14, 14, patch=16)
    residual = np.full((32, 28, 28), 0.3, np.float32)
    motion = np.zeros((32, 28, 28, 2), np.float32)
    residual[:, 8:16, 8:16], motion[:, 8:16, 8:16] = 12, (6, 0)
    residual[20] = 60
    signals = make_signals(frames, residual=residual, motion=motion, cuts=(20,))
    chosen = select(frames, signals, SelectionConfig(budget=600))
    t, h, w = chosen.positions_K3.T
    by_score = chosen.kind_K == Kind.CODEC
    assert not (t[by_score] == 20).any()
    assert ((h >= 4) & (h < 8) & (w >= 4) & (w < 8))[by_score].all()
    assert (chosen.kind_K[t == 20] == Kind.ANCHOR).all()
    assert chosen.tokens_per_frame_T[20] <= 600 / 4
    assert by_score.sum() == 450


def test_a_montage_is_spread_sanely() -> None:
    frames = make_frames(64, 16, 16)
    rng = np.random.default_rng(0)
    residual = rng.gamma(2, 4, (64, 16, 16)).astype(np.float32)
    signals = make_signals(frames, residual=residual, cuts=tuple(range(2, 64, 2)))
    per_frame = select(frames, signals, SelectionConfig(budget=2048)).tokens_per_frame_T
    assert per_frame.sum() == 2048
    assert (per_frame[0::2] == 32).all()  # scene starts: an even share, coarse anchor included
    assert per_frame[1::2].mean() == 32
    every = make_signals(frames, residual=residual, cuts=tuple(range(64)))
    assert (select(frames, every, SelectionConfig(budget=2048)).tokens_per_frame_T == 32).all()


def test_frames_without_signals_get_an_even_share_and_are_recorded() -> None:
    frames = make_frames(16, 8, 8)
    valid_T = np.ones(16, np.bool_)
    valid_T[5:8] = False
    residual = np.random.default_rng(1).gamma(2, 4, (16, 8, 8)).astype(np.float32)
    residual[5:8] = 200
    signals = make_signals(frames, residual=residual, valid_T=valid_T)
    chosen = select(frames, signals, SelectionConfig(budget="25%"))
    t = chosen.positions_K3[:, 0]
    assert (chosen.kind_K[(t >= 5) & (t < 8)] == Kind.FILL).all()
    assert chosen.tokens_per_frame_T[5:8].tolist() == [12, 12, 12]  # (256 - 64 of the anchor) / 16
    assert chosen.provenance["unranked_frames"] == [0, 5, 6, 7]


# --- noise -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [0.5, 2, 8])
def test_a_still_clip_with_noise_is_covered_evenly(sigma: float) -> None:
    """Cell means of |noise| as they come out of 64 pixels each; vectors jitter by a quarter pixel."""
    rng = np.random.default_rng(2)
    frames = make_frames(32, 14, 14, patch=16)
    residual = np.abs(rng.normal(0, sigma, (32, 28, 28, 64))).mean(-1)
    motion = rng.choice([-0.25, 0, 0, 0, 0.25], (32, 28, 28, 2))
    chosen = select(frames, make_signals(frames, residual=residual, motion=motion), SelectionConfig(budget=784))
    assert (chosen.kind_K == Kind.CODEC).mean() < 0.01
    assert len(chosen.provenance["quiet_frames"]) >= 28
    fill_T = np.bincount(chosen.positions_K3[chosen.kind_K == Kind.FILL, 0], minlength=32)[1:]
    assert np.ptp(fill_T) <= 2


def test_an_object_stands_out_of_noise() -> None:
    rng = np.random.default_rng(3)
    frames = make_frames(32, 14, 14, patch=16)
    residual = np.abs(rng.normal(0, 4, (32, 28, 28, 64))).mean(-1)
    residual[:, 10:14, 10:14] += 6
    chosen = select(frames, make_signals(frames, residual=residual), SelectionConfig(budget=400, score="residual"))
    by_score = chosen.positions_K3[chosen.kind_K == Kind.CODEC]
    assert np.isin(by_score[:, 1:], (5, 6)).all(1).mean() > 0.97
    assert len(by_score) >= 31 * 4


def test_one_scale_for_the_clip_keeps_a_quiet_frame_quiet() -> None:
    frames = make_frames(16, 8, 8)
    residual = np.random.default_rng(4).gamma(2, 0.6, (16, 8, 8))
    residual[8:] *= 20  # action in the second half
    chosen = select(frames, make_signals(frames, residual=residual), SelectionConfig(budget=200, anchors=0))
    assert chosen.tokens_per_frame_T[1:8].max() <= 2
    assert chosen.tokens_per_frame_T[8:].sum() > 170


# --- cameras -----------------------------------------------------------------------------------------------------


def filmed(camera: str, *, texture: bool = True) -> tuple[FrameSequence, CodecSignals, NDArray[np.bool_]]:
    """A camera at work over a textured world, residual in proportion to the slope of the picture where it moves, and an
    object of 4 x 4 patches with a motion of its own. No two frames look alike, so that memory has no say. Returns the
    object's patches, bool [T, h, w]."""
    T, n = 16, 14
    rng = np.random.default_rng(5)
    scale = np.kron(rng.choice([8, 60], (n, n)), np.ones((16, 16)))  # flat and rich patches
    luma = np.clip(128 + rng.normal(0, 1, (T, n * 16, n * 16)) * (scale if texture else 1), 0, 255).astype(np.uint8)
    frames = make_frames(T, n, n, patch=16, luma_THW=luma)
    y, x = (np.mgrid[: 2 * n, : 2 * n] * 8 + 4) - n * 8
    flows = {
        "static": (0 * x, 0 * y),
        "pan": (0 * x + 11, 0 * y - 3),
        "zoom": (0.06 * x + 1, 0.06 * y),
        "turn": (-0.08 * y, 0.08 * x),
    }
    motion = np.repeat(np.stack(flows[camera], -1)[None].astype(np.float32), T, 0)
    slope = np.kron(scale, np.ones((1, 1)))[::8, ::8]
    residual = rng.gamma(8, 1 / 8, (T, 2 * n, 2 * n)) * (0.5 + (0 if camera == "static" else 0.3) * slope)
    where = np.zeros((T, n, n), np.bool_)
    for t in range(T):
        where[t, 5:9, 2 + t // 4 : 6 + t // 4] = True
    cells = np.kron(where, np.ones((1, 2, 2), np.bool_))
    motion[cells] += (-8, 5)
    residual[cells] += 6
    motion = np.round(motion * 4) / 4
    return frames, make_signals(frames, residual=residual.astype(np.float32), motion=motion), where


def on_object(chosen: Selection, where: NDArray[np.bool_]) -> float:
    beside = chosen.positions_K3[chosen.kind_K != Kind.ANCHOR]
    return float(where[tuple(beside.T)].mean())


@pytest.mark.parametrize("score", ["motion", "fused"])
@pytest.mark.parametrize("camera", ["static", "pan", "zoom", "turn"])
def test_the_object_ranks_above_the_passing_texture(camera: str, score: str) -> None:
    frames, signals, where = filmed(camera)
    budget = int(where[1:].sum() * 0.6) // 4 * 4
    config = SelectionConfig(budget=budget, score=score)  # type: ignore[arg-type]
    assert on_object(select(frames, signals, config), where) > 0.9


def test_without_compensation_the_pan_hides_the_object() -> None:
    frames, signals, where = filmed("pan")
    budget = int(where[1:].sum() * 0.6) // 4 * 4
    lost = select(frames, signals, SelectionConfig(budget=budget, camera="none", score="motion"))
    assert on_object(lost, where) < 0.3
    assert lost.provenance["camera"] == "none"


def test_what_a_moving_camera_leaves_of_texture_is_expected() -> None:
    frames, signals, where = filmed("pan")
    budget = int(where[1:].sum() * 0.5) // 4 * 4
    raw = select(frames, signals, SelectionConfig(budget=budget, score="residual", camera="none"))
    freed = select(frames, signals, SelectionConfig(budget=budget, score="residual"))
    assert on_object(freed, where) > on_object(raw, where) + 0.2


def test_content_that_comes_in_over_the_border_ranks_below_the_object() -> None:
    frames, signals, where = filmed("pan")
    residual, intra = signals.residual_Tyx.copy(), np.zeros(signals.intra_Tyx.shape, np.bool_)
    residual[:, :, :1], intra[:, :, :1] = 40, True  # the pan of (11, -3): content moves right, news at the left edge
    signals = make_signals(frames, residual=residual, motion=signals.motion_Tyx2, intra=intra)
    budget = int(where[1:].sum() * 0.5) // 4 * 4
    assert on_object(select(frames, signals, SelectionConfig(budget=budget)), where) > 0.9


@pytest.mark.parametrize("score", ["motion", "fused"])
def test_vectors_of_flat_cells_are_no_motion(score: str) -> None:
    """A coder points anywhere where nothing can be seen: flat sky must not outrank a textured object."""
    frames, signals, where = filmed("static")
    luma = frames.luma_THW.copy()
    luma[:, :64] = 200 + np.random.default_rng(6).integers(-1, 2, (16, 64, 224))
    motion = signals.motion_Tyx2.copy()
    motion[:, :8] = (30, 0)
    frames = make_frames(16, 14, 14, patch=16, luma_THW=luma)
    signals = make_signals(frames, residual=signals.residual_Tyx * (np.arange(28) >= 8)[:, None], motion=motion)
    budget = int(where[1:].sum() * 0.6) // 4 * 4
    assert on_object(select(frames, signals, SelectionConfig(budget=budget, score=score)), where) > 0.9


def test_letterbox_does_not_pass_for_a_static_camera() -> None:
    frames, signals, where = filmed("pan")
    content = np.ones((14, 14), np.bool_)
    content[:4] = content[10:] = False  # 57 % of the picture is bars
    motion = signals.motion_Tyx2.copy()
    motion[:, :8] = motion[:, 20:] = 0
    boxed = make_frames(16, 14, 14, patch=16, luma_THW=frames.luma_THW, content_hw=content)
    signals = make_signals(boxed, residual=signals.residual_Tyx, motion=motion)
    budget = int(where[1:].sum() * 0.5) // 4 * 4
    chosen = select(boxed, signals, SelectionConfig(budget=budget, anchors=0))
    assert set(chosen.provenance["camera"]["model"][1:]) == {"translation"}
    assert on_object(chosen, where) > 0.85


def test_bits_rank_when_they_are_there() -> None:
    frames = make_frames(8, 4, 4)
    bits = np.ones((8, 4, 4), np.float32)
    bits[3:6, 1, 2] = 90
    chosen = select(frames, make_signals(frames, bits=bits), SelectionConfig(budget=3, score="bits", anchors=0))
    assert chosen.positions_K3.tolist() == [[3, 1, 2], [4, 1, 2], [5, 1, 2]]


def test_percentiles_see_every_column_of_the_grid() -> None:
    """28 columns and a whole-number stride of 4: a sample of every fourth column would find 1, the truth is 100."""
    values = np.where(np.arange(28) % 4 == 0, 1, 100).astype(np.float32)
    values = np.tile(values, (64, 28, 1)).ravel()
    assert len(values) > 3 * MOST_SAMPLES
    seen = _sample(values)
    assert len(seen) <= MOST_SAMPLES
    assert _percentile(seen, 0.95) == np.percentile(values, 95) == 100
    assert (seen == 1).mean() == pytest.approx(0.25, abs=0.01)
    np.testing.assert_array_equal(_sample(values), seen)


def test_a_share_is_what_is_written() -> None:
    """0.29 in binary is less than 0.29: 28 of 100 would be the truncated product."""
    starts_T = np.arange(64) == 0
    for share, units in ((0.29, 29), (0.57, 57), (0.07, 7), (1, 100), (0.255, 25)):
        planned = plan_anchors(budget=100, per_frame=400, starts_T=starts_T, count=1, share=share)
        assert planned.units_A.tolist() == [units]


def test_frame_difference_of_large_units_does_not_wrap() -> None:
    """300 rows of 255 levels sum to more than 16 bits, and would wrap to less than 300 rows of 60."""
    luma = np.zeros((3, 300, 600), np.uint8)
    luma[1:, :, 300:], luma[1:, :, :300] = 255, 60
    clip = make_frames(3, 1, 2, patch=300, luma_THW=luma)
    chosen = select(clip, None, SelectionConfig(budget=1, score="frame_difference", anchors=0, min_per_frame=0))
    assert chosen.positions_K3.tolist() == [[1, 0, 1]]


def test_frame_difference_looks_at_the_frames() -> None:
    luma = np.full((8, 32, 32), 90, np.uint8)
    luma[4:, 8:16, 16:24] = 160
    chosen = select(
        make_frames(8, 4, 4, luma_THW=luma), None, SelectionConfig(budget=1, score="frame_difference", anchors=0)
    )
    assert chosen.positions_K3.tolist() == [[4, 1, 2]]


# --- spreading ---------------------------------------------------------------------------------------------------


@fixed
@given(room=st.lists(st.integers(0, 20), min_size=1, max_size=40), data=st.data())
def test_spread_and_apportion_are_exact_and_fair(room: list[int], data: st.DataObject) -> None:
    room_T = np.array(room)
    total = data.draw(st.integers(0, int(room_T.sum())))
    even = spread(total, room_T)
    assert even.sum() == total
    assert (even <= room_T).all()
    unfilled = even[even < room_T]
    assert np.ptp(unfilled) <= 1 if len(unfilled) else True
    sizes = np.array(data.draw(st.lists(st.integers(1, 9), min_size=len(room), max_size=len(room))))
    shared = apportion(total, sizes, room_T)
    assert shared.sum() == total
    assert (shared <= room_T).all()


def test_apportion_goes_by_the_largest_remainder() -> None:
    room = np.array([99, 99, 99])
    assert apportion(7, np.array([1, 2, 3]), room).tolist() == [1, 2, 4]  # of 1.17, 2.33, 3.5
    assert apportion(8, np.array([1, 1, 1]), room).tolist() == [3, 3, 2]
    assert apportion(8, np.array([1, 1, 1]), np.array([1, 99, 99])).tolist() == [1, 4, 3]


@pytest.mark.parametrize("grid", [(16, 16), (9, 14), (1, 7), (5, 1)])
def test_coverage_is_a_permutation_and_even_from_the_start(grid: tuple[int, int]) -> None:
    order_TU = coverage_order(6, grid)
    for order_U in order_TU:
        assert len(set(order_U.tolist())) == grid[0] * grid[1]
    first = np.argsort(order_TU[3])[: max(4, grid[0] * grid[1] // 4)]
    y, x = first // grid[1], first % grid[1]
    for values, size in ((y, grid[0]), (x, grid[1])):
        assert abs(values.mean() - (size - 1) / 2) <= max(1.0, 0.2 * size)
