"""`ove pretrain` as a person would call it; the runs themselves are tested in tests/pretrain."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from calling import call


def test_a_dry_run_prints_the_budget(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("pretrain", "--recipe", "large-stage2-video", "--dry-run", "--world", 128)
    code, out, _ = call(capsys, *words)
    assert code == 0
    assert "315,509,760 parameters" in out
    assert "128 ranks, 40 samples" in out
    code, out, _ = call(capsys, *words, "--set", "parallel.mode=ddp", "--json")
    found = json.loads(out)
    assert (code, found["world"]) == (0, 128)
    assert found["memory"]["weights"] == 4 * found["parameters"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--recipe", "large-stage3", "--out", "x"), "large-stage3"),
        (("--recipe", "tiny-stage1-image"), "out=None"),
        (("--out", "nowhere"), "the folder of a run"),
        (("--recipe", "tiny-stage1-image", "--config", "c.json", "--out", "x"), "either a config or a recipe"),
        (("--recipe", "tiny-stage1-image", "--out", "x", "--set", "optimizer.l=1"), "optimizer.l"),
        (("--recipe", "tiny-stage1-image", "--out", "x"), "corpora/images"),
        (("--recipe", "tiny-stage1-image", "--out", "x", "--media", "m"), "only recipe=tiny-cpu"),
        (("--recipe", "tiny-stage1-image", "--dry-run", "--world", 7), "batch_size=32"),
        (("--out", "nowhere", "--export", "y"), "holds no checkpoint"),
        (("--recipe", "tiny-cpu", "--dry-run"), "tiny-stage1-image or tiny-stage2-video"),
        (("--recipe", "tiny-cpu", "--config", "c.json", "--out", "x"), "either a config or a recipe"),
    ],
)
def test_wrong_calls_say_what_is_wrong(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[object, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = call(capsys, "pretrain", *words)
    assert code == 2
    assert said in err
    assert not list(tmp_path.rglob("metrics.jsonl"))
