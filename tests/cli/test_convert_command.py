"""`ove convert` as a person would call it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from calling import call
from clips import moving_square, write_video
from safetensors.torch import save_file

from onevision_encoder.cli import main
from onevision_encoder.model import OneVisionEncoderModel, load_encoder, preset_config
from onevision_encoder.model.layouts import to_fused
from onevision_encoder.tokens import load_tokens
from onevision_encoder.types import PatchTokens


def called(capsys: pytest.CaptureFixture[str], *argv: object) -> dict[str, Any]:
    code, out, err = call(capsys, *argv, "--json")
    assert code == 0, err
    result: dict[str, Any] = json.loads(out)["done"][0]
    return result


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole Mage-VL in small: tower, merger, language model."""
    torch.manual_seed(0)
    config = preset_config("tiny", use_head=False, window_frames=4, patch_size=16)
    tower = to_fused(OneVisionEncoderModel(config).to(torch.bfloat16).state_dict())
    state = {f"model.visual.{name}": tensor for name, tensor in tower.items()}
    state |= {"model.visual.merger.ln_q.weight": torch.ones(192), "lm_head.weight": torch.ones(8, 8)}
    folder = tmp_path_factory.mktemp("vlm") / "mage"
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    vision = {"model_type": "mage_vl_vision", "num_attention_heads": 3, "frame_windows_size": 4, "patch_size": 16}
    (folder / "config.json").write_text(json.dumps({"model_type": "mage_vl", "vision_config": vision}))
    return folder


def test_weights_say_what_was_found_and_left_out(vlm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = call(capsys, "convert", vlm, tmp_path / "encoder")
    assert code == 0, err
    assert "a vision tower of Mage-VL under 'model.visual.'" in out
    assert "left out: lm_head (1), merger (1)" in out
    assert "note: config.json does not say rope_theta" in out
    assert load_encoder(tmp_path / "encoder", dtype="float32").model.config.patch_size == 16
    result = called(capsys, "convert", tmp_path / "encoder", tmp_path / "tower", "--to", "ov2")
    assert (result["found"], result["layout"], result["to"], result["dtypes"]) == (
        "weights",
        "ours",
        "ov2",
        {"bfloat16": result["tensors"]},
    )


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 frames of 4 x 6 patches, 8 pictures' worth, in whole 2x2 blocks."""
    folder = tmp_path_factory.mktemp("tokens")
    write_video(folder / "clip.mp4", moving_square(frames=64, height=56, width=84))
    options = ["--merge", 2, "--max-patches", 24, "--budget", 8 * 24, "--out", folder]
    assert main([str(a) for a in ("tokens", folder / "clip.mp4", *options)]) == 0
    return folder / "clip.mp4.tokens.safetensors"


@pytest.mark.parametrize("to", ["canvases", "mosaics"])
@pytest.mark.parametrize("pictures", ["png", "jpg"])
def test_data_goes_there_and_comes_back(
    tokens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], to: str, pictures: str
) -> None:
    there = called(capsys, "convert", tokens, tmp_path / "there", "--to", to, "--picture-format", pictures)
    assert (there["found"], there["to"], there["exact"]) == ("tokens", to, pictures == "png")
    assert ("sample" in there) == (to == "mosaics")
    assert all(Path(image).is_file() for image in there.get("sample", {}).get("image", ()))
    back = called(capsys, "convert", tmp_path / "there", tmp_path / "x.tokens.safetensors")
    assert (back["found"], back["to"], back["tokens"]) == (to, "tokens", 192)
    one, two = load_tokens(tokens), load_tokens(tmp_path / "x.tokens.safetensors")
    assert np.array_equal(one.positions_N3, two.positions_N3)
    assert np.array_equal(one.patches_ND, two.patches_ND) == (pictures == "png")


