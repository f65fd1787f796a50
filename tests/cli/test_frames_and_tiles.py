"""`ove` with bins, slots and tiles, as a person would call it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from clips import moving_square, write_video
from PIL import Image

from onevision_encoder.cli import main
from onevision_encoder.model import load_embeddings
from onevision_encoder.tokens import load_tokens

BINS = ["--num-frames", "8", "--pattern", "bins", "--bin-frame", "random", "--frame-seed", "5"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clips") / "a.mp4", moving_square(frames=64, height=70, width=98))


def run(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    code = main([str(a) for a in argv])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def test_tokens_of_bins_at_their_slots(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "tokens", clip, *BINS, "--time", "slots", "--policy", "dense", "--out", tmp_path)
    info = load_tokens(tmp_path / "a.mp4.tokens.safetensors").clips[0]
    assert (info.frame_index_T // 8).tolist() == list(range(8))
    assert info.model_time_T.tolist() == info.frame_index_T.tolist()
    assert info.provenance["request"]["sampling"]["frame_seed"] == 5
    kept = run(capsys, "tokens", clip, *BINS, "--time", "slots", "--policy", "dense", "--out", tmp_path)
    assert "(kept)" in kept
    other = [*BINS[:-1], "6"]
    again = run(capsys, "tokens", clip, *other, "--time", "slots", "--policy", "dense", "--out", tmp_path)
    assert "(kept)" not in again
    assert load_tokens(tmp_path / "a.mp4.tokens.safetensors").clips[0].frame_index_T.tolist() != (
        info.frame_index_T.tolist()
    )


def test_tokens_and_embeddings_of_tiles(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [*BINS, "--policy", "tiled", "--budget", "100%"]
    run(capsys, "encode", clip, *options, "--model", "tiny", "--output", "both", "--out", tmp_path / "e")
    run(capsys, "tokens", clip, *options, "--out", tmp_path / "t")
    tokens = load_tokens(tmp_path / "t" / "a.mp4.tokens.safetensors")
    (stored,) = (tmp_path / "e").glob("a.mp4*.safetensors")
    embedded = load_embeddings(stored)
    assert tokens.clips[0].layout == embedded.layout == "tiled"
    assert tokens.model_positions_N3.tolist() == [[0, h, w] for h in range(8 * 5) for w in range(7)]
    assert embedded.tokens_NC is not None
    assert len(embedded.tokens_NC) == len(tokens) == 8 * 35
    np.testing.assert_array_equal(embedded.positions_N3, tokens.positions_N3)


@pytest.mark.parametrize("suffix", ["png", "gif", "mp4"])
def test_preview_of_tiles(clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    target = tmp_path / f"x.{suffix}"
    result = json.loads(run(capsys, "preview", clip, "--policy", "tiled", *BINS, "--out", target, "--json"))
    assert result["done"][0]["tokens"] == 35
    assert target.stat().st_size > 1000
    if suffix == "png":
        with Image.open(target) as sheet:
            assert sheet.size[0] > 300


def test_inspect_tells_how_frames_were_sampled(clip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = run(capsys, "inspect", clip, *BINS, "--time", "slots")
    facts = json.loads(run(capsys, "inspect", clip, *BINS, "--time", "slots", "--json"))["sampled"]
    assert "one frame (random, seed 5) of each of 8 bins" in told
    assert facts["sampling"]["pattern"] == "bins"
    assert facts["model_time"] == facts["frame_index"]
    assert f"time       {' '.join(map(str, facts['frame_index']))}\n" in told
    tiles = run(capsys, "inspect", clip, "--policy", "tiled")
    assert "at most 64 frames, evenly spread" in tiles
    assert "time       0: 8 tiles in one tall picture" in tiles
    assert "every frame on a grid of 5 frames a second" in run(
        capsys, "inspect", clip, "--fps", 5, "--num-frames", "None"
    )
    long = run(capsys, "inspect", clip)
    assert "time       0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 ... 63\n" in long


def test_a_slot_for_two_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_video(tmp_path / "long.mp4", moving_square(frames=80, height=56, width=56))
    for verb in (["inspect"], ["tokens", "--out", str(tmp_path / "out")]):
        assert main([*verb, str(path), "--num-frames", "None", "--time", "slots", "--budget", "9"]) == 1
        assert "both have slot" in capsys.readouterr().err


def test_an_image_has_neither_pattern_nor_bins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(moving_square(frames=1, height=70, width=98)[0]).save(tmp_path / "still.png")
    told = run(capsys, "inspect", tmp_path / "still.png", *BINS, "--time", "slots")
    assert "pattern" not in told
    assert "time       0\n" in told


@pytest.mark.parametrize("verb", ["tokens", "inspect", "preview", "encode"])
def test_an_option_that_the_policy_does_not_read_is_a_wrong_call(
    verb: str, clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    beside = {"tokens": ["--out", tmp_path / "out"], "preview": ["--out", tmp_path / "a.png"], "inspect": []}
    more = beside.get(verb, ["--model", "tiny", "--out", tmp_path / "out"])
    argv = [str(a) for a in (verb, clip, "--policy", "uniform", "--score", "motion", *more)]
    try:
        code = main(argv)
    except SystemExit as stop:
        code = stop.code  # type: ignore[assignment]
    assert code == 2
    assert "score='motion'" in "".join(capsys.readouterr())
    assert list(tmp_path.iterdir()) == []


def test_a_page_takes_options_of_every_policy_it_offers(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "a.html"
    run(capsys, "view", clip, "--policy", "uniform", "--score", "motion", "--num-frames", 8, "--out", page)
    assert page.is_file()
