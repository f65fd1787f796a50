"""A sweep: policies x budgets x encoders x interventions, every cell trained and tested by itself, and resumable.

What is finished is in ``cells.jsonl`` (and ``costs.jsonl``) of the output folder. The same command goes on where an
earlier one stopped, and the report is made of the rows alone, so that it does not depend on how often it was stopped or
on how many processes worked.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onevision_encoder.errors import InvalidArgumentError, OneVisionError
from onevision_encoder.evaluate.datasets import DataSet, Example
from onevision_encoder.evaluate.features import source_of
from onevision_encoder.evaluate.sweep_cells import Shop, digest_of_cell, run_job
from onevision_encoder.evaluate.sweep_config import Job, SweepConfig, TokenPlan, jobs_of, token_plans
from onevision_encoder.evaluate.sweep_ledger import Ledger, digest_of
from onevision_encoder.evaluate.sweep_probe import run_probe_jobs, weights_of
from onevision_encoder.evaluate.sweep_specs import InterventionSpec
from onevision_encoder.evaluate.token_making import Change, make_token_sets, windowed
from onevision_encoder.evaluate.verification import Verification, verify
from onevision_encoder.tokens import ClipReading, TokenizeConfig
from onevision_encoder.tokens.variants import read_variants
from onevision_encoder.video import fingerprint

Tick = Callable[[int], object]
CELLS, COSTS = "cells.jsonl", "costs.jsonl"


@dataclass(frozen=True, kw_only=True, eq=False)
class SweepResult:
    """What a sweep found.

    Attributes:
        rows: a row for each cell, in the order of the configuration. costs: see ``sweep_costs``; empty if not measured.
        videos: digest -> names of test videos, what ``correct`` of a row runs over. unfinished: cells that
            were not asked to be computed. run: how it went this time.
    """

    config: SweepConfig
    data: DataSet
    checked: Verification
    rows: tuple[dict[str, Any], ...]
    videos: dict[str, list[str]]
    costs: tuple[dict[str, Any], ...] = ()
    unfinished: int = 0
    run: dict[str, Any] = field(default_factory=dict)

    @property
    def broken(self) -> dict[str, dict[str, str]]:
        """Clip -> policy and budget -> why it gave no tokens there."""
        out: dict[str, dict[str, str]] = {}
        for row in self.rows:
            for id, cause in (row["broken"] or {}).items():
                out.setdefault(id, {})[f"{row['policy']} {row['budget']}"] = cause
        return dict(sorted(out.items()))

    @property
    def complete(self) -> bool:
        """Nothing was wrong with the data, every clip was read, no cell was refused (nor cost left unmeasured)."""
        return self.checked.ok and not self.broken and all(row["refused"] is None for row in (*self.rows, *self.costs))


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Whom to tell: ``stage`` the name of what begins and how many units it has, ``tick`` the units that are done."""

    stage: Callable[[str, int], object] = lambda name, total: None
    tick: Tick = lambda _: None


def run_sweep(
    data: DataSet,
    config: SweepConfig,
    out: Path,
    *,
    cache: Path | None = None,
    jobs: int = 1,
    train: bool = True,
    progress: Progress | None = None,
) -> SweepResult:
    """Run what is not in ``out`` yet, and give all rows.

    Args:
        out: folder of ``cells.jsonl``. cache: folder of token sets, worth keeping between sweeps; None = ``out/cache``.
        jobs: processes of one thread each; the rows do not depend on it. A script that asks for more than one must do
            so under ``if __name__ == "__main__":``. train: False = compute nothing, give the rows that are there.
    Raises:
        InvalidArgumentError: a multi-label data set, no training or test split. WriteError: ``out`` cannot be written.
    """
    progress = progress or Progress()
    if data.multi_label:
        raise InvalidArgumentError("data", data.name, "a data set of one class a clip")
    if jobs < 1:
        raise InvalidArgumentError("jobs", jobs, "at least 1")
    plans = token_plans(config)
    ledger = Ledger.open(out / CELLS)
    shop = Shop(data=data, config=config, cache=cache or out / "cache", data_key=key_of(data))
    if config.mode == "probe":
        shop.weights = {spec.name: weights_of(spec) for spec in config.encoder_specs}
    todo = jobs_of(config, plans)
    wanted = {digest: (job, spec) for job in todo for spec in job.tested if (digest := digest_of_cell(shop, job, spec))}
    missing = [digest for digest in wanted if digest not in ledger]
    if missing and train:
        if config.mode == "scratch":  # a probe reads and keeps its features by itself
            shop.refused = make_tokens_of(shop, [p for p in plans if p.config], jobs, progress)
        pending = [job for job in todo if any(digest_of_cell(shop, job, spec) in missing for spec in job.tested)]
        progress.stage("training", len(missing))
        for done in _all_rows(shop, bundles(config, pending), missing, jobs):
            for row in done:
                _keep(ledger, row)
            progress.tick(len(done))
    rows = tuple(ledger.rows[digest] for digest in wanted if digest in ledger)
    videos = {row["videos"]: ledger.rows[f"videos:{row['videos']}"]["names"] for row in rows if row["videos"]}
    run = {"found": len(wanted) - len(missing), "dropped": ledger.dropped, "processes": jobs}
    left = len(wanted) - len(rows)
    return SweepResult(
        config=config, data=data, checked=verify(data), rows=rows, videos=videos, unfinished=left, run=run
    )


def key_of(data: DataSet) -> str:
    """Digest of the examples: content of the files, stretches, labels, splits, class names."""
    examples = [
        [e.id, e.video, list(e.classes), e.split, content_of(e)] for e in sorted(data.examples, key=lambda e: e.id)
    ]
    return digest_of({"classes": list(data.classes), "examples": examples})


