"""Centres of empty clusters get half of a cluster with much error.

Axes: k centres, D width, B rows of a chunk.

The donor is cut in two: one centre moves a little from the donor's mean towards its furthest row, the other as much the
other way, so that the plane between them goes through the mean. The furthest row itself would be the worse place: often
it is an outlier, and would stay alone.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onevision_encoder.evaluate.distributed import Team
from onevision_encoder.pretrain.kmeans_rows import Rows
from onevision_encoder.pretrain.kmeans_sums import ClusterSums

STEP = 2.0**-6
"""How far towards the furthest row."""

_SAME = 1e-12
"""Squared distance to the mean, as a share of the mean's squared length, that rounding makes of rows all the same."""


def repair(
    centres_kD: Tensor,
    sums: ClusterSums,
    rows: Rows,
    team: Team,
    *,
    spherical: bool,
    group_k: NDArray[np.int64] | None = None,
) -> int:
    """Move centres of empty clusters, in place, each into a cluster of its own; returns how many.

    The greatest error gives first, each cluster once and only with an error above the mean; one whose rows are all the
    same gives nothing. The same on every rank.

    Args:
        centres_kD: float32, the new means. group_k: only clusters of its own group give to an empty one.
    """
    pairs = _donors(sums, group_k)
    if not pairs:
        return 0
    empty, donor = map(list, zip(*pairs.items(), strict=True))
    apart_m, row_m = _furthest(donor, centres_kD, sums, rows, team)
    noise_m = _SAME * centres_kD[donor].square().sum(1).numpy()
    real = np.flatnonzero(apart_m > noise_m).tolist()
    empty, donor = [empty[i] for i in real], [donor[i] for i in real]
    if not real:
        return 0
    mean_mD = centres_kD[donor]
    step_mD = STEP * (rows.take(row_m[real]) - mean_mD)
    for at, new_mD in ((empty, mean_mD + step_mD), (donor, mean_mD - step_mD)):
        if spherical:
            new_mD = new_mD / torch.linalg.vector_norm(new_mD, dim=1, dtype=torch.float64)[:, None].float()
        centres_kD[at] = new_mD
    return len(real)


def _donors(sums: ClusterSums, group_k: NDArray[np.int64] | None) -> dict[int, int]:
    """Empty cluster -> the one that gives it a part of its rows."""
    size_k, error_k = sums.size_k.numpy(), sums.error_k.numpy()
    empty = np.flatnonzero(size_k == 0).tolist()
    if not empty:
        return {}
    group_k = np.zeros(len(size_k), np.int64) if group_k is None else group_k
    filled_g = np.bincount(group_k[size_k > 0], minlength=int(group_k.max()) + 1)
    mean_g = np.bincount(group_k, weights=error_k) / np.maximum(filled_g, 1)
    giving = np.flatnonzero((error_k > 0) & (size_k > 1) & (error_k >= 0.999 * mean_g[group_k]))
    donors: dict[int, list[int]] = {}
    for donor in giving[np.argsort(error_k[giving], kind="stable")[::-1]].tolist():
        donors.setdefault(int(group_k[donor]), []).insert(0, donor)
    return {cluster: left.pop() for cluster in empty if (left := donors.get(int(group_k[cluster])))}


def _furthest(
    donor: list[int], centres_kD: Tensor, sums: ClusterSums, rows: Rows, team: Team
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Float32 [m] squared distance and int64 [m]: the furthest row of each donor, of equal ones the first."""
    place = torch.full((len(centres_kD),), -1, dtype=torch.int64)
    place[donor] = torch.arange(len(donor))
    apart_m, row_m = np.full(len(donor), -1, np.float32), np.full(len(donor), -1, np.int64)
    for start, label_B in sums.labels.items():
        own = torch.nonzero(place[label_B] >= 0)[:, 0]
        if not len(own):
            continue
        x_BD = rows.chunk(start // rows.chunk_rows)[own]
        apart = (x_BD - centres_kD[label_B[own]]).square_().sum(1).numpy()
        _keep_further(apart_m, row_m, place[label_B[own]].numpy(), apart, own.numpy() + start)
    if team.world > 1:
        for apart, row in team.gather((apart_m.copy(), row_m.copy())):
            found = row >= 0
            _keep_further(apart_m, row_m, np.flatnonzero(found), apart[found], row[found])
    return apart_m, row_m


def _keep_further(
    apart_m: NDArray[np.float32],
    row_m: NDArray[np.int64],
    at: NDArray[np.int64],
    apart: NDArray[np.float32],
    row: NDArray[np.int64],
) -> None:
    order = np.lexsort((row, -apart, at))
    order = order[np.r_[True, at[order][1:] != at[order][:-1]]] if len(order) else order
    at, apart, row = at[order], apart[order], row[order]
    better = (apart > apart_m[at]) | ((apart == apart_m[at]) & (row < row_m[at]))
    apart_m[at[better]], row_m[at[better]] = apart[better], row[better]
