"""The packed core against a second implementation, and every layout and implementation against the packed core."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from encoders import random_pack, scaled_model, small_config
from reference_encoder import ReferenceEncoder
from torch.nn import functional
from transformers.integrations import flash_attention as hf_flash
from transformers.modeling_outputs import BaseModelOutputWithPooling

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.model import OneVisionEncoderModel, tiled
from onevision_encoder.model.attention import attention_function
from onevision_encoder.model.segments import Segments

INDUCTOR_IMPORT = "ignore:.*torch.jit.script_method.*:DeprecationWarning"
LENGTHS = [5, 5, 1, 9, 9, 9, 3]


@pytest.mark.parametrize("mode", ["pairwise", "rotary"])
@pytest.mark.parametrize(("norm", "head"), [("layer_norm", True), ("rms_norm", True), ("layer_norm", False)])
def test_packed_core_equals_the_reference(mode, norm, head):
    model = scaled_model(rope_mode=mode, layer_norm_type=norm, use_head=head)
    reference = ReferenceEncoder(model)
    patches, positions, bounds = random_pack(LENGTHS)
    with torch.inference_mode():
        output = model(patches, patch_positions=positions, cu_seqlens=bounds, output_hidden_states=True)
    assert isinstance(output, BaseModelOutputWithPooling)
    for s, (start, stop) in enumerate(pairwise(bounds.tolist())):
        states, last, pooled = reference(patches[start:stop].double().numpy(), positions[start:stop].double().numpy())
        np.testing.assert_allclose(output.last_hidden_state[start:stop], last, atol=2e-5)
        assert len(output.hidden_states) == len(states) == 3
        for mine, theirs in zip(output.hidden_states, states, strict=True):
            np.testing.assert_allclose(mine[start:stop], theirs, atol=5e-5)
        if head:
            np.testing.assert_allclose(output.pooler_output[s], pooled, atol=2e-5)
        else:
            assert output.pooler_output is None


def test_segments_never_see_each_other():
    model = scaled_model()
    patches, positions, bounds = random_pack(LENGTHS)
    changed = patches.clone()
    changed[bounds[3] : bounds[4]] += 1.0
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            before = model(patches, patch_positions=positions, cu_seqlens=bounds)
            after = model(changed, patch_positions=positions, cu_seqlens=bounds)
        same_NC = (before.last_hidden_state == after.last_hidden_state).all(-1)
        inside = torch.zeros(len(patches), dtype=torch.bool)
        inside[bounds[3] : bounds[4]] = True
        assert same_NC[~inside].all()
        assert not same_NC[inside].any()
        assert (before.pooler_output == after.pooler_output).all(-1).tolist() == [s != 3 for s in range(len(LENGTHS))]


def test_no_bounds_is_one_segment():
    model = scaled_model()
    patches, positions, _ = random_pack([7])
    one = model(patches, patch_positions=positions)
    same = model(patches, patch_positions=positions, cu_seqlens=[0, 7])
    assert torch.equal(one.last_hidden_state, same.last_hidden_state)
    assert one.pooler_output.shape == (1, 128)


def test_dense_layouts_agree_with_each_other():
    model = scaled_model()
    video = torch.randn(2, 3, 5, 8, 12, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        full = model(video)
        assert full.last_hidden_state.shape == (2, 5 * 2 * 3, 128)
        # every index, in order, relabels nothing; and positions say the same as indices
        everything = torch.arange(30).expand(2, 30)
        address = torch.stack([everything // 6, everything % 6 // 3, everything % 3], dim=-1)
        for given in (
            {"visible_indices": everything},
            {"visible_indices": everything.to(torch.int16)},
            {"patch_positions": address[:1]},
            {"patch_positions": address.float(), "visible_indices": everything.flip(1)},
        ):
            assert torch.equal(model(video, **given).last_hidden_state, full.last_hidden_state)
        # K = L relabels: the second half of a grid of 64 frames
        moved = model(video, visible_indices=everything + 6 * 30)
        assert torch.equal(
            moved.last_hidden_state,
            model(video, patch_positions=address + torch.tensor([30, 0, 0])).last_hidden_state,
        )
        assert (moved.last_hidden_state - full.last_hidden_state).abs().max() > 1e-2
        # an image is a video of one frame
        image = model(video[:, :, 0])
        assert torch.equal(image.last_hidden_state, model(video[:, :, :1]).last_hidden_state)


def test_selected_patches_only_are_embedded(monkeypatch):
    model = scaled_model()
    video = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    index = torch.tensor([[3, 0, 9], [15, 2, 2]])
    rows = []
    inner = model.embeddings.patch_embedding.forward
    monkeypatch.setattr(model.embeddings.patch_embedding, "forward", lambda x: rows.append(len(x)) or inner(x))
    chosen = model(video, visible_indices=index)
    assert rows == [6]
    # the rest may hold anything at all
    keep = torch.zeros(2, 4, 2, 2, dtype=torch.bool).flatten(1)
    keep.scatter_(1, index, True)
    mask = keep.view(2, 1, 4, 2, 1, 2, 1).expand(2, 3, 4, 2, 4, 2, 4).reshape(video.shape)
    assert torch.equal(model(video.masked_fill(~mask, 1e6), visible_indices=index).pooler_output, chosen.pooler_output)


def test_videos_longer_than_the_trained_grid():
    model = scaled_model()
    video = torch.randn(1, 3, 70, 4, 4, generator=torch.Generator().manual_seed(2))
    positions = torch.tensor([[t, 0, 0] for t in range(70)])[None]
    with torch.inference_mode():
        full = model(video).last_hidden_state
        assert torch.equal(full, model(video, patch_positions=positions).last_hidden_state)
        beyond = model(video, visible_indices=torch.tensor([[69, 64]])).last_hidden_state
        frames = model(video[:, :, [69, 64]], patch_positions=positions[:, [69, 64]]).last_hidden_state
    assert torch.equal(beyond, frames)


def test_eager_and_sdpa_agree_and_only_eager_has_weights():
    model = scaled_model()
    patches, positions, bounds = random_pack(LENGTHS)
    dense = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    sdpa = model(patches, patch_positions=positions, cu_seqlens=bounds)
    with pytest.raises(InvalidArgumentError, match="eager"):
        model(dense, output_attentions=True)
    model.set_attn_implementation("eager")
    eager = model(patches, patch_positions=positions, cu_seqlens=bounds)
    assert (sdpa.last_hidden_state - eager.last_hidden_state).abs().max() < 1e-5
    with pytest.raises(InvalidArgumentError, match="different lengths"):
        model(patches, patch_positions=positions, cu_seqlens=bounds, output_attentions=True)
    weights = model(dense, output_attentions=True).attentions
    assert len(weights) == 2
    assert weights[0].shape == (2, 2, 4, 4)
    assert torch.allclose(weights[1].sum(-1), torch.ones(2, 2, 4))
    model.set_attn_implementation("sdpa")


def test_tiles_equal_whole_pack_operations(monkeypatch):
    """Tiles that cut through segments and layers, of both kinds: long segments cut, short ones together."""
    monkeypatch.setattr(tiled, "TOKENS", 4)
    monkeypatch.setattr(tiled, "QUERIES", 6)
    model = scaled_model()
    patches, positions, bounds = random_pack([17, 2, 2, 2, 2, 6, 6, 7])
    given = {"patch_positions": positions, "cu_seqlens": bounds, "output_hidden_states": True}
    whole = model(patches, **given)
    runs = []
    run = tiled.TiledRunner.run
    monkeypatch.setattr(tiled.TiledRunner, "run", lambda *a: runs.append(1) or run(*a))
    with torch.no_grad():
        tiles = model(patches, **given)
    assert len(runs) == 2
    assert (tiles.last_hidden_state - whole.last_hidden_state).abs().max() < 1e-5
    assert (tiles.pooler_output - whole.pooler_output).abs().max() < 1e-5
    for mine, theirs in zip(tiles.hidden_states, whole.hidden_states, strict=True):
        assert (mine - theirs).abs().max() < 2e-5


@pytest.mark.parametrize("most", [1, 3, 6, 8, 100])
def test_tiles_cover_every_row_once_and_see_its_segment(most):
    bounds = [0, 17, 19, 21, 23, 25, 31, 37, 44]
    owner = [s for s in range(len(bounds) - 1) for _ in range(bounds[s], bounds[s + 1])]
    covered = []
    for tile in Segments.from_cu_seqlens(bounds, 44).tiles(most):
        assert tile.count * tile.queries <= most
        rows, seen = range(44)[tile.rows], range(44)[tile.seen_rows]
        for i in range(tile.count):
            mine = {owner[r] for r in rows[i * tile.queries : (i + 1) * tile.queries]}
            assert len(mine) == 1
            theirs = seen[i * tile.keys : (i + 1) * tile.keys]
            segment = mine.pop()
            assert (theirs[0], theirs[-1] + 1) == (bounds[segment], bounds[segment + 1])
        covered += rows
    assert covered == list(range(44))


def test_flash_attention_is_called_by_the_varlen_convention(monkeypatch):
    """The wrapper of transformers is real; the CUDA kernel behind it is replaced by its definition."""
    calls = []

    def kernel(query, key, value, attention_mask, *, is_causal, softmax_scale, cu_seq_lens_q, cu_seq_lens_k, **rest):
        assert attention_mask is None
        assert not is_causal
        assert query.shape == (1, sum(LENGTHS), 2, 64)
        assert cu_seq_lens_q.dtype == torch.int32
        assert rest["max_length_q"] == rest["max_length_k"] == max(LENGTHS)
        calls.append(cu_seq_lens_q.tolist())
        assert calls[-1] == cu_seq_lens_k.tolist()
        parts = []
        for start, stop in pairwise(calls[-1]):
            q, k, v = (t[:, start:stop].transpose(1, 2) for t in (query, key, value))
            mixed = functional.scaled_dot_product_attention(q, k, v, scale=softmax_scale)
            parts.append(mixed.transpose(1, 2))
        return torch.cat(parts, dim=1)

    monkeypatch.setattr(hf_flash, "_flash_attention_forward", kernel)
    model = scaled_model()
    patches, positions, bounds = random_pack(LENGTHS)
    sdpa = model(patches, patch_positions=positions, cu_seqlens=bounds)
    monkeypatch.setattr(model.config, "_attn_implementation_internal", "flash_attention_2")
    flash = model(patches, patch_positions=positions, cu_seqlens=bounds)
    assert calls == [bounds.tolist()] * 2
    assert (sdpa.last_hidden_state - flash.last_hidden_state).abs().max() < 1e-5


def test_unknown_implementation_is_named():
    with pytest.raises(InvalidArgumentError, match="no_such_attention"):
        attention_function("no_such_attention")


def test_gradient_checkpointing_gives_the_same_gradients():
    patches, positions, bounds = random_pack(LENGTHS)
    gradients = []
    for checkpointing in (False, True):
        model = scaled_model().train()
        forwards = []
        for layer in model.encoder.layers:
            layer.self_attn.register_forward_hook(lambda *_, seen=forwards: seen.append(1))
        if checkpointing:
            # the old name warns in new versions of transformers, the new one is absent in old ones
            new = hasattr(model, "activation_checkpointing_enable")
            getattr(model, f"{'activation' if new else 'gradient'}_checkpointing_enable")()
        model(patches, patch_positions=positions, cu_seqlens=bounds).pooler_output.square().sum().backward()
        assert len(forwards) == (4 if checkpointing else 2)
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient is not None, name
        assert torch.allclose(gradient, gradients[1][name], atol=1e-6), name


def test_attention_dropout_acts_in_training_only():
    model = scaled_model(attention_dropout=0.5)
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    assert torch.equal(model(image).pooler_output, model(image).pooler_output)
    model.train()
    assert not torch.equal(model(image).pooler_output, model(image).pooler_output)


def test_half_precision_and_autocast():
    torch.manual_seed(0)
    # attention logits with a standard deviation of about 1.3, like those of trained layers
    model = OneVisionEncoderModel(small_config(initializer_range=0.1)).eval()
    patches, positions, bounds = random_pack(LENGTHS)
    given = {"patch_positions": positions, "cu_seqlens": bounds}
    with torch.inference_mode():
        exact = model(patches, **given)
        with torch.autocast("cpu", torch.bfloat16):
            mixed = model(patches, **given)
        half = model.to(torch.bfloat16)(patches, **given)
    for output, dtype in ((mixed, torch.float32), (half, torch.bfloat16)):
        assert output.pooler_output.dtype == output.last_hidden_state.dtype == dtype
        for name in ("pooler_output", "last_hidden_state"):
            cosine = functional.cosine_similarity(output[name].float(), exact[name], dim=-1)
            assert cosine.min() > 0.999
            assert cosine.min() < 1  # it did run in bfloat16


def test_tuple_output():
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    model = scaled_model()
    last, pooled = model(image, return_dict=False)
    assert torch.equal(pooled, model(image).pooler_output)
    assert last.shape == (1, 4, 128)


@pytest.mark.slow
@pytest.mark.filterwarnings(INDUCTOR_IMPORT)
def test_flex_attention_equals_sdpa():
    model = scaled_model()
    patches, positions, bounds = random_pack([130, 70, 70, 1])
    with torch.inference_mode():
        sdpa = model(patches, patch_positions=positions, cu_seqlens=bounds)
        model.set_attn_implementation("flex_attention")
        flex = model(patches, patch_positions=positions, cu_seqlens=bounds)
    assert (sdpa.last_hidden_state - flex.last_hidden_state).abs().max() < 1e-4
