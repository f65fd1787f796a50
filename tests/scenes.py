"""Synthetic luma clips whose motion is known by construction, to fractions of a pixel. Pure numpy.

Axes: T frames, H W pixels, K waves. Motion is (dx, dy) in pixels a frame, dx > 0 = the content moves to the right.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Clip = NDArray[np.uint8]


def texture(y: ArrayLike, x: ArrayLike, *, seed: int = 0, contrast: float = 45.0) -> NDArray[np.float64]:
    """Grey levels around 128 at any real position: plane waves of 5 to 80 pixels, so that nothing aliases."""
    rng = np.random.default_rng(seed)
    length_K = np.geomspace(5, 80, 40)
    angle_K, phase_K = rng.uniform(0, 2 * np.pi, (2, len(length_K)))
    weight_K = length_K**0.3 / np.sqrt((length_K**0.6).sum() / 2)
    yy, xx = np.broadcast_arrays(np.asarray(y, np.float64), np.asarray(x, np.float64))
    grey = np.zeros(yy.shape)
    for length, angle, phase, weight in zip(length_K, angle_K, phase_K, weight_K, strict=True):
        grey += weight * np.cos(2 * np.pi / length * (np.cos(angle) * xx + np.sin(angle) * yy) + phase)
    return 128 + contrast * grey


def _grid(height: int, width: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.arange(height, dtype=np.float64)[:, None], np.arange(width, dtype=np.float64)[None, :]


def to_uint8(grey: NDArray[np.float64]) -> Clip:
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8)


def to_rgb(luma_THW: Clip) -> NDArray[np.uint8]:
    """Grey RGB [T, H, W, 3]: BT.601 luma of it is the clip itself."""
    return np.repeat(luma_THW[..., None], 3, -1)


def still(frames: int = 6, height: int = 112, width: int = 112, *, seed: int = 0) -> Clip:
    y, x = _grid(height, width)
    return np.repeat(to_uint8(texture(y, x, seed=seed))[None], frames, 0)


def pan(motion: tuple[float, float], frames: int = 6, height: int = 112, width: int = 112, *, seed: int = 0) -> Clip:
    """The whole picture moves by ``motion`` a frame."""
    y, x = _grid(height, width)
    return np.stack([to_uint8(texture(y - t * motion[1], x - t * motion[0], seed=seed)) for t in range(frames)])


def zoom(factor: float, frames: int = 6, height: int = 112, width: int = 112, *, seed: int = 0) -> Clip:
    """The picture grows by ``factor`` a frame about its centre."""
    y, x = _grid(height, width)
    cy, cx = (height - 1) / 2, (width - 1) / 2
    scale = [factor**t for t in range(frames)]
    return np.stack([to_uint8(texture(cy + (y - cy) / s, cx + (x - cx) / s, seed=seed)) for s in scale])


def zoom_motion(factor: float, height: int, width: int, y: ArrayLike, x: ArrayLike) -> NDArray[np.float64]:
    """True motion (dx, dy) at pixel (y, x) of :func:`zoom`, since the frame before."""
    gain = 1 - 1 / factor
    dy = (np.asarray(y, np.float64) - (height - 1) / 2) * gain
    dx = (np.asarray(x, np.float64) - (width - 1) / 2) * gain
    return np.stack(np.broadcast_arrays(dx, dy), -1)


def moving_object(
    motion: tuple[float, float] = (4.0, 0.0),
    frames: int = 8,
    height: int = 112,
    width: int = 112,
    *,
    side: int = 32,
    start: tuple[float, float] = (40.0, 8.0),
    background: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
) -> tuple[Clip, NDArray[np.bool_]]:
    """A textured square over a textured background that stands still or moves by ``background`` a frame.

    Returns:
        (clip, bool [T, H, W] where the square is). ``start`` is (top, left) of the square in frame 0.
    """
    y, x = _grid(height, width)
    clip = pan(background, frames, height, width, seed=seed)
    inside = np.zeros(clip.shape, np.bool_)
    for t in range(frames):
        v, u = y - start[0] - t * motion[1], x - start[1] - t * motion[0]
        inside[t] = (v >= 0) & (v < side) & (u >= 0) & (u < side)
        clip[t][inside[t]] = to_uint8(texture(v, u, seed=seed + 1))[inside[t]]
    return clip, inside


def cut(at: int, frames: int = 8, height: int = 112, width: int = 112, *, seed: int = 0) -> Clip:
    """Two still scenes, the second from frame ``at`` on."""
    first, second = still(at, height, width, seed=seed), still(frames - at, height, width, seed=seed + 100)
    return np.concatenate([first, second])


def noisy(clip: Clip, sigma: float, *, seed: int = 0) -> Clip:
    """Independent Gaussian sensor noise on every frame."""
    noise = np.random.default_rng(seed).normal(0, sigma, clip.shape)
    return to_uint8(clip.astype(np.float64) + noise)


def faded(clip: Clip, gain_T: ArrayLike) -> Clip:
    """Every frame multiplied by its gain (0 = black)."""
    return to_uint8(clip * np.asarray(gain_T, np.float64)[:, None, None])
