"""FFmpeg's exported motion vectors as dense fields on cells of 8 x 8 pixels.

Axes: n exported blocks, y x cells of the *decoded* picture, 2 = (dx, dy).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.codec.cells import cell_grid
from onevision_encoder.types import CELL

if TYPE_CHECKING:
    import av


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorField:
    """What a frame's blocks say, in pixels of the decoded picture.

    Attributes:
        past_yx2: float32, how the content moved from an earlier reference to this frame; 0 where ``~from_past_yx``.
        future_yx2: float32, how it will move from this frame to a later reference; 0 where ``~from_future_yx``.
        from_past_yx, from_future_yx: bool, the cell has such a vector. A cell with neither was coded intra.

    Which reference it is, and so over how many frames the content moved, is not exported.
    """

    past_yx2: NDArray[np.float32]
    future_yx2: NDArray[np.float32]
    from_past_yx: NDArray[np.bool_]
    from_future_yx: NDArray[np.bool_]


def exported_vectors(frame: av.VideoFrame) -> NDArray[np.void] | None:
    """The table of one decoded frame as FFmpeg exports it, or None where it has none (intra frames, other codecs)."""
    from onevision_encoder.video import side_data

    table: Any = side_data(frame, "MOTION_VECTORS")
    return None if table is None else np.array(table.to_ndarray())


def plane_samples(plane: Any, dtype: str = "u1") -> NDArray[np.integer]:
    """A view of the samples of a picture plane, [rows, samples per line], the padding of its lines included."""
    samples: NDArray[np.integer] = np.frombuffer(plane, np.dtype(dtype))
    return samples.reshape(-1, plane.line_size // np.dtype(dtype).itemsize)


def vector_field(table_n: NDArray[np.void] | None, height: int, width: int) -> VectorField:
    """Paint every block's vector over the cells it covers.

    Args:
        table_n: structured rows of FFmpeg's ``AVMotionVector`` (``dst`` is the block's centre,
            ``motion / motion_scale`` points from the block to where it was predicted from), or None.
        height, width: of the decoded picture in pixels. Blocks that reach beyond it are cut off.
    """
    grid = cell_grid(height, width)
    vectors = np.zeros((2, *grid, 2), np.float32)
    known = np.zeros((2, *grid), np.bool_)
    if table_n is not None and len(table_n):
        block_w, block_h = table_n["w"].astype(np.int32), table_n["h"].astype(np.int32)
        cy = (table_n["dst_y"].astype(np.int32) - block_h // 2) // CELL
        cx = (table_n["dst_x"].astype(np.int32) - block_w // 2) // CELL
        later = (table_n["source"] > 0).astype(np.int32)
        toward_reference = np.stack([table_n["motion_x"], table_n["motion_y"]], -1).astype(np.float32)
        toward_reference /= np.maximum(table_n["motion_scale"], 1).astype(np.float32)[:, None]
        # An earlier reference is where the content came from, a later one where it goes to.
        moved_n2 = np.where(later[:, None] == 1, toward_reference, 0 - toward_reference)  # no -0.0
        for dy in range(-(-int(block_h.max()) // CELL)):
            for dx in range(-(-int(block_w.max()) // CELL)):
                y, x = cy + dy, cx + dx
                ok = (dy * CELL < block_h) & (dx * CELL < block_w) & (y >= 0) & (x >= 0) & (y < grid[0]) & (x < grid[1])
                vectors[later[ok], y[ok], x[ok]] = moved_n2[ok]
                known[later[ok], y[ok], x[ok]] = True
    return VectorField(past_yx2=vectors[0], future_yx2=vectors[1], from_past_yx=known[0], from_future_yx=known[1])
