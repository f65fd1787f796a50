"""Runs of two processes: the same numbers as one, however the encoder is spread; other ranks go on; one gets lost."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from launching import done, finish, launch, wait_for_rows
from small_runs import MadeStream, small_config, weights_of

from onevision_encoder.pretrain.config import ParallelConfig
from onevision_encoder.pretrain.feed import to_device
from onevision_encoder.pretrain.parallel import Ranks
from onevision_encoder.pretrain.run_log import read_metrics
from onevision_encoder.pretrain.train_state import build_state

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name == "nt", reason="needs gloo over sockets and signals")]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "alone"
    done(out)
    return out


def bank_rows(arrays: dict[str, Any], what: str) -> np.ndarray[Any, Any]:
    """All blocks of a bank's rows end to end."""
    spans = sorted((int(n.split("[")[1].split(":")[0]), n) for n in arrays if n.startswith(what + "["))
    return np.concatenate([arrays[name] for _, name in spans])


def apart(one: Path, other: Path) -> float:
    """The largest distance of any tensor of two runs, in shares of its own size."""
    a, b = weights_of(one), weights_of(other)
    names = [n for n in a if n.startswith("encoder/")]
    assert set(names) == {n for n in b if n.startswith("encoder/")}
    pairs = [(a[n], b[n]) for n in names]
    pairs += [(bank_rows(a, f"bank/{n}/rows"), bank_rows(b, f"bank/{n}/rows")) for n in ("object", "motion")]
    return max(float(np.linalg.norm(x - y) / np.linalg.norm(x)) for x, y in pairs)


@pytest.mark.parametrize("mode", ["ddp", "fsdp2"])
def test_two_processes_learn_what_one_does(tmp_path: Path, alone: Path, mode: str) -> None:
    done(tmp_path / "two", f"parallel.mode={mode}", world=2)
    found, expected = (read_metrics(folder) for folder in (tmp_path / "two", alone))
    for name in ("loss", "grad_norm", "loss/object/image", "loss/motion/codec"):
        assert [row[name] for row in found] == pytest.approx([row[name] for row in expected], rel=2e-4), name
    for name in ("lr", "tokens", "samples", "labelled/object", "accuracy/motion"):
        assert [row[name] for row in found] == [row[name] for row in expected], name
    assert apart(tmp_path / "two", alone) < 2e-3
    done(tmp_path / "again", f"parallel.mode={mode}", world=2)
    a, b = weights_of(tmp_path / "two"), weights_of(tmp_path / "again")
    assert all(np.array_equal(a[name], b[name]) for name in a), "the same number of ranks gives the same bits"


def interrupted(out: Path, at: int, *settings: str, world: int) -> None:
    """A run that somebody stops by ctrl-C at a step or soon after it; it must save and say how to go on."""
    stale = len(read_metrics(out)) if out.is_dir() else 0
    lives = launch(out, *settings, world=world)
    wait_for_rows(out, max(at, stale + 2))
    for life in lives:
        life.send(signal.SIGINT)
    codes, said = finish(lives)
    assert codes == [130] * world, said
    assert f"ove pretrain --out {out}" in said[0]


@pytest.mark.parametrize("mode", ["ddp", "fsdp2"])
def test_ranks_may_change_on_the_way(tmp_path: Path, mode: str) -> None:
    """1 -> 2 -> 1 processes; the batches of all ranks together are the same, so the run is, up to rounding."""
    settings = ("steps=48", "checkpoint.every=20", f"parallel.mode={mode}", "optimizer.lr=1e-3")
    done(tmp_path / "whole", *settings)
    out = tmp_path / "moved"
    interrupted(out, 5, *settings, world=1)
    interrupted(out, 12, *settings, world=2)
    done(out, *settings)
    rows, expected = read_metrics(out), read_metrics(tmp_path / "whole")
    assert [row["step"] for row in rows] == list(range(48))
    losses, others = (np.array([row["loss"] for row in part]) for part in (rows, expected))
    assert np.allclose(losses[:20], others[:20], rtol=1e-3), np.abs(losses / others - 1)[:20].max()
    assert abs(losses[-20:].mean() / others[-20:].mean() - 1) < 0.02
    starts = json.loads((out / "run.json").read_text())["starts"]
    assert [start["ranks"] for start in starts] == [1, 2, 1]


@pytest.mark.parametrize("mode", ["ddp", "fsdp2"])
def test_a_lost_rank_is_a_typed_error_and_the_run_goes_on(tmp_path: Path, mode: str) -> None:
    out, settings = tmp_path / "run", ("steps=5000", f"parallel.mode={mode}")
    lives = launch(out, *settings, world=2)
    wait_for_rows(out, 8)
    lives[1].send(signal.SIGKILL)
    codes, said = finish(lives)
    assert codes == [2, -9], said
    assert "RankLostError: step" in said[0]
    assert f"Go on with: ove pretrain --out {out}" in said[0]
    kept = max(int(path.name[5:]) for path in (out / "checkpoints").glob("step-*"))
    assert kept >= 6
    interrupted(out, kept + 2, *settings, world=1)
    assert json.loads((out / "run.json").read_text())["starts"][1]["step"] == kept


def communicating(rank: int, place: str, mode: str) -> None:
    """Count how often gradients travel in a step of three micro-batches."""
    dist.init_process_group("gloo", init_method=f"file://{place}/rendezvous", rank=rank, world_size=2)
    torch.set_num_threads(1)
    state = build_state(small_config(parallel=ParallelConfig(mode=mode)), Ranks(rank, 2, joined=True))  # type: ignore[arg-type]
    stream = MadeStream(4, rank, 2, 16)
    name = "gloo:all_reduce" if mode == "ddp" else "c10d::_reduce_scatter"  # which gloo does by an all_reduce
    counts = []
    for last in (False, False, True):
        batch = to_device(next(stream), state.banks, torch.device("cpu"))
        with state.encoder.micro_step(last=last):
            x_SC = state.encoder.embed(batch.patches_ND, batch.positions_N3, batch.bounds)
            with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
                x_SC.square().mean().backward()
        counts.append(sum(e.count for e in profile.key_averages() if e.key.startswith(name)))
    torch.save(counts, f"{place}/{rank}.pt")
    dist.barrier()
    os._exit(0)  # taking DDP and gloo apart can lock up (torch 2.13)


@pytest.mark.parametrize("mode", ["ddp", "fsdp2"])
def test_accumulation_skips_communication(tmp_path: Path, mode: str) -> None:
    mp.spawn(communicating, (str(tmp_path), mode), nprocs=2)
    for rank in range(2):
        first, second, last = torch.load(tmp_path / f"{rank}.pt")
        assert (first, second) == (0, 0)
        assert last > 0
