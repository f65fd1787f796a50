"""Kill -9 at random moments: the run goes on, and ends with the bits of one that was never killed."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from launching import done, finish, launch, wait_for_rows
from small_runs import weights_of

from onevision_encoder.pretrain.run_log import read_metrics

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")


def killed_run(folder: Path, kills: int, steps: int, world: int, seed: int) -> None:
    """Kill a run so many times, saving in front and in the background in turn, let it end, and compare everything."""
    rng, settings = random.Random(seed), (f"steps={steps}", "checkpoint.every=2")
    done(folder / "whole", *settings, world=world)
    out, met = folder / "killed", []
    for life in range(kills):
        lives = launch(out, *settings, f"checkpoint.background={'true' if life % 2 else 'false'}", world=world)
        before = len(read_metrics(out)) if out.is_dir() else 0
        wait_for_rows(out, min(before + 1, steps - 1))
        time.sleep(rng.uniform(0, 0.3))
        for one in lives:
            one.send(signal.SIGKILL)
        finish(lives)
        met.append(len(read_metrics(out)))
    done(out, *settings, world=world)
    whole, found = weights_of(folder / "whole"), weights_of(out)
    assert sorted(found) == sorted(whole)
    assert [name for name in whole if not np.array_equal(whole[name], found[name])] == []
    rows, expected = read_metrics(out), read_metrics(folder / "whole")
    for name in ("step", "loss", "grad_norm", "lr", "accuracy/object"):
        assert [row[name] for row in rows] == [row[name] for row in expected], name
    assert len(set(met)) > 1 or kills == 1, f"the kills came at different steps: {met}"


@pytest.mark.slow
def test_two_kills(tmp_path: Path) -> None:
    killed_run(tmp_path, kills=2, steps=40, world=1, seed=0)


@pytest.mark.slow
def test_a_kill_of_two_processes(tmp_path: Path) -> None:
    killed_run(tmp_path, kills=1, steps=20, world=2, seed=1)


@pytest.mark.soak
def test_twenty_kills(tmp_path: Path) -> None:
    killed_run(tmp_path, kills=20, steps=400, world=1, seed=2)


@pytest.mark.soak
def test_ten_kills_of_two_processes(tmp_path: Path) -> None:
    killed_run(tmp_path, kills=10, steps=150, world=2, seed=3)
