"""Features without weights, on frames whose edges, colours and motion are known."""

from __future__ import annotations

import numpy as np
import pytest

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.pretrain.handmade import BINS, GRID, HALVES, QUARTERS, EdgesAndColours, MotionAndEdges
from onevision_encoder.tokens import TokenizeConfig, read_clip


def squares(dx: int, dy: int, frames: int = 16) -> np.ndarray:
    """A square moved by (dx, dy) pixels a frame on a textured ground, because a flat one moves any way at no cost."""
    texture = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    ground = np.random.default_rng(1).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    clip = np.repeat(ground[None], frames, axis=0)
    for t in range(frames):
        y, x = 40 + dy * t - dy * frames // 2, 40 + dx * t - dx * frames // 2
        clip[t, y : y + 32, x : x + 32] = texture
    return clip


def motion_of(clip: np.ndarray) -> np.ndarray:
    reading = read_clip(clip, TokenizeConfig.of(num_frames=16, max_patches=64))
    vector = MotionAndEdges().encode([reading]).tokens_NC[0].numpy()
    assert len(vector) == MotionAndEdges.width
    return vector[: QUARTERS * HALVES * HALVES * (BINS + 1)].reshape(-1, BINS + 1).sum(0)


@pytest.mark.parametrize(("move", "bins"), [((2, 0), (0, 7)), ((-2, 0), (3, 4)), ((0, 2), (1, 2)), ((0, -2), (5, 6))])
def test_motion_fills_the_bin_of_its_direction(move: tuple[int, int], bins: tuple[int, int]) -> None:
    found = motion_of(squares(*move))[:BINS]
    assert int(found.argmax()) in bins
    assert found[list(bins)].sum() > 0.5 * found.sum()


def test_edges_fill_the_bin_of_their_direction() -> None:
    picture = np.zeros((1, 112, 112, 3), np.uint8)
    picture[:, :, 1::2] = 255  # columns: the gradient is horizontal, if any survives the central difference
    picture[:, :, 56:] = 0
    picture[:, 40:56] = 200  # and one bar: vertical
    frames = read_clip(picture, TokenizeConfig.of(policy="dense", max_patches=64)).frames
    vector = EdgesAndColours().encode([frames]).tokens_NC[0].numpy()
    assert vector.shape == (EdgesAndColours.width,)
    edges = vector[: GRID * GRID * BINS].reshape(GRID, GRID, BINS)
    assert edges[2, 5].argmax() == BINS // 2, "right of the middle there is only the bar"
    assert edges[6, 6].sum() == 0, "and below it nothing"
    assert np.linalg.norm(vector[: GRID * GRID * BINS]) == pytest.approx(1, abs=1e-5)


def test_a_picture_has_no_motion() -> None:
    with pytest.raises(InvalidArgumentError, match="signals"):
        MotionAndEdges().encode([read_clip(squares(0, 0, 1), TokenizeConfig.of(policy="dense", max_patches=64)).frames])
    with pytest.raises(InvalidArgumentError, match="at least one"):
        EdgesAndColours().encode([])
