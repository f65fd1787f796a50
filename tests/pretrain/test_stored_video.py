"""Stored videos: any budget of the ladder gives exactly the tokens that the policy chooses of the clip."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from clips import moving_square
from numpy.typing import NDArray
from scenes import cut, noisy, to_rgb

from onevision_encoder.errors import BudgetError, TokenFileError
from onevision_encoder.pretrain.stored_video import POLICY, StoredVideo, VideoMode, ladder, load_stored, store_mode
from onevision_encoder.tokens import load_tokens, patchify, read_clip
from onevision_encoder.tokens.pipeline import ClipReading, TimeConfig, TokenizeConfig
from onevision_encoder.types import PatchTokens

LEVELS = {"codec": ladder(), "frames": ("12.5%", "25%", "50%"), "tiled": ("12.5%", "25%", "50%")}


def reading(mode: VideoMode, **options: object) -> ClipReading:
    frames = np.concatenate([moving_square(9), to_rgb(noisy(cut(3), 2.0))])
    return read_clip(frames, TokenizeConfig.of(policy=POLICY[mode], **options))


def stored(clip: ClipReading, mode: VideoMode) -> StoredVideo:
    config = clip.config.selection
    payload, facts = store_mode(clip.frames, clip.signals, config, levels=LEVELS[mode], times=TimeConfig())
    video = load_stored("clip", payload)
    assert facts["stored"] == len(video.tokens)
    return video


def gather_at(clip: ClipReading, tokens: PatchTokens) -> NDArray[np.uint8]:
    shape = (clip.frames.num_frames, *clip.frames.grid)
    flat = np.ravel_multi_index(tuple(tokens.positions_N3.T.astype(int)), shape)
    return patchify(clip.frames.rgb_THW3, 14)[flat]


def same(one: PatchTokens, other: PatchTokens) -> None:
    for name in ("patches_ND", "positions_N3", "model_positions_N3", "score_N", "kind_N"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True, err_msg=name)
    assert one.clips[0].layout == other.clips[0].layout
    assert one.clips[0].order == other.clips[0].order
    np.testing.assert_array_equal(one.clips[0].frame_index_T, other.clips[0].frame_index_T)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"merge": 2, "order": "block2", "recipe": "letterbox", "side": 112},
        pytest.param({"scope": "chunk", "score": "bits"}, marks=pytest.mark.slow),
    ],
    ids=["plain", "blocks", "chunks"],
)
def test_every_level_is_what_the_policy_chooses(options: dict[str, object]) -> None:
    clip = reading("codec", **options)
    video = stored(clip, "codec")
    assert len(video.levels) > 20
    for budget in {video.levels[0], *video.levels[1::14], video.levels[-1]}:
        config = replace(clip.config, selection=replace(clip.config.selection, budget=budget))
        same(video.at(budget, "codec"), read_clip(clip.frames, config).tokens())
        assert video.at(budget, "codec").clips[0].provenance["not_stored"] == 0


@pytest.mark.parametrize("mode", ["frames", "tiled"])
def test_whole_frames_are_those_of_the_policy(mode: VideoMode) -> None:
    clip = reading("frames")
    video = stored(clip, "frames")
    for budget in video.levels:
        same(video.at(budget, mode), read_clip(clip.frames, policy=POLICY[mode], budget=budget).tokens())
    with pytest.raises(BudgetError, match="whose whole frames are stored"):
        video.at(video.levels[0] + 64, mode)


def test_between_the_levels_what_was_not_stored_is_counted() -> None:
    clip = reading("codec")
    video = stored(clip, "codec")
    lacking = wrong = 0
    budgets = range(video.levels[0], video.levels[-1] + 1, 61)
    for budget in budgets:
        got = video.at(budget, "codec")
        config = replace(clip.config, selection=replace(clip.config.selection, budget=budget))
        wanted = read_clip(clip.frames, config).tokens()
        assert len(got) == budget
        differ = {*map(tuple, wanted.positions_N3.tolist())} - {*map(tuple, got.positions_N3.tolist())}
        told = got.clips[0].provenance["not_stored"]
        assert len(differ) <= told
        assert bool(differ) == bool(told)
        lacking += told
        wrong += bool(told)
        rows = gather_at(clip, got)
        np.testing.assert_array_equal(got.patches_ND, rows)  # whichever they are, the pixels are theirs
    assert lacking <= 0.002 * sum(budgets), (lacking, wrong)


def test_budgets_that_cannot_be_met_are_refused() -> None:
    video = stored(reading("codec"), "codec")
    with pytest.raises(BudgetError, match="highest level that is stored"):
        video.at(video.levels[-1] + 1, "codec")
    with pytest.raises(BudgetError):
        video.at(0, "codec")


def test_it_is_a_token_file_too(tmp_path: Path) -> None:
    clip = reading("codec")
    payload, _ = store_mode(clip.frames, clip.signals, clip.config.selection, levels=("25%",), times=TimeConfig())
    file = tmp_path / "clip.safetensors"
    file.write_bytes(payload)
    tokens = load_tokens(file)
    config = replace(clip.config, selection=replace(clip.config.selection, budget="25%"))
    same(tokens, read_clip(clip.frames, config).tokens())
    again, _ = store_mode(clip.frames, clip.signals, clip.config.selection, levels=("25%",), times=TimeConfig())
    assert again == payload


@pytest.mark.parametrize("damage", [lambda b: b[:400], lambda b: b[:-9], lambda b: b"", lambda b: b"{}" * 50])
def test_damage_is_told(damage: Callable[[bytes], bytes]) -> None:
    clip = reading("codec")
    payload, _ = store_mode(clip.frames, clip.signals, clip.config.selection, levels=("25%",), times=TimeConfig())
    with pytest.raises(TokenFileError, match="clip 7"):
        load_stored("clip 7", damage(payload))


def test_the_ladder_holds_the_usual_numbers() -> None:
    assert len(ladder()) == 57
    assert {"3.125%", "6.25%", "12.5%", "25%"} <= set(ladder())
