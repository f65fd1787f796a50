"""The original's two ways to read whole frames, from a file to tokens: frames at their true slots, and one tall picture
of tiles at t = 0. Pixels and positions against the picture and the numbers written out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from clips import moving_square, write_video

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.tokens import load_tokens, read_clip, save_tokens, tokenize, unpatchify
from onevision_encoder.tokens.pipeline import TokenizeConfig
from onevision_encoder.types import PatchTokens, order_rank

CHUNKED = {"num_frames": 8, "pattern": "bins", "bin_frame": "random"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 frames of 140 x 98 pixels: 10 x 7 patches."""
    return write_video(tmp_path_factory.mktemp("clips") / "clip.mp4", moving_square(frames=64, height=140, width=98))


def tall_picture(tokens: PatchTokens, shape: tuple[int, int]) -> np.ndarray:
    """Patches put where RoPE sees them: uint8 [3, H, W], and 7 where there is none."""
    p, positions = tokens.patch, tokens.model_positions_N3.astype(int)
    picture_3HW = np.full((3, *shape), 7, np.uint8)
    for patch_D, (_, h, w) in zip(tokens.patches_ND, positions, strict=True):
        picture_3HW[:, h * p : h * p + p, w * p : w * p + p] = patch_D.reshape(3, p, p)
    return picture_3HW


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_frame_sampling_as_the_original_trains_it(clip: Path, seed: int) -> None:
    """8 frames of a 64-frame clip, one of each 8, whole, at their numbers: train.py, section frame sampling."""
    tokens = tokenize(clip, policy="dense", time="slots", frame_seed=seed, **CHUNKED)
    frames = tokens.clips[0].frame_index_T
    assert (frames // 8).tolist() == list(range(8))
    expected = [(t, h, w) for t in frames.tolist() for h in range(10) for w in range(7)]
    assert tokens.model_positions_N3.tolist() == [list(map(float, row)) for row in expected]
    everything = tokenize(clip, policy="dense")  # 64 frames: virtual time is the frame number
    rows = [int(f) * 70 + i for f in frames for i in range(70)]
    np.testing.assert_array_equal(tokens.patches_ND, everything.patches_ND[rows])
    np.testing.assert_array_equal(tokens.model_positions_N3, everything.model_positions_N3[rows])


def test_uniform_frames_have_the_same_slots_as_virtual_time(clip: Path) -> None:
    for num_frames in (64, 22, 10, 8, 4, 2):  # num_frames - 1 divides 63
        slots = tokenize(clip, policy="dense", num_frames=num_frames, time="slots")
        virtual = tokenize(clip, policy="dense", num_frames=num_frames)
        np.testing.assert_array_equal(slots.model_positions_N3, virtual.model_positions_N3)


def test_slots_survive_smaller_frames_and_files(clip: Path, tmp_path: Path) -> None:
    small = tokenize(clip, policy="uniform_lowres", budget=128, time="slots")
    info = small.clips[0]
    assert 1 < len(info.frame_index_T) < 64
    assert info.model_time_T.tolist() == info.frame_index_T.tolist()
    save_tokens(tmp_path / "x.safetensors", small)
    np.testing.assert_array_equal(load_tokens(tmp_path / "x.safetensors").model_positions_N3, small.model_positions_N3)


def test_two_frames_in_one_slot_are_refused(tmp_path: Path) -> None:
    long = write_video(tmp_path / "long.mp4", moving_square(frames=90, height=56, width=56))
    with pytest.raises(InvalidArgumentError, match="both have slot"):
        tokenize(long, num_frames=None, time="slots")
    assert len(tokenize(long, num_frames=64, pattern="bins", bin_frame="random", time="slots").clips) == 1


def test_frames_that_know_no_slots_are_refused(clip: Path) -> None:
    frames = dataclasses.replace(read_clip(clip).frames, slot_T=None)
    with pytest.raises(InvalidArgumentError, match="carry no slot_T"):
        tokenize(frames, time="slots", provider="blockcoder")


def test_collage_as_the_original_trains_it(clip: Path) -> None:
    """8 bin-sampled frames stacked top to bottom in one picture: t = 0, h = 0..79, w = 0..6 (train.py)."""
    reading = read_clip(clip, policy="tiled", budget="100%", **CHUNKED)
    tokens = reading.tokens()
    assert (reading.frames.frame_index_T // 8).tolist() == list(range(8))
    expected = [(0.0, h, w) for h in range(80) for w in range(7)]
    assert tokens.model_positions_N3.tolist() == [list(map(float, row)) for row in expected]
    stacked_HW3 = reading.frames.rgb_THW3.reshape(8 * 140, 98, 3)
    np.testing.assert_array_equal(tall_picture(tokens, (1120, 98)), stacked_HW3.transpose(2, 0, 1))


def test_a_budget_of_whole_tiles_spreads_them_over_the_clip(clip: Path) -> None:
    """12.5 % of 64 frames: 8 tiles, the frames end to end."""
    reading = read_clip(clip, policy="tiled")
    tokens = reading.tokens()
    used = np.unique(tokens.positions_N3[:, 0])
    assert used.tolist() == [i * 63 // 7 for i in range(8)]
    assert tokens.model_positions_N3[:, 1].tolist() == [h for h in range(80) for _ in range(7)]
    stacked_HW3 = reading.frames.rgb_THW3[used].reshape(8 * 140, 98, 3)
    np.testing.assert_array_equal(tall_picture(tokens, (1120, 98)), stacked_HW3.transpose(2, 0, 1))


def test_the_last_tile_is_coarse_where_the_budget_ends_inside_it(clip: Path) -> None:
    tokens = tokenize(clip, policy="tiled", num_frames=4, budget=2 * 70 + 5)
    h = tokens.model_positions_N3[:, 1]
    assert len(tokens) == 145
    assert [int(((h >= 10 * tile) & (h < 10 * tile + 10)).sum()) for tile in range(4)] == [70, 70, 5, 0]
    assert (tokens.model_positions_N3[:, 0] == 0).all()


def test_odd_sizes_with_a_merge_in_block_order(tmp_path: Path) -> None:
    """Rows in 2x2-block order of the tiles are rows in 2x2-block order of the tall picture."""
    path = write_video(
        tmp_path / "odd.mkv", moving_square(frames=9, height=75, width=131), codec="ffv1", pix_fmt="bgr0"
    )
    reading = read_clip(path, policy="tiled", budget="100%", num_frames=3, merge=2, order="block2")
    tokens, (rows, cols) = reading.tokens(), reading.frames.grid
    assert rows % 2 == cols % 2 == 0
    positions = tokens.model_positions_N3.astype(np.int32)
    rank = order_rank(positions, (1, 3 * rows, cols), "block2")
    assert rank.tolist() == list(range(3 * rows * cols))
    stacked_HW3 = reading.frames.rgb_THW3.reshape(-1, *reading.frames.rgb_THW3.shape[2:])
    np.testing.assert_array_equal(tall_picture(tokens, stacked_HW3.shape[:2]), stacked_HW3.transpose(2, 0, 1))


def test_letterboxed_tiles_leave_their_bars_out(clip: Path) -> None:
    """A tile is as tall as the square; nothing stands where the bars are."""
    config = TokenizeConfig.of(policy="tiled", budget="100%", num_frames=3, recipe="letterbox", side=140)
    reading = read_clip(clip, config)
    tokens = reading.tokens()
    content_hw = reading.frames.content_hw
    assert content_hw is not None
    assert 0 < content_hw.sum() < 100
    expected = [(0.0, 10 * tile + h, w) for tile in range(3) for h, w in np.argwhere(content_hw).tolist()]
    assert tokens.model_positions_N3.tolist() == [list(map(float, row)) for row in expected]


def test_one_tile_is_the_picture_itself(clip: Path) -> None:
    reading = read_clip(clip, policy="tiled", num_frames=1, budget="100%")
    tokens = reading.tokens()
    np.testing.assert_array_equal(unpatchify(tokens.patches_ND, (1, 10, 7), 14), reading.frames.rgb_THW3)
    assert tokens.model_positions_N3[-1].tolist() == [0, 9, 6]
