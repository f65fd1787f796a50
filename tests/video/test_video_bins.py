"""Frames by bins, and the slot of each on the 64-slot time axis: against the rules written out one frame at a time."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import moving_square, write_video
from hypothesis import given
from hypothesis import strategies as st

from onevision_encoder.errors import ShapeError
from onevision_encoder.types import FrameSequence, SourceInfo
from onevision_encoder.video import Sampling, read_media, read_video
from onevision_encoder.video.sampling import choose_frames, frame_slots, uniform_indices

PLACES = ["first", "middle", "random"]


def times(count: int) -> np.ndarray:
    return np.arange(count) / 25.0


def bins_by_hand(count: int, bins: int) -> list[list[int]]:
    """Frame f covers [f, f + 1) / count of the window, and lies in the bin that holds its start."""
    members: list[list[int]] = [[] for _ in range(bins)]
    for f in range(count):
        members[int(Fraction(f, count) * bins)].append(f)
    return members


@given(
    count=st.integers(1, 400), bins=st.integers(1, 100), which=st.sampled_from(PLACES), seed=st.integers(0, 2**63 - 1)
)
def test_one_frame_of_each_bin(count: int, bins: int, which: str, seed: int) -> None:
    sampling = Sampling(num_frames=bins, pattern="bins", bin_frame=which, frame_seed=seed if which == "random" else 0)  # type: ignore[arg-type]
    chosen = choose_frames(times(count), sampling).tolist()
    if count <= bins:
        assert chosen == list(range(count))
        return
    for frame, members in zip(chosen, bins_by_hand(count, bins), strict=True):
        assert frame in members
        if which != "random":
            assert frame == (members[0] if which == "first" else members[(len(members) - 1) // 2])
    assert chosen == choose_frames(times(count), sampling).tolist()


def test_random_takes_every_frame_of_a_bin_equally_often() -> None:
    """5 frames, 2 bins: 0 1 2 | 3 4."""
    draws = [
        choose_frames(times(5), Sampling(num_frames=2, pattern="bins", bin_frame="random", frame_seed=seed))
        for seed in range(3000)
    ]
    counts = np.bincount(np.concatenate(draws), minlength=5)
    assert abs(counts[:3] - 1000).max() < 130  # five standard deviations
    assert abs(counts[3:] - 1500).max() < 140


def test_the_originals_frame_sampling() -> None:
    """Of a 64-frame clip, 8 bins of 8: one random frame each, its number in the clip is its time. Its loaders'
    validation rule, int(i * s + s / 2) with s = 63 / 8, is the middle."""
    pts = times(64)
    for seed in range(20):
        sampling = Sampling(num_frames=8, pattern="bins", bin_frame="random", frame_seed=seed)
        chosen = choose_frames(pts, sampling)
        assert (chosen // 8).tolist() == list(range(8))
        assert frame_slots(pts, sampling, chosen).tolist() == chosen.tolist()
    middle = choose_frames(pts, Sampling(num_frames=8, pattern="bins"))
    assert middle.tolist() == [int(i * (63 / 8) + (63 / 8) / 2) for i in range(8)]


@given(count=st.integers(2, 3000), bins=st.integers(1, 64))
def test_the_middle_is_within_two_frames_of_the_originals(count: int, bins: int) -> None:
    if count > bins:
        step = Fraction(count - 1, bins)
        chosen = choose_frames(times(count), Sampling(num_frames=bins, pattern="bins"))
        assert max(abs(int(frame) - int(i * step + step / 2)) for i, frame in enumerate(chosen)) <= 2


@given(
    count=st.integers(1, 2000),
    bins=st.sampled_from([1, 2, 4, 8, 16, 32, 64]),
    which=st.sampled_from(PLACES),
    seed=st.integers(0, 1000),
)
def test_a_frame_of_a_bin_has_a_slot_of_that_bin(count: int, bins: int, which: str, seed: int) -> None:
    """So where the number of bins divides 64, no two frames share a slot."""
    sampling = Sampling(num_frames=bins, pattern="bins", bin_frame=which, frame_seed=seed if which == "random" else 0)  # type: ignore[arg-type]
    chosen = choose_frames(times(count), sampling)
    slots = frame_slots(times(count), sampling, chosen)
    assert slots.tolist() == [int(Fraction(int(frame), count) * 64) for frame in chosen]
    assert (np.diff(slots) > 0).all()
    if count >= bins:
        assert (slots // (64 // bins)).tolist() == list(range(bins))


@pytest.mark.parametrize("count", [64, 65, 100, 127, 128, 487, 737, 5000])
def test_the_originals_64_uniform_frames_have_the_slots_0_to_63(count: int) -> None:
    originals = np.linspace(0, count - 1, 64).astype(int)
    assert choose_frames(times(count), Sampling()).tolist() == originals.tolist()
    assert frame_slots(times(count), Sampling(), originals).tolist() == list(range(64))
    every = frame_slots(times(count), Sampling(num_frames=None), np.arange(count)).tolist()
    assert every == [max(i for i in range(64) if originals[i] <= frame) for frame in range(count)]


@pytest.mark.parametrize("count", range(1, 65))
def test_a_clip_of_at_most_64_frames_spreads_over_the_slots(count: int) -> None:
    slots = frame_slots(times(count), Sampling(), np.arange(count))
    assert slots.tolist() == np.trunc(np.linspace(0, 63, count)).tolist()
    assert len(set(slots.tolist())) == count


def test_slots_count_within_the_window_and_on_the_time_grid() -> None:
    """A window of 2 s on a grid of 32 a second is 64 frames, whatever the video around it."""
    pts = np.arange(1000) / 64.0
    for pattern in ("uniform", "bins"):
        sampling = Sampling(fps=32, start_seconds=4.0, end_seconds=6.0, num_frames=8, pattern=pattern)
        chosen = choose_frames(pts, sampling)
        assert frame_slots(pts, sampling, chosen).tolist() == ((pts[chosen] - 4.0) * 32).tolist()


def test_a_frame_that_does_not_decode_moves_no_other() -> None:
    chosen = choose_frames(times(300), Sampling())
    kept = np.delete(chosen, [5, 6, 40])
    assert frame_slots(times(300), Sampling(), kept).tolist() == np.delete(np.arange(64), [5, 6, 40]).tolist()


def test_files_and_frames_in_memory_say_the_same(tmp_path: Path) -> None:
    clip = moving_square(frames=50)
    path = write_video(tmp_path / "clip.mp4", clip)
    sampling = Sampling(num_frames=16, pattern="bins", bin_frame="random", frame_seed=3)
    read, held = read_video(path, sampling=sampling), read_media(clip, sampling=sampling)
    assert read.frame_index_T.tolist() == held.frame_index_T.tolist() == choose_frames(times(50), sampling).tolist()
    assert read.slot_T is not None
    assert held.slot_T is not None
    assert read.slot_T.tolist() == held.slot_T.tolist() == [f * 64 // 50 for f in read.frame_index_T]
    assert read.provenance["sampling"] == held.provenance["sampling"]
    image = read_media(clip[0])
    assert image.slot_T is not None
    assert image.slot_T.tolist() == [0]


def test_a_window_of_a_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", moving_square(frames=60))
    frames = read_video(path, sampling=Sampling(start_seconds=0.8, end_seconds=1.6, num_frames=4, pattern="bins"))
    assert frames.frame_index_T.tolist() == [22, 27, 32, 37]  # 20 frames from frame 20 on, bins of 5
    assert frames.slot_T is not None
    assert frames.slot_T.tolist() == [2 * 64 // 20, 7 * 64 // 20, 12 * 64 // 20, 17 * 64 // 20]


@pytest.mark.parametrize("slots", [[0, 1], [0, 5, 4], [0, 1, 64], [-1, 0, 1]])
def test_slots_that_are_none(slots: list[int]) -> None:
    rgb = np.zeros((3, 14, 14, 3), np.uint8)
    info = SourceInfo(name="x", fingerprint="x", codec="x", width=14, height=14, num_frames=3)
    with pytest.raises(ShapeError, match="3 slots from 0 to 63"):
        FrameSequence(
            rgb_THW3=rgb,
            luma_THW=rgb[..., 0],
            frame_index_T=np.arange(3),
            pts_seconds_T=np.arange(3.0),
            keyframe_T=np.ones(3, np.bool_),
            patch=14,
            source=info,
            slot_T=np.array(slots),
        )


def test_uniform_is_the_default() -> None:
    assert choose_frames(times(100), Sampling(num_frames=9)).tolist() == uniform_indices(100, 9).tolist()
