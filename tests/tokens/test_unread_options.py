"""An option that nothing would read is refused, except where a control can still make it count."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import moving_square, write_video

from onevision_encoder.checks import READER
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.hub import OneVisionEncoderProcessor
from onevision_encoder.tokens import read_clip, save_tokens, tokenize
from onevision_encoder.tokens.pipeline import TokenizeConfig
from onevision_encoder.video import Sampling, read_media
from onevision_encoder.view import make_page

FRAMES = moving_square(frames=8)
OTHER = {
    "anchor_share": 0.5,
    "anchors": 2,
    "camera": "none",
    "interval": "frame",
    "min_per_frame": 2,
    "provider": "x264proxy",
    "scope": "chunk",
    "score": "motion",
}


@pytest.mark.parametrize("policy", ["uniform", "uniform_lowres", "dense", "random", "run_length", "tiled"])
@pytest.mark.parametrize("name", OTHER)
def test_options_of_policy_codec(name: str, policy: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{name}={OTHER[name]!r} .*only policy='codec' reads it"):
        tokenize(FRAMES, policy=policy, **{name: OTHER[name]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 3}, "seed=3 .*policy='random'"),
        ({"chunk_frames": 4}, "chunk_frames=4 .*scope='chunk'"),
        ({"side": 112}, "side=112 .*recipe='letterbox'"),
        ({"ticks_per_second": 2.0}, r"ticks_per_second=2\.0 .*time='seconds'"),
        ({"bin_frame": "random"}, "bin_frame='random' .*pattern='bins'"),
        ({"frame_seed": 7}, "frame_seed=7 .*bin_frame='random'"),
        ({"pattern": "bins", "frame_seed": 7}, "frame_seed=7 .*bin_frame='random'"),
        ({"policy": "uniform", "scope": "chunk", "chunk_frames": 4}, "scope='chunk' .*policy='codec'"),
    ],
)
def test_options_of_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        tokenize(FRAMES, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"scope": "chunk", "chunk_frames": 4, "anchors": 2, "camera": "none", "interval": "frame"},
        {"policy": "random", "seed": 3},
        {"policy": "uniform", "score": "fused", "provider": "auto", "seed": 0},  # what they are anyway
        {"policy": "dense", "pattern": "bins", "num_frames": 4, "bin_frame": "random", "frame_seed": 7},
        {"policy": "dense", "recipe": "letterbox", "side": 112, "time": "seconds", "ticks_per_second": 2.0},
    ],
)
def test_what_is_read_is_accepted(options: dict[str, Any]) -> None:
    assert len(tokenize(FRAMES, **options))


def test_the_table_names_options_that_exist() -> None:
    names = {option.name for part in fields(TokenizeConfig) for option in fields(part.default_factory)}  # type: ignore[arg-type]
    assert set(READER) | {place for place, _ in READER.values()} <= names


def test_a_page_opens_with_options_that_its_controls_read(tmp_path: Path) -> None:
    """And the command it shows is one that ``ove tokens`` accepts, whatever the control says."""
    video = write_video(tmp_path / "a.mp4", moving_square(frames=12))
    options = {"policy": "uniform", "anchors": 3, "seed": 5, "num_frames": 6, "budget": 100}
    clip = make_page(str(video), **options).clips[0]
    assert clip["start"]["policy"] == "uniform"
    assert clip["config"]["anchors"] == 3
    assert clip["command"][-2:] == ["--num-frames", "6"]
    assert clip["policyFlags"] == {
        "codec": ["--anchors", "3"],
        "chunk": ["--anchors", "3"],
        "uniform": [],
        "random": ["--seed", "5"],
    }
    with pytest.raises(InvalidArgumentError, match="anchors=3"):
        read_clip(str(video), **options)


def test_a_processor_s_defaults_of_another_policy_are_left_out_and_a_call_s_are_not() -> None:
    processor = OneVisionEncoderProcessor(budget=64, score="motion", recipe="letterbox", side=112)
    config = processor.video_config("frames", budget=64, recipe="native")
    assert (config.selection.policy, config.selection.score, config.sizing.side) == ("uniform", "fused", None)
    assert processor.video_config().selection.score == "motion"
    with pytest.raises(InvalidArgumentError, match="score='bits'"):
        processor(videos=FRAMES, policy="uniform", score="bits")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 8}, "frames: no such option, did you mean num_frames"),
        ({"bugdet": 5}, "bugdet: no such option, did you mean budget"),
        ({"patch_size": 14}, "did you mean patch"),
        ({"zzz": 5}, r"options=\['zzz'\] .* names among"),
    ],
)
def test_a_name_that_does_not_exist(options: dict[str, Any], message: str) -> None:
    for call in (tokenize, make_page):
        with pytest.raises(InvalidArgumentError, match=message):
            call(FRAMES, **options)


def test_first_calls_that_are_wrong_say_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match=r"config=64 .*budget=64"):
        tokenize(FRAMES, 64)  # type: ignore[arg-type]
    for call in (tokenize, make_page):
        with pytest.raises(InvalidArgumentError, match=r"list of files: one call per file, then pack\(\)"):
            call(["a.mp4", Path("b.mp4")])
    with pytest.raises(
        InvalidArgumentError, match=re.escape("sampling={'num_frames': 4} is not accepted: a Sampling(")
    ):
        read_media(FRAMES, sampling={"num_frames": 4})  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="a Sizing"):
        read_media(FRAMES, sampling=Sampling(num_frames=4), sizing={})  # type: ignore[arg-type]
    tokens = tokenize(np.asarray(FRAMES), budget=16)
    with pytest.raises(InvalidArgumentError, match=r"save_tokens\(path, tokens\).*swapped"):
        save_tokens(tokens, tmp_path / "a.tokens.safetensors")  # type: ignore[arg-type]
