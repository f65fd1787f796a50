"""What a probe is told to do. Light: no torch, so that a command line can be parsed with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Literal, get_args

from onevision_encoder.errors import InvalidArgumentError

HeadName = Literal["attentive", "attentive4", "linear", "knn"]
Schedule = Literal["linear", "cosine"]
GRIDS: Mapping[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "attentive": ((1e-4,), (0.0,)),
    "attentive4": ((5e-3, 3e-3, 1e-3, 3e-4, 1e-4), (0.01, 0.1, 0.4, 0.8)),
    "linear": ((1e-4, 3e-4, 1e-3, 3e-3, 1e-2), (0.0, 0.01)),
}
"""Head -> (learning rates, weight decays): the paper's one cell; V-JEPA 2's twenty; ours."""
NEIGHBOURS = (1, 5, 10, 20)
MOST = 1e37


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How heads are trained: AdamW, one schedule for all cells of the grid, which differ in what ``cells`` lists."""

    cells: tuple[Mapping[str, float], ...]
    """``lr`` and ``weight_decay`` of each head; ``k`` of nearest neighbours."""
    epochs: int
    batch_size: int = 32
    schedule: Schedule = "linear"
    final_lr: float = 1e-7
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    clip_norm: float = 5.0
    label_smoothing: float = 0.1


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """What is trained and how it is judged."""

    head: HeadName = "attentive"
    """attentive: the paper's. attentive4: V-JEPA 2's. linear: of the mean token. knn: nearest neighbours."""
    seeds: int = 3
    """Runs; a seed decides the first weights, the order of the batches and what is held out."""
    epochs: int | None = None
    """Passes over the training set. None: the data set's own (10, or 30 for a few)."""
    batch_size: int | None = None
    """Clips of a step. None: the data set's own (32; 16 or 128 for some)."""
    lrs: tuple[float, ...] = ()
    """Learning rates of the grid. None given: the head's own."""
    weight_decays: tuple[float, ...] = ()
    """Weight decays of the grid. None given: the head's own."""
    val_share: float = 0.1
    """Share of the training videos, of each class, that chooses among the cells of the grid."""
    folds: int = 0
    """0: the published split. 2 or more: as many test sets out of all there is."""
    views: int = 1
    """Stretches that each clip is cut into; their logits are averaged."""
    resamples: int = 1000
    """Of the bootstrap over test videos."""

    def __post_init__(self) -> None:
        if self.head not in get_args(HeadName):
            raise InvalidArgumentError("head", self.head, f"one of {', '.join(get_args(HeadName))}")
        for name in ("seeds", "views", "resamples"):
            if getattr(self, name) < 1:
                raise InvalidArgumentError(name, getattr(self, name), "at least 1")
        for name in ("epochs", "batch_size"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InvalidArgumentError(name, getattr(self, name), "at least 1")
        if self.folds < 0 or self.folds == 1:
            raise InvalidArgumentError("folds", self.folds, "0, or at least 2")
        if not 0 < self.val_share < 1:
            raise InvalidArgumentError("val_share", self.val_share, "above 0 and below 1")
        if any(not 0 < rate <= MOST for rate in self.lrs):
            raise InvalidArgumentError("lrs", self.lrs, f"above 0 and at most {MOST:g}, which float32 can hold")
        if any(not 0 <= decay <= MOST for decay in self.weight_decays):
            raise InvalidArgumentError("weight_decays", self.weight_decays, f"0 to {MOST:g}")

    def recipe(self, usual_epochs: int, usual_batch: int = 32) -> Recipe:
        """Everything the training loop needs: the paper's AdamW and schedule, or V-JEPA 2's cosine for its head."""
        epochs, batch_size = self.epochs or usual_epochs, self.batch_size or usual_batch
        if self.head == "knn":
            return Recipe(cells=tuple({"k": float(k)} for k in NEIGHBOURS), epochs=1, batch_size=batch_size)
        usual_lrs, usual_decays = GRIDS[self.head]
        grid = product(self.lrs or usual_lrs, self.weight_decays or usual_decays)
        cells = tuple({"lr": lr, "weight_decay": decay} for lr, decay in grid)
        recipe = Recipe(cells=cells, epochs=epochs, batch_size=batch_size)
        return (
            replace(recipe, schedule="cosine", final_lr=0.0, label_smoothing=0.0)
            if self.head == "attentive4"
            else recipe
        )
