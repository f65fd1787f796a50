"""Features with known clusters, and the slow obvious way to cluster them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def blobs(
    clusters: int, each: int, width: int, *, noise: float = 0.02, seed: int = 0
) -> tuple[Floats, NDArray[np.int64]]:
    """Rows in tight clusters around directions that are far apart, shuffled; and the cluster of each."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.standard_normal((width, clusters)))[0].T
    truth = rng.permutation(np.repeat(np.arange(clusters), each))
    rows = directions[truth] + noise * rng.standard_normal((len(truth), width))
    return (rows * rng.uniform(0.5, 2, (len(rows), 1))).astype(np.float32), truth


def cloud(rows: int, width: int, *, centres: int = 40, seed: int = 0) -> Floats:
    """Overlapping clusters."""
    rng = np.random.default_rng(seed)
    middle = rng.standard_normal((centres, width))
    return (middle[rng.integers(0, centres, rows)] + 0.9 * rng.standard_normal((rows, width))).astype(np.float32)


def unit(x: NDArray[np.floating]) -> NDArray[np.float64]:
    x = x.astype(np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def lloyd(
    x: NDArray[np.floating], first: NDArray[np.int64], iterations: int, *, spherical: bool
) -> NDArray[np.float64]:
    """Lloyd's iterations in float64 with every distance written out; no cluster may run empty."""
    x = unit(x) if spherical else x.astype(np.float64)
    centres = x[first]
    for _ in range(iterations):
        label = ((x[:, None] - centres[None]) ** 2).sum(2).argmin(1)
        centres = np.stack([x[label == c].mean(0) for c in range(len(centres))])
        centres = unit(centres) if spherical else centres
    return centres


def inertia(x: NDArray[np.floating], centres: NDArray[np.floating]) -> float:
    x, centres = x.astype(np.float64), centres.astype(np.float64)
    return float((((x[:, None] - centres[None]) ** 2).sum(2).min(1)).sum())
