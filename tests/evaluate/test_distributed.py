"""Two processes say what one says, to the bit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from labelled import folder_of_classes

from onevision_encoder.evaluate.distributed import IncompleteEvaluationError, Team, sorted_rows


def test_shares_are_whole_and_apart() -> None:
    items = [f"clip{i}" for i in range(11)]
    for world in (1, 2, 3, 16):
        shares = [Team(rank, world).mine(items) for rank in range(world)]
        assert sorted(sum(shares, [])) == sorted(items)
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_what_is_gathered_must_be_whole() -> None:
    rows = {name: np.array([i]) for i, name in enumerate("cab")}
    assert list(Team().gather_rows(rows, ["a", "b", "c"])) == ["a", "b", "c"]
    assert sorted_rows(rows).tolist() == [[1], [2], [0]]
    with pytest.raises(IncompleteEvaluationError, match="1 missing"):
        Team().gather_rows(rows, ["a", "b", "c", "d"])
    with pytest.raises(IncompleteEvaluationError, match="1 unknown"):
        Team().gather_rows(rows, ["a", "b"])


class TwiceTeam(Team):
    """Every process sends the same rows: what an overlap of shards looks like."""

    def gather(self, value):  # type: ignore[no-untyped-def]
        return [value, value]


def test_an_id_that_comes_twice_is_refused() -> None:
    with pytest.raises(IncompleteEvaluationError, match="2 twice"):
        TwiceTeam().gather_rows({"a": np.zeros(1), "b": np.zeros(1)}, ["a", "b"])


def launch(root: Path, out: Path, processes: int, head: str) -> tuple[int, str]:
    words = ["eval", "probe", "--data", root, "--model", "tiny", "--policy", "dense", "--max-patches", 4]
    words += ["--head", head, "--seeds", 2, "--epochs", 2, "--batch-size", 5, "--lrs", "1e-3", "1e-2", "3e-3"]
    words += ["--weight-decays", "0", "--dtype", "float32", "--device", "cpu", "--out", out]
    starter = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", processes] if processes > 1 else []
    command = [sys.executable, *starter, "-m", "onevision_encoder", *words]
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return done.returncode, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="torchrun needs libuv on Windows")
def test_two_processes_give_the_report_of_one(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path / "data", 7)  # 14 to train, 6 to test: uneven batches and shares
    (root / "test/dark/test001.mp4").write_bytes(b"no video")
    (root / "train/bright/train003.mp4").write_bytes(b"no video")
    for processes in (1, 2):
        code, said = launch(root, tmp_path / str(processes), processes, "attentive")
        assert code == 1, said
        assert "2 clips could not be read" in said
    run = json.loads((tmp_path / "2/run.json").read_text())
    assert run["processes"] == 2
    assert run["rank_0"]["clips_encoded"] == 9, "half of the 18 clips that can be read"
    for file in ("report.json", "predictions.jsonl", "report.md"):
        one, two = ((tmp_path / n / file).read_bytes() for n in ("1", "2"))
        assert one == two, file
    ids = [json.loads(line)["id"] for line in (tmp_path / "2/predictions.jsonl").read_text().splitlines()]
    tests = [p.relative_to(root).as_posix() for p in root.glob("test/*/*.mp4")]
    assert ids == sorted(set(tests) - {"test/dark/test001.mp4"})
