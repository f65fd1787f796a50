"""Small runs in processes of their own, one or several, and what they left.

They are forked from a server that has everything imported, so that a life costs what the run costs.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Life:
    """One process and where its standard error goes."""

    process: Any
    log: Path

    def send(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def end(self, timeout: float) -> tuple[int, str]:
        """Exit code (minus the signal that killed it) and standard error; past the time it is killed."""
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            raise AssertionError(f"still running after {timeout} s: {self.log.read_text()}")
        return self.process.exitcode, self.log.read_text()


def launch(out: Path, *settings: str, world: int = 1) -> list[Life]:
    """Start the processes of a run, with what torchrun would put into their environment."""
    context = mp.get_context("forkserver")
    context.set_forkserver_preload(["run_small", "onevision_encoder.pretrain.start", "onevision_encoder.model.encoder"])
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    out.parent.mkdir(parents=True, exist_ok=True)
    lives = []
    for rank in range(world):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        log = out.parent / f"{out.name}-{rank}.stderr"
        process = context.Process(target=_live, args=(out, settings, {k: str(v) for k, v in place.items()}, log))
        process.start()
        lives.append(Life(process, log))
    return lives


def finish(lives: Sequence[Life], timeout: float = 240) -> tuple[list[int], list[str]]:
    """Exit codes and standard errors, by rank."""
    deadline = time.monotonic() + timeout
    ends = [life.end(max(1.0, deadline - time.monotonic())) for life in lives]
    return [code for code, _ in ends], [said for _, said in ends]


def done(out: Path, *settings: str, world: int = 1) -> None:
    """A run that must end well."""
    codes, said = finish(launch(out, *settings, world=world))
    assert codes == [0] * world, said


def wait_for_rows(out: Path, rows: int, timeout: float = 240) -> None:
    """Until a run has written down so many steps."""
    path, deadline = out / "metrics.jsonl", time.monotonic() + timeout
    while not path.is_file() or path.read_bytes().count(b"\n") < rows:
        assert time.monotonic() < deadline, f"{out} has not come to {rows} steps"
        time.sleep(0.005)


def _live(out: Path, settings: tuple[str, ...], place: dict[str, str], log: Path) -> None:
    import run_small

    os.environ.update(place)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, 2)
    run_small.leave(run_small.main(out, settings))
