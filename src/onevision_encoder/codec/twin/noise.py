"""How strong is the sensor noise of a frame? What shows both in space and in time is noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.codec.twin.pictures import Picture

MOST = 1023


def noise_of(source: Picture, before: Picture, frame_size: tuple[int, int]) -> tuple[int, int]:
    """The noise's deviation, in sixteenths of a grey level: (as space shows it, as time shows it).

    In space: the filter (1 -2 1; -2 4 -2; 1 -2 1) sees neither slopes nor straight edges (J. Immerkaer, 1996); in the
    calmest tenth of the cells little but noise is left. In time: the calmest quarter of the cells hardly move. Cells
    without any response do not count; where they are the most, the picture was drawn and has no noise.
    """
    y, x = frame_size[0] // 8, frame_size[1] // 8
    if not y * x:
        return 0, 0
    now_yx88, before_yx88 = (_cells(picture, y, x) for picture in (source, before))
    across = now_yx88[..., :-2] - 2 * now_yx88[..., 1:-1] + now_yx88[..., 2:]
    both = across[..., :-2, :] - 2 * across[..., 1:-1, :] + across[..., 2:, :]
    rough, moved = np.abs(both).sum((2, 3)), np.abs(now_yx88 - before_yx88).sum((2, 3))
    counts = rough > 0
    if 2 * counts.sum() < y * x:
        return 0, 0
    # E |filter| = 6 sigma sqrt(2 / pi) at 36 places; E |difference| = 2 sigma / sqrt(pi) at 64.
    return _quantile(rough[counts] * 24 >> 8, 10), _quantile(moved[counts] * 57 >> 8, 4)


def lasting(space: int, time: int, last: int) -> int:
    """The noise that counts: the less of both, but in time it fades by an eighth a frame (a repeat shows none)."""
    return min(space, max(time, last - last // 8))


def _cells(picture: Picture, y: int, x: int) -> NDArray[np.int64]:
    return picture[: 8 * y, : 8 * x].reshape(y, 8, x, 8).swapaxes(1, 2)


def _quantile(values: NDArray[np.int64], part: int) -> int:
    return min(int(np.sort(values)[(len(values) - 1) // part]), MOST)
