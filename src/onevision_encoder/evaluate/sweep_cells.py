"""One job of a sweep: train a model on token sets, test it under each intervention, say what came of it.

Axes: S clips, V videos, M classes. A job gives the same numbers in whatever process and order it runs: one thread of
torch, seeds from the job alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onevision_encoder import __version__
from onevision_encoder.checks import require
from onevision_encoder.evaluate.datasets import DataSet, Example
from onevision_encoder.evaluate.intervening import Intervention, others_of
from onevision_encoder.evaluate.metrics import rank_of_truth
from onevision_encoder.evaluate.splits import make_folds
from onevision_encoder.evaluate.sweep_config import Job, SweepConfig, TokenPlan, cell_of
from onevision_encoder.evaluate.sweep_ledger import digest_of
from onevision_encoder.evaluate.sweep_specs import InterventionSpec
from onevision_encoder.evaluate.token_making import Change, NoTokensError, make_token_set
from onevision_encoder.evaluate.token_sets import TokenSet
from onevision_encoder.evaluate.tuning import TuningFailedError, tune
from onevision_encoder.evaluate.tuning_model import scratch_encoder

INTERVENTION_SEED = 0
PARTS = ("train", "val", "test")
Tick = Callable[[int], object]


@dataclass
class Shop:
    """Where jobs get their tokens: from the cache on disk, the last sets also from memory.

    Attributes:
        data_key: digest of the data set, content of the files included. refused: (plan, intervention) -> why there are
            no such tokens.
    """

    data: DataSet
    config: SweepConfig
    cache: Path
    data_key: str
    refused: Mapping[tuple[str, str], str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    _kept: dict[tuple[str, str, str], TokenSet] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._folds = make_folds(self.data, self.config.folds, 1, seed=0)

    def part(self, part: str) -> list[Example]:
        """Examples that are read together: a split, or all of them (``all``) where there are folds."""
        return list(self.data.examples) if part == "all" else self.data.of(part)  # type: ignore[arg-type]

    @property
    def parts(self) -> list[str]:
        """Parts that have examples."""
        return ["all"] if self.config.folds else [part for part in PARTS if self.part(part)]

    def change(self, spec: InterventionSpec, part: str) -> Change | None:
        """What is done to the tokens of a part."""
        if spec.kind == "none":
            return None
        others = others_of(self.part(part), INTERVENTION_SEED) if spec.kind == "other_video" else {}
        return Intervention(kind=spec.kind, share=spec.share, seed=INTERVENTION_SEED, others=others)

    def tokens(self, plan: TokenPlan, spec: InterventionSpec, part: str, fold: int) -> TokenSet | None:
        """Tokens of ``train``, ``val`` or ``test``; None where the data set has no such part.

        Raises:
            NoTokensError: not one clip gives tokens.
        """
        if not self.config.folds:
            return self._whole(plan, spec, part) if self.part(part) else None
        ids = {"train": self._folds[fold].train, "test": self._folds[fold].test.examples}.get(part, ())
        whole = self._whole(plan, spec, "all") if ids else None
        if whole is None:
            return None
        there = set(whole.ids)
        wanted = sorted(e.id for e in ids if e.id in there)
        if not wanted:
            raise NoTokensError(f"fold {fold}: not one clip of {part} gives tokens for {plan.name!r}")
        return whole.named(wanted)

    def _whole(self, plan: TokenPlan, spec: InterventionSpec, part: str) -> TokenSet:
        key = (plan.name, spec.done, part)
        if key not in self._kept:
            if plan.name not in {name for name, _, _ in self._kept}:
                self._kept.clear()  # jobs come plan by plan
            assert plan.config is not None
            self._kept[key] = make_token_set(
                self.part(part), plan.config, data=self.data.name, change=self.change(spec, part), cache=self.cache
            )
        return self._kept[key]


def digest_of_cell(shop: Shop, job: Job, spec: InterventionSpec) -> str:
    """Of everything that decides the cell's numbers, the machine apart."""
    config = shop.config
    return digest_of(
        {
            "version": __version__,
            "data": shop.data_key,
            "folds": config.folds,
            "cell": cell_of(job, spec),
            "tokenize": None if job.plan.config is None else job.plan.config.as_dict(),
            "train": learning_of(shop, job),
            "trained": job.trained.name,
        }
    )


def learning_of(shop: Shop, job: Job) -> dict[str, Any]:
    """How the job learns; seeds and folds are elsewhere."""
    if shop.config.mode == "scratch":
        return asdict(shop.config.tuned(job.encoder))
    probe = {name: value for name, value in asdict(shop.config.probe).items() if name not in ("seeds", "folds")}
    return {"probe": probe, "weights": shop.weights[job.encoder.name], "epochs": shop.data.epochs}


