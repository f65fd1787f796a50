"""What a cell costs: CPU time to decode, to select and to encode a clip, and the memory it takes; measured apart from
training, each in a process of its own, so that nothing else in the sweep is in the way.

Times are CPU milliseconds of one thread of torch, the median over the clips measured, each the best of three; on a GPU
encoding is wall clock between synchronisations. Memory is the highest resident set of the process above what it had
once everything was imported and nothing was read (weights, frames and activations are counted, libraries are not); on a
GPU the most that torch had allocated.
"""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from onevision_encoder import __version__
from onevision_encoder.errors import InvalidArgumentError, OneVisionError
from onevision_encoder.evaluate.datasets import DataSet, Example
from onevision_encoder.evaluate.features import source_of
from onevision_encoder.evaluate.sweep_config import SweepConfig, TokenPlan, token_plans
from onevision_encoder.evaluate.sweep_ledger import Ledger, digest_of
from onevision_encoder.evaluate.sweep_specs import EncoderSpec
from onevision_encoder.evaluate.token_making import windowed
from onevision_encoder.evaluate.tuning_config import TuneConfig

REPEATS = 3


@dataclass(frozen=True, kw_only=True)
class CostConfig:
    """How costs are measured."""

    clips: int = 8
    """Clips that are measured, spread over the test set."""
    device: str = "cpu"
    """Where clips are encoded: cpu or cuda."""
    big: str | None = None
    """A preset whose encoding is measured too: small, base, large, huge."""

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise InvalidArgumentError("clips", self.clips, "at least 1")


@dataclass(frozen=True, kw_only=True)
class _Task:
    plan: TokenPlan
    tuning: TuneConfig
    examples: tuple[Example, ...]
    device: str
    frozen: EncoderSpec | None = None


def measure_costs(
    data: DataSet,
    config: SweepConfig,
    how: CostConfig,
    ledger: Ledger,
    *,
    measure: bool = True,
    tick: Callable[[int], object] = lambda _: None,
) -> list[dict[str, Any]]:
    """A row for each (policy, budget, encoder); those that the ledger has are not measured again.

    ``measure`` False: none is, only those are given. The row of ``how.big`` has ``variant``
    "big:PRESET". A plan that cannot be measured has ``refused`` set.
    """
    examples = _spread(data.of("test") or list(data.examples), how.clips)
    rows = []
    for task, variant in _tasks(config, how, examples):
        key: dict[str, Any] = {"version": __version__, "variant": variant, "plan": task.plan.name, "device": how.device}
        key |= {"clips": [e.id for e in examples], "data": data.name, "train": asdict(task.tuning)}
        key["tokenize"] = None if task.plan.config is None else task.plan.config.as_dict()
        digest = digest_of(key)
        if digest not in ledger and measure:
            names = {"policy": task.plan.policy.name, "budget": task.plan.budget, "variant": variant}
            ledger.add({"digest": digest, **names, "device": how.device, **_alone(task)})
        rows += [ledger.rows[digest]] if digest in ledger else []
        tick(1)
    return rows


def count_costs(config: SweepConfig, how: CostConfig) -> int:
    """How many rows :func:`measure_costs` gives."""
    return len(token_plans(config)) * (len(config.encoder_specs) + (how.big is not None))


def _tasks(config: SweepConfig, how: CostConfig, examples: tuple[Example, ...]) -> Iterator[tuple[_Task, str]]:
    loaded = config.mode == "probe"
    encoders: list[tuple[TuneConfig, str, EncoderSpec | None]] = [
        (config.tune if loaded else config.tuned(spec), spec.name, spec if loaded else None)
        for spec in config.encoder_specs
    ]
    if how.big is not None:
        published = TuneConfig(preset=how.big, rope_mode="pairwise", place_waves=0, attention="sdpa")
        encoders.append((published, f"big:{how.big}", None))
    for plan in token_plans(config):
        for tuning, name, frozen in encoders:
            yield _Task(plan=plan, tuning=tuning, examples=examples, device=how.device, frozen=frozen), name


