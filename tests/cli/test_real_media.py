"""The commands on real clips of every common codec, and on damaged files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from onevision_encoder.cli import main

BUDGET = 500


@pytest.mark.slow
def test_every_clip_encodes_with_exactly_the_budget(
    media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["encode", str(media / "clips"), "--budget", str(BUDGET), "--model", "tiny", "--output", "both"]
    assert main([*words, "--out", str(tmp_path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    files = sorted(p.name for p in (media / "clips").iterdir())
    assert [d["name"] for d in result["done"]] == files
    assert len(files) >= 22
    for item in result["done"]:
        arrays = load_file(tmp_path / item["file"])
        assert item["tokens"] == BUDGET == len(arrays["tokens"]) == len(np.unique(arrays["positions"], axis=0))
        assert arrays["pooled"].shape == (192,)
        assert np.isfinite(arrays["pooled"]).all()
        assert np.isfinite(arrays["tokens"]).all()


@pytest.mark.slow
def test_damaged_files_are_listed_or_counted(media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = sorted(p for p in (media / "bad").iterdir())
    code = main(["tokens", *map(str, names), "--budget", "32", "--out", str(tmp_path), "--json"])
    out, err = capsys.readouterr()
    result = json.loads(out)
    assert code == 1
    assert len(result["done"]) + len(result["failed"]) == len(names)
    assert len(result["done"]) >= 4
    assert all(d["tokens"] == 32 for d in result["done"])
    for failure in result["failed"]:
        assert failure["source"] in failure["message"]
        assert failure["error"] in err
