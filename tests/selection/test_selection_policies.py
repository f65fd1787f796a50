"""Every policy on any clip: exactly K unique rows, no letterbox, sorted, the same again; and each policy's own rule."""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from selection_clips import clips, fixed, make_frames, make_signals, units_of

from onevision_encoder.errors import BudgetError, InvalidArgumentError, ShapeError, SignalUnavailableError
from onevision_encoder.selection import PolicyName, ScoreName, SelectionConfig, needs_signals, select
from onevision_encoder.types import CodecSignals, FrameSequence, Kind, Selection, order_rank

POLICIES = get_args(PolicyName)
Clip = tuple[FrameSequence, CodecSignals]


def draw_config(data: st.DataObject, clip: FrameSequence, **fields: object) -> tuple[SelectionConfig, int]:
    """A configuration with a budget that the clip can meet, and that budget."""
    unit = clip.merge**2
    available = int(units_of(clip).sum()) * clip.num_frames * unit
    budget = unit * data.draw(st.integers(1, available // unit), "units")
    if fields.get("policy") == "dense":
        budget = available
    return SelectionConfig(budget=budget, **fields), budget  # type: ignore[arg-type]


@pytest.mark.parametrize("policy", POLICIES)
@settings(fixed, max_examples=300)
@given(
    clip=clips(),
    score=st.sampled_from(get_args(ScoreName)),
    scope=st.sampled_from(("global", "chunk")),
    order=st.sampled_from(("raster", "block2", "block3")),
    chunk=st.integers(1, 9),
    anchors=st.sampled_from((None, 0, 1, 3, 100)),
    share=st.sampled_from((0.0, 0.1, 0.25, 1.0)),
    least=st.integers(0, 4),
    data=st.data(),
)
def test_exactly_k_rows(
    clip: Clip, policy: str, score: str, scope: str, order: str, chunk: int, anchors: int | None, share: float,
    least: int, data: st.DataObject,
) -> None:  # fmt: skip
    frames, signals = clip
    config, budget = draw_config(
        data, frames, policy=policy, score=score, scope=scope, order=order, chunk_frames=chunk, anchors=anchors,
        anchor_share=share, min_per_frame=least,
    )  # fmt: skip
    chosen = select(frames, signals, config)
    rows = [tuple(r) for r in chosen.positions_K3.tolist()]
    assert len(rows) == len(set(rows)) == budget
    if order == "raster":
        assert rows == sorted(rows)
    else:
        assert np.all(np.diff(order_rank(chosen.positions_K3, chosen.shape, chosen.order)) > 0)
    usable = units_of(frames)
    m = frames.merge
    assert all(usable[h // m, w // m] for _, h, w in rows)
    blocks = {(t, h // m, w // m) for t, h, w in rows}
    assert len(blocks) * m * m == budget  # whole blocks only
    again = select(frames, signals, config)
    assert np.array_equal(again.positions_K3, chosen.positions_K3)
    assert np.array_equal(again.score_K, chosen.score_K)
    assert np.array_equal(again.kind_K, chosen.kind_K)
    assert json.loads(json.dumps(chosen.provenance)) == json.loads(json.dumps(again.provenance))
    check_kinds(chosen, policy)
    if policy == "codec":
        check_codec(frames, signals, chosen, config, budget)


def check_kinds(chosen: Selection, policy: str) -> None:
    kind, score = chosen.kind_K, chosen.score_K
    assert not score[kind != Kind.CODEC].any()
    assert (score[kind == Kind.CODEC] > 0).all()
    if policy != "codec":
        assert not (kind == Kind.ANCHOR).any()
    if policy not in ("codec", "run_length"):
        assert (kind == Kind.FILL).all()
    assert chosen.layout == ("tiled" if policy == "tiled" else "frames")


def check_codec(
    frames: FrameSequence, signals: CodecSignals, chosen: Selection, config: SelectionConfig, budget: int
) -> None:
    T, unit = frames.num_frames, frames.merge**2
    t, anchor = chosen.positions_K3[:, 0], chosen.kind_K == Kind.ANCHOR
    K, A = budget // unit, int(anchor.sum()) // unit
    assert config.anchor_share * K >= A
    ranked_T = signals.valid_T & ~signals.cut_T
    assert not (chosen.kind_K[~ranked_T[t]] == Kind.CODEC).any()
    per_frame = np.bincount(t, minlength=T) // unit
    least = min(config.min_per_frame, (K - A) // T, int(units_of(frames).sum()))
    assert per_frame[ranked_T].min(initial=T * K) >= least
    if config.scope == "chunk":
        check_chunks(frames, chosen, config, K - A, np.bincount(t[~anchor], minlength=T) // unit)


def check_chunks(
    frames: FrameSequence, chosen: Selection, config: SelectionConfig, rest: int, beside_anchors_T: np.ndarray
) -> None:
    """Every run of frames has its proportional share of what the anchors left, unless a run is full."""
    T, n = frames.num_frames, config.chunk_frames
    anchor_T = np.bincount(chosen.positions_K3[chosen.kind_K == Kind.ANCHOR, 0], minlength=T) // frames.merge**2
    got, full = [], False
    for begin in range(0, T, n):
        part = slice(begin, begin + n)
        got.append(int(beside_anchors_T[part].sum()))
        room = int(units_of(frames).sum()) * len(anchor_T[part]) - int(anchor_T[part].sum())
        full |= rest * len(anchor_T[part]) > T * (room - 1)
    assert got == chosen.provenance["chunk_quotas"]
    if not full:
        for begin, count in zip(range(0, T, n), got, strict=True):
            assert abs(count - rest * min(n, T - begin) / T) < 1


@pytest.mark.parametrize("merge", [1, 2])
@pytest.mark.parametrize("policy", POLICIES)
def test_every_valid_k(policy: str, merge: int) -> None:
    content = np.ones((2 * merge, 3 * merge), np.bool_)
    content[0, -1] = False
    frames = make_frames(5, 2 * merge, 3 * merge, merge=merge, content_hw=content)
    rng = np.random.default_rng(0)
    signals = make_signals(frames, residual=rng.integers(0, 4, (5, 2 * merge, 3 * merge)), cuts=(3,))
    available = 5 * 5 * merge**2
    for budget in range(merge**2, available + 1, merge**2):
        if policy == "dense" and budget < available:
            with pytest.raises(BudgetError, match=f"budget={budget} .*{available} or '100%'"):
                select(frames, signals, SelectionConfig(policy="dense", budget=budget))
        else:
            assert len(select(frames, signals, SelectionConfig(policy=policy, budget=budget))) == budget  # type: ignore[arg-type]


def test_dense_takes_everything_by_percentage() -> None:
    frames = make_frames(3, 4, 5)
    assert len(select(frames, None, SelectionConfig(policy="dense", budget="100%"))) == 60
    with pytest.raises(BudgetError, match=r"budget='12\.5%'"):
        select(frames, None, SelectionConfig(policy="dense", budget="12.5%"))


def test_auto_is_an_eighth_of_a_video_and_all_of_an_image() -> None:
    def chosen(frames: FrameSequence, policy: PolicyName) -> int:
        return len(select(frames, None, SelectionConfig(policy=policy)))

    video, image = make_frames(4, 4, 6), make_frames(1, 4, 6)
    assert chosen(video, "uniform") == 4 * 24 // 8
    assert chosen(video, "dense") == 4 * 24
    assert chosen(image, "uniform") == 24


@pytest.mark.parametrize("policy", ["uniform", "tiled", "uniform_lowres"])
def test_uniform_is_whole_frames_end_to_end(policy: PolicyName) -> None:
    frames = make_frames(64, 4, 5)
    chosen = select(frames, None, SelectionConfig(policy=policy, budget=8 * 20))
    assert np.flatnonzero(chosen.tokens_per_frame_T).tolist() == [0, 9, 18, 27, 36, 45, 54, 63]  # the original's 8
    assert set(chosen.tokens_per_frame_T) == {0, 20}


def test_uniform_spends_the_remainder_on_a_coarse_frame() -> None:
    frames = make_frames(64, 4, 6)
    chosen = select(frames, None, SelectionConfig(policy="uniform", budget=2 * 24 + 6))
    assert chosen.tokens_per_frame_T[[0, 31, 63]].tolist() == [24, 24, 6]
    h, w = chosen.positions_K3[chosen.positions_K3[:, 0] == 63, 1:].T
    assert len(set(h % 2)) == 1
    assert len(set(w % 2)) == 1  # every second patch both ways


def test_random_depends_on_the_seed_and_is_even() -> None:
    frames = make_frames(16, 8, 8)
    picks = [select(frames, None, SelectionConfig(policy="random", seed=s)).positions_K3 for s in (0, 0, 1)]
    assert np.array_equal(picks[0], picks[1])
    assert not np.array_equal(picks[0], picks[2])
    hits = np.zeros((16, 8, 8))
    for seed in range(200):
        np.add.at(hits, tuple(select(frames, None, SelectionConfig(policy="random", seed=seed)).positions_K3.T), 1)
    assert abs(hits.mean() - 25) < 1e-9
    assert 0.7 < hits.var() / (200 * 0.125 * 0.875) < 1.3  # binomial


def test_run_length_keeps_what_changed_since_it_was_last_kept() -> None:
    luma = np.full((6, 16, 24), 100, np.uint8)  # 2 x 3 patches of 8 pixels
    luma[3:, :8, :8] += 50  # a step at t = 3
    for t in range(6):
        luma[t, 8:, 16:] += 4 * t  # a drift of 4 a frame
    frames = make_frames(6, 2, 3, luma_THW=luma)
    chosen = select(frames, None, SelectionConfig(policy="run_length", budget=6 + 3))
    kept = [tuple(r) for r in chosen.positions_K3.tolist()]
    # The step once, and the drift each time it has grown to 8, twice in five frames (12 would keep it once).
    assert kept[6:] == [(2, 1, 2), (3, 0, 0), (4, 1, 2)]
    assert chosen.score_K.tolist() == [0] * 6 + [8, 50, 8]
    assert 4 <= chosen.provenance["threshold"] < 8


def test_run_length_without_change_covers_evenly() -> None:
    frames = make_frames(5, 4, 4, luma_THW=np.full((5, 32, 32), 9, np.uint8))
    chosen = select(frames, None, SelectionConfig(policy="run_length", budget=16 + 8))
    assert chosen.tokens_per_frame_T.tolist() == [16, 2, 2, 2, 2]
    assert (chosen.kind_K == Kind.FILL).all()


def test_signals_must_be_there_and_fit() -> None:
    frames = make_frames()
    with pytest.raises(InvalidArgumentError, match="signals=None"):
        select(frames, None)
    with pytest.raises(ShapeError, match="signals of these 8 frames"):
        select(frames, make_signals(make_frames(7)))
    with pytest.raises(ShapeError, match=r"frame_size=\(32, 48\)"):
        select(frames, make_signals(make_frames(8, 4, 6)))
    with pytest.raises(SignalUnavailableError, match=r"'made' cannot give bits.*fused"):
        select(frames, make_signals(frames), SelectionConfig(score="bits"))


def test_only_the_codec_policy_needs_signals() -> None:
    asking = {
        (p, s) for p in POLICIES for s in get_args(ScoreName) if needs_signals(SelectionConfig(policy=p, score=s))
    }
    assert asking == {("codec", s) for s in get_args(ScoreName)}
    assert len(select(make_frames(), None, SelectionConfig(score="frame_difference"))) == 20


@pytest.mark.parametrize(
    ("field", "value"),
    [("policy", "best"), ("score", "beauty"), ("scope", "frame"), ("camera", "on"), ("short", "pad"), ("order", "z"),
     ("chunk_frames", 0), ("anchors", -1), ("anchor_share", 1.5), ("min_per_frame", -1), ("seed", -1)],
)  # fmt: skip
def test_wrong_configuration_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{field}={value!r}"):
        SelectionConfig(**{field: value})  # type: ignore[arg-type]


def test_short_clips() -> None:
    frames = make_frames(2, 4, 5)
    with pytest.raises(BudgetError, match="1 to 40"):
        select(frames, make_signals(frames), SelectionConfig(budget=2048))
    capped = select(frames, make_signals(frames), SelectionConfig(budget=2048, short="cap"))
    assert len(capped) == capped.provenance["budget"] == 40
    assert capped.provenance["config"]["budget"] == 2048
