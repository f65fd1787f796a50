"""Features without any weights, for a first bank of concepts: where edges lead, what colours are, how things move.

Axes: T frames, H W pixels, y x signal cells, C width, G x G places of a picture, Q quarters of a clip.
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
QUARTERS, HALVES = 4, 2


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


class MotionAndEdges:
    """Where in a clip, when, and which way things move by its codec signals; and a little of what they look like."""

    name = "motion and edges"
    width = QUARTERS * HALVES * HALVES * (BINS + 1) + EdgesAndColours.width

    def describe(self) -> dict[str, Any]:
        return {"family": "handmade", "what": self.name, "version": 2, "bins": BINS, "looks": 0.3}

    def encode(self, clips: Sequence[Clip]) -> Features:
        """One token a clip; a picture does not move. Raises InvalidArgumentError: no clip, or one without signals."""
        return _features([self._of(clip) for clip in clips])

    def _of(self, clip: Clip) -> NDArray[np.float32]:
        looks = 0.3 * EdgesAndColours()._of(clip)
        signals = clip.signals if isinstance(clip, ClipReading) else None
        if signals is None:
            raise InvalidArgumentError("clips", type(clip).__name__, "videos that were read with their codec signals")
        return np.concatenate([_unit(_motion(signals)), looks])


def _motion(signals: CodecSignals) -> NDArray[np.float32]:
    """For each quarter of the clip and quarter of the picture: a histogram of directions by distance, and how much of
    it the codec could not predict."""
    dx_Tyx, dy_Tyx = np.moveaxis(signals.motion_Tyx2, -1, 0)
    far_Tyx = np.hypot(dx_Tyx, dy_Tyx)
    bin_Tyx = np.floor((np.arctan2(dy_Tyx, dx_Tyx) / (2 * np.pi) % 1) * BINS).astype(int) % BINS
    T, rows, columns = far_Tyx.shape
    out = np.zeros((QUARTERS, HALVES, HALVES, BINS + 1), np.float32)
    q_T, i_y, j_x = (
        np.arange(T) * QUARTERS // T,
        np.arange(rows) * HALVES // rows,
        np.arange(columns) * HALVES // columns,
    )
    place = (q_T[:, None, None], i_y[None, :, None], j_x[None, None, :])
    np.add.at(out, (*place, bin_Tyx), far_Tyx)
    np.add.at(out, (*place, np.full_like(bin_Tyx, BINS)), signals.residual_Tyx / 16)
    return np.sqrt(out).ravel()


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
