"""What the world behind the picture has shown before: no event, however much it cost a coder that sees one frame back.

A coder predicts from the frame before alone. Three things are new to it and yet nothing that happened: what comes in
over the border because the camera moves, background that an object has just uncovered, and stripes that it finds
cheaper to draw anew than to predict. The camera's fitted motion, followed back frame by frame, tells where a place of
the world was in earlier frames, and whether it looked the same there.

Axes: T frames, y x cells of 8x8 pixels, C cells asked about, r s sampled rows and their pixels, 2 = (x, y).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.selection.camera import CameraMotion
from onevision_encoder.selection.texture import ROW_STEP, difference_before
from onevision_encoder.types import CELL, CodecSignals, FrameSequence

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SEEN = 3.0
"""Mean grey levels within which two looks at the same place are alike."""
NEW_BORDER = 0.5
"""Pixels of new content from which a cell counts as come in: quarter-pel rounding of the camera stays below it."""
MEMORY = 6
"""Frames that are looked back while the camera moves: an object hides a place for (its length / its speed over ground)
frames. An object of 3 patches over pans of 12 and 24 px gets 0.89, 0.71 of the tokens with 2 frames, 0.99, 0.96 with 6,
and no more with 8. While the camera stands the strips that an object uncovers are thin, and 2 frames are enough."""
MOVES = 1.0
"""Pixels a frame from which the camera is taken to move."""


def seen_before(
    frames: FrameSequence, signals: CodecSignals, slope_Tyx: Floats, moved: CameraMotion | None, asked_Tyx: Mask
) -> Mask:
    """Cells that look as the same place in the world looked two frames ago; of intra cells, also one frame ago; while
    the camera moves, of cells ``asked_Tyx``, up to MEMORY frames ago.

    Alike = within SEEN grey levels plus what half a pixel of misplacement makes of the cell's slope.
    """
    T = frames.num_frames
    # Motion since the frame before in the source does not say how far the camera went between two samples.
    followed = moved if moved is not None and signals.interval == "sample" else None
    pace_T = np.zeros(T) if followed is None else np.abs(followed.flow_Tyx2).max((1, 2, 3))
    pace_T[1:] = np.maximum(pace_T[1:], pace_T[:-1])
    moves_T = pace_T >= MOVES
    alike_Tyx: Floats = np.float32(SEEN) + slope_Tyx / np.float32(2)
    seen_Tyx = difference_before(frames.luma_THW, 2, ~moves_T) <= alike_Tyx
    redrawn_Tyx = signals.intra_Tyx & ~signals.cut_T[:, None, None]
    drawn_T = redrawn_Tyx.any((1, 2)) & ~moves_T
    if drawn_T.any():
        seen_Tyx |= redrawn_Tyx & (difference_before(frames.luma_THW, 1, drawn_T) <= alike_Tyx)
    if followed is not None and moves_T.any():
        ask_Tyx = asked_Tyx & moves_T[:, None, None] & ~signals.cut_T[:, None, None]
        seen_Tyx |= _remembered(frames.luma_THW, redrawn_Tyx, ask_Tyx, followed, alike_Tyx)
    return seen_Tyx


def _remembered(luma_THW: NDArray[np.uint8], redrawn: Mask, ask: Mask, moved: CameraMotion, alike: Floats) -> Mask:
    """Of the cells ``ask``: followed back along the camera's path, a frame at a time, until they look alike."""
    t_C, y_C, x_C = np.nonzero(ask)
    H, W = luma_THW.shape[1:]
    place_C2 = np.stack((x_C, y_C), 1) * float(CELL)  # of the first pixel of each cell
    now_Crs = _look(luma_THW, t_C, place_C2.astype(np.int64))
    seen_C = np.zeros(len(t_C), np.bool_)
    then_C = t_C.copy()
    for lag in range(1, MEMORY + 1):
        tx, ty, zoom, turn = moved.params_T4[then_C].T
        x, y = place_C2.T + CELL / 2 - np.array([[W], [H]]) / 2
        place_C2 = place_C2 - np.stack((tx + zoom * x - turn * y, ty + turn * x + zoom * y), 1)
        then_C = then_C - 1
        at_C2 = np.rint(place_C2).astype(np.int64)
        inside_C = (then_C >= 0) & (at_C2 >= 0).all(1) & (at_C2 <= (W - CELL, H - CELL)).all(1)
        if lag == 1:
            inside_C &= redrawn[ask]
        here = np.flatnonzero(inside_C & ~seen_C)
        apart_Crs = np.abs(now_Crs[here].astype(np.int16) - _look(luma_THW, then_C[here], at_C2[here]))
        seen_C[here] = apart_Crs.mean((1, 2)) <= alike[t_C[here], y_C[here], x_C[here]]
        then_C = np.maximum(then_C, 0)
    seen_Tyx = np.zeros(ask.shape, np.bool_)
    seen_Tyx[ask] = seen_C
    return seen_Tyx


def _look(luma_THW: NDArray[np.uint8], t_C: NDArray[np.int64], place_C2: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Every fourth row of the cells beginning at ``place_C2``, uint8 [C, r, s]; beyond the frame its border repeats."""
    _, H, W = luma_THW.shape
    rows = np.minimum(place_C2[:, 1, None] + np.arange(0, CELL, ROW_STEP), H - 1)
    cols = np.minimum(place_C2[:, 0, None] + np.arange(CELL), W - 1)
    seen: NDArray[np.uint8] = luma_THW[t_C[:, None, None], rows[:, :, None], cols[:, None, :]]
    return seen


def came_in(moved: CameraMotion, frame_size: tuple[int, int]) -> Mask:
    """Cells that hold more than NEW_BORDER pixels of what came in over the border with the camera's motion."""
    _, rows, cols, _ = moved.flow_Tyx2.shape
    H, W = frame_size
    top = np.arange(rows, dtype=np.float32)[:, None] * CELL - moved.flow_Tyx2[..., 1]
    left = np.arange(cols, dtype=np.float32)[None, :] * CELL - moved.flow_Tyx2[..., 0]
    over = np.float32(NEW_BORDER)
    new: Mask = (left < -over) | (left + CELL > -(-W // CELL) * CELL + over)
    new |= (top < -over) | (top + CELL > -(-H // CELL) * CELL + over)
    return new
