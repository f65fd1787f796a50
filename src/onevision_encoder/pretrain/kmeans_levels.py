"""Centres of two levels: parents, then children of each parent, then a last polish of all children together.

Axes: n rows, k centres, j parents, D width.

One level costs n * k * D products a look; two cost n * (j + k / j) * D, and n * (j + p * k / j) * D a look of the
polish over the p nearest parents. Parents get children in proportion to their rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onevision_encoder.evaluate.distributed import Team
from onevision_encoder.pretrain.kmeans_config import KMeansConfig
from onevision_encoder.pretrain.kmeans_flat import Tick, cluster
from onevision_encoder.pretrain.kmeans_nearest import Nearest, screens
from onevision_encoder.pretrain.kmeans_repair import repair
from onevision_encoder.pretrain.kmeans_rows import Rows
from onevision_encoder.pretrain.kmeans_state import Progress
from onevision_encoder.pretrain.kmeans_sums import ClusterSums
from onevision_encoder.pretrain.kmeans_tree import TreeSearch


@dataclass
class Tree:
    """As :class:`~onevision_encoder.pretrain.kmeans_flat.Flat`, with the parents and the bounds of their children.

    ``inertia`` and ``sizes_k`` are of a search among the children of the nearest parents.
    """

    centres_kD: Tensor
    sizes_k: Tensor
    inertia: float
    parents_jD: Tensor
    child_bounds: Tensor
    history: list[dict[str, Any]] = field(default_factory=list)
    converged: bool = False


def cluster_levels(
    rows: Rows, config: KMeansConfig, team: Team, *, longest: float, progress: Progress, tick: Tick | None = None
) -> Tree:
    """k centres of the rows on two levels; goes on where ``progress`` stands."""
    upper = replace(config, k=config.num_parents, levels=1, parents=None)
    folder = progress.folder
    below = replace(progress, folder=folder / "parents" if folder else None)
    top = cluster(rows, upper, team, longest=longest, progress=below, tick=_named(tick, "parents"))
    parent_n = _parent_of(rows, top.centres_kD, config, team, progress)
    size_j = np.bincount(parent_n, minlength=len(top.centres_kD))
    count_j = allocate(size_j, config.k)
    used = np.flatnonzero(count_j)
    bounds = np.concatenate([[0], np.cumsum(count_j[used])])
    kept = progress.load("polish")
    if kept:
        centres_kD, history = torch.from_numpy(kept[0]["centres"]), list(kept[1]["history"])
        parents_jD = torch.from_numpy(kept[0]["parents"])
    else:
        children = _Children(rows, config, team, progress, parent_n, {int(p): int(count_j[p]) for p in used}, longest)
        found = children.all(_named(tick, "children"))
        centres_kD = torch.cat([found[int(p)] for p in used])
        history = [{"stage": "parents", **row} for row in top.history]
        parents_jD = top.centres_kD[torch.from_numpy(used)]
    tree = Tree(centres_kD, torch.zeros(0), 0.0, parents_jD, torch.from_numpy(bounds), history)
    return _polish(tree, rows, config, team, longest, progress, tick)


def _polish(
    tree: Tree, rows: Rows, config: KMeansConfig, team: Team, longest: float, progress: Progress, tick: Tick | None
) -> Tree:
    """Updates of all children together; the last look gives sizes and inertia."""
    group_k = np.repeat(np.arange(len(tree.parents_jD)), np.diff(tree.child_bounds.numpy()))
    sums = ClusterSums(config.k, rows.width, rows.count, longest)
    while True:
        search = TreeSearch(
            tree.centres_kD,
            tree.parents_jD,
            tree.child_bounds,
            near=config.nearest_parents,
            spherical=config.spherical,
        )
        sums.begin()
        for start, x_BD in rows.each(team):
            sums.add(start, x_BD, search.find(x_BD))
        sums.reduce(team, tree.centres_kD)
        tree.inertia, tree.sizes_k = sums.inertia, sums.size_k
        if tick:
            tick("polish", tree.inertia)
        done = sum(row["stage"] == "polish" for row in tree.history)
        if done >= config.refinements:
            return tree
        tree.centres_kD = sums.means(tree.centres_kD, spherical=config.spherical)
        repaired = repair(tree.centres_kD, sums, rows, team, spherical=config.spherical, group_k=group_k)
        tree.parents_jD = _parents(sums, tree, group_k, spherical=config.spherical)
        empty = int((sums.size_k == 0).sum())
        facts = {"stage": "polish", "inertia": tree.inertia, "empty": empty, "repaired": repaired}
        tree.history.append(facts)
        arrays = {"centres": tree.centres_kD.numpy(), "parents": tree.parents_jD.numpy()}
        progress.save("polish", arrays, history=tree.history)


def _parents(sums: ClusterSums, tree: Tree, group_k: NDArray[np.int64], *, spherical: bool) -> Tensor:
    """Mean of all rows of the children of each parent; a parent without rows stays."""
    new_jD = tree.parents_jD.clone()
    bounds = tree.child_bounds.tolist()
    for j in range(len(new_jD)):
        part = slice(bounds[j], bounds[j + 1])
        count = int(sums.size_k[part].sum())
        mean_D = sums.sum(part).sum(0) / max(count, 1)
        length = float(torch.linalg.vector_norm(mean_D))
        if count and (length > 1e-9 or not spherical):
            new_jD[j] = mean_D / length if spherical else mean_D
    return new_jD


def _parent_of(
    rows: Rows, parents_jD: Tensor, config: KMeansConfig, team: Team, progress: Progress
) -> NDArray[np.int32]:
    """Int32 [n]: the nearest parent of every row, on every rank."""
    kept = progress.load("parent_of")
    if kept:
        found: NDArray[np.int32] = kept[0]["parent"]
        return found
    spherical = config.spherical
    nearest = Nearest(
        parents_jD, spherical=spherical, screening=screens(config.screening, rows.width, spherical=spherical)
    )
    mine = [nearest.find(x_BD).numpy().astype(np.int32) for _, x_BD in rows.each(team)]
    parts = team.gather(np.concatenate(mine) if mine else np.empty(0, np.int32))
    parent_n = np.concatenate(parts)
    progress.save("parent_of", {"parent": parent_n})
    return parent_n


@dataclass
class _Children:
    """Children of every parent. Each rank takes every ``world``-th parent, whose rows it holds in memory, as many
    parents at a time as fit; after each round all ranks have what was found."""

    rows: Rows
    config: KMeansConfig
    team: Team
    progress: Progress
    parent_n: NDArray[np.int32]
    count: dict[int, int]
    longest: float

    def all(self, tick: Tick | None) -> dict[int, Tensor]:
        """Parent -> float32 [its children, D]."""
        done = self._kept()
        order = np.argsort(self.parent_n, kind="stable")
        ends = np.cumsum(np.bincount(self.parent_n, minlength=max(self.count) + 1))
        for group in self._rounds([p for p in self.count if p not in done], ends):
            mine = {}
            members = [np.sort(order[ends[p - 1] if p else 0 : ends[p]]) for p in group]
            x_mD = self.rows.take(np.concatenate([*members, np.empty(0, np.int64)]))
            for parent, x_cD in zip(group, x_mD.split([len(m) for m in members]), strict=True):
                mine[parent] = self._of(parent, x_cD.contiguous())
            fresh = {p: c for part in self.team.gather(mine) for p, c in part.items()}
            done |= fresh
            named = np.array(sorted(fresh), np.int64)
            centres = torch.cat([fresh[int(p)] for p in named]).numpy()
            self.progress.save(f"children-{named[0]:07d}", {"parents": named, "centres": centres})
            if tick:
                tick(f"{len(done)} of {len(self.count)}", float("nan"))
        return done

    def _of(self, parent: int, x_cD: Tensor) -> Tensor:
        own = replace(self.config, k=self.count[parent], levels=1, parents=None)
        part = Rows(x_cD, self.config.spherical, self.config.chunk_rows)
        return cluster(part, own, Team(), longest=self.longest, stream=(parent,)).centres_kD

    def _rounds(self, todo: list[int], ends: NDArray[np.int64]) -> Iterator[list[int]]:
        """This rank's parents of every round; every rank has as many rounds."""
        most = max(1, (self.config.memory_mb << 20) // (4 * self.rows.width))
        shares = [todo[rank :: self.team.world] for rank in range(self.team.world)]
        rounds = [_filled(share, ends, most) for share in shares]
        for i in range(max(map(len, rounds), default=0)):
            own = rounds[self.team.rank]
            yield own[i] if i < len(own) else []

    def _kept(self) -> dict[int, Tensor]:
        """Children that an earlier run has found."""
        folder = self.progress.folder
        done: dict[int, Tensor] = {}
        names = sorted(p.stem for p in folder.glob("children-*.safetensors")) if folder and self.team.leads else []
        for name in self.team.send_from(0, names):
            kept = self.progress.load(name)
            assert kept is not None
            parents = kept[0]["parents"].tolist()
            parts = torch.from_numpy(kept[0]["centres"]).split([self.count[p] for p in parents])
            done |= dict(zip(parents, parts, strict=True))
        return done


def _filled(share: list[int], ends: NDArray[np.int64], most: int) -> list[list[int]]:
    """Parents in groups of at most ``most`` rows, at least one parent each."""
    groups: list[list[int]] = []
    held = most + 1
    for p in share:
        size = int(ends[p] - (ends[p - 1] if p else 0))
        if held + size > most:
            groups.append([])
            held = 0
        groups[-1].append(p)
        held += size
    return groups


def allocate(size_j: NDArray[np.int64], k: int) -> NDArray[np.int64]:
    """Children of each parent, int64 [j], k in all: in proportion to its rows, at least 1 and at most as many as rows;
    0 where it has none. Of equal claims the first parent goes first.

    Needs k >= the parents with rows, and k <= all rows.
    """
    quota_j = k * size_j / size_j.sum()
    count_j: NDArray[np.int64] = np.minimum(
        np.maximum(np.floor(quota_j).astype(np.int64), np.minimum(size_j, 1)), size_j
    )
    while (short := k - int(count_j.sum())) != 0:
        open_j = count_j < size_j if short > 0 else count_j > 1
        claim_j = np.where(open_j, np.sign(short) * (quota_j - count_j), -np.inf)
        first = np.argsort(-claim_j, kind="stable")[: min(abs(short), int(open_j.sum()))]
        count_j[first] += np.sign(short)
    return count_j


def _named(tick: Tick | None, stage: str) -> Tick | None:
    if tick is None:
        return None
    return lambda what, inertia: tick(stage if what == "iteration" else f"{stage} {what}", inertia)
