"""Features without any weights, for a first bank of concepts: where edges lead, what colours are, how things move.

Axes: T frames, H W pixels, y x signal cells, C width, G x G places of a picture, Q parts of a clip,
B directions, S speeds, N cells that move.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.evaluate.backbone import Clip, Features
from onevision_encoder.tokens import ClipReading
from onevision_encoder.types import CodecSignals

BINS, GRID = 8, 7
PARTS, SPEEDS, SLOWEST = 8, 4, 1.0
"""Of a clip; of a motion, an octave each; pixels between two frames."""
STILL = 4.0
"""Makes clips alike in which next to nothing moves: as much as 16 cells that move."""


class EdgesAndColours:
    """Histograms of oriented gradients (Dalal and Triggs 2005, without overlapping blocks) and mean colours of 7 x 7
    places of a picture; of a clip their mean over its frames."""

    name = "edges and colours"
    width = GRID * GRID * (BINS + 3)

    def describe(self) -> dict[str, Any]:
        return {"family": "handmade", "what": self.name, "version": 2, "bins": BINS, "grid": GRID}

    def encode(self, clips: Sequence[Clip]) -> Features:
        """One token a clip. Raises InvalidArgumentError where there is none."""
        return _features([self._of(clip) for clip in clips])

    def _of(self, clip: Clip) -> NDArray[np.float32]:
        frames = clip.frames if isinstance(clip, ClipReading) else clip
        edges = np.mean([_edges(luma_HW) for luma_HW in frames.luma_THW.astype(np.float32)], axis=0)
        colours = np.mean([_places(rgb_HW3 / 255.0) for rgb_HW3 in frames.rgb_THW3], axis=0)
        return np.concatenate([_unit(edges), _unit(colours - colours.mean())])


class MotionHistograms:
    """When, which way and how fast things move, the camera apart, by the codec signals of a clip. Where they are and
    what they look like is not in it: another bank says that."""

    name = "motion histograms"
    width = (PARTS + 1) * BINS * SPEEDS + 1

    def describe(self) -> dict[str, Any]:
        return {"family": "handmade", "what": self.name, "version": 1, "bins": BINS, "speeds": SPEEDS, "parts": PARTS}

    def encode(self, clips: Sequence[Clip]) -> Features:
        """One token a clip; a picture does not move. Raises InvalidArgumentError: no clip, or one without signals."""
        return _features([self._of(clip) for clip in clips])

    def _of(self, clip: Clip) -> NDArray[np.float32]:
        signals = clip.signals if isinstance(clip, ClipReading) else None
        if signals is None:
            raise InvalidArgumentError("clips", type(clip).__name__, "videos that were read with their codec signals")
        moved_QBS = _motion(signals)
        whole_BS = moved_QBS.sum(0)
        return _unit(np.concatenate([np.sqrt(moved_QBS).ravel(), np.sqrt(whole_BS).ravel(), [STILL]]))


def _motion(signals: CodecSignals) -> NDArray[np.float64]:
    """How many cells of each part of the clip move which way and how fast, [Q, B, S]: a cell counts where it was
    predicted and moves by a pixel or more against the median of its frame. It is shared by two directions and two
    speeds."""
    known_Tyx = ~signals.intra_Tyx & signals.valid_T[:, None, None]
    camera_T2 = [
        np.median(motion_yx2[known_yx], axis=0) if known_yx.any() else np.zeros(2)
        for motion_yx2, known_yx in zip(signals.motion_Tyx2, known_Tyx, strict=True)
    ]
    own_Tyx2 = signals.motion_Tyx2 - np.stack(camera_T2)[:, None, None]
    moves_Tyx = known_Tyx & (np.hypot(*np.moveaxis(own_Tyx2, -1, 0)) >= SLOWEST)
    dx_N, dy_N = own_Tyx2[moves_Tyx].T
    q_N = np.nonzero(moves_Tyx)[0] * PARTS // len(moves_Tyx)
    turn_N = np.arctan2(dy_N, dx_N) / (2 * np.pi) % 1 * BINS
    octaves_N = np.log2(np.hypot(dx_N, dy_N) / SLOWEST).clip(0, SPEEDS - 1)
    b_N, s_N = np.floor(turn_N).astype(int), np.minimum(octaves_N.astype(int), SPEEDS - 2)
    out_QBS = np.zeros((PARTS, BINS, SPEEDS))
    for to_b, to_s in ((0, 0), (0, 1), (1, 0), (1, 1)):
        share_N = (1 - abs(turn_N - b_N - to_b)) * (1 - abs(octaves_N - s_N - to_s))
        np.add.at(out_QBS, (q_N, (b_N + to_b) % BINS, s_N + to_s), share_N)
    return out_QBS


def _edges(luma_HW: NDArray[np.float32]) -> NDArray[np.float32]:
    dy_HW, dx_HW = np.gradient(luma_HW)
    size_HW = np.hypot(dx_HW, dy_HW)
    bin_HW = np.floor((np.arctan2(dy_HW, dx_HW) / np.pi % 1) * BINS).astype(int) % BINS  # an edge has no front
    H, W = luma_HW.shape
    out = np.zeros((GRID, GRID, BINS), np.float32)
    i_H, j_W = np.arange(H) * GRID // H, np.arange(W) * GRID // W
    np.add.at(out, (i_H[:, None], j_W[None, :], bin_HW), size_HW)
    edges: NDArray[np.float32] = np.sqrt(out / max(1, H * W)).ravel()
    return edges


def _places(rgb_HW3: NDArray[Any]) -> NDArray[np.float32]:
    """Mean colour of each place."""
    H, W, _ = rgb_HW3.shape
    rows = np.add.reduceat(rgb_HW3, np.arange(GRID) * H // GRID, axis=0)
    cells = np.add.reduceat(rows, np.arange(GRID) * W // GRID, axis=1)
    mean: NDArray[np.float32] = (cells * GRID * GRID / (H * W)).astype(np.float32).ravel()
    return mean


def _unit(x: NDArray[Any]) -> NDArray[np.float32]:
    scaled: NDArray[np.float32] = (x / max(float(np.linalg.norm(x)), 1e-6)).astype(np.float32)
    return scaled


def _features(rows: list[NDArray[np.float32]]) -> Features:
    if not rows:
        raise InvalidArgumentError("clips", [], "at least one clip")
    tokens = torch.from_numpy(np.stack(rows))
    return Features(tokens_NC=tokens, cu_seqlens=torch.arange(len(rows) + 1, dtype=torch.int32))
