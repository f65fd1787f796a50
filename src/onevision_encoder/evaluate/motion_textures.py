"""Random pictures to cover scenes with: periodic, band-limited, drawn from a generator of random numbers alone.

Axes: H W pixels, C channels, 3 = RGB as float32 grey levels 0-255, K cells.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
_SHORTEST_WAVE = 5.0  # pixels; shorter ones would twinkle under bilinear sampling


def sample_wrapped(picture_HWC: Picture, y: NDArray[np.float64], x: NDArray[np.float64]) -> Picture:
    """Bilinear samples [..., C] of a picture that repeats for ever, at pixel coordinates of any shape."""
    H, W = picture_HWC.shape[:2]
    top, left = np.floor(y), np.floor(x)
    v, u = (y - top).astype(np.float32)[..., None], (x - left).astype(np.float32)[..., None]
    i, j = top.astype(np.int64) % H, left.astype(np.int64) % W
    below, right = (i + 1) % H, (j + 1) % W
    upper = picture_HWC[i, j] * (1 - u) + picture_HWC[i, right] * u
    lower = picture_HWC[below, j] * (1 - u) + picture_HWC[below, right] * u
    mixed: Picture = upper * (1 - v) + lower * v
    return mixed


def crop_wrapped(picture_HWC: Picture, top: float, left: float, side: int) -> Picture:
    """The square [side, side, C] whose corner lies at a real position of a picture that repeats for ever.

    The same as :func:`sample_wrapped` on a grid, at a fifth of its time.
    """
    H, W = picture_HWC.shape[:2]
    i, j = int(np.floor(top)), int(np.floor(left))
    v, u = np.float32(top - i), np.float32(left - j)
    rows, columns = np.arange(i, i + side + 1) % H, np.arange(j, j + side + 1) % W
    part = picture_HWC[rows[:, None], columns]
    across = part[:, :-1] * (1 - u) + part[:, 1:] * u
    crop: Picture = across[:-1] * (1 - v) + across[1:] * v
    return crop


def _frequencies(H: int, W: int) -> NDArray[np.float64]:
    """Cycles a pixel of each coefficient of ``rfft2``."""
    cycles: NDArray[np.float64] = np.hypot(np.fft.fftfreq(H)[:, None], np.fft.rfftfreq(W)[None, :])
    return cycles


def _filtered(picture_HWC: NDArray[np.float64], gain: NDArray[np.float64]) -> NDArray[np.float64]:
    H, W = picture_HWC.shape[:2]
    spectrum = np.fft.rfft2(picture_HWC, axes=(0, 1)) * gain[..., None]
    filtered: NDArray[np.float64] = np.fft.irfft2(spectrum, s=(H, W), axes=(0, 1))
    return filtered


def clouds(rng: np.random.Generator, side: int, *, mean_3: NDArray[np.float64], contrast: float) -> Picture:
    """Noise with a power-law spectrum, in two random hues around ``mean_3``; ``contrast`` is its standard deviation."""
    f = _frequencies(side, side)
    slope, longest = rng.uniform(0.7, 1.7), rng.uniform(0.25, 0.6) * side
    f_low = np.maximum(f, 1 / longest)
    gain = f_low**-slope * np.exp(-((f * _SHORTEST_WAVE / 1.5) ** 4)) * (f > 0)
    noise_HW2 = _filtered(rng.standard_normal((side, side, 2)), gain)
    noise_HW2 /= noise_HW2.std((0, 1))
    hue_23 = rng.normal(0, 1, (2, 3)) * 0.5 + np.array([[1.0], [0.2]]) * rng.choice([-1, 1])
    hue_23 *= contrast / np.linalg.norm(hue_23, axis=1).max() * np.sqrt(3)
    picture: Picture = (mean_3 + noise_HW2 @ hue_23).astype(np.float32)
    return picture


def mosaic(
    rng: np.random.Generator,
    shape: tuple[int, int],
    *,
    mean_3: NDArray[np.float64],
    contrast: float,
    cells: int,
    step: int = 1,
) -> Picture:
    """Flat-coloured Voronoi cells on a torus with a grating over them, edges softened.

    Args:
        cells: how many. step: cells are found on every ``step``-th pixel only, for speed.
    """
    H, W = shape
    at_K2, color_K3 = rng.uniform(0, 1, (cells, 2)), rng.normal(0, contrast, (cells, 3))
    y, x = np.arange(0, H, step)[:, None, None] / H, np.arange(0, W, step)[None, :, None] / W
    dy, dx = np.abs(y - at_K2[:, 0]), np.abs(x - at_K2[:, 1])
    dy, dx = np.minimum(dy, 1 - dy) * H, np.minimum(dx, 1 - dx) * W
    nearest = np.argmin(dy * dy + dx * dx, axis=-1)
    flat_HW3 = np.repeat(np.repeat(color_K3[nearest], step, 0), step, 1)[:H, :W]
    waves_2 = rng.integers(-12, 13, 2)  # whole waves, so that the grating closes on the torus
    phase = 2 * np.pi * (waves_2[0] * np.arange(H)[:, None] / H + waves_2[1] * np.arange(W)[None, :] / W)
    grating = np.cos(phase + rng.uniform(0, 2 * np.pi))[..., None] * rng.normal(0, 0.4 * contrast, 3)
    soft = np.exp(-((_frequencies(H, W) * _SHORTEST_WAVE / 1.5) ** 4))
    return (mean_3 + _filtered(flat_HW3 + grating, soft)).astype(np.float32)


def mean_colors(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    """[count, 3] base colours; every one after the first is at least 60 grey levels from the first in some channel."""
    first = rng.uniform(50, 205, 3)
    colors = [first]
    while len(colors) < count:
        color = rng.uniform(40, 215, 3)
        if np.abs(color - first).max() >= 60:
            colors.append(color)
    return np.array(colors)
