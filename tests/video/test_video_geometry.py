"""Sizes: multiples of the unit, inside the budget, aspect kept; crops, padding and rotation against brute force."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import textured, write_video
from hypothesis import given
from hypothesis import strategies as st

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.video import Sampling, Sizing, frames_from_array, read_video
from onevision_encoder.video.color import orientation, place
from onevision_encoder.video.geometry import content_mask, display_size, native_grid, plan_size

SIZES = st.integers(1, 5000)


@given(
    height=SIZES,
    width=SIZES,
    patch=st.sampled_from([8, 14, 16]),
    merge=st.sampled_from([1, 2]),
    budget=st.integers(4, 2000),
)
def test_native_invariants(height: int, width: int, patch: int, merge: int, budget: int) -> None:
    sizing = Sizing(patch=patch, merge=merge, max_patches=budget)
    plan = plan_size(height, width, sizing)
    H, W = plan.out
    assert H % sizing.unit == 0 < H
    assert W % sizing.unit == 0 < W
    assert (H // patch) * (W // patch) <= budget
    assert height + sizing.unit > H  # never enlarged beyond rounding
    assert width + sizing.unit > W


@given(height=st.integers(200, 2200), width=st.integers(200, 2200))
def test_native_keeps_the_aspect(height: int, width: int) -> None:
    """Off by no more than half a unit a side, with most of the budget used."""
    rows, cols = native_grid(height, width, Sizing())
    error = abs(np.log((cols / rows) / (width / height)))
    assert error <= np.log((min(rows, cols) + 1.1) / min(rows, cols))
    if (round(height / 14) * round(width / 14)) > 256:
        assert rows * cols >= 185


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((720, 1280), (12, 21)),
        ((1280, 720), (21, 12)),
        ((1080, 1080), (16, 16)),
        ((224, 224), (16, 16)),
        ((50, 50), (4, 4)),
        ((7, 3), (1, 1)),
        ((1, 4000), (1, 256)),
    ],
)
def test_native_examples(size: tuple[int, int], grid: tuple[int, int]) -> None:
    assert native_grid(*size, Sizing()) == grid


def test_merge_makes_even_grids() -> None:
    frames = frames_from_array(np.zeros((2, 100, 333, 3), np.uint8), sizing=Sizing(merge=2))
    assert all(side % 2 == 0 for side in frames.grid)


@given(height=st.integers(4, 700), width=st.integers(4, 700))
def test_letterbox(height: int, width: int) -> None:
    sizing = Sizing(recipe="letterbox", side=112)
    plan = plan_size(height, width, sizing)
    shown = place(np.full((*plan.resized, 3), 255, np.uint8), plan)
    assert shown.shape == (112, 112, 3)
    assert max(plan.resized) == 112
    inside = shown.all(2).reshape(8, 14, 8, 14).all((1, 3))  # patches that are content throughout
    mask = content_mask(plan, 14)
    np.testing.assert_array_equal(np.ones((8, 8), bool) if mask is None else mask, inside)


def test_letterbox_of_the_originals_demo() -> None:
    """360 x 640 portrait at 576 / 16: columns 8 to 27 are content, 720 of 1,296 patches."""
    sizing = Sizing(recipe="letterbox", side=576, patch=16)
    plan = plan_size(640, 360, sizing)
    assert (plan.resized, plan.offset) == ((576, 324), (0, 126))
    mask = content_mask(plan, 16)
    assert mask is not None
    assert mask.sum() == 720
    assert np.flatnonzero(mask[0]).tolist() == list(range(8, 28))


@pytest.mark.parametrize("recipe", ["crop224", "image448"])
def test_crops_are_centred(recipe: str) -> None:
    sizing = Sizing(recipe=recipe)  # type: ignore[arg-type]
    side = sizing.square
    for height, width in ((300, 517), (517, 300), (side, side), (side * 2 + 1, side * 3)):
        plan = plan_size(height, width, sizing)
        assert min(plan.resized) == side
        for before, size in zip(plan.offset, plan.resized, strict=True):
            after = size - side + before
            assert 0 <= after + before <= 1 or -before in (after, after - 1)


def test_display_size() -> None:
    assert display_size(144, 176, sample_aspect=Fraction(128, 117)) == (144, 193)
    assert display_size(480, 720, sample_aspect=Fraction(8, 9)) == (540, 720)
    assert display_size(100, 200, quarter_turns=3) == (200, 100)
    assert display_size(100, 200, sample_aspect=Fraction(1, 1000)) == (100, 200)


@pytest.mark.parametrize(
    "arguments",
    [
        {"patch": 0},
        {"merge": 3},
        {"recipe": "stretch"},
        {"max_patches": 0},
        {"max_patches": 3, "merge": 2},
        {"recipe": "crop224", "patch": 15},
        {"recipe": "letterbox", "side": 100},
        {"recipe": "letterbox", "patch": 600},
    ],
)
def test_values_out_of_range(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError):
        Sizing(**arguments)  # type: ignore[arg-type]


def fixed(*values: float) -> bytes:
    return struct.pack("<9i", *(round(v * 65536) for v in values))


# What the matrix of a track header does to a picture: (a, b, c, d) and the same in numpy.
TURNS = {
    "none": ((1, 0, 0, 1), lambda p: p),
    "clockwise": ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
    "upside_down": ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
    "counterclockwise": ((0, -1, 1, 0), lambda p: np.rot90(p, 1)),
    "mirrored": ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    "flipped": ((1, 0, 0, -1), lambda p: p[::-1]),
    "transposed": ((0, 1, 1, 0), lambda p: p.transpose(1, 0, 2)),
}


@pytest.mark.parametrize("name", TURNS)
def test_display_matrix_of_a_file(name: str, tmp_path: Path) -> None:
    """The matrix written into a real MP4 by hand, against the picture turned in numpy."""
    (a, b, c, d), turn = TURNS[name]
    picture = textured(112, 168)
    path = write_video(tmp_path / "plain.mp4", picture[None], options={"qp": "1", "preset": "veryfast"})
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: the matrix lies 40 bytes into the box
    data[at : at + 36] = struct.pack(">9i", *(v << 16 for v in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)
    plain, turned = read_video(path).rgb_THW3[0], read_video(bytes(data))
    expected = turn(plain)
    assert turned.rgb_THW3[0].shape == expected.shape
    assert np.abs(turned.rgb_THW3[0].astype(int) - expected).mean() < 1.5
    for other, (_, wrong) in TURNS.items():
        if other != name and wrong(plain).shape == expected.shape:
            assert np.abs(turned.rgb_THW3[0].astype(int) - wrong(plain)).mean() > 15


def test_broken_matrices_turn_nothing() -> None:
    assert orientation(None) == orientation(b"short") == orientation(fixed(*[0] * 9)) == (0, False)


def test_size_does_not_depend_on_what_else_is_read(tmp_path: Path) -> None:
    clip = np.stack([textured(96, 160, seed) for seed in range(12)])
    path = write_video(tmp_path / "clip.mp4", clip, options={"g": "4", "preset": "veryfast"})
    everything = read_video(path, sampling=Sampling(num_frames=None))
    few = read_video(path, sampling=Sampling(num_frames=3))
    np.testing.assert_array_equal(few.rgb_THW3, everything.rgb_THW3[few.frame_index_T])
