"""Classifiers that see one picture, and what chance would give them. Numpy only.

Axes: N clips, H W pixels, 3 = RGB, D features, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Features = NDArray[np.float64]
Labels = NDArray[np.int64]
Z_999 = 3.2905  # two-sided 99.9 % of a normal


def chance_interval(n: int, classes: int) -> tuple[float, float]:
    """Accuracies that guessing gives in at least 99.9 % of runs of n clips, by the exact binomial."""
    p, tail = 1 / classes, 0.0005
    log_choose = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(n + 1)]
    mass = np.exp([c + k * math.log(p) + (n - k) * math.log1p(-p) for k, c in enumerate(log_choose)])
    below = np.cumsum(mass)
    low = int(np.searchsorted(below, tail))
    high = int(np.searchsorted(below, 1 - tail))
    return low / n, high / n


def luma(rgb_NHW3: NDArray[np.uint8]) -> NDArray[np.float64]:
    grey: NDArray[np.float64] = rgb_NHW3 @ np.array([0.299, 0.587, 0.114])
    return grey


def _blocks(image_NHW: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Means of square blocks."""
    N, H, W = image_NHW.shape
    h, w = H // side, W // side
    means: NDArray[np.float64] = image_NHW[:, : h * side, : w * side].reshape(N, h, side, w, side).mean((2, 4))
    return means


def raw(rgb_NHW3: NDArray[np.uint8]) -> Features:
    """Grey thumbnails of about 16 x 16."""
    return _blocks(luma(rgb_NHW3), rgb_NHW3.shape[1] // 16).reshape(len(rgb_NHW3), -1)


def hog(rgb_NHW3: NDArray[np.uint8]) -> Features:
    """Histograms of 9 unsigned gradient directions in 8 x 8 cells, scaled to length 1 over the picture."""
    grey = luma(rgb_NHW3)
    dy, dx = np.gradient(grey, axis=(1, 2))
    strength, bin_ = np.hypot(dy, dx), np.floor(np.arctan2(dy, dx) % np.pi / np.pi * 9).astype(int) % 9
    cells = np.stack([_blocks(strength * (bin_ == b), grey.shape[1] // 8) for b in range(9)], -1)
    flat = np.sqrt(cells.reshape(len(grey), -1))
    unit: Features = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    return unit


def colors(rgb_NHW3: NDArray[np.uint8]) -> Features:
    """Square roots of the shares of 4 x 4 x 4 colours."""
    cell = (rgb_NHW3 // 64).reshape(len(rgb_NHW3), -1, 3) @ np.array([16, 4, 1])
    shares: Features = np.sqrt(np.stack([np.bincount(row, minlength=64) for row in cell]) / cell.shape[1])
    return shares


def _standard(train_ND: Features, test_ND: Features) -> tuple[Features, Features]:
    mean, sd = train_ND.mean(0), train_ND.std(0) + 1e-9
    return (train_ND - mean) / sd, (test_ND - mean) / sd


def ridge(train_ND: Features, y_N: Labels, test_ND: Features, penalty: float = 1.0) -> Labels:
    """Least squares on one-hot labels, penalty times D."""
    x, z = _standard(train_ND, test_ND)
    target = np.eye(int(y_N.max()) + 1)[y_N]
    weight = np.linalg.solve(x.T @ x + penalty * x.shape[1] * np.eye(x.shape[1]), x.T @ (target - target.mean(0)))
    return np.argmax(z @ weight, 1)


def kernel_ridge(train_ND: Features, y_N: Labels, test_ND: Features) -> Labels:
    """The same on a Gaussian kernel as wide as the median distance."""
    x, z = _standard(train_ND, test_ND)

    def squared(a: Features, b: Features) -> Features:
        distance: Features = (a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T
        return distance

    own = squared(x, x)
    width = np.median(own)
    target = np.eye(int(y_N.max()) + 1)[y_N]
    alpha = np.linalg.solve(np.exp(-own / width) + 0.1 * np.eye(len(x)), target - target.mean(0))
    return np.argmax(np.exp(-squared(z, x) / width) @ alpha, 1)


def nearest(train_ND: Features, y_N: Labels, test_ND: Features, k: int = 10) -> Labels:
    """Majority of the k clips with the smallest angle."""
    x, z = (a / (np.linalg.norm(a, axis=1, keepdims=True) + 1e-9) for a in _standard(train_ND, test_ND))
    votes = y_N[np.argsort(-(z @ x.T), axis=1)[:, :k]]
    return np.array([np.bincount(v).argmax() for v in votes])


FEATURES: dict[str, Callable[[NDArray[np.uint8]], Features]] = {"raw": raw, "hog": hog, "colors": colors}
PROBES: dict[str, Callable[[Features, Labels, Features], Labels]] = {
    "ridge": ridge,
    "kernel_ridge": kernel_ridge,
    "nearest": nearest,
}


def accuracies(pictures: NDArray[np.uint8], label_N: Labels, train: int) -> dict[tuple[str, str], float]:
    """Of every probe on every feature, trained on the first ``train`` pictures, on the others."""
    out = {}
    for feature, describe in FEATURES.items():
        x = describe(pictures)
        for probe, predict in PROBES.items():
            right = predict(x[:train], label_N[:train], x[train:]) == label_N[train:]
            out[feature, probe] = float(right.mean())
    return out
