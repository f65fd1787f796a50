"""Whole frames through the encoder: a pack of tiles against the same pixels as one tall image, chunk-wise sampled
frames against the dense video they were taken from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from clips import moving_square, write_video
from encoders import scaled_model

from onevision_encoder.model import embed_tokens
from onevision_encoder.model.embed import CLIP_MEAN, CLIP_STD
from onevision_encoder.tokens import load_tokens, pack, read_clip, save_tokens

SIZES = {
    "native": {"max_patches": 40},
    "merge": {"max_patches": 40, "merge": 2, "order": "block2"},
    "letterbox": {"recipe": "letterbox", "side": 98},
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """64 frames of 131 x 75 pixels, a size that no patch divides."""
    path = tmp_path_factory.mktemp("clips") / "clip.mkv"
    return write_video(path, moving_square(frames=64, height=75, width=131), codec="ffv1", pix_fmt="bgr0")


def pixels(rgb_THW3: np.ndarray) -> torch.Tensor:
    """Normalised by hand: float32 [T, 3, H, W]."""
    scaled = torch.tensor(rgb_THW3.copy()).permute(0, 3, 1, 2) / 255
    return (scaled - torch.tensor(CLIP_MEAN)[:, None, None]) / torch.tensor(CLIP_STD)[:, None, None]


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_a_pack_of_tiles_is_one_tall_image(clip: Path, tmp_path: Path, size: str) -> None:
    reading = read_clip(clip, policy="tiled", budget="100%", num_frames=8, pattern="bins", **SIZES[size])
    model, (rows, cols) = scaled_model(patch_size=14), reading.frames.grid
    save_tokens(tmp_path / "x.safetensors", reading.tokens())
    tokens = load_tokens(tmp_path / "x.safetensors")
    got = embed_tokens(model, tokens, return_tokens=True)

    tall_13HW = pixels(reading.frames.rgb_THW3.reshape(1, 8 * rows * 14, cols * 14, 3))
    content_hw = reading.frames.content_hw
    seen_hw = np.tile(np.ones((rows, cols), bool) if content_hw is None else content_hw, (8, 1))
    index = torch.tensor(np.flatnonzero(seen_hw))[None]
    wanted = model(tall_13HW, visible_indices=index) if content_hw is not None else model(tall_13HW)
    place = {int(flat): row for row, flat in enumerate(index[0])}
    flat_N = tokens.model_positions_N3[:, 1].astype(int) * cols + tokens.model_positions_N3[:, 2].astype(int)
    order = [place[int(flat)] for flat in flat_N]
    assert sorted(order) == list(range(len(tokens)))
    np.testing.assert_allclose(got.tokens_NC, wanted.last_hidden_state[0, order], atol=2e-5)
    np.testing.assert_allclose(got.pooled_SC, wanted.pooler_output, atol=2e-5)

    turned = model(tall_13HW.flip(2)).last_hidden_state[0]  # the tiles in another order are another image
    assert size == "letterbox" or np.abs(got.tokens_NC - turned[order].numpy()).max() > 0.01


@torch.no_grad()
def test_frames_at_their_slots_are_rows_of_the_dense_video(clip: Path) -> None:
    """The original's frame mode: 8 of 64 frames, packed, each at its number on the 64-frame grid."""
    options = {"max_patches": 40, "policy": "dense"}
    chunked = read_clip(clip, num_frames=8, pattern="bins", bin_frame="random", time="slots", **options)
    model, (rows, cols) = scaled_model(patch_size=14), chunked.frames.grid
    got = embed_tokens(model, chunked.tokens(), return_tokens=True)

    everything = read_clip(clip, **options).frames.rgb_THW3
    video_13THW = pixels(everything).permute(1, 0, 2, 3)[None]
    frames_T = torch.tensor(chunked.frames.frame_index_T.copy())
    index = (frames_T[:, None] * rows * cols + torch.arange(rows * cols)).flatten()[None]
    wanted = model(video_13THW, visible_indices=index)
    np.testing.assert_allclose(got.tokens_NC, wanted.last_hidden_state[0], atol=2e-5)
    np.testing.assert_allclose(got.pooled_SC, wanted.pooler_output, atol=2e-5)

    spread = read_clip(clip, num_frames=8, pattern="bins", bin_frame="random", **options)
    virtual = embed_tokens(model, spread.tokens(), return_tokens=True)
    np.testing.assert_array_equal(spread.tokens().patches_ND, chunked.tokens().patches_ND)
    assert np.abs(virtual.tokens_NC - got.tokens_NC).max() > 0.01, "the time of the frames is seen"


@torch.no_grad()
def test_tiles_and_frames_share_a_pack(clip: Path) -> None:
    model = scaled_model(patch_size=14)
    parts = [
        read_clip(clip, policy=policy, budget="50%", num_frames=4, max_patches=20).tokens()
        for policy in ("tiled", "uniform", "codec")
    ]
    together = embed_tokens(model, pack(parts), return_tokens=True)
    for part, one in zip(parts, together.unpack(), strict=True):
        np.testing.assert_allclose(one.tokens_NC, embed_tokens(model, part, return_tokens=True).tokens_NC, atol=2e-5)
    assert np.abs(together.pooled_SC[0] - together.pooled_SC[1]).max() > 1e-3, "same pixels, other places"
