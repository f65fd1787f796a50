"""From the decoded picture's cells to the sized frame's, against moving every pixel.

Axes: j i cells of the decoded picture, y x cells of the sized frame.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from onevision_encoder.codec.regrid import Regrid

H, W = 36, 52  # no multiples of 8: the last row and column of cells are cut


def shown(picture: np.ndarray, turns: int, mirrored: bool) -> np.ndarray:
    """What the reader does to pixels: mirrored left to right, then turned counter-clockwise."""
    return np.rot90(picture[:, ::-1] if mirrored else picture, turns)


def paint(cells_ji: np.ndarray) -> np.ndarray:
    return cells_ji.repeat(8, 0).repeat(8, 1)[:H, :W]


def sequence(out: tuple[int, int], resized: tuple[int, int], offset: tuple[int, int], turns: int, mirrored: bool):
    return SimpleNamespace(
        luma_THW=np.zeros((1, *out), np.uint8),
        provenance={"resized_hw": resized, "offset_tl": offset, "mirrored": mirrored},
        source=SimpleNamespace(rotation=turns * 90),
    )


def by_pixel(values_HW: np.ndarray, scale: int, offset: tuple[int, int], out: tuple[int, int]) -> np.ndarray:
    """Enlarge by an integer, place, and average over sized cells; NaN = padding."""
    big = values_HW.repeat(scale, 0).repeat(scale, 1)
    canvas = np.full(out, np.nan)
    top, left = offset
    cut = big[max(-top, 0) :, max(-left, 0) :][: out[0] - max(top, 0), : out[1] - max(left, 0)]
    canvas[max(top, 0) : max(top, 0) + cut.shape[0], max(left, 0) : max(left, 0) + cut.shape[1]] = cut
    y, x = -(-out[0] // 8), -(-out[1] // 8)
    padded = np.full((y * 8, x * 8), np.nan)
    padded[: out[0], : out[1]] = canvas
    cells = padded.reshape(y, 8, x, 8).transpose(0, 2, 1, 3).reshape(y, x, 64)
    return np.array([[np.nanmean(c) if np.isfinite(c).any() else 0.0 for c in row] for row in cells])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("place", ["exact", "crop", "pad"])
def test_equals_moving_every_pixel(turns: int, mirrored: bool, place: str) -> None:
    rng = np.random.default_rng(turns)
    cells = (-(-H // 8), -(-W // 8))
    motion_ji2 = rng.normal(0, 4, (*cells, 2)).astype(np.float32)
    residual_ji = rng.random(cells, np.float32)
    upright = shown(np.zeros((H, W)), turns, mirrored).shape
    resized = upright[0] * 2, upright[1] * 2
    out, offset = {
        "exact": (resized, (0, 0)),
        "crop": ((resized[0] - 20, resized[1] - 14), (-9, -7)),
        "pad": ((resized[0] + 30, resized[1]), (17, 0)),
    }[place]
    regrid = Regrid(H, W, frames=sequence(out, resized, offset, turns, mirrored))

    def expect(values_ji: np.ndarray) -> np.ndarray:
        return by_pixel(shown(paint(values_ji), turns, mirrored), 2, offset, out)

    np.testing.assert_allclose(regrid.average(residual_ji), expect(residual_ji), atol=1e-5)
    motion_yx2, known_yx = regrid.motion(motion_ji2, np.ones(cells, np.bool_))
    assert known_yx.all()
    dx, dy = expect(motion_ji2[..., 0]), expect(motion_ji2[..., 1])
    if mirrored:
        dx = -dx
    # A quarter turn to the left: what pointed right points up, what pointed down points right.
    for _ in range(turns):
        dx, dy = dy, -dx
    np.testing.assert_allclose(motion_yx2, 2 * np.stack([dx, dy], -1), atol=1e-4)


def test_unknown_cells_do_not_dilute_and_rule_where_they_prevail() -> None:
    motion_ji2 = np.full((4, 8, 2), 3.0, np.float32)
    known_ji = np.zeros((4, 8), np.bool_)
    known_ji[:, :3] = True  # sized cells of two decoded columns: known, half known, unknown, unknown
    motion_ji2[~known_ji] = 99
    regrid = Regrid(32, 64, frames=sequence((32, 32), (32, 32), (0, 0), 0, False))
    motion_yx2, known_yx = regrid.motion(motion_ji2, known_ji)
    assert known_yx.tolist() == [[True, True, False, False]] * 4
    np.testing.assert_allclose(motion_yx2[:, :2], [[[1.5, 3.0]] * 2] * 4)
    assert not motion_yx2[:, 2:].any()


def test_padding_is_known_and_still() -> None:
    regrid = Regrid(32, 32, frames=sequence((64, 32), (32, 32), (16, 0), 0, False))
    motion_yx2, known_yx = regrid.motion(np.full((4, 4, 2), 5.0, np.float32), np.zeros((4, 4), np.bool_))
    assert regrid.content_yx[:, 0].tolist() == [False] * 2 + [True] * 4 + [False] * 2
    assert known_yx.tolist() == (~regrid.content_yx).tolist()
    assert not motion_yx2.any()
