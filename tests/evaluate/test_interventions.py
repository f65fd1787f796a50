"""Interventions against a dictionary of places, clip by clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clips import write_video

from onevision_encoder.errors import BudgetError, InvalidArgumentError
from onevision_encoder.evaluate.datasets import Example
from onevision_encoder.evaluate.intervening import Intervention, others_of
from onevision_encoder.evaluate.interventions import ClipTokens, intervene
from onevision_encoder.tokens import ClipReading, patchify, read_clip
from onevision_encoder.types import Kind

SHAPE = (4, 3, 5)


def everything(seed: int, shape: tuple[int, int, int] = SHAPE) -> ClipTokens:
    """All patches of a clip, every pixel row different from every other one, in a scrambled order."""
    rng = np.random.default_rng(seed)
    positions = np.argwhere(np.ones(shape, bool)).astype(np.int32)[rng.permutation(int(np.prod(shape)))]
    patches = rng.integers(0, 256, (len(positions), 12), dtype=np.uint8)
    model = positions.astype(np.float32) * [21, 1, 1]
    return ClipTokens(
        patches_KD=patches,
        positions_K3=positions,
        model_K3=model.astype(np.float32),
        kind_K=np.full(len(positions), Kind.FILL, np.uint8),
    )


def some(clip: ClipTokens, count: int, seed: int, anchors: int = 0) -> ClipTokens:
    rows = np.random.default_rng(seed).permutation(len(clip.kind_K))[:count]
    kinds = np.full(count, Kind.CODEC, np.uint8)
    kinds[:anchors] = Kind.ANCHOR
    return ClipTokens(
        patches_KD=clip.patches_KD[rows],
        positions_K3=clip.positions_K3[rows],
        model_K3=clip.model_K3[rows],
        kind_K=kinds,
    )


def by_place(clip: ClipTokens) -> dict[tuple[int, ...], tuple[bytes, bytes]]:
    rows = zip(clip.positions_K3.tolist(), clip.patches_KD, clip.model_K3, strict=True)
    return {tuple(place): (patch.tobytes(), model.tobytes()) for place, patch, model in rows}


def disturbed(kind: str, chosen: ClipTokens, own: ClipTokens, **more: object) -> ClipTokens:
    options = {"share": 1.0, "seed": 3, "clip": "a", "other": None, **more}
    return intervene(kind, chosen, own=own, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(("share", "anchors"), [(1.0, 0), (1.0, 4), (0.5, 4), (0.3, 0)])
@pytest.mark.parametrize("seed", range(3))
def test_non_motion_brings_patches_that_were_not_chosen_with_their_own_places(
    share: float, anchors: int, seed: int
) -> None:
    own = everything(seed)
    chosen = some(own, 20, seed, anchors)
    out = disturbed("non_motion", chosen, own, share=share)
    truth, before, after = by_place(own), by_place(chosen), by_place(out)
    assert len(after) == 20, "as many tokens, no place twice"
    assert all(truth[place] == what for place, what in after.items()), "pixels and times are those of the place"
    new = after.keys() - before.keys()
    assert len(new) == int(np.floor(share * (20 - anchors) + 0.5))
    kept = set(map(tuple, chosen.positions_K3[chosen.kind_K == Kind.ANCHOR].tolist()))
    assert kept <= after.keys(), "anchors stay"
    assert sorted(out.kind_K.tolist()).count(Kind.FILL) == len(new)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_other_video_keeps_places_and_shows_what_the_other_shows_there(share: float) -> None:
    own, other = everything(1), everything(2)
    chosen = some(own, 20, 1, anchors=6)
    out = disturbed("other_video", chosen, own, share=share, other=other)
    assert np.array_equal(out.positions_K3, chosen.positions_K3)
    assert np.array_equal(out.model_K3, chosen.model_K3)
    truth = by_place(other)
    changed = [i for i in range(20) if not np.array_equal(out.patches_KD[i], chosen.patches_KD[i])]
    assert len(changed) == round(14 * share)
    for i in changed:
        assert chosen.kind_K[i] == Kind.CODEC
        assert truth[tuple(chosen.positions_K3[i].tolist())][0] == out.patches_KD[i].tobytes()


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_shuffled_deals_the_same_places_to_the_same_pixels_anew(share: float) -> None:
    own = everything(1)
    chosen = some(own, 30, 1)
    out = disturbed("shuffled", chosen, own, share=share)
    assert np.array_equal(out.patches_KD, chosen.patches_KD)
    pairs = {tuple(p): tuple(m) for p, m in zip(own.positions_K3.tolist(), own.model_K3.tolist(), strict=True)}
    assert all(
        pairs[tuple(p)] == tuple(m) for p, m in zip(out.positions_K3.tolist(), out.model_K3.tolist(), strict=True)
    )
    assert sorted(out.positions_K3.tolist()) == sorted(chosen.positions_K3.tolist())
    moved = int((out.positions_K3 != chosen.positions_K3).any(1).sum())
    assert 0.7 * 30 * share <= moved <= 30 * share


def test_what_is_drawn_depends_on_clip_and_seed_alone() -> None:
    own = everything(1)
    chosen = some(own, 20, 1)
    again, same = (disturbed("shuffled", chosen, own).positions_K3 for _ in range(2))
    assert np.array_equal(again, same)
    for change in ({"clip": "b"}, {"seed": 4}):
        assert not np.array_equal(again, disturbed("shuffled", chosen, own, **change).positions_K3)
    assert disturbed("none", chosen, own) is chosen


def test_what_cannot_be_done_is_refused() -> None:
    own = everything(1)
    with pytest.raises(BudgetError, match="20 are left to replace 40"):
        disturbed("non_motion", some(own, 40, 1), own)
    smaller = everything(5, (4, 2, 4))
    with pytest.raises(InvalidArgumentError, match="uniform_lowres"):
        disturbed("non_motion", some(smaller, 4, 1), own)
    with pytest.raises(InvalidArgumentError, match="grid"):
        disturbed("other_video", some(own, 40, 1), own, other=smaller)
    with pytest.raises(InvalidArgumentError, match="another video"):
        disturbed("other_video", some(own, 4, 1), own)


def test_partners_are_clips_of_other_videos() -> None:
    examples = [
        Example(id=f"{video}@{i}", video=video, path=Path(video), classes=(0,), split="test")
        for video in "abcdefghijkl"
        for i in range(2)
    ]
    others = others_of(examples, seed=1, most=5)
    assert others.keys() == {e.id for e in examples}
    for id, partners in others.items():
        assert len({e.id for e in partners}) == 5
        assert id[0] not in {e.video for e in partners}
    assert len({partners[0].id for partners in others.values()}) > 12, "not the same one for all"
    assert others_of(examples, seed=2) != others_of(examples, seed=1) == others_of(examples[::-1], seed=1)


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ClipReading]:
    """Three videos under policy codec; the last of another size."""
    root = tmp_path_factory.mktemp("others")
    for name, side in (("a", 56), ("b", 56), ("c", 84)):
        noise = np.random.default_rng(ord(name)).integers(0, 256, (4, side, side, 3))
        write_video(root / f"{name}.mp4", noise.astype(np.uint8), codec="mpeg4")
    return {name: read_clip(root / f"{name}.mp4", num_frames=4, budget=20, score="bits") for name in "abc"}


def test_another_video_of_the_same_size_is_found_and_read(readings: dict[str, ClipReading]) -> None:
    examples = [
        Example(id=name, video=name, path=Path(readings[name].frames.source.name), classes=(0,), split="test")
        for name in "abc"
    ]
    done = Intervention(kind="other_video", others={"a": (examples[2], examples[1]), "c": tuple(examples[:2])})
    reading = readings["a"]
    tokens, made = reading.tokens(), done(reading, "a")
    truth = patchify(readings["b"].frames.rgb_THW3, 14).reshape(4, 4, 4, -1)
    ranked = tokens.kind_N == Kind.CODEC
    assert 0 < ranked.sum() < 20
    assert np.array_equal(made.positions_N3, tokens.positions_N3)
    assert np.array_equal(made.patches_ND[ranked], truth[tuple(tokens.positions_N3[ranked].T)])
    assert np.array_equal(made.patches_ND[~ranked], tokens.patches_ND[~ranked])
    with pytest.raises(InvalidArgumentError, match="2 tried"):
        done(readings["c"], "c")


def test_non_motion_patches_are_pixels_of_the_clip_at_their_new_places(readings: dict[str, ClipReading]) -> None:
    reading = readings["a"]
    tokens, made = reading.tokens(), Intervention(kind="non_motion")(reading, "a")
    truth = patchify(reading.frames.rgb_THW3, 14).reshape(4, 4, 4, -1)
    assert np.array_equal(made.patches_ND, truth[tuple(made.positions_N3.T)])
    before, after = (set(map(tuple, t.positions_N3.tolist())) for t in (tokens, made))
    ranked = tokens.kind_N == Kind.CODEC
    assert after & before == set(map(tuple, tokens.positions_N3[~ranked].tolist()))
    assert len(after - before) == ranked.sum() > 0
    assert np.array_equal(made.model_positions_N3[:, 0], reading.model_time_T[made.positions_N3[:, 0]])
    with pytest.raises(BudgetError, match="are left to replace"):
        Intervention(kind="non_motion")(read_clip(reading.frames, policy="dense", budget="100%"), "a")
