"""Which frames are taken: against the rule written out by hand."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import textwrap
import tracemalloc
from dataclasses import asdict, fields
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.video import Sampling, Sizing
from onevision_encoder.video.sampling import choose_frames


def times(count: int, fps: float = 25.0) -> np.ndarray:
    return np.arange(count) / fps


@pytest.mark.parametrize(("count", "num_frames"), [(487, 64), (737, 64), (64, 64), (65, 64), (10, 3), (2, 1), (100, 1)])
def test_uniform_is_the_truncated_linspace(count: int, num_frames: int) -> None:
    step = (count - 1) / (num_frames - 1) if num_frames > 1 else 0
    by_hand = [int(i * step + 1e-9) for i in range(num_frames)]
    assert choose_frames(times(count), Sampling(num_frames=num_frames)).tolist() == by_hand


def test_the_originals_demo_clips() -> None:
    chosen = choose_frames(times(487), Sampling()).tolist()
    assert (chosen[:3], chosen[-1]) == ([0, 7, 15], 486)
    chosen = choose_frames(times(737), Sampling()).tolist()
    assert (chosen[:3], chosen[-1]) == ([0, 11, 23], 736)


@given(count=st.integers(1, 300), num_frames=st.integers(1, 100) | st.none())
def test_never_duplicates(count: int, num_frames: int | None) -> None:
    chosen = choose_frames(times(count), Sampling(num_frames=num_frames))
    assert len(chosen) == (count if num_frames is None else min(count, num_frames))
    assert (np.diff(chosen) > 0).all()
    assert chosen[0] == 0
    assert chosen[-1] == count - 1 or num_frames == 1


@given(
    gaps=st.lists(st.floats(0.001, 2.0), min_size=0, max_size=60),
    fps=st.sampled_from([0.3, 1.0, 2.0, 5.0, 30.0]),
)
def test_grid_takes_the_nearest_frames(gaps: list[float], fps: float) -> None:
    pts = np.concatenate([[0.0], np.cumsum(gaps)])
    chosen = choose_frames(pts, Sampling(fps=fps, num_frames=None)).tolist()
    nearest = set()
    k = 0
    while k / fps <= pts[-1] + 1e-6 / fps:
        distance = np.abs(pts - k / fps)
        nearest.add(int(np.flatnonzero(distance <= distance.min() + 1e-6)[0]))
        k += 1
    assert chosen == sorted(nearest)


def test_grid_of_a_constant_rate() -> None:
    assert choose_frames(times(100), Sampling(fps=5, num_frames=None)).tolist() == list(range(0, 100, 5))
    assert choose_frames(times(10), Sampling(fps=1000, num_frames=None)).tolist() == list(range(10))


def test_num_frames_caps_a_grid() -> None:
    grid = choose_frames(times(1000), Sampling(fps=5, num_frames=None))
    capped = choose_frames(times(1000), Sampling(fps=5, num_frames=7))
    np.testing.assert_array_equal(capped, grid[np.linspace(0, len(grid) - 1, 7).astype(int)])


def test_window_is_half_open() -> None:
    pts = times(100)
    chosen = choose_frames(pts, Sampling(start_seconds=1.0, end_seconds=2.0, num_frames=None))
    assert chosen.tolist() == list(range(25, 50))
    assert choose_frames(pts, Sampling(start_seconds=3.5)).tolist() == list(range(88, 100))
    assert choose_frames(pts, Sampling(end_seconds=0.04)).tolist() == [0]


def test_grid_starts_at_the_windows_first_frame() -> None:
    pts = np.array([0, 0.9, 1.1, 2.1, 2.9, 3.1])
    assert choose_frames(pts, Sampling(fps=1, start_seconds=1.0)).tolist() == [2, 3, 5]


def test_window_without_frames() -> None:
    with pytest.raises(InvalidArgumentError, match=r"between 0 and 3\.96 s"):
        choose_frames(times(100), Sampling(start_seconds=4.0))


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_frames": 0},
        {"num_frames": -3},
        {"num_frames": 2.5},
        {"num_frames": True},
        {"pattern": "evenly"},
        {"bin_frame": "last"},
        {"frame_seed": -1},
        {"fps": 0},
        {"fps": float("nan")},
        {"start_seconds": -1.0},
        {"start_seconds": 2.0, "end_seconds": 2.0},
        {"end_seconds": 0.0},
    ],
)
def test_values_out_of_range(arguments: dict[str, float]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Sampling(**arguments)  # type: ignore[arg-type]
    assert caught.value.name in arguments


@pytest.mark.parametrize(
    "arguments",
    [
        {"pattern": ["bins"]},
        {"frame_seed": 1.5},
        {"fps": "2"},
        {"fps": True},
        {"start_seconds": "1"},
        {"end_seconds": [1]},
        {"num_frames": "8"},
        {"fps": 1j},
    ],
)
def test_values_of_a_wrong_type(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Sampling(**arguments)  # type: ignore[arg-type]
    assert caught.value.name in arguments


@pytest.mark.parametrize("arguments", [{"patch": 14.0}, {"merge": "1"}, {"recipe": ["native"]}, {"side": "576"}])
def test_sizes_of_a_wrong_type(arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        Sizing(**arguments)  # type: ignore[arg-type]
    assert caught.value.name in arguments


def test_numpy_numbers_are_numbers() -> None:
    sampling = Sampling(
        num_frames=np.int64(8),  # type: ignore[arg-type]
        fps=np.float32(2.5),  # type: ignore[arg-type]
        start_seconds=np.int32(1),  # type: ignore[arg-type]
        end_seconds=Fraction(5, 2),  # type: ignore[arg-type]
    )
    assert sampling == Sampling(num_frames=8, fps=2.5, start_seconds=1.0, end_seconds=2.5)
    sizing = Sizing(patch=np.int16(16), merge=np.uint8(2), max_patches=np.int64(64))  # type: ignore[arg-type]
    assert sizing == Sizing(patch=16, merge=2, max_patches=64)
    assert json.dumps([asdict(sampling), asdict(sizing)])


def test_a_fine_grid_costs_no_memory() -> None:
    """Two frames a microsecond apart among hours of others, and a grid of a million points a second."""
    pts = np.sort(np.concatenate([np.arange(3600.0), [0.5, 0.500001]]))
    tracemalloc.start()
    chosen = choose_frames(pts, Sampling(fps=1e6, num_frames=None))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert chosen.tolist() == list(range(3602))
    assert peak < 2 << 20
    assert choose_frames(pts, Sampling(fps=1e300, num_frames=None)).tolist() == list(range(3602))


def test_every_option_explains_itself() -> None:
    """The strings below the fields are the command line's help: plain sentences."""
    for config in (Sampling, Sizing):
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(config))).body
        assert isinstance(body, ast.ClassDef)
        told = {}
        for field, text in itertools.pairwise(body.body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                told[field.target.id] = ast.literal_eval(text.value)
        assert list(told) == [field.name for field in fields(config)]
        assert len(str(config.__doc__)) < 120
        for text in (str(config.__doc__), *told.values()):
            assert text.endswith(".")
            assert "`" not in text
            # tyro starts a new line in the help where the source does, so that lines hold whole sentences
            assert all(line.endswith(".") for line in text.splitlines())
