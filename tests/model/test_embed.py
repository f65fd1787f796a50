from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from encoders import quiet_encoder, scaled_model

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.model import embed_tokens, normalize_patches
from onevision_encoder.types import ClipInfo, PatchTokens


def make_tokens(lengths, patch=4, seed=0):
    rng = np.random.default_rng(seed)
    N = sum(lengths)
    positions = np.stack([rng.integers(0, 4, N), rng.integers(0, 8, N), rng.integers(0, 8, N)], axis=1)
    clips = tuple(
        ClipInfo(
            name=f"clip {s}",
            patch=patch,
            grid=(8, 8),
            frame_index_T=np.arange(4),
            pts_seconds_T=np.arange(4) / 25,
            model_time_T=np.arange(4, dtype=np.float32) * 21,
        )
        for s in range(len(lengths))
    )
    return PatchTokens(
        patches_ND=rng.integers(0, 256, (N, 3 * patch * patch), dtype=np.uint8),
        positions_N3=positions.astype(np.int32),
        model_positions_N3=(positions * [21, 1, 1]).astype(np.float32),
        score_N=np.zeros(N, np.float32),
        kind_N=np.zeros(N, np.uint8),
        cu_seqlens=np.cumsum([0, *lengths]).astype(np.int32),
        clips=clips,
    )


