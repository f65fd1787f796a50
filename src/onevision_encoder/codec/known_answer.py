"""A clip made of integers alone, and what the block coder says about it on every machine.

Axes: T frames, H W pixels, y x cells of 8 x 8 pixels.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.types import CodecSignals

KNOWN_DIGEST = "c70c793a230b1ec8"
"""Of :func:`digest` of the block coder's signals of ``made_clip(6, 72, 88, cut=4)``, with its default constants."""
SIDE, STEP = 28, 4
"""Side of the square that moves in :func:`made_clip`, and by how many pixels a frame."""
_NODE = 4


def made_picture(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    """A texture [H, W]: hashed grey levels on a grid of 4 pixels, interpolated between. Integer arithmetic only."""
    rows, cols = -(-height // _NODE) + 1, -(-width // _NODE) + 1
    number = np.arange(rows * cols, dtype=np.uint64) + np.uint64(seed * 1_000_003 + 1)
    number = (number * np.uint64(2_654_435_761)) & np.uint64(0xFFFFFFFF)
    number = ((number ^ (number >> np.uint64(15))) * np.uint64(2_246_822_519)) & np.uint64(0xFFFFFFFF)
    node = ((number >> np.uint64(13)) & np.uint64(255)).astype(np.int64).reshape(rows, cols)
    y, x = np.arange(height), np.arange(width)
    v, u = (y % _NODE)[:, None], (x % _NODE)[None, :]
    top, bottom, left, right = y // _NODE, y // _NODE + 1, x // _NODE, x // _NODE + 1
    above = node[top][:, left] * (_NODE - u) + node[top][:, right] * u
    below = node[bottom][:, left] * (_NODE - u) + node[bottom][:, right] * u
    return ((above * (_NODE - v) + below * v) // _NODE**2).astype(np.uint8)


def made_clip(frames: int, height: int, width: int, *, cut: int | None = None) -> NDArray[np.uint8]:
    """Luma [T, H, W]: a textured square moves 4 pixels a frame to the right over a still texture; from frame ``cut``
    on, all of it is another scene."""
    top, room = (height - SIDE) // 2, width - SIDE
    clip = np.empty((frames, height, width), np.uint8)
    for t in range(frames):
        scene = 1 if cut is None or t < cut else 2
        clip[t] = made_picture(height, width, scene)
        left = min(t * STEP, room)
        clip[t, top : top + SIDE, left : left + SIDE] = made_picture(SIDE, SIDE, 10 * scene)
    return clip


def digest(signals: CodecSignals) -> str:
    """First 16 hex digits of the SHA-256 over bits, residual, motion, intra and cuts, little-endian."""
    whole = hashlib.sha256()
    for values in (signals.bits_Tyx, signals.residual_Tyx, signals.motion_Tyx2):
        whole.update(b"" if values is None else np.ascontiguousarray(values, "<f4").tobytes())
    for flags in (signals.intra_Tyx, signals.cut_T):
        whole.update(np.ascontiguousarray(flags, np.uint8).tobytes())
    return whole.hexdigest()[:16]
