"""Frames that are already sampled, smaller. Axes: T frames, H W pixels, 3 = RGB."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onevision_encoder.errors import ShapeError
from onevision_encoder.types import FrameSequence
from onevision_encoder.video.color import luma_from_rgb, resize_rgb


def resize_frames(
    frames: FrameSequence, size: tuple[int, int], *, rows: NDArray[np.int64] | None = None
) -> FrameSequence:
    """Area-average frames to ``size`` (height, width), keeping their places in time.

    Args:
        rows: which frames to keep, strictly increasing; None = all.
    Raises:
        ShapeError: a larger size, or letterboxed frames (their padding would bleed into the picture).
    """
    _, H, W, _ = frames.rgb_THW3.shape
    if size[0] > H or size[1] > W or min(size) < 1:
        raise ShapeError("size", size, f"at most the frames' own {(H, W)}")
    if frames.content_hw is not None:
        raise ShapeError("content_hw", "letterboxed", "frames without padding")
    kept = np.arange(frames.num_frames) if rows is None else np.asarray(rows)
    rgb_THW3 = np.stack([resize_rgb(frames.rgb_THW3[t], *size, Image.Resampling.BOX) for t in kept])
    return replace(
        frames,
        rgb_THW3=rgb_THW3,
        luma_THW=luma_from_rgb(rgb_THW3),
        frame_index_T=frames.frame_index_T[kept],
        pts_seconds_T=frames.pts_seconds_T[kept],
        keyframe_T=frames.keyframe_T[kept],
        slot_T=None if frames.slot_T is None else frames.slot_T[kept],
        provenance={
            **frames.provenance,
            "resized_again": {
                "from": [H, W],
                "to": list(size),
                "filter": "pillow box",
                "frames_before": frames.num_frames,
            },
        },
    )
