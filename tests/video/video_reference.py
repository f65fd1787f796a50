"""Independent truth for the reader's tests: plain PyAV, every frame decoded, no table, no skipping, no seeking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
from clips import textured
from numpy.typing import NDArray

from onevision_encoder.video.color import RgbConverter, orientation
from onevision_encoder.video.config import Sizing
from onevision_encoder.video.geometry import display_size, plan_size


def plain_frames(path: Path) -> list[av.VideoFrame]:
    """Every shown frame in the decoder's output order, one thread."""
    with av.open(str(path), metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.thread_count = "SLICE", 1
        return list(container.decode(stream))


def sized_like_the_reader(frames: list[av.VideoFrame], sample_aspect: Any = None) -> NDArray[np.uint8]:
    converter, first = RgbConverter(), frames[0]
    matrix = first.side_data.get("DISPLAYMATRIX")
    turns, mirror = orientation(None if matrix is None else bytes(matrix))
    shown = display_size(first.height, first.width, sample_aspect=sample_aspect, quarter_turns=turns)
    plan = plan_size(*shown, Sizing())
    return np.stack([converter.sized(frame, plan, turns, mirror) for frame in frames])


def numbered(count: int, height: int = 64, width: int = 96, seed: int = 0) -> NDArray[np.uint8]:
    """[T, H, W, 3]: a picture that drifts, with the frame's number written as a row of black and white blocks."""
    wide = textured(height, width + count, seed)
    clip = np.stack([wide[:, t : t + width] for t in range(count)])
    for t in range(count):
        for bit in range(12):
            clip[t, :8, bit * 8 : bit * 8 + 8] = 255 * (t >> bit & 1)
    return clip


def read_number(rgb_HW3: NDArray[np.uint8]) -> int:
    """The number that :func:`numbered` wrote, from a frame of the same size or scaled."""
    height, width, _ = rgb_HW3.shape
    row = rgb_HW3[: max(1, height * 6 // 64), :, :].mean((0, 2))
    centres = [int((bit * 8 + 4) * width / 96) for bit in range(12)]
    return sum(int(row[x] > 127) << bit for bit, x in enumerate(centres))
