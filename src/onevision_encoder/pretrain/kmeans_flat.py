"""Lloyd's iterations on one level.

Axes: n rows, k centres, D width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from onevision_encoder.evaluate.distributed import Team
from onevision_encoder.pretrain.kmeans_config import KMeansConfig
from onevision_encoder.pretrain.kmeans_init import first_centres
from onevision_encoder.pretrain.kmeans_nearest import Nearest, screens
from onevision_encoder.pretrain.kmeans_repair import repair
from onevision_encoder.pretrain.kmeans_rows import Rows
from onevision_encoder.pretrain.kmeans_state import Progress
from onevision_encoder.pretrain.kmeans_sums import ClusterSums

Tick = Callable[[str, float], None]
"""Called with the name of the stage and the inertia after a look at all rows."""


@dataclass
class Flat:
    """Centres and how they came about.

    Attributes:
        centres_kD: float32. sizes_k: int64, of these very centres. history: a row for every update: inertia of the
            centres before it, empty clusters among them, how many of these got a new place.
    """

    centres_kD: Tensor
    sizes_k: Tensor
    inertia: float
    history: list[dict[str, Any]] = field(default_factory=list)
    converged: bool = False


def look(rows: Rows, centres_kD: Tensor, config: KMeansConfig, team: Team, sums: ClusterSums) -> None:
    """One look at all rows with these centres; ``sums`` are then of them."""
    nearest = Nearest(
        centres_kD,
        spherical=config.spherical,
        screening=screens(config.screening, rows.width, spherical=config.spherical),
    )
    sums.begin()
    for start, x_BD in rows.each(team):
        sums.add(start, x_BD, nearest.find(x_BD))
    sums.reduce(team, centres_kD)


def cluster(
    rows: Rows,
    config: KMeansConfig,
    team: Team,
    *,
    longest: float = 1.0,
    progress: Progress | None = None,
    stream: tuple[int, ...] = (),
    tick: Tick | None = None,
) -> Flat:
    """k centres of the rows; goes on where ``progress`` stands.

    Args:
        longest: the greatest length of a row. stream: see :func:`first_centres`. tick: told after every look.
    """
    kept = progress.load("flat") if progress else None
    if kept:
        centres_kD, history = torch.from_numpy(kept[0]["centres"]), list(kept[1]["history"])
    else:
        centres_kD, history = first_centres(rows, config, stream), []
    sums = ClusterSums(config.k, rows.width, rows.count, longest)
    while True:
        look(rows, centres_kD, config, team, sums)
        new_kD = sums.means(centres_kD, spherical=config.spherical)
        repaired = repair(new_kD, sums, rows, team, spherical=config.spherical)
        inertia = sums.inertia
        settled = bool(torch.equal(new_kD, centres_kD)) or _settled(history, inertia, config.tolerance, repaired)
        if tick:
            tick("iteration", inertia)
        if settled or len(history) >= config.iterations:
            return Flat(centres_kD, sums.size_k, inertia, history, converged=settled)
        empty = int((sums.size_k == 0).sum())
        history.append({"inertia": inertia, "empty": empty, "repaired": repaired})
        centres_kD = new_kD
        if progress:
            progress.save("flat", {"centres": centres_kD.numpy()}, history=history)


def _settled(history: list[dict[str, Any]], inertia: float, tolerance: float, repaired: int) -> bool:
    """Whether the last update gained too little to go on."""
    if not history or repaired or tolerance == 0:
        return False
    before = history[-1]["inertia"]
    return bool(before - inertia <= tolerance * before)
