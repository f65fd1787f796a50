"""Small real video files, made with the encoders inside PyAV, for tests. Axes: T H W 3 = RGB."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray


def write_video(
    path: Path,
    frames_THW3: NDArray[np.uint8],
    *,
    codec: str = "libx264",
    fps: int = 25,
    pix_fmt: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    pts: Sequence[int] | None = None,
) -> Path:
    """Encode RGB frames into ``path``, whose suffix names the container; ``pts`` in milliseconds vary the rate."""
    _, H, W, _ = frames_THW3.shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=dict(options or {}))
        stream.width, stream.height, stream.pix_fmt = W, H, pix_fmt
        if pts is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for i, rgb_HW3 in enumerate(frames_THW3):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb_HW3), format="rgb24")
            frame.pts = i if pts is None else pts[i]
            frame.time_base = Fraction(1, fps) if pts is None else Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def textured(height: int, width: int, seed: int = 0) -> NDArray[np.uint8]:
    """A still RGB picture [H, W, 3] with structure at several scales."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3))
    for scale, weight in ((32, 0.5), (8, 0.3), (2, 0.2)):
        coarse = rng.random((-(-height // scale), -(-width // scale), 3))
        picture += weight * np.kron(coarse, np.ones((scale, scale, 1)))[:height, :width]
    return (picture * 255).astype(np.uint8)


def moving_square(
    frames: int = 16, height: int = 112, width: int = 112, *, side: int = 28, step: int = 4, seed: int = 0
) -> NDArray[np.uint8]:
    """[T, H, W, 3]: a textured square that moves ``step`` pixels to the right a frame over a still background."""
    clip = np.repeat(textured(height, width, seed)[None], frames, 0)
    patch = 255 - textured(side, side, seed + 1)
    top = (height - side) // 2
    for t in range(frames):
        left = min(t * step, width - side)
        clip[t, top : top + side, left : left + side] = patch
    return clip
