"""Two processes say what one says, to the bit."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled import folder_of_classes

from onevision_encoder.cli import main
from onevision_encoder.evaluate.distributed import IncompleteEvaluationError, Team, sorted_rows


def test_shares_are_whole_and_apart() -> None:
    items = [f"clip{i}" for i in range(11)]
    for world in (1, 2, 3, 16):
        shares = [Team(rank, world).mine(items) for rank in range(world)]
        assert sorted(item for share in shares for item in share) == sorted(items)
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


def words(root: Path, out: Path, head: str) -> list[str]:
    options = ["eval", "probe", "--data", root, "--model", "tiny", "--policy", "dense", "--max-patches", 4]
    options += ["--head", head, "--seeds", 2, "--epochs", 2, "--batch-size", 5, "--lrs", "1e-3", "1e-2", "3e-3"]
    options += ["--weight-decays", "0", "--dtype", "float32", "--device", "cpu", "--out", out]
    return [str(word) for word in options]


def tuning_words(root: Path, out: Path, cache: Path) -> list[str]:
    options = ["eval", "probe", "--data", root, "--model", "tiny", "--tune", "scratch", "--width", 32, "--heads", 1]
    options += ["--layers", 1, "--steps", 5, "--batch-size", 4, "--policy", "dense", "--max-patches", 4, "--folds", 2]
    options += ["--seeds", 2, "--lrs", "1e-2", "3e-3", "--device", "cpu", "--out", out, "--cache", cache]
    return [str(word) for word in options]


def start(argv: list[str], rank: int, world: int, port: int) -> subprocess.Popen[str]:
    """One process with what torchrun would put into its environment."""
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return subprocess.Popen(
        [sys.executable, "-m", "onevision_encoder", *argv],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **{name: str(value) for name, value in place.items()}, "OMP_NUM_THREADS": "1"},
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("head", ["attentive", *(pytest.param(h, marks=pytest.mark.slow) for h in ("linear", "knn"))])
def test_two_processes_give_the_report_of_one(tmp_path: Path, capsys: pytest.CaptureFixture[str], head: str) -> None:
    root = folder_of_classes(tmp_path / "data", 7)  # 14 to train, 6 to test: uneven batches and shares
    (root / "test/dark/test001.mp4").write_bytes(b"no video")
    (root / "train/bright/train003.mp4").write_bytes(b"no video")
    port = free_port()
    pair = [start(words(root, tmp_path / "2", head), rank, 2, port) for rank in range(2)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert main(words(root, tmp_path / "1", head)) == 1
    finally:
        torch.set_num_threads(threads)
    assert "2 clips could not be read" in capsys.readouterr().err
    said = [process.communicate(timeout=120)[1] for process in pair]
    assert [process.returncode for process in pair] == [1, 1], said
    assert "2 clips could not be read" in said[0]
    run = json.loads((tmp_path / "2/run.json").read_text())
    assert run["processes"] == 2
    assert run["rank_0"]["clips_encoded"] == 9, "half of the 18 clips that can be read"
    for file in ("report.json", "predictions.jsonl", "report.md"):
        one, two = ((tmp_path / n / file).read_bytes() for n in ("1", "2"))
        assert one == two, file
    ids = [json.loads(line)["id"] for line in (tmp_path / "2/predictions.jsonl").read_text().splitlines()]
    tests = [p.relative_to(root).as_posix() for p in root.glob("test/*/*.mp4")]
    assert ids == sorted(set(tests) - {"test/dark/test001.mp4"})


@pytest.mark.slow
def test_two_processes_tune_as_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four cells (two seeds of two folds), two for each process; one of them reads the clips."""
    root = folder_of_classes(tmp_path / "data", 5)
    (root / "train/bright/train003.mp4").write_bytes(b"no video")
    port = free_port()
    shared = tmp_path / "cache"
    pair = [start(tuning_words(root, tmp_path / "2", shared), rank, 2, port) for rank in range(2)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        assert main(tuning_words(root, tmp_path / "1", tmp_path / "own")) == 1
    finally:
        torch.set_num_threads(threads)
    said = [process.communicate(timeout=120)[1] for process in pair]
    assert [process.returncode for process in pair] == [1, 1], said
    run = json.loads((tmp_path / "2/run.json").read_text())
    assert run["processes"] == 2
    assert len(run["rank_0"]["steps_per_second"]) == 2
    assert len(list(shared.rglob("*.patches"))) == 1
    for file in ("report.json", "predictions.jsonl", "report.md"):
        one, two = ((tmp_path / n / file).read_bytes() for n in ("1", "2"))
        assert one == two, file
