"""Features without weights, on frames whose edges, colours and motion are known."""

from __future__ import annotations

import numpy as np
import pytest

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.pretrain.handmade import BINS, GRID, PARTS, SPEEDS, EdgesAndColours, MotionHistograms
from onevision_encoder.tokens import TokenizeConfig, read_clip


def squares(dx: int, dy: int, frames: int = 16, pan: int = 0) -> np.ndarray:
    """A square moved by (dx, dy) pixels a frame on a textured ground that a camera pans over, because a flat one moves
    any way at no cost."""
    texture, ground = (
        np.random.default_rng(seed).integers(0, 255, (rows, columns, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
        for seed, rows, columns in ((0, 8, 8), (1, 28, 28 + abs(pan) * frames))
    )
    clip = np.zeros((frames, 112, 112, 3), np.uint8)
    for t in range(frames):
        left = (pan * t) if pan >= 0 else -pan * (frames - 1 - t)
        clip[t] = ground[:, left : left + 112]
        y, x = 40 + dy * t - dy * frames // 2, 40 + dx * t - dx * frames // 2
        clip[t, y : y + 32, x : x + 32] = texture
    return clip


def motion_of(clip: np.ndarray) -> np.ndarray:
    """[parts and the whole, directions, speeds]"""
    reading = read_clip(clip, TokenizeConfig.of(num_frames=16, max_patches=64))
    vector = MotionHistograms().encode([reading]).tokens_NC[0].numpy()
    assert len(vector) == MotionHistograms.width
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    return vector[:-1].reshape(PARTS + 1, BINS, SPEEDS)


@pytest.mark.parametrize(("move", "direction"), [((2, 0), 0), ((-2, 0), 4), ((0, 2), 2), ((0, -2), 6)])
@pytest.mark.parametrize("pan", [0, 1])
def test_motion_fills_the_bin_of_its_direction_whatever_the_camera_does(
    move: tuple[int, int], direction: int, pan: int
) -> None:
    """The ground goes to the left where the camera goes to the right; the square keeps its place on the screen then."""
    dx, dy = move
    found = motion_of(squares(dx - pan, dy, pan=pan))
    whole_BS = found[-1] ** 2
    assert whole_BS[direction].sum() > 0.8 * whole_BS.sum()
    assert whole_BS[direction].argmax() == 1, "two pixels are the second octave"


def test_motion_is_told_by_its_time() -> None:
    clip = squares(2, 0)
    clip[8:] = clip[7]
    found_QBS = motion_of(clip)[:PARTS]
    assert found_QBS[:4].sum() > 20 * found_QBS[4:].sum()


def test_a_clip_in_which_nothing_moves_has_a_vector_too() -> None:
    assert motion_of(squares(0, 0)).sum() == 0


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
    frames = read_clip(squares(0, 0, 1), TokenizeConfig.of(policy="dense", max_patches=64)).frames
    with pytest.raises(InvalidArgumentError, match="signals"):
        MotionHistograms().encode([frames])
    with pytest.raises(InvalidArgumentError, match="at least one"):
        EdgesAndColours().encode([])
