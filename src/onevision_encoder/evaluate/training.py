"""A grid of heads trained side by side: each batch of frozen features is computed once and read by every head.

Axes: S examples of a batch, M classes, V videos.

Processes divide the heads among themselves and every head sees the whole batch, so that no gradient is ever added up
across processes: a head's numbers do not depend on how many processes there are, or on which other heads there are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from onevision_encoder.errors import InvalidArgumentError, OneVisionError
from onevision_encoder.evaluate.datasets import Example
from onevision_encoder.evaluate.features import Batch, SharedFeatures
from onevision_encoder.evaluate.heads import NearestNeighbours, make_head, mean_of_clips
from onevision_encoder.evaluate.probe_config import HeadName, Recipe, Schedule

Rows = dict[str, NDArray[np.float32]]


class ProbeFailedError(OneVisionError):
    """Nothing could be trained or chosen."""


def learning_rate(step: int, total: int, peak: float, schedule: Schedule, final: float) -> float:
    """Rate of step 0 <= ``step`` < ``total``: from ``peak`` at 0 to ``final`` at ``total``, no warm-up.

    linear: as torch's LinearLR with ``end_factor = final / peak``. cosine: half a cosine.
    """
    share = step / total
    if schedule == "cosine":
        share = (1 - math.cos(math.pi * share)) / 2
    return peak + (final - peak) * share


def loss_of(logits_SM: Tensor, truth_SM: Tensor, *, multi_label: bool, label_smoothing: float) -> Tensor:
    """Cross entropy with label smoothing, or the mean of binary cross entropies (multi-label, no smoothing)."""
    if multi_label:
        return functional.binary_cross_entropy_with_logits(logits_SM, truth_SM)
    return functional.cross_entropy(logits_SM, truth_SM.argmax(1), label_smoothing=label_smoothing)


def truth_of(examples: Sequence[Example], num_classes: int) -> Tensor:
    """0/1 membership, float32 [S, M]."""
    truth_SM = torch.zeros(len(examples), num_classes)
    for row, e in zip(truth_SM, examples, strict=True):
        row[list(e.classes)] = 1.0
    return truth_SM


@dataclass
class Candidate:
    """A trained cell of the grid. ``logits`` is None on processes that do not own it, and where training diverged."""

    index: int
    cell: Mapping[str, float]
    owner: int
    head: nn.Module | None = None
    logits: Callable[[Batch], Tensor] | None = None
    diverged_at: int | None = None
    optimizer: torch.optim.Optimizer | None = field(default=None, repr=False)


class Trainer:
    """Trains the grid on shared features.

    Args:
        head, width, num_classes, seed: of the heads; all cells start from the same weights.
        tick: called with the number of examples of each batch.
    """

    def __init__(
        self,
        features: SharedFeatures,
        recipe: Recipe,
        *,
        head: HeadName,
        num_classes: int,
        multi_label: bool,
        seed: int,
        tick: Callable[[int], object] = lambda _: None,
    ) -> None:
        if not recipe.cells:
            raise InvalidArgumentError("cells", [], "at least one cell")
        self.features, self.recipe, self.head_name = features, recipe, head
        self.num_classes, self.multi_label, self.seed, self.tick = num_classes, multi_label, seed, tick

    def train(self, examples: Sequence[Example]) -> list[Candidate]:
        """Every cell of the grid, trained in one pass over the batches of all epochs.

        Raises:
            ProbeFailedError: not one example can be read.
        """
        world, rank = self.features.team.world, self.features.team.rank
        grid = [Candidate(i, cell, i % world) for i, cell in enumerate(self.recipe.cells)]
        if self.head_name == "knn":
            return self._remember(examples, grid)
        mine = [member for member in grid if member.owner == rank]
        for member in mine:
            self._prepare(member)
        total = self.recipe.epochs * -(-len(examples) // self.recipe.batch_size)
        seen = 0
        for step, batch in enumerate(self._batches(examples, self.recipe.epochs)):
            if batch is None:
                continue
            seen += len(batch.examples)
            truth_SM = truth_of(batch.examples, self.num_classes).to(batch.x_NC.device)
            for member in mine:
                self._step(member, batch, truth_SM, step, total)
        if not seen:
            raise ProbeFailedError(f"not one of {len(examples)} training examples can be read; {self._first_failure()}")
        return grid

    def _first_failure(self) -> str:
        failures = self.features.reader.failures
        return next((f"{name}: {failures[name]}" for name in sorted(failures)), "no failure was noted")

    def _prepare(self, member: Candidate) -> None:
        width = self.features.reader.backbone.width
        head = make_head(self.head_name, width, self.num_classes, self.seed).to(self.features.device)
        recipe, cell = self.recipe, member.cell
        member.head = head
        matrices = [p for p in head.parameters() if p.ndim > 1]
        others = [p for p in head.parameters() if p.ndim <= 1]  # biases and norms do not decay
        groups = [
            {"params": matrices, "weight_decay": cell["weight_decay"]},
            {"params": others, "weight_decay": 0.0},
        ]
        member.optimizer = torch.optim.AdamW(groups, lr=cell["lr"], betas=recipe.betas, eps=recipe.eps)
        member.logits = lambda batch: head(batch.x_NC, batch.cu_seqlens)

    def _step(self, member: Candidate, batch: Batch, truth_SM: Tensor, step: int, total: int) -> None:
        if member.logits is None or member.optimizer is None or member.head is None:
            return
        recipe = self.recipe
        rate = learning_rate(step, total, member.cell["lr"], recipe.schedule, recipe.final_lr)
        for group in member.optimizer.param_groups:
            group["lr"] = rate
        logits_SM = member.logits(batch)
        loss = loss_of(logits_SM, truth_SM, multi_label=self.multi_label, label_smoothing=recipe.label_smoothing)
        if not bool(torch.isfinite(loss)):
            member.diverged_at, member.logits = step, None
            return
        member.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(member.head.parameters(), recipe.clip_norm)
        member.optimizer.step()

    def _batches(self, examples: Sequence[Example], epochs: int) -> Iterator[Batch | None]:
        """Batches of all epochs, each in its own order, a function of the seed and the epoch alone."""
        ordered = sorted(examples, key=lambda e: e.id)
        size = self.recipe.batch_size
        for epoch in range(epochs):
            order = np.random.default_rng([self.seed, epoch]).permutation(len(ordered))
            for start in range(0, len(ordered), size):
                part = [ordered[i] for i in order[start : start + size]]
                yield self.features.batch(part)
                self.tick(len(part))

    def _remember(self, examples: Sequence[Example], grid: list[Candidate]) -> list[Candidate]:
        """Nearest neighbours: one bank of the training features, which every cell and process reads."""
        batches = [batch for batch in self._batches(examples, 1) if batch is not None]
        if not batches:
            raise ProbeFailedError(f"not one of {len(examples)} training examples can be read; {self._first_failure()}")
        truth_SM = torch.cat([truth_of(batch.examples, self.num_classes) for batch in batches])
        bank_SC = torch.cat([mean_of_clips(batch.x_NC, batch.cu_seqlens) for batch in batches])
        neighbours = NearestNeighbours(bank_SC, truth_SM.to(bank_SC.device))
        for member in grid:
            member.logits = _voter(neighbours, int(member.cell["k"]))
        return grid

    def evaluate(self, grid: Sequence[Candidate], examples: Sequence[Example]) -> dict[int, Rows | None]:
        """Logits by id of every candidate, on every process; None: it diverged. For choosing, not for testing."""
        team = self.features.team
        mine = [member for member in grid if member.owner == team.rank]
        rows: dict[int, Rows] = {member.index: {} for member in mine}
        ordered = sorted(examples, key=lambda e: e.id)
        size = self.recipe.batch_size
        for start in range(0, len(ordered), size):
            batch = self.features.batch(ordered[start : start + size])
            for member in mine:
                if batch is not None and member.logits is not None:
                    rows[member.index] |= predict(member.logits, batch)
        found: dict[int, Rows | None] = {}
        for member in mine:
            finite = all(np.isfinite(row).all() for row in rows[member.index].values())
            found[member.index] = rows[member.index] if member.logits is not None and finite else None
        return {index: value for part in team.gather(found) for index, value in part.items()}

    def hand_out(self, chosen: Candidate) -> Callable[[Batch], Tensor]:
        """The chosen candidate's function, on every process."""
        if self.head_name == "knn":
            assert chosen.logits is not None
            return chosen.logits
        team = self.features.team
        state: dict[str, Any] | None = None
        if chosen.owner == team.rank and chosen.head is not None:
            state = {name: value.cpu() for name, value in chosen.head.state_dict().items()}
        state = team.send_from(chosen.owner, state)
        head = make_head(self.head_name, self.features.reader.backbone.width, self.num_classes, self.seed)
        head.load_state_dict(state)
        head.to(self.features.device).train(False)
        return lambda batch: head(batch.x_NC, batch.cu_seqlens)


def _voter(neighbours: NearestNeighbours, k: int) -> Callable[[Batch], Tensor]:
    return lambda batch: neighbours.logits(batch.x_NC, batch.cu_seqlens, k)


def predict(logits: Callable[[Batch], Tensor], batch: Batch) -> Rows:
    """Float32 [M] by id."""
    with torch.inference_mode():
        found_SM = logits(batch).float().cpu().numpy()
    return {e.id: row for e, row in zip(batch.examples, found_SM, strict=True)}


def by_video(rows: Mapping[str, NDArray[Any]], examples: Sequence[Example]) -> dict[str, NDArray[np.float64]]:
    """Mean logits of the views of each video, by video in sorted order: float64, added in the order of ids."""
    groups: dict[str, list[NDArray[Any]]] = {}
    for e in sorted(examples, key=lambda e: e.id):
        if e.id in rows:
            groups.setdefault(e.video, []).append(rows[e.id].astype(np.float64))
    return {video: np.mean(groups[video], axis=0) for video in sorted(groups)}
