"""Training a whole encoder with its classifier on a token set: from scratch, or on from loaded weights.

Axes: S clips, M classes.

Everything that is drawn is drawn on the CPU from the seed: the first weights, the order of the clips, augmentations.
The same seed, set and configuration give the same bits on one machine with one number of threads (on a CPU; the
backward pass of a GPU's attention kernels may add in any order).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from onevision_encoder.errors import InvalidArgumentError, OneVisionError
from onevision_encoder.evaluate.metrics import score
from onevision_encoder.evaluate.token_sets import TokenSet
from onevision_encoder.evaluate.tuning_config import TuneConfig
from onevision_encoder.evaluate.tuning_model import (
    Augment,
    Classifier,
    MakeEncoder,
    attention_for,
    check_patch,
    tuning_input,
)

BATCH_TOKENS = 16_384
"""Tokens that are predicted at once; a longer clip goes alone."""


class TuningFailedError(OneVisionError):
    """Training came to nothing: the loss stopped being finite."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuned:
    """A trained encoder with its classifier, in ``eval`` mode.

    Attributes:
        record: JSON-able and the same for the same seed: configuration, steps, parameters; ``loss``, ``accuracy`` (of
            the batch; None for a multi-label set) and ``lr`` of each step; ``validation``, the figure of the set that
            was held out, or None.
        cost: how it went this time: seconds, CPU seconds, steps a second.
    """

    model: Classifier
    config: TuneConfig
    num_classes: int
    device: torch.device
    record: dict[str, Any]
    cost: dict[str, float] = field(default_factory=dict)

    def predict(self, tokens: TokenSet, *, batch_tokens: int = BATCH_TOKENS) -> NDArray[np.float32]:
        """Logits float32 [S, M] of the clips of a set, in its order.

        Raises:
            ShapeError: tokens of another patch size. TuningFailedError: logits that are not finite.
        """
        check_patch(self.model.encoder, tokens)
        logits_SM = np.zeros((len(tokens), self.num_classes), np.float32)
        for indices in _groups(tokens, batch_tokens):
            given, order = tuning_input(tokens, indices, self.device)
            with torch.inference_mode(), _precision(self.config, self.device):
                logits_SM[indices[order]] = self.model(given).cpu().numpy()
        if not np.isfinite(logits_SM).all():
            raise TuningFailedError(f"logits of {tokens.data or 'a token set'} are not finite")
        return logits_SM


