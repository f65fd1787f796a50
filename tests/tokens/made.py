"""Frames and selections made by hand for the tests of tokens/."""

from __future__ import annotations

import numpy as np

from onevision_encoder.types import FrameSequence, Kind, Layout, Order, Selection, SourceInfo, order_rank


def frames(T: int = 5, h: int = 4, w: int = 6, patch: int = 14, seed: int = 0) -> FrameSequence:
    """Random pixels, every second source frame, 25 frames a second."""
    rgb = np.random.default_rng(seed).integers(0, 256, (T, h * patch, w * patch, 3), dtype=np.uint8)
    return FrameSequence(
        rgb_THW3=rgb,
        luma_THW=rgb[..., 1],
        frame_index_T=np.arange(T, dtype=np.int64) * 2,
        pts_seconds_T=np.arange(T) * 0.08,
        keyframe_T=np.arange(T) == 0,
        patch=patch,
        source=SourceInfo(
            name=f"made-{seed}.mp4", fingerprint=f"{seed:064x}", codec="h264", width=w, height=h, num_frames=2 * T
        ),
        provenance={"sampling": "every second"},
    )


def selection(
    shape: tuple[int, int, int], K: int, seed: int = 0, order: Order = "raster", layout: Layout = "frames"
) -> Selection:
    rng = np.random.default_rng(seed)
    flat = rng.choice(int(np.prod(shape)), K, replace=False)
    positions = np.stack(np.unravel_index(np.sort(flat), shape), 1).astype(np.int32)
    positions = positions[np.argsort(order_rank(positions, shape, order))]
    return Selection(
        positions_K3=positions,
        score_K=rng.random(K).astype(np.float32),
        kind_K=rng.choice([Kind.ANCHOR, Kind.CODEC], K).astype(np.uint8),
        shape=shape,
        order=order,
        layout=layout,
        provenance={"policy": "made"},
    )
