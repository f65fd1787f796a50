"""Clips and selections with a known content, for tests of view/. Axes: T frames, H W pixels, h w patches."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from clips import moving_square
from numpy.typing import NDArray

from onevision_encoder.types import CodecSignals, FrameSequence, Kind, Selection, SourceInfo

PATCH = 14


def clip(frames: int = 8, grid: tuple[int, int] = (6, 8), *, pts: NDArray[np.float64] | None = None, **more: Any):
    height, width = grid[0] * PATCH, grid[1] * PATCH
    rgb = moving_square(frames, height, width, side=28, step=6) if min(grid) > 1 else _bars(frames, height, width)
    name = more.pop("name", "clip.mp4")
    source = SourceInfo(
        name=name, fingerprint="0", codec="h264", width=width, height=height, num_frames=frames, is_image=frames == 1
    )
    return FrameSequence(
        rgb_THW3=rgb,
        luma_THW=((rgb @ np.array([77, 150, 29], np.uint32)) >> 8).astype(np.uint8),
        frame_index_T=np.arange(frames, dtype=np.int64),
        pts_seconds_T=np.arange(frames) / 10 if pts is None else pts,
        keyframe_T=np.arange(frames) == 0,
        patch=PATCH,
        source=source,
        **more,
    )


def sampled(
    index_T: NDArray[np.int64], num_frames: int, *, fps: float | None, grid: tuple[int, int] = (2, 3), **source: Any
):
    """Some frames of a longer source, whose length is known as video/ states it."""
    made = clip(len(index_T), grid, pts=index_T / (fps or 1.0))
    length = num_frames / (fps or 1.0)
    info = dataclasses.replace(made.source, num_frames=num_frames, fps=fps, duration_seconds=length, **source)
    return dataclasses.replace(made, frame_index_T=index_T.astype(np.int64), source=info)


def _bars(frames: int, height: int, width: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (frames, height, width, 3), np.uint8)


def chosen(counts: list[int], grid: tuple[int, int] = (6, 8), *, anchors: tuple[int, ...] = (0,), seed: int = 0):
    """``counts[t]`` random patches of frame t; frames in ``anchors`` are whole, whatever their count says."""
    rng = np.random.default_rng(seed)
    kinds = np.full((len(counts), *grid), -1)
    for t, count in enumerate(counts):
        kinds[t].ravel()[rng.permutation(grid[0] * grid[1])[:count]] = Kind.CODEC
    kinds[list(anchors)] = Kind.ANCHOR
    return selection_of(kinds)


def selection_of(kinds_Thw: NDArray[Any], **provenance: Any) -> Selection:
    positions = np.argwhere(kinds_Thw >= 0).astype(np.int32)
    kinds = kinds_Thw[tuple(positions.T)].astype(np.uint8)
    return Selection(
        positions_K3=positions,
        score_K=np.zeros(len(kinds), np.float32),
        kind_K=kinds,
        shape=kinds_Thw.shape,
        provenance=provenance,
    )


def signals_of(frames: FrameSequence, **more: Any) -> CodecSignals:
    """Residual 20 in one cell of each frame, motion (3, 4) in another, the rest still; frame 0 intra."""
    T, H, W = frames.luma_THW.shape
    cells = (T, -(-H // 8), -(-W // 8))
    residual, motion = np.zeros(cells, np.float32), np.zeros((*cells, 2), np.float32)
    residual[:, 1, 2 % cells[2]], motion[:, 3 % cells[1], 4 % cells[2]] = 20, (3, 4)
    intra, cut = np.zeros(cells, np.bool_), np.arange(T) == 0
    intra[0] = True
    return CodecSignals(
        residual_Tyx=residual,
        motion_Tyx2=motion,
        intra_Tyx=intra,
        valid_T=np.ones(T, np.bool_),
        cut_T=cut,
        interval="sample",
        frame_size=(H, W),
        **more,
    )