def tune(
    make_encoder: MakeEncoder,
    train: TokenSet,
    config: TuneConfig,
    *,
    num_classes: int,
    seed: int,
    validation: TokenSet | None = None,
    device: str | torch.device = "cpu",
    tick: Callable[[int], object] = lambda _: None,
) -> Tuned:
    """Train an encoder and a classifier on a token set.

    Args:
        make_encoder: makes a new encoder each time it is called; torch's random state is seeded before, and left as it
            was. It is trained in place, in float32.
        validation: clips that are judged once, after the last step. Nothing is chosen by them here.
        tick: told 1 after each step.
    Raises:
        TuningFailedError: the loss stopped being finite. ShapeError: tokens of another patch size than the encoder's.
        InvalidArgumentError: labels that are no class, or no pooling head where one is asked for.
    """
    where = torch.device(device)
    _check_labels(train, num_classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encoder = make_encoder()
        check_patch(encoder, train)
        encoder.set_attn_implementation(attention_for(config, train, where))
        model = Classifier(encoder, num_classes, config.pool)
        torch.nn.Module.to(model, where, torch.float32)
        started, cpu = time.perf_counter(), time.process_time()
        curve = _train(model, train, config, seed, where, tick)
    model.train(False).requires_grad_(False)
    steps = config.total_steps(len(train))
    seconds = time.perf_counter() - started
    cost = {"seconds": seconds, "cpu_seconds": time.process_time() - cpu, "steps_per_second": steps / seconds}
    record: dict[str, Any] = {
        "config": asdict(config),
        "seed": seed,
        "clips": len(train),
        "attention": attention_for(config, train, where),
        "steps": steps,
        "parameters": sum(p.numel() for p in model.parameters()),
        **curve,
        "validation": None,
    }
    tuned = Tuned(model=model, config=config, num_classes=num_classes, device=where, record=record, cost=cost)
    if validation is not None:
        record["validation"] = _judged(tuned, validation)
    return tuned


def _train(
    model: Classifier,
    tokens: TokenSet,
    config: TuneConfig,
    seed: int,
    device: torch.device,
    tick: Callable[[int], object],
) -> dict[str, list[float] | None]:
    total = config.total_steps(len(tokens))
    optimizer = torch.optim.AdamW(_groups_of(model, config), lr=config.peak, betas=config.betas)
    losses, rates, right = [], [], []
    model.train(True)
    for step, indices in enumerate(batches(len(tokens), config.batch_size, total, seed)):
        rate = config.rate(step, total)
        for group in optimizer.param_groups:
            group["lr"] = rate
        change = Augment(kinds=config.augment, generator=np.random.default_rng([seed, 2, step]))
        given, order = tuning_input(tokens, indices, device, change if config.augment else None)
        truth = torch.from_numpy(np.array(tokens.labels[indices[order]])).to(device)
        with _precision(config, device):
            logits_SM = model(given)
        loss = loss_of(logits_SM, truth, config.label_smoothing)
        losses.append(float(loss.detach()))
        if not np.isfinite(losses[-1]):
            raise TuningFailedError(
                f"the loss is {losses[-1]} at step {step} of {total} (lr={config.peak:g}, seed {seed})"
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
        optimizer.step()
        rates.append(rate)
        if not tokens.multi_label:
            right.append(float((logits_SM.detach().argmax(1) == truth).float().mean()))
        tick(1)
    return {"loss": losses, "accuracy": None if tokens.multi_label else right, "lr": rates}


def _groups_of(model: nn.Module, config: TuneConfig) -> list[dict[str, Any]]:
    """Matrices decay; vectors, and queries of one row, do not."""
    matrices = [p for p in model.parameters() if p.ndim > 1 and p.shape[0] > 1]
    others = [p for p in model.parameters() if p.ndim <= 1 or p.shape[0] == 1]
    return [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]


def batches(clips: int, size: int, steps: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """Indices of each step: passes over the clips end to end, each in its own order, a function of seed and pass alone.

    All batches have ``size`` clips (all clips where there are fewer); one may end one pass and begin the next.
    """
    size = min(size, clips)
    waiting = np.zeros(0, np.int64)
    number = 0
    for _ in range(steps):
        if len(waiting) < size:
            order = np.random.default_rng([seed, 1, number]).permutation(clips)
            waiting, number = np.concatenate([waiting, order]), number + 1
        yield waiting[:size]
        waiting = waiting[size:]


def loss_of(logits_SM: Tensor, truth: Tensor, label_smoothing: float) -> Tensor:
    """Cross entropy of int64 [S] with smoothing; of bool [S, M] the mean of binary cross entropies, without."""
    if truth.ndim == 2:
        return functional.binary_cross_entropy_with_logits(logits_SM, truth.to(logits_SM.dtype))
    return functional.cross_entropy(logits_SM, truth, label_smoothing=label_smoothing)


def _judged(tuned: Tuned, tokens: TokenSet) -> dict[str, float]:
    """Metric and mean loss (no smoothing) of clips, each for itself."""
    logits_SM = tuned.predict(tokens)
    name = "map" if tokens.multi_label else "top1"
    loss = loss_of(torch.from_numpy(logits_SM), torch.from_numpy(np.array(tokens.labels)), 0.0)
    return {name: float(score(name, logits_SM, tokens.labels)[0]), "loss": float(loss)}


def _groups(tokens: TokenSet, most: int) -> Iterator[NDArray[np.int64]]:
    """Clips in order of length, as many at once as ``most`` tokens hold."""
    if most < 1:
        raise InvalidArgumentError("batch_tokens", most, "at least 1")
    order = np.argsort(tokens.lengths_S, kind="stable")
    group: list[int] = []
    held = 0
    for i in order.tolist():
        length = int(tokens.lengths_S[i])
        if group and held + length > most:
            yield np.array(group, np.int64)
            group, held = [], 0
        group.append(i)
        held += length
    yield np.array(group, np.int64)


def _precision(config: TuneConfig, device: torch.device) -> AbstractContextManager[Any]:
    if config.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def _check_labels(tokens: TokenSet, num_classes: int) -> None:
    labels = tokens.labels
    fits = labels.shape[1] == num_classes if tokens.multi_label else labels.min() >= 0 and labels.max() < num_classes
    if not fits:
        found = f"{labels.shape[1]} columns" if tokens.multi_label else f"{labels.min()} to {labels.max()}"
        raise InvalidArgumentError("num_classes", num_classes, f"as the labels have it, {found}")
