"""Motion compensation as H.264 does it: six-tap half-pel planes, averaged quarter-pel positions, clamped borders.

Source of the arithmetic: Rec. ITU-T H.264, 8.4.2.2.1 (luma sample interpolation). With the decoded previous frame as
reference it reproduces the decoder's prediction to the bit, so that decoded minus predicted is the coded residual.

Axes: H W pixels (multiples of 8), y x cells of 8 x 8 pixels, 2 = (dx, dy).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.types import CELL

_MARGIN = 8
"""Pixels around the frame that the planes cover. Beyond 3 pixels outside, all six taps read the same border pixel, so
that clamping a far position to the margin changes nothing."""

# Where a quarter-pel position (fy, fx) comes from: the mean of two samples, each (plane, dy, dx) with planes
# 0 = full-pel G, 1 = half-pel right b, 2 = half-pel down h, 3 = half-pel both j. (Figure 8-4 and table 8-12.)
_G, _B, _H, _J = range(4)
_POSITIONS = {
    (0, 0): ((_G, 0, 0), (_G, 0, 0)),
    (0, 1): ((_G, 0, 0), (_B, 0, 0)),
    (0, 2): ((_B, 0, 0), (_B, 0, 0)),
    (0, 3): ((_B, 0, 0), (_G, 0, 1)),
    (1, 0): ((_G, 0, 0), (_H, 0, 0)),
    (1, 1): ((_B, 0, 0), (_H, 0, 0)),
    (1, 2): ((_B, 0, 0), (_J, 0, 0)),
    (1, 3): ((_B, 0, 0), (_H, 0, 1)),
    (2, 0): ((_H, 0, 0), (_H, 0, 0)),
    (2, 1): ((_H, 0, 0), (_J, 0, 0)),
    (2, 2): ((_J, 0, 0), (_J, 0, 0)),
    (2, 3): ((_J, 0, 0), (_H, 0, 1)),
    (3, 0): ((_H, 0, 0), (_G, 1, 0)),
    (3, 1): ((_H, 0, 0), (_B, 1, 0)),
    (3, 2): ((_J, 0, 0), (_B, 1, 0)),
    (3, 3): ((_H, 0, 1), (_B, 1, 0)),
}
_TABLE = np.array([[_POSITIONS[y, x] for x in range(4)] for y in range(4)], np.int32)


def _six_tap(samples: NDArray[np.integer], axis: int) -> NDArray[np.integer]:
    """Taps (1, -5, 20, 20, -5, 1) along ``axis``, unscaled; the axis becomes 5 shorter."""
    length = samples.shape[axis] - 5
    a, b, c, d, e, f = (samples[i : i + length] if axis == 0 else samples[:, i : i + length] for i in range(6))
    total = c + d
    total *= 4
    total -= b
    total -= e
    total *= 5
    total += a
    total += f
    return total


def _planes(reference_HW: NDArray[np.uint8], *, half: bool) -> NDArray[np.uint8]:
    """uint8 [4 or 1, H + 17, W + 17]: planes G, b, h, j; pixel (0, 0) of the frame is at (9, 9)."""
    padded = np.pad(reference_HW, _MARGIN + 3, mode="edge").astype(np.int16)
    full = padded[2:-3, 2:-3]
    if not half:
        return full.astype(np.uint8)[None]
    right = _six_tap(padded, 1)  # at most 10,710 in size: fits int16
    down = _six_tap(padded, 0)
    both = _six_tap(right.astype(np.int32), 0)
    planes = np.empty((4, *full.shape), np.uint8)
    planes[_G] = full
    planes[_B] = np.clip((right[2:-3] + 16) >> 5, 0, 255)
    planes[_H] = np.clip((down[:, 2:-3] + 16) >> 5, 0, 255)
    planes[_J] = np.clip((both + 512) >> 10, 0, 255)
    return planes


def compensate(reference_HW: NDArray[np.uint8], motion_yx2: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Predict a frame from the reference, cell by cell.

    Args:
        reference_HW: uint8 [H, W], sides multiples of 8.
        motion_yx2: (dx, dy) per cell in pixels, how the content moved since the reference (dx > 0 = to the right);
            rounded to quarter pixels. Where it points outside, the border pixel is used.
    Returns:
        uint8 [H, W].
    """
    H, W = reference_HW.shape
    # Content that moved by +d is found at -d in the reference. Far positions end at the margin anyway.
    quarter = -np.rint(motion_yx2 * 4).astype(np.int32)
    qx, qy = quarter[..., 0], quarter[..., 1]
    if not quarter.any():
        return reference_HW.copy()
    fy, fx = qy & 3, qx & 3
    planes = _planes(reference_HW, half=bool((fy | fx).any()))
    out_yxij = _gather(planes, _TABLE[fy, fx, 0], qy >> 2, qx >> 2)
    between = ((fy | fx) & 1).astype(bool)
    if between.any():
        at = np.nonzero(between)
        second = _gather(planes, _TABLE[fy[at], fx[at], 1], qy[at] >> 2, qx[at] >> 2, at)
        out_yxij[at] = (out_yxij[at].astype(np.uint16) + second + 1) >> 1
    return out_yxij.transpose(0, 2, 1, 3).reshape(H, W)


def _gather(
    planes: NDArray[np.uint8],
    sample: NDArray[np.int32],
    iy: NDArray[np.int32],
    ix: NDArray[np.int32],
    at: tuple[NDArray[np.intp], ...] | None = None,
) -> NDArray[np.uint8]:
    """Blocks [..., 8, 8] at displacement (iy, ix) of the cells ``at`` (None = all), from the planes named."""
    _, PH, PW = planes.shape
    y, x = np.indices(iy.shape, dtype=np.int32) if at is None else (at[0].astype(np.int32), at[1].astype(np.int32))
    step = np.arange(CELL, dtype=np.int32)
    rows = (iy + sample[..., 1] + y * CELL + _MARGIN + 1)[..., None] + step
    cols = (ix + sample[..., 2] + x * CELL + _MARGIN + 1)[..., None] + step
    np.clip(rows, 0, PH - 1, out=rows)
    np.clip(cols, 0, PW - 1, out=cols)
    rows += (sample[..., 0] * PH)[..., None]
    rows *= PW
    return planes.reshape(-1).take(rows[..., :, None] + cols[..., None, :], mode="clip")