def test_normalisation_is_clips():
    patches = np.arange(0, 240, 5, dtype=np.uint8)[None]  # 48 = 3 channels of 4 x 4
    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    wanted = [(float(v) / 255 - mean[i // 16]) / std[i // 16] for i, v in enumerate(patches[0])]
    np.testing.assert_allclose(normalize_patches(torch.tensor(patches))[0], wanted, rtol=1e-5, atol=1e-6)


def test_equals_the_model_on_normalised_patches_clip_by_clip():
    model, tokens = scaled_model(), make_tokens([5, 9, 9, 2])
    embeddings = embed_tokens(model, tokens, return_tokens=True)
    assert embeddings.pooled_SC.dtype == embeddings.tokens_NC.dtype == np.float32
    assert embeddings.cu_seqlens.tolist() == [0, 5, 14, 23, 25]
    for s in range(4):
        rows = slice(*tokens.cu_seqlens[s : s + 2])
        alone = model(
            normalize_patches(torch.tensor(tokens.patches_ND[rows])),
            patch_positions=torch.tensor(tokens.model_positions_N3[rows]),
        )
        np.testing.assert_allclose(embeddings.pooled_SC[s], alone.pooler_output[0].detach(), atol=1e-5)
        np.testing.assert_allclose(embeddings.tokens_NC[rows], alone.last_hidden_state.detach(), atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 9, 14, 18, 10_000])
def test_batches_change_nothing(batch_tokens, monkeypatch):
    model, tokens = scaled_model(), make_tokens([5, 9, 9, 2, 30, 1])
    wanted = embed_tokens(model, tokens, return_tokens=True)
    calls = []
    model.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    got = embed_tokens(model, tokens, batch_tokens=batch_tokens, return_tokens=True)
    assert sum(calls) == 56
    assert all(n <= max(batch_tokens, 30) for n in calls)
    np.testing.assert_allclose(got.pooled_SC, wanted.pooled_SC, atol=1e-5)
    np.testing.assert_allclose(got.tokens_NC, wanted.tokens_NC, atol=1e-5)


def test_same_input_same_output():
    loaded, tokens = quiet_encoder("tiny", device="cpu"), make_tokens([50, 30], patch=14)
    first, second = (embed_tokens(loaded, tokens, return_tokens=True) for _ in range(2))
    assert np.array_equal(first.pooled_SC, second.pooled_SC)
    assert np.array_equal(first.tokens_NC, second.tokens_NC)
    assert np.isfinite(first.pooled_SC).all()


def test_provenance():
    loaded, tokens = quiet_encoder("tiny", device="cpu"), make_tokens([50], patch=14)
    embeddings = embed_tokens(loaded, tokens)
    assert embeddings.tokens_NC is None
    assert embeddings.provenance["weights"] == "random (seed 0), preset tiny"
    assert embeddings.provenance["normalization"]["std"][0] == 0.26862954
    json.dumps(embeddings.provenance)


def test_patch_size_of_tokens_and_model_must_agree():
    with pytest.raises(ShapeError, match=r"16.*4, the patch size of the model"):
        embed_tokens(scaled_model(), make_tokens([3], patch=16))


def test_wrong_arguments():
    tokens = make_tokens([3])
    with pytest.raises(InvalidArgumentError, match="batch_tokens=0"):
        embed_tokens(scaled_model(), tokens, batch_tokens=0)
    headless = scaled_model(use_head=False)
    with pytest.raises(InvalidArgumentError, match="pooling head"):
        embed_tokens(headless, tokens)
    embeddings = embed_tokens(headless, tokens, return_tokens=True)
    assert embeddings.pooled_SC is None
    assert embeddings.tokens_NC.shape == (3, 128)


def test_mode_of_the_model_is_left_alone():
    model = scaled_model(attention_dropout=0.5).train()
    tokens = make_tokens([3])
    first, second = (embed_tokens(model, tokens).pooled_SC for _ in range(2))
    assert model.training
    assert np.array_equal(first, second)


def test_provenance_says_what_ran_not_what_was_loaded():
    loaded, tokens = quiet_encoder("tiny", device="cpu", dtype="float32"), make_tokens([50], patch=14)
    assert embed_tokens(loaded, tokens).provenance["dtype"] == "float32"
    assert embed_tokens(loaded, tokens).provenance["dtype_reason"] == "asked for"
    loaded.model.to(torch.bfloat16)
    loaded.model.set_attn_implementation("eager")
    made = embed_tokens(loaded, tokens).provenance
    assert (made["dtype"], made["attention"]) == ("bfloat16", "eager")
    assert made["dtype_reason"] == "moved after loading"
    assert made["weights"] == loaded.weights


def test_frozen_parts_stay_in_the_mode_they_were_in():
    model = scaled_model().train()
    frozen = [model.encoder.layers[0], model.head.mlp]
    for part in frozen:
        part.eval()
    before = {name: part.training for name, part in model.named_modules()}
    assert len(set(before.values())) == 2
    embed_tokens(model, make_tokens([3]))
    assert {name: part.training for name, part in model.named_modules()} == before
    model.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        embed_tokens(model, make_tokens([3]))
    assert {name: part.training for name, part in model.named_modules()} == before


@pytest.mark.parametrize(
    ("patches", "error", "words"),
    [
        (torch.rand(2, 48), InvalidArgumentError, "float32.*uint8 pixels, 0..255"),
        (torch.zeros(2, 48, dtype=torch.int64), InvalidArgumentError, "int64.*uint8"),
        (np.zeros((2, 48), np.uint8), InvalidArgumentError, "ndarray.*torch tensor"),
        (torch.zeros(48, dtype=torch.uint8), ShapeError, r"\(48,\)"),
        (torch.zeros(2, 47, dtype=torch.uint8), ShapeError, r"\(2, 47\)"),
    ],
)
def test_only_pixels_are_normalised(patches, error, words):
    with pytest.raises(error, match=words):
        normalize_patches(patches)


@pytest.mark.parametrize("given", [[make_tokens([3]), make_tokens([3])], "clip.mp4", np.zeros((3, 48), np.uint8), None])
def test_what_is_no_pack_is_told_how_to_be_one(given):
    with pytest.raises(InvalidArgumentError, match=rf"tokens='{type(given).__name__}'.*PatchTokens.*pack\(\) joins"):
        embed_tokens(scaled_model(), given)


def test_what_is_no_model_is_refused():
    with pytest.raises(InvalidArgumentError, match=r"model='str'.*load_encoder"):
        embed_tokens("tiny", make_tokens([3]))