def content_of(e: Example) -> list[Any]:
    """What decides the tokens of an example; of a file that cannot be read, why."""
    try:
        return [fingerprint(source_of(e.path)), e.start_seconds, e.end_seconds]
    except OneVisionError as error:
        return [_said(error), e.start_seconds, e.end_seconds]


def _keep(ledger: Ledger, row: dict[str, Any]) -> None:
    videos = row["videos"]
    if videos is not None:
        ledger.add({"digest": f"videos:{videos['digest']}", "names": videos["names"]})
        row = {**row, "videos": videos["digest"]}
    ledger.add(row)


Pair = tuple[str, str]
Asked = dict[Pair, tuple[TokenPlan, InterventionSpec]]
"""(name of a plan, what is done to its tokens) -> the two."""


def make_tokens_of(shop: Shop, plans: Sequence[TokenPlan], jobs: int, progress: Progress) -> dict[Pair, str]:
    """Read every clip under every plan and intervention into the cache; (plan, intervention) -> why there are none."""
    refused: dict[Pair, str] = {}
    specs = shop.config.intervention_specs
    trained = [spec for spec in specs if spec.trained]
    for part in shop.parts:
        here = [InterventionSpec(), *(trained if part in ("train", "val") else specs)]
        asked = {(plan.name, spec.done): (plan, spec) for plan in plans for spec in here}
        examples = shop.part(part)
        refused |= {pair: cause for pair, cause in nothing_of(shop, asked, examples, part).items()}
        asked = {pair: what for pair, what in asked.items() if pair not in refused}
        progress.stage(f"reading {part}", len(examples))
        if asked:
            _make(shop, asked, examples, part, jobs, progress.tick)
    return refused


def nothing_of(shop: Shop, asked: Asked, examples: Sequence[Example], part: str) -> dict[Pair, str]:
    """Those that give tokens of not one example, and why of the first. Most have shown that they do after one."""
    left, causes = dict(asked), dict[Pair, str]()
    changes = {pair: shop.change(spec, part) for pair, (_, spec) in asked.items()}
    for e in sorted(examples, key=lambda e: e.id):
        if not left:
            break
        configs = {plan.name: plan.config for plan, _ in left.values() if plan.config is not None}
        try:
            readings = read_variants(source_of(e.path), {name: windowed(c, e) for name, c in configs.items()})
        except OneVisionError as error:
            causes = {pair: _said(error) for pair in left} | causes
            continue
        for pair, (plan, _) in list(left.items()):
            cause = _why_not(readings[plan.name].reading, changes[pair], e)
            if cause is None:
                del left[pair]
            else:
                causes.setdefault(pair, cause)
    return {pair: causes[pair] for pair in left}


def _why_not(reading: ClipReading | OneVisionError, change: Change | None, e: Example) -> str | None:
    """Why a clip gives no tokens; None: it does."""
    if isinstance(reading, OneVisionError):
        return _said(reading)
    try:
        _ = None if change is None else change(reading, e.id)
    except OneVisionError as error:
        return _said(error)
    return None


def _said(error: OneVisionError) -> str:
    return f"{type(error).__name__}: {error}"


def _make(shop: Shop, asked: Asked, examples: Sequence[Example], part: str, jobs: int, tick: Tick) -> None:
    names = {f"{plan.name} {spec.done}": (plan, spec) for plan, spec in asked.values()}
    configs: dict[str, TokenizeConfig] = {name: plan.config for name, (plan, _) in names.items() if plan.config}
    changes = {name: change for name, (_, spec) in names.items() if (change := shop.change(spec, part)) is not None}
    make_token_sets(examples, configs, data=shop.data.name, changes=changes, cache=shop.cache, workers=jobs, tick=tick)


def bundles(config: SweepConfig, jobs: Sequence[Job]) -> list[tuple[Job, ...]]:
    """Jobs that are run in one go: each alone, or in mode probe all seeds and folds of a frozen encoder."""
    if config.mode == "scratch":
        return [(job,) for job in jobs]
    groups: dict[tuple[str, str], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.plan.name, job.encoder.name), []).append(job)
    return [tuple(group) for group in groups.values()]


def run_bundle(shop: Shop, bundle: tuple[Job, ...], missing: Sequence[str]) -> list[dict[str, Any]]:
    if shop.config.mode == "probe":
        return run_probe_jobs(shop, bundle, missing)
    return [row for job in bundle for row in run_job(shop, job, missing)]


def _all_rows(
    shop: Shop, jobs: Sequence[tuple[Job, ...]], missing: Sequence[str], processes: int
) -> Iterator[list[dict[str, Any]]]:
    """Rows of each bundle as they come."""
    if processes == 1 or len(jobs) == 1:
        for bundle in jobs:
            yield run_bundle(shop, bundle, missing)
        return
    others = set(multiprocessing.active_children())
    # Fresh processes: a fork would copy threads' locks in whatever state they are.
    pool = ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(shop, list(missing))
    )
    waiting = list(reversed(jobs))
    try:
        running: set[Future[list[dict[str, Any]]]] = set()
        while waiting or running:
            while waiting and len(running) < processes:
                running.add(pool.submit(_in_worker, waiting.pop()))
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
        pool.shutdown()
    except BaseException:  # an interrupt, or a job that failed: nobody waits for the others
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()
        raise


_WORKER: dict[str, Any] = {}
"""What a worker process was given when it began."""


def _begin(shop: Shop, missing: list[str]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt is the parent's business
    _WORKER.update(shop=shop, missing=missing)


def _in_worker(bundle: tuple[Job, ...]) -> list[dict[str, Any]]:
    return run_bundle(_WORKER["shop"], bundle, _WORKER["missing"])
