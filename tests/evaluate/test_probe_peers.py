"""`ove eval probe --model FOLDER` with encoders of others: they read frames as their own processors want them."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from backbone_twins import siglip, videomae
from labelled import TONES, folder_of_classes, write_tone

from onevision_encoder.cli import main
from onevision_encoder.evaluate import load_backbone
from onevision_encoder.evaluate.feature_cache import FORM


def words(root: Path, model: Path, out: Path, *more: object) -> list[str]:
    options = ["eval", "probe", "--data", root, "--model", model, "--head", "linear", "--seeds", 1, "--epochs", 12]
    options += ["--lrs", "1e-1", "--weight-decays", 0, "--device", "cpu", "--dtype", "float32", "--out", out]
    return [str(word) for word in (*options, *more)]


def test_a_peer_is_probed_on_its_own_frames(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path / "data", 4)
    folder = siglip().save(tmp_path / "siglip")
    assert main(words(root, folder, tmp_path / "o", "--num-frames", 2, "--cache", tmp_path / "cache")) == 0
    report = json.loads((tmp_path / "o/report.json").read_text())
    assert report["results"]["top1"]["mean"] == 1.0, "dark and bright"
    assert (report["backbone"]["family"], report["backbone"]["num_frames"]) == ("siglip", 2)
    assert report["reading"]["sampling"]["num_frames"] == 2
    peer = load_backbone(folder, device="cpu", dtype="float32", num_frames=2)
    expected = {np.float32(peer.encode([peer.read(file)]).tokens_NC.mean(0)).tobytes() for file in root.rglob("*.mp4")}
    cached = {stored(file) for file in (tmp_path / "cache").rglob("*.safetensors")}
    assert cached == expected, "read without a codec's selection, as the peer itself reads"


def stored(file: Path) -> bytes:
    return FORM.read(file)[1]["features"].tobytes()


def test_what_only_our_own_encoder_reads_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = folder_of_classes(tmp_path / "data", 2)
    folder = siglip().save(tmp_path / "siglip")
    for options in (("--budget", 8), ("--policy", "uniform"), ("--max-patches", 16), ("--score", "bits")):
        assert main(words(root, folder, tmp_path / "o", *options)) == 2
        assert f"{options[0][2:].replace('-', '_')}={options[1]!r}" in capsys.readouterr().err
    full = [
        "eval",
        "probe",
        "--data",
        str(root),
        "--model",
        str(folder),
        "--tune",
        "full",
        "--out",
        str(tmp_path / "o"),
    ]
    assert main(full) == 2
    assert "others are probed" in capsys.readouterr().err


def test_a_clip_too_short_for_a_peer_is_named_and_left_out(tmp_path: Path) -> None:
    root = tmp_path / "data"
    model = videomae().save(tmp_path / "videomae")
    frames = load_backbone(model, device="cpu", dtype="float32").num_frames
    assert frames is not None
    for i, (split, name, _) in enumerate(product(("train", "test"), TONES, range(2))):
        write_tone(root / split / name / f"{i}.mp4", TONES[name], i, frames=frames)
    write_tone(root / "test/dark/short.mp4", 60, 99, frames=frames - 1)
    assert main(words(root, model, tmp_path / "o")) == 1
    report = json.loads((tmp_path / "o/report.json").read_text())
    assert [b["id"] for b in report["broken"]] == ["test/dark/short.mp4"]
    assert f"at least {frames} frames" in report["broken"][0]["cause"]
    assert report["test"]["videos"] == 4
