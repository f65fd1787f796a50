"""Options that say how to read a source, given with frames that were read before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from clips import moving_square
from made import frames as made_frames
from PIL import Image

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.tokens import TokenizeConfig, read_clip, tokenize
from onevision_encoder.types import FrameSequence
from onevision_encoder.video import frames_from_array, read_media

RGB = moving_square(frames=40)


@pytest.fixture(scope="module")
def frames() -> FrameSequence:
    return read_media(RGB)


@pytest.mark.parametrize("policy", ["codec", "uniform", "dense"])
@pytest.mark.parametrize(
    "asked", [{"num_frames": 4}, {"max_patches": 16}, {"fps": 2.0}, {"merge": 2}, {"patch": 16}, {"recipe": "crop224"}]
)
def test_options_that_come_too_late_are_refused(frames: FrameSequence, policy: str, asked: dict[str, Any]) -> None:
    (name,) = asked
    for call in (
        lambda: tokenize(frames, policy=policy, **asked),
        lambda: read_clip(frames, TokenizeConfig.of(policy=policy, **asked)),
    ):
        with pytest.raises(InvalidArgumentError, match=r"with which they were read; .*leave it out") as caught:
            call()
        assert (caught.value.name, caught.value.value) == (name, asked[name])


def test_the_same_options_again_are_taken() -> None:
    how: dict[str, Any] = {"num_frames": 4, "max_patches": 16, "pattern": "bins", "merge": 2}
    reading = read_clip(RGB, **how)
    assert reading.frames.num_frames == 4
    for again in (read_clip(reading.frames, reading.config), read_clip(reading.frames, **how)):
        assert again.frames is reading.frames
        np.testing.assert_array_equal(again.tokens().patches_ND, reading.tokens().patches_ND)
    assert read_clip(reading.frames, TokenizeConfig()).frames is reading.frames  # all defaults: nothing is asked


def test_a_default_that_is_written_out_is_asked_for() -> None:
    four = read_clip(RGB, num_frames=4).frames
    assert tokenize(four).clips[0].frame_index_T.tolist() == four.frame_index_T.tolist()
    with pytest.raises(InvalidArgumentError, match="num_frames=64 is not accepted: 4, with which they were read"):
        tokenize(four, num_frames=64)


def test_frames_that_do_not_tell_how_they_were_made() -> None:
    by_hand = made_frames()  # provenance: a note of its own
    assert len(tokenize(by_hand, budget=10, patch=14, merge=1, policy="uniform")) == 10
    for made in (by_hand, replace(by_hand, provenance={}), frames_from_array(RGB)):
        for asked in ({"num_frames": 4}, {"patch": 16}, {"start_seconds": 0.5}):
            with pytest.raises(InvalidArgumentError, match="leave it out, or give what they were made from"):
                tokenize(made, budget=10, policy="uniform", **asked)
    config = TokenizeConfig.of(num_frames=4, max_patches=16, budget=10, policy="uniform")
    assert config.for_frames(by_hand) == TokenizeConfig.of(budget=10, policy="uniform")


def test_of_a_still_image_no_sampling_is_looked_at() -> None:
    reading = read_clip(Image.fromarray(RGB[0]), num_frames=4, max_patches=20)
    assert read_clip(reading.frames, reading.config).frames is reading.frames
    with pytest.raises(InvalidArgumentError, match="max_patches=16"):
        tokenize(reading.frames, num_frames=4, max_patches=16)


def test_settings_for_any_source_made_fit_for_frames() -> None:
    four = read_clip(RGB, num_frames=4, max_patches=20).frames
    config = TokenizeConfig.of(num_frames=8, max_patches=16, budget=12, policy="uniform", time="index")
    fit = config.for_frames(four)
    assert (fit.sampling.num_frames, fit.sizing.max_patches) == (4, 20)
    assert (fit.selection, fit.times, fit.signals) == (config.selection, config.times, config.signals)
    assert len(tokenize(four, fit)) == 12
