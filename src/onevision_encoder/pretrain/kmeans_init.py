"""First centres.

Axes: n rows, m rows of a sample, k centres, D width.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from onevision_encoder.pretrain.kmeans_config import KMeansConfig
from onevision_encoder.pretrain.kmeans_rows import Rows

SAMPLED_PER_CENTRE, LEAST_SAMPLED = 8, 8192
"""k-means++ looks at so many rows for each centre, and at no fewer than these (all, where there are no more)."""


def first_centres(rows: Rows, config: KMeansConfig, stream: tuple[int, ...] = ()) -> Tensor:
    """Float32 [k, D]: rows of the data, the same ones on every rank.

    Args:
        stream: numbers that tell draws of one run apart (the parent whose children these are).
    """
    rng = np.random.default_rng([config.seed, *stream])
    if config.init == "sampled":
        return rows.take(np.sort(rng.choice(rows.count, config.k, replace=False, shuffle=False)))
    size = min(rows.count, max(SAMPLED_PER_CENTRE * config.k, LEAST_SAMPLED))
    sample_mD = rows.take(np.sort(rng.choice(rows.count, size, replace=False, shuffle=False)))
    return sample_mD[torch.from_numpy(_plus_plus(sample_mD, config.k, rng))]


def _plus_plus(sample_mD: Tensor, k: int, rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """k rows, each drawn with a probability that grows with its squared distance to those before.

    Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", 2007. Where nothing is left at a distance
    (fewer distinct rows than centres), the next row that is not taken follows; repair deals with it.
    """
    m = len(sample_mD)
    square_m = sample_mD.square().sum(1)
    nearest_m = torch.full((m,), torch.inf)
    chosen = np.empty(k, np.int64)
    chosen[0] = rng.integers(m)
    for i in range(1, k):
        last_D = sample_mD[chosen[i - 1]]
        apart_m = square_m - 2 * (sample_mD @ last_D) + last_D.square().sum()
        nearest_m = torch.minimum(nearest_m, apart_m.clamp_(min=0))
        nearest_m[chosen[i - 1]] = 0
        total_m = nearest_m.double().cumsum(0).numpy()
        if total_m[-1] > 0:
            place = int(np.searchsorted(total_m, rng.random() * total_m[-1], side="right"))
            chosen[i] = min(place, int(torch.nonzero(nearest_m)[-1]))
        else:
            chosen[i] = np.setdiff1d(np.arange(m), chosen[:i])[0]
    return chosen
