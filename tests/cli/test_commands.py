"""`ove` as a person would call it, on small real files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from calling import call
from clips import moving_square, write_video
from PIL import Image
from safetensors.numpy import load_file

from onevision_encoder import __version__
from onevision_encoder.tokens import load_tokens


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    write_video(folder / "a.mp4", moving_square(frames=12))
    write_video(folder / "deep.mkv", moving_square(frames=9, height=84, width=140, seed=3), codec="mpeg4")
    Image.fromarray(moving_square(frames=1, height=70, width=98)[0]).save(folder / "still.png")
    return folder


def called(capsys: pytest.CaptureFixture[str], *argv: object) -> dict[str, Any]:
    code, out, err = call(capsys, *argv, "--json")
    assert code == 0, err
    result: dict[str, Any] = json.loads(out)
    return result


def test_tokens_are_exactly_as_many_as_asked(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = called(capsys, "tokens", clips, "--budget", 31, "--out", tmp_path)
    assert {d["name"]: d["tokens"] for d in result["done"]} == {"a.mp4": 31, "deep.mkv": 31, "still.png": 31}
    for item in result["done"]:
        tokens = load_tokens(tmp_path / item["file"])
        assert len(tokens) == 31
        assert tokens.clips[0].provenance["request"]["selection"]["budget"] == 31
    rows = [json.loads(line) for line in (tmp_path / "index.jsonl").read_text().splitlines()]
    assert rows == result["done"]


def test_a_second_run_keeps_what_has_not_changed(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def kept(*options: object) -> list[bool]:
        done = called(capsys, "tokens", clips / "a.mp4", clips / "still.png", "--out", tmp_path, *options)["done"]
        return [d["kept"] for d in done]

    assert kept("--budget", "25%") == [False, False]
    assert kept("--budget", "25%") == [True, True]
    assert kept("--budget", "50%") == [False, False]
    (tmp_path / "a.mp4.tokens.safetensors").write_bytes(b"cut short")
    assert kept("--budget", "50%") == [False, True]


def test_results_of_earlier_runs_stay_in_the_index(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.mp4", "still.png", "a.mp4"):
        called(capsys, "tokens", clips / name, "--out", tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "index.jsonl").read_text().splitlines()]
    assert [r["name"] for r in rows] == ["a.mp4", "still.png"]
    code, _, _ = call(capsys, "tokens", clips / "absent.mp4", "--out", tmp_path)
    assert code == 1
    assert len((tmp_path / "index.jsonl").read_text().splitlines()) == 2


def test_another_source_of_the_same_name_is_not_overwritten(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other").mkdir()
    write_video(tmp_path / "other" / "a.mp4", moving_square(frames=5, seed=9))
    called(capsys, "tokens", clips / "a.mp4", "--out", tmp_path / "out")
    before = (tmp_path / "out" / "a.mp4.tokens.safetensors").read_bytes()
    code, _, err = call(capsys, "tokens", tmp_path / "other" / "a.mp4", "--out", tmp_path / "out")
    assert code == 1
    assert "another folder" in err
    assert (tmp_path / "out" / "a.mp4.tokens.safetensors").read_bytes() == before
    write_video(tmp_path / "other" / "b.mp4", moving_square(frames=5, seed=9))
    called(capsys, "tokens", tmp_path / "other" / "b.mp4", "--out", tmp_path / "out")
    write_video(tmp_path / "other" / "b.mp4", moving_square(frames=6, seed=8))
    changed = called(capsys, "tokens", tmp_path / "other" / "b.mp4", "--out", tmp_path / "out")
    assert not changed["done"][0]["kept"], "the same place with new content is made anew"


@pytest.mark.parametrize("verb", ["tokens", "encode"])
def test_an_unusable_out_is_refused_before_any_work(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    (tmp_path / "file").write_text("")
    model = ["--model", "tiny"] if verb == "encode" else []
    code, out, err = call(capsys, verb, clips / "a.mp4", "--out", tmp_path / "file", *model)
    assert (code, out) == (2, "")
    assert "out=" in err


def test_every_policy_spends_the_same_percentage(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {
        policy: called(capsys, "tokens", clips / "deep.mkv", "--policy", policy, "--budget", "20%", "--out", tmp_path)
        for policy in ("codec", "uniform", "uniform_lowres", "random", "run_length", "tiled")
    }
    assert {c["done"][0]["tokens"] for c in counts.values()} == {9 * 6 * 10 // 5}


def test_images_are_read_whole_and_dense_reads_all(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = called(capsys, "tokens", clips / "still.png", "--out", tmp_path)["done"][0]
    assert image["tokens"] == image["of"] == 35
    dense = called(capsys, "tokens", clips / "a.mp4", "--policy", "dense", "--out", tmp_path)["done"][0]
    assert dense["tokens"] == dense["of"] == 12 * 64


def test_a_bad_file_does_not_stop_the_batch(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("this is no video")
    code, out, err = call(
        capsys, "tokens", text, clips / "a.mp4", tmp_path / "absent.mp4", "--budget", 31, "--out", tmp_path / "out"
    )
    assert code == 1
    assert "a.mp4: 31 tokens" in out
    assert "2 of 3 inputs failed" in err
    assert f"{tmp_path / 'absent.mp4'}: " in err
    assert f"{text}: " in err
    index = (tmp_path / "out" / "index.jsonl").read_text().splitlines()
    assert [json.loads(line)["name"] for line in index] == ["a.mp4"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--budget", "0"], "budget=0"),
        (["--budget", "-5"], "budget=-5"),
        (["--budget", "lots"], "budget='lots'"),
        (["--budget", "0%"], "budget='0%'"),
        (["--budget", "120%"], "budget='120%'"),
        (["--budget", "100000"], "budget=100000"),
        (["--budget", "31", "--merge", "2"], "budget=31"),
        (["--score", "bits", "--provider", "x264proxy"], "bits"),
        (["--num-frames", "0"], "num_frames=0"),
        (["--patch", "0"], "patch=0"),
        (["--max-patches", "0"], "max_patches=0"),
        (["--start-seconds", "1000"], "1000.0"),
        (["--fps", "-1"], "fps=-1"),
    ],
)
def test_wrong_values_are_named(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    code, out, err = call(capsys, "tokens", clips / "a.mp4", "--out", tmp_path, *options)
    assert code in (1, 2)
    assert out == ""
    assert message in err
    assert not list(tmp_path.glob("*.safetensors"))


def test_unknown_choices_list_the_known_ones(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "tokens", clips / "a.mp4", "--policy", "best")
    assert code == 2
    assert "run_length" in err


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "--version")[:2] == (0, f"ove {__version__}\n")
    code, out, _ = call(capsys, "--help")
    assert code == 0
    verbs = ("inspect", "tokens", "encode", "preview", "view", "convert", "export", "doctor")
    assert all(verb in out for verb in verbs)


def test_encode_is_the_same_from_a_video_and_from_its_tokens(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--model", "tiny", "--output", "both", "--dtype", "float32"]
    called(capsys, "tokens", clips / "a.mp4", "--budget", 40, "--out", tmp_path / "tokens")
    called(capsys, "encode", clips / "a.mp4", "--budget", 40, "--out", tmp_path / "video", *options)
    code, _, err = call(capsys, "encode", tmp_path / "tokens", "--out", tmp_path / "again", *options)
    assert code == 0
    assert "random" in err, "a preset says that its weights are random"
    one = load_file(tmp_path / "video" / "a.mp4.embedding.safetensors")
    two = load_file(tmp_path / "again" / "a.mp4.embedding.safetensors")
    assert one["pooled"].shape == (192,)
    assert one["tokens"].shape == (40, 192)
    assert all(np.array_equal(one[name], two[name]) for name in one)
    tokens = load_tokens(tmp_path / "tokens" / "a.mp4.tokens.safetensors")
    assert np.array_equal(one["positions"], tokens.positions_N3)


def test_encode_keeps_what_has_not_changed(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def kept(*options: object) -> bool:
        words = ["encode", clips / "a.mp4", "--model", "tiny", "--out", tmp_path, *options]
        return bool(called(capsys, *words)["done"][0]["kept"])

    assert [kept(), kept()] == [False, True]
    assert [kept("--budget", "50%"), kept("--budget", "50%")] == [False, True]
    assert [kept("--budget", "50%", "--output", "both"), kept("--budget", "50%", "--output", "both")] == [False, True]
    assert not kept("--budget", "50%", "--output", "both", "--dtype", "float16")


def test_options_that_a_token_file_cannot_follow_are_refused(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called(capsys, "tokens", clips / "a.mp4", "--budget", 40, "--out", tmp_path)
    words = ["encode", tmp_path / "a.mp4.tokens.safetensors", "--model", "tiny", "--out", tmp_path / "e"]
    code, _, err = call(capsys, *words, "--budget", 5, "--policy", "dense")
    assert code == 1
    assert "['policy', 'budget']" in err


def test_encode_refuses_tokens_of_another_patch_size(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called(capsys, "tokens", clips / "a.mp4", "--budget", 40, "--patch", 16, "--out", tmp_path)
    code, _, err = call(
        capsys, "encode", tmp_path / "a.mp4.tokens.safetensors", "--model", "tiny", "--out", tmp_path / "e"
    )
    assert code == 1
    assert "16" in err
    assert "14" in err


def test_encode_names_a_model_that_is_not_there(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = call(capsys, "encode", clips / "a.mp4", "--model", tmp_path / "nowhere", "--out", tmp_path)
    assert code == 2
    assert "nowhere" in err
    assert "tiny" in err, "the presets are named"


def test_inspect_tells_stream_signals_and_tokens(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = called(capsys, "inspect", clips / "a.mp4", "--budget", 96)
    assert (facts["stream"]["codec"], facts["stream"]["num_frames"]) == ("h264", 12)
    assert facts["signals"]["cuts_seconds"] == [0.0]
    assert facts["sampled"]["grid"] == [8, 8]
    assert sum(facts["selection"]["tokens_per_frame"]) == facts["selection"]["tokens"] == 96
    assert facts["signals"]["provider"] == "blockcoder"
    assert facts["signals"]["motion_pixels"]["p95"] == pytest.approx(4, abs=0.5), "the square moves 4 pixels a frame"
    code, out, _ = call(capsys, "inspect", clips / "still.png")
    assert code == 0
    assert "png, 98x70, 1 frame" in out


@pytest.mark.parametrize("suffix", ["png", "gif", "mp4"])
def test_preview_writes_a_picture(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str) -> None:
    target = tmp_path / f"x.{suffix}"
    result = called(capsys, "preview", clips / "a.mp4", "--budget", 96, "--out", target)
    assert result["done"][0]["tokens"] == 96
    with av.open(str(target)) as container:
        frames = sum(1 for _ in container.decode(video=0))
    assert frames >= (1 if suffix == "png" else 12)


def test_preview_names_the_suffixes_it_knows(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "preview", clips / "a.mp4", "--out", tmp_path / "x.bmp")
    assert code == 2
    assert ".gif" in err


@pytest.mark.parametrize("verb", ["inspect", "preview"])
def test_a_file_that_cannot_be_read_fails_like_in_a_batch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    out = ["--out", tmp_path / "x.png"] if verb == "preview" else []
    code, _, err = call(capsys, verb, tmp_path / "absent.mp4", *out)
    assert code == 1
    assert "absent.mp4" in err
