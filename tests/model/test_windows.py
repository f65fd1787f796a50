"""Attention windows against brute force: every token with every other under an explicit mask."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from encoders import scaled_model, small_config
from reference_encoder import ReferenceEncoder

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.model import OneVisionEncoderConfig


def clip_tokens(frames, counts, seed, times=None):
    """Tokens of a clip: ``counts[i]`` of frame i, at float time; in order of time."""
    generator = torch.Generator().manual_seed(seed)
    times = torch.linspace(0, 63, frames).tolist() if times is None else times
    t = torch.tensor([times[i] for i in range(frames) for _ in range(counts[i])])
    hw = torch.randint(0, 12, (len(t), 2), generator=generator).float()
    return torch.randn(len(t), 48, generator=generator), torch.cat([t[:, None], hw], dim=1)


def brute_force(model, patches, positions, bounds, window_frames):
    """The reference with a mask made by counting frames in plain Python."""
    reference = ReferenceEncoder(model)
    tokens, pooled = [], []
    for start, stop in pairwise(bounds):
        x, p = patches[start:stop].double().numpy(), positions[start:stop].double().numpy()
        order = sorted(set(p[:, 0].tolist()))
        window = np.array([order.index(t) // window_frames for t in p[:, 0].tolist()])
        _, last, vector = reference(x, p, allowed_LL=window[:, None] == window[None, :])
        tokens.append(last)
        pooled.append(vector)
    return np.concatenate(tokens), np.stack(pooled)


@pytest.fixture(scope="module")
def pack():
    parts = [clip_tokens(7, [3, 1, 4, 1, 5, 9, 2], 1), clip_tokens(4, [2, 2, 2, 2], 2), clip_tokens(1, [6], 3)]
    patches, positions = (torch.cat(x) for x in zip(*parts, strict=True))
    bounds = np.cumsum([0, *(len(part[0]) for part in parts)]).tolist()
    return patches, positions, bounds


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("mode", ["pairwise", "rotary"])
def test_windows_equal_a_masked_reference(pack, n, mode, attention):
    patches, positions, bounds = pack
    model = scaled_model(window_frames=n, rope_mode=mode)
    model.set_attn_implementation(attention)
    tokens, pooled = brute_force(model, patches, positions, bounds, n)
    for grad in (False, True):  # tiles and whole-pack operations
        with torch.set_grad_enabled(grad):
            output = model(patches, patch_positions=positions, cu_seqlens=bounds)
        np.testing.assert_allclose(output.last_hidden_state.detach(), tokens, atol=3e-5)
        np.testing.assert_allclose(output.pooler_output.detach(), pooled, atol=3e-5)


def test_one_window_is_the_whole_clip(pack):
    patches, positions, bounds = pack
    given = {"patch_positions": positions, "cu_seqlens": bounds}
    with torch.inference_mode():
        wide = scaled_model(window_frames=7)(patches, **given)
        none = scaled_model()(patches, **given)
        narrow = scaled_model(window_frames=2)(patches, **given)
    assert torch.equal(wide.last_hidden_state, none.last_hidden_state)
    assert (narrow.last_hidden_state[: bounds[2]] - none.last_hidden_state[: bounds[2]]).abs().max() > 1e-2
    assert torch.equal(narrow.last_hidden_state[bounds[2] :], none.last_hidden_state[bounds[2] :])  # one frame


def test_tokens_in_any_order(pack):
    patches, positions, bounds = pack
    model = scaled_model(window_frames=2)
    generator = torch.Generator().manual_seed(4)
    mixed = torch.cat([start + torch.randperm(stop - start, generator=generator) for start, stop in pairwise(bounds)])
    with torch.inference_mode():
        plain = model(patches, patch_positions=positions, cu_seqlens=bounds, output_hidden_states=True)
        other = model(patches[mixed], patch_positions=positions[mixed], cu_seqlens=bounds, output_hidden_states=True)
    for mine, theirs in zip(other.hidden_states, plain.hidden_states, strict=True):
        assert (mine - theirs[mixed]).abs().max() < 3e-5
    assert (other.last_hidden_state - plain.last_hidden_state[mixed]).abs().max() < 3e-5
    assert (other.pooler_output - plain.pooler_output).abs().max() < 3e-5


def test_given_bounds_win(pack):
    """Canvases: windows of tokens that share no time."""
    patches, positions, bounds = pack
    cuts = [0, 10, bounds[1], bounds[1] + 4, bounds[2], bounds[3]]
    model, windowed = scaled_model(), scaled_model(window_frames=1)
    with torch.inference_mode():
        given = model(patches, patch_positions=positions, cu_seqlens=bounds, window_cu_seqlens=cuts)
        again = windowed(patches, patch_positions=positions, cu_seqlens=bounds, window_cu_seqlens=torch.tensor(cuts))
        clips = model(patches, patch_positions=positions, cu_seqlens=cuts)
    assert torch.equal(given.last_hidden_state, clips.last_hidden_state)
    assert torch.equal(given.last_hidden_state, again.last_hidden_state)
    assert given.pooler_output.shape == (3, 128)
    # a clip that is one window is pooled alike; one that is two is pooled over both
    assert torch.equal(given.pooler_output[2], clips.pooler_output[4])
    assert (given.pooler_output[0] - clips.pooler_output[0]).abs().max() > 1e-3


def test_dense_input_counts_frames_of_the_tensor():
    model, whole = scaled_model(window_frames=4), scaled_model()
    video = torch.randn(2, 3, 10, 8, 12, generator=torch.Generator().manual_seed(2))
    t = torch.arange(10).repeat_interleave(6)
    positions = torch.stack([t, torch.arange(60) % 6 // 3, torch.arange(60) % 3], dim=-1)
    with torch.inference_mode():
        dense = model(video).last_hidden_state
        parts = [
            whole(video[:, :, a:b], patch_positions=positions[None, 6 * a : 6 * b]).last_hidden_state
            for a, b in ((0, 4), (4, 8), (8, 10))
        ]
        # what positions say does not move a canvas to another window
        scattered = positions.flip(0)[None]
        moved = model(video, patch_positions=scattered).last_hidden_state
        first = whole(video[:, :, :4], patch_positions=scattered[:, :24]).last_hidden_state
    assert (dense - torch.cat(parts, dim=1)).abs().max() < 3e-5
    assert (moved[:, :24] - first).abs().max() < 3e-5


def test_chosen_patches_equal_the_same_patches_packed():
    model = scaled_model(window_frames=2)
    video = torch.randn(2, 3, 6, 8, 8, generator=torch.Generator().manual_seed(2))
    index = torch.tensor([[20, 3, 0, 9, 23, 8], [15, 2, 1, 14, 13, 22]])  # frames 5 0 0 2 5 2; 3 0 0 3 3 5
    positions = torch.stack([index // 4, index % 4 // 2, index % 2], dim=-1)
    patches = video.unflatten(4, (2, 4)).unflatten(3, (2, 4)).permute(0, 2, 3, 5, 1, 4, 6).reshape(2, 24, 48)
    chosen = torch.stack([patches[b, index[b]] for b in range(2)])
    with torch.inference_mode():
        dense = model(video, visible_indices=index)
        packed = model(chosen.flatten(0, 1), patch_positions=positions.flatten(0, 1), cu_seqlens=[0, 6, 12])
    assert (dense.last_hidden_state.flatten(0, 1) - packed.last_hidden_state).abs().max() < 1e-5
    assert (dense.pooler_output - packed.pooler_output).abs().max() < 1e-5


def test_gradients_flow_through_the_sorting(pack):
    patches, positions, bounds = pack
    model = scaled_model(window_frames=2)
    mixed = torch.cat([torch.arange(start, stop).flip(0) for start, stop in pairwise(bounds)])
    gradients = []
    for rows in (torch.arange(len(patches)), mixed):
        leaf = patches.clone().requires_grad_()
        model(leaf[rows], patch_positions=positions[rows], cu_seqlens=bounds).pooler_output.square().sum().backward()
        gradients.append(leaf.grad)
    assert (gradients[0] - gradients[1]).abs().max() < 1e-4 * gradients[0].abs().max()


def test_configuration_round_trip_and_wrong_values(tmp_path):
    assert small_config().window_frames is None
    small_config(window_frames=4).save_pretrained(tmp_path)
    assert OneVisionEncoderConfig.from_pretrained(tmp_path).window_frames == 4
    for value in (0, -1, 2.5, True):
        with pytest.raises(InvalidArgumentError, match="window_frames"):
            small_config(window_frames=value)


def test_wrong_bounds_are_named(pack):
    patches, positions, bounds = pack
    model = scaled_model(window_frames=2)
    given = {"patch_positions": positions, "cu_seqlens": bounds}
    with pytest.raises(InvalidArgumentError, match=rf"window_cu_seqlens.*\[{bounds[1]}, {bounds[2]}\] missing"):
        model(patches, **given, window_cu_seqlens=[0, len(patches)])
    with pytest.raises(ShapeError, match="window_cu_seqlens"):
        model(patches, **given, window_cu_seqlens=[0, 5])
    with pytest.raises(InvalidArgumentError, match="dense"):
        model(torch.zeros(1, 3, 8, 8), window_cu_seqlens=[0, 4])
    model.set_attn_implementation("eager")
    with pytest.raises(InvalidArgumentError, match="windowed"):
        model(torch.zeros(1, 3, 4, 8, 8), output_attentions=True)