def run_job(
    shop: Shop, job: Job, wanted: Sequence[str] | None = None, tick: Tick = lambda _: None
) -> list[dict[str, Any]]:
    """A row for each cell of the job (of those whose digests are ``wanted``; None: all).

    A cell that cannot be had (no tokens at that budget, training that came to nothing) has ``accuracy`` None and the
    cause in ``refused``.
    """
    cells = [(spec, digest_of_cell(shop, job, spec)) for spec in job.tested]
    cells = [cell for cell in cells if wanted is None or cell[1] in wanted]
    rows = [{"digest": digest, **empty_row(shop, job, spec)} for spec, digest in cells]
    why = job.plan.refused or shop.refused.get((job.plan.name, job.trained.done), "")
    try:
        if not why:
            with one_thread():
                _train_and_test(shop, job, [spec for spec, _ in cells], rows, tick)
    except (NoTokensError, TuningFailedError) as error:
        why = f"{type(error).__name__}: {error}"
    for row in rows:
        row["refused"] = row["refused"] or why or None
    return rows


def empty_row(shop: Shop, job: Job, spec: InterventionSpec) -> dict[str, Any]:
    """What is known of a cell before anything is computed."""
    config = job.plan.config
    ranked = config is not None and job.plan.policy.policy == "codec"
    return {
        **cell_of(job, spec),
        "data": shop.data.name,
        "score": config.selection.score if config is not None and ranked else None,
        "provider": _provider(job.plan) if ranked else None,
        **dict.fromkeys(("accuracy", "val_accuracy", "train_accuracy", "train_loss", "tokens", "steps", "parameters")),
        **dict.fromkeys(("correct", "videos", "broken", "refused")),
    }


def _provider(plan: TokenPlan) -> str:
    from onevision_encoder.codec.provider import AUTO

    assert plan.config is not None
    return AUTO if plan.config.signals.provider == "auto" else plan.config.signals.provider


def _train_and_test(
    shop: Shop, job: Job, specs: Sequence[InterventionSpec], rows: Sequence[dict[str, Any]], tick: Tick
) -> None:
    started = time.process_time()
    train = shop.tokens(job.plan, job.trained, "train", job.fold)
    val = shop.tokens(job.plan, job.trained, "val", job.fold)
    if train is None:
        raise NoTokensError("there is no training split")
    tuning = shop.config.tuned(job.encoder)
    tuned = tune(
        lambda: scratch_encoder(tuning, train.patch),
        train,
        tuning,
        num_classes=len(shop.data.classes),
        seed=job.seed,
        validation=val,
        tick=tick,
    )
    of_training = tuned.predict(train)
    shared = {
        "train_accuracy": float((rank_of_truth(of_training, train.labels.astype(np.int64)) < 1).mean()),
        "train_loss": cross_entropy(of_training, train.labels.astype(np.int64)),
        "val_accuracy": (tuned.record["validation"] or {}).get("top1"),
        "steps": tuned.record["steps"],
        "parameters": tuned.record["parameters"],
    }
    for spec, row in zip(specs, rows, strict=True):
        row |= shared
        refused = shop.refused.get((job.plan.name, spec.done))
        if refused:
            row["refused"] = refused
            continue
        test = shop.tokens(job.plan, spec, "test", job.fold)
        if test is None:
            raise NoTokensError("there is no test split")
        _judge(row, job, tuned.predict(test), test)
        broken = {b.id: b.cause for tokens in (train, val, test) for b in (tokens.broken if tokens is not None else ())}
        row["broken"] = dict(sorted(broken.items()))
        row["cpu_seconds"] = time.process_time() - started


def _judge(row: dict[str, Any], job: Job, logits_SM: NDArray[np.float32], test: TokenSet) -> None:
    lengths = test.lengths_S
    exact = bool((lengths == job.plan.budget).all())
    require(exact, f"tokens of {job.plan.name}", (int(lengths.min()), int(lengths.max())), f"{job.plan.budget}")
    videos, logits_VM, label_V = by_video(test, logits_SM)
    right_V = rank_of_truth(logits_VM, label_V) < 1
    row["tokens"] = job.plan.budget
    row["accuracy"] = float(right_V.mean())
    row["correct"] = "".join("1" if right else "0" for right in right_V)
    row["videos"] = {"digest": digest_of({"videos": videos}), "names": videos}


def by_video(
    tokens: TokenSet, logits_SM: NDArray[np.float32]
) -> tuple[list[str], NDArray[np.float64], NDArray[np.int64]]:
    """(videos sorted, mean logits of the clips of each [V, M], labels [V])."""
    videos = sorted(set(tokens.videos))
    place = {video: i for i, video in enumerate(videos)}
    row_S = np.array([place[video] for video in tokens.videos])
    total_VM = np.zeros((len(videos), logits_SM.shape[1]))
    np.add.at(total_VM, row_S, logits_SM.astype(np.float64))
    label_V = np.zeros(len(videos), np.int64)
    label_V[row_S] = tokens.labels
    return videos, total_VM / np.bincount(row_S)[:, None], label_V


def cross_entropy(logits_SM: NDArray[np.float32], label_S: NDArray[np.int64]) -> float:
    """Mean, in nats, without smoothing."""
    logits = logits_SM.astype(np.float64)
    return float(np.mean(np.logaddexp.reduce(logits, 1) - np.take_along_axis(logits, label_S[:, None], 1)[:, 0]))


@contextmanager
def one_thread() -> Iterator[None]:
    """How many threads torch has decides how sums are rounded, so it is always one; restored afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