def _spread(examples: Sequence[Example], count: int) -> tuple[Example, ...]:
    """``count`` of them, evenly spread over the sorted ids."""
    ordered = sorted(examples, key=lambda e: e.id)
    places = np.unique(np.linspace(0, len(ordered) - 1, min(count, len(ordered))).astype(int))
    return tuple(ordered[i] for i in places)


def _alone(task: _Task) -> dict[str, Any]:
    """Measure in a fresh process."""
    if task.plan.config is None:
        return {**_NOTHING, "refused": task.plan.refused}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measured, task).result()


_NOTHING: dict[str, Any] = dict.fromkeys(("decode_ms", "select_ms", "encode_ms", "peak_mb", "clips", "refused"))


def measured(task: _Task) -> dict[str, Any]:
    """What the task costs in this process; meant to be a fresh one."""
    import torch

    from onevision_encoder.evaluate.sweep_probe import frozen
    from onevision_encoder.evaluate.tuning_model import scratch_encoder
    from onevision_encoder.model import embed_tokens
    from onevision_encoder.tokens import ClipReading
    from onevision_encoder.tokens.variants import read_variants

    torch.set_num_threads(1)
    plan = task.plan
    assert plan.config is not None
    baseline = highest_resident_mb(reset=True)
    on_gpu = task.device != "cpu"
    model, times, cause = None, [], ""
    for e in (task.examples[0], *task.examples):  # the first clip warms up and is not counted
        tries = []
        try:
            for _ in range(REPEATS):
                variant = read_variants(source_of(e.path), {"it": windowed(plan.config, e)})["it"]
                if not isinstance(variant.reading, ClipReading):
                    raise variant.reading
                start = time.thread_time()
                tokens = variant.reading.tokens()
                gather_ms = 1000 * (time.thread_time() - start)
                if model is None:
                    made = (
                        scratch_encoder(task.tuning, tokens.patch) if task.frozen is None else frozen(task.frozen).model
                    )
                    torch.nn.Module.to(made, task.device)
                    model = made.train(False)
                start = _clock(on_gpu)
                embed_tokens(model, tokens, return_tokens=True)
                tries.append((variant.decode_ms, variant.select_ms + gather_ms, 1000 * (_clock(on_gpu) - start)))
        except OneVisionError as error:
            cause = cause or f"{type(error).__name__}: {error}"
            continue
        times.append(np.min(tries, axis=0))
    if len(times) < 2:
        return {**_NOTHING, "refused": cause}
    decode_ms, select_ms, encode_ms = (round(float(v), 3) for v in np.median(times[1:], axis=0))
    if on_gpu:
        peak: float | None = torch.cuda.max_memory_allocated() / 2**20
    else:
        now = highest_resident_mb()
        peak = None if now is None or baseline is None else now - baseline
    costs = {"decode_ms": decode_ms, "select_ms": select_ms, "encode_ms": encode_ms}
    return {**_NOTHING, **costs, "peak_mb": None if peak is None else round(peak, 1), "clips": len(times) - 1}


def _clock(on_gpu: bool) -> float:
    """CPU seconds of this process; beside a GPU, seconds when all that was asked of it is done."""
    if not on_gpu:
        return time.process_time()
    import torch

    torch.cuda.synchronize()
    return time.perf_counter()


def highest_resident_mb(*, reset: bool = False) -> float | None:
    """Most memory that this process has held, MB of 2**20 bytes; ``reset``: from now on. None where nothing tells.

    Linux says it of the program itself, and forgets on request; ``getrusage`` also counts the parent before the start
    of the program, and never forgets.
    """
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text("ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024
    except (OSError, StopIteration):
        pass
    if sys.platform == "win32":
        return None
    import resource

    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest / (2**20 if sys.platform == "darwin" else 1024)
