"""Two processes give the bits of one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import two_ranks
from made_features import cloud


def start(words: list[Path], rank: int, port: int) -> subprocess.Popen[str]:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return subprocess.Popen(
        [sys.executable, two_ranks.__file__, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **{name: str(value) for name, value in place.items()}, "OMP_NUM_THREADS": "1"},
    )


@pytest.mark.slow
def test_two_processes_give_the_bits_of_one(tmp_path: Path) -> None:
    x = cloud(1730, 12)  # uneven shares, a short last chunk
    np.save(tmp_path / "x.npy", x)
    x[1500, 3] = np.nan  # a row of the second process
    np.save(tmp_path / "broken.npy", x)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    pair = [start([tmp_path / "x.npy", tmp_path / "two"], rank, port) for rank in range(2)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        two_ranks.main(tmp_path / "x.npy", tmp_path / "one")
    finally:
        torch.set_num_threads(threads)
    said = [process.communicate(timeout=120)[1] for process in pair]
    assert [process.returncode for process in pair] == [0, 0], said
    for levels in "12":
        for file in ("centres.safetensors", "labels.safetensors"):
            one, two = ((tmp_path / n / levels / file).read_bytes() for n in ("one", "two"))
            assert one == two, (levels, file)
    complaints = {str(np.load(tmp_path / "two" / f"said{rank}.npy")) for rank in (0, 1)}
    assert len(complaints) == 1
    assert "1500" in complaints.pop()