def test_canvases_become_mosaics(tokens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Data prepared for the successor trains the original."""
    called(capsys, "convert", tokens, tmp_path / "canvases", "--to", "canvases")
    result = called(capsys, "convert", tmp_path / "canvases", tmp_path / "mosaics", "--to", "mosaics")
    assert result["exact"]
    assert len(result["sample"]["image"]) == 8


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--to", "ours"), "holds tokens"),
        ((), "one of"),
        (("--to", "mosaics", "--block", 3), "block=3"),
        (("--to", "canvases", "--patch", 14), "patch=14"),
        (("--to", "canvases", "--config", "x.json"), "config='x.json'"),
    ],
)
def test_wrong_calls_are_told_apart(
    tokens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[object, ...], says: str
) -> None:
    code, _, err = call(capsys, "convert", tokens, tmp_path / "out", *options)
    assert code == 2
    assert says in err
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten(vlm: Path, tokens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.tokens.safetensors").write_text("mine")
    for source, name in ((vlm, "."), (tokens, "x.tokens.safetensors")):
        code, _, err = call(
            capsys, "convert", source, tmp_path / name, *(["--to", "canvases"] if source == tokens else [])
        )
        assert code == 2
        assert "not taken" in err
    assert (tmp_path / "x.tokens.safetensors").read_text() == "mine"


def test_what_cannot_be_read_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = call(capsys, "convert", tmp_path / "absent", tmp_path / "out")
    assert code == 1
    assert "no such file or folder" in err
    (tmp_path / "x.tokens.safetensors").write_text("no")
    code, _, err = call(capsys, "convert", tmp_path / "x.tokens.safetensors", tmp_path / "out", "--to", "canvases")
    assert code == 1
    assert "TokenFileError" in err
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "src_patch_position.npy").write_text("no")
    code, _, err = call(capsys, "convert", tmp_path / "c", tmp_path / "out.safetensors")
    assert code == 2
    assert "tokens.safetensors" in err


@pytest.mark.parametrize("to", ["tokens", "canvases", "mosaics"])
@pytest.mark.parametrize("field", ["patches_ND", "score_N", "pts_seconds_T"])
def test_what_reads_back_differently_gets_no_name(
    tokens: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    to: str,
    field: str,
) -> None:
    """A writer that changes one number: the command fails, and nothing lies under the destination's name."""
    from onevision_encoder.cli import convert

    source = tokens
    if to == "tokens":
        called(capsys, "convert", tokens, tmp_path / "canvases", "--to", "canvases")
        source = tmp_path / "canvases"
    before = sorted(path.name for path in tmp_path.iterdir())
    home, name = {
        "tokens": (convert, "save_tokens"),
        "canvases": (convert.canvases, "export_canvases"),
        "mosaics": (convert.mosaics, "export_mosaics"),
    }[to]
    whole = getattr(home, name)

    def spoiled(path: Path, given: PatchTokens, **options: Any) -> Any:
        clip = given.clips[0]
        if field == "pts_seconds_T":
            clip = replace(clip, pts_seconds_T=clip.pts_seconds_T + 1)
            return whole(path, replace(given, clips=(clip,)), **options)
        changed = getattr(given, field).copy()
        changed.reshape(-1)[0] += 1
        return whole(path, replace(given, **{field: changed}), **options)

    monkeypatch.setattr(home, name, spoiled)
    out = tmp_path / ("out.tokens.safetensors" if to == "tokens" else "out")
    code, _, err = call(capsys, "convert", source, out, "--to", to)
    assert code == 1
    assert "reads back differently" in err
    assert field in err
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_times_that_are_there_are_not_said_again(
    tokens: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    called(capsys, "convert", tokens, tmp_path / "canvases", "--to", "canvases")
    code, _, err = call(capsys, "convert", tmp_path / "canvases", tmp_path / "x.tokens.safetensors", "--fps", 3)
    assert code != 0
    assert "fps=3" in err


def test_a_folder_of_token_files_is_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "tokens"
    folder.mkdir()
    (folder / "a.mp4.tokens.safetensors").write_bytes(b"")
    assert main(["convert", str(folder), str(tmp_path / "canvases"), "--to", "canvases"]) == 2
    assert "a.mp4.tokens.safetensors" in capsys.readouterr().err
