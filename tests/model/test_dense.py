"""Features back on their grid, clip by clip."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from clips import moving_square
from encoders import scaled_model

from onevision_encoder import pack, tokenize
from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.model import dense_features, embed_tokens


@pytest.fixture(scope="module")
def tokens():
    clips = [moving_square(frames=6, height=32, width=48, side=8), moving_square(frames=3, height=40, width=24, side=8)]
    return pack([tokenize(clip, patch=8, budget=20) for clip in clips])


def test_every_feature_is_where_its_patch_was(tokens):
    model = scaled_model(patch_size=8)
    embeddings = embed_tokens(model, tokens, return_tokens=True)
    maps = dense_features(embeddings, tokens)
    assert len(maps) == 2
    assert maps[0].map_ThwC.shape == (6, 4, 6, 128)
    assert maps[1].mask_Thw.shape == (3, 5, 3)
    seen = 0
    for clip, (start, stop) in zip(maps, pairwise(tokens.cu_seqlens), strict=True):
        assert clip.mask_Thw.sum() == stop - start == 20
        assert np.isnan(clip.map_ThwC[~clip.mask_Thw]).all()
        for row in range(start, stop):
            t, h, w = tokens.positions_N3[row]
            np.testing.assert_array_equal(clip.map_ThwC[t, h, w], embeddings.tokens_NC[row])
            seen += 1
    assert seen == len(tokens)
    assert (dense_features(embeddings, tokens, fill=0.0)[0].map_ThwC[~maps[0].mask_Thw] == 0).all()


def test_pixels_come_back_too(tokens):
    """With patches for features the map is the video."""
    video = moving_square(frames=6, height=32, width=48, side=8)
    found = dense_features(tokens.patches_ND.astype(np.float32), tokens)[0]
    blocks = video.reshape(6, 4, 8, 6, 8, 3).transpose(0, 1, 3, 5, 2, 4).reshape(6, 4, 6, 192)
    np.testing.assert_array_equal(found.map_ThwC[found.mask_Thw], blocks[found.mask_Thw])


def test_hidden_states_as_tensors(tokens):
    states_NC = torch.randn(len(tokens), 5, dtype=torch.bfloat16)
    one, other = dense_features(states_NC, tokens)
    got = np.concatenate([m.map_ThwC[m.mask_Thw] for m in (one, other)])  # tokens are in raster order
    np.testing.assert_array_equal(got, states_NC.float().numpy())


def test_what_does_not_fit_is_named(tokens):
    embeddings = embed_tokens(scaled_model(patch_size=8), tokens)
    with pytest.raises(InvalidArgumentError, match="return_tokens=True"):
        dense_features(embeddings, tokens)
    with pytest.raises(ShapeError, match=r"\(39, 2\)"):
        dense_features(np.zeros((39, 2)), tokens)
    positions = tokens.positions_N3.copy()
    positions[1] = positions[0]
    with pytest.raises(ShapeError, match="repeated rows"):
        dense_features(np.zeros((40, 2)), replace(tokens, positions_N3=positions))
    positions[1] = (0, 4, 0)
    with pytest.raises(ShapeError, match=r"inside the grid \(6, 4, 6\)"):
        dense_features(np.zeros((40, 2)), replace(tokens, positions_N3=positions))
