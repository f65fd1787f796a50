"""Cells of a sweep whose encoder stays frozen: one probe holds all seeds and folds of a policy, budget and encoder."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from onevision_encoder.errors import RandomWeightsWarning
from onevision_encoder.evaluate.backbone_ours import OurBackbone
from onevision_encoder.evaluate.feature_cache import FeatureCache
from onevision_encoder.evaluate.features import FeatureReader
from onevision_encoder.evaluate.heads import pooled_only
from onevision_encoder.evaluate.metrics import rank_of_truth
from onevision_encoder.evaluate.probe import run_probe
from onevision_encoder.evaluate.probe_report import ProbeResult
from onevision_encoder.evaluate.splits import make_folds
from onevision_encoder.evaluate.sweep_cells import Shop, digest_of_cell, empty_row, one_thread
from onevision_encoder.evaluate.sweep_config import Job
from onevision_encoder.evaluate.sweep_ledger import digest_of
from onevision_encoder.evaluate.sweep_specs import EncoderSpec
from onevision_encoder.evaluate.training import ProbeFailedError
from onevision_encoder.model import LoadedEncoder, load_encoder


def frozen(encoder: EncoderSpec) -> LoadedEncoder:
    """The encoder in float32 on the CPU, so that cells are the same on every machine of one kind."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RandomWeightsWarning)  # the report says it
        return load_encoder(encoder.model, dtype="float32", device="cpu")


def weights_of(encoder: EncoderSpec) -> str:
    """What tells these weights from others: the digest of the files, or the preset and its seed."""
    return frozen(encoder).weights


def run_probe_jobs(shop: Shop, jobs: Sequence[Job], wanted: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of jobs that differ in seed and fold alone, from one probe."""
    first, started = jobs[0], time.process_time()
    cells = {(job.seed, job.fold): (job, digest_of_cell(shop, job, job.tested[0])) for job in jobs}
    rows = {place: {"digest": digest, **empty_row(shop, job, job.tested[0])} for place, (job, digest) in cells.items()}
    why = first.plan.refused
    if not why:
        try:
            with one_thread():
                _fill(shop, first, rows, _probed(shop, first))
        except ProbeFailedError as error:
            why = f"{type(error).__name__}: {error}"
    seconds = time.process_time() - started
    for row in rows.values():
        row |= {"refused": why or None, "cpu_seconds": seconds / len(rows)}
    return [row for row in rows.values() if row["digest"] in wanted]


def _probed(shop: Shop, job: Job) -> ProbeResult:
    config = shop.config
    assert job.plan.config is not None
    reader = FeatureReader(
        backbone=OurBackbone(job.encoder.name, frozen(job.encoder), None),
        reading=job.plan.config,
        pool=pooled_only(config.probe.head),
        cache=FeatureCache(shop.cache / "features"),
    )
    return run_probe(shop.data, reader, replace(config.probe, seeds=config.seeds, folds=config.folds))


def _fill(shop: Shop, job: Job, rows: dict[tuple[int, int], dict[str, Any]], result: ProbeResult) -> None:
    broken = {item["id"]: item["cause"] for item in result.report["broken"]}
    train = [len(fold.train) for fold in make_folds(shop.data, shop.config.folds, 1, seed=0)]
    recipe = result.report["probe"]["recipe"]
    for (seed, fold), row in rows.items():
        tested = [p for p in result.predictions if p["fold"] == fold]
        logits_VM = np.stack([p["logits"][seed] for p in tested])
        label_V = np.array([p["classes"][0] for p in tested], np.int64)
        right_V = rank_of_truth(logits_VM, label_V) < 1
        videos = [p["id"] for p in tested]
        row |= {
            "accuracy": float(right_V.mean()),
            "correct": "".join("1" if right else "0" for right in right_V),
            "videos": {"digest": digest_of({"videos": videos}), "names": videos},
            "tokens": job.plan.budget,
            "steps": recipe["epochs"] * -(-train[fold] // recipe["batch_size"]),
            "broken": dict(sorted(broken.items())),
        }
