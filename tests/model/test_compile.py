"""`torch.compile(fullgraph=True)`: no graph breaks, the same numbers, and no graph for every number of tokens."""

from __future__ import annotations

import pytest
import torch
from encoders import random_pack, scaled_model
from torch._dynamo.testing import CompileCounter

from onevision_encoder.errors import InvalidArgumentError

INDUCTOR_IMPORT = "ignore:.*torch.jit.script_method.*:DeprecationWarning"


@pytest.fixture(autouse=True)
def fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def graphs():
    return CompileCounter()


def check(model, compiled, lengths, bounds_as):
    patches, positions, bounds = random_pack(lengths)
    given = {"patch_positions": positions}
    if bounds_as is not None:
        given["cu_seqlens"] = bounds_as(bounds)
    with torch.no_grad():
        wanted = model(patches, **given)
        got = compiled(patches, **given)
    assert (got.last_hidden_state - wanted.last_hidden_state).abs().max() < 2e-5
    assert (got.pooler_output - wanted.pooler_output).abs().max() < 2e-5


@pytest.mark.parametrize("mode", ["pairwise", "rotary"])
def test_clips_of_any_lengths_share_a_graph(graphs, mode):
    """A graph of the first sizes, one that leaves the lengths open, one that leaves the number of clips open."""
    model = scaled_model(rope_mode=mode)
    compiled = torch.compile(model, fullgraph=True, backend=graphs)
    for lengths in ([10, 10, 10], [5, 7, 9], [6, 8, 13], [40, 2], [3, 4, 5, 6, 7], [2, 2, 30, 1]):
        check(model, compiled, lengths, lambda bounds: bounds)
    assert graphs.frame_count == 3


def test_one_clip_of_any_length_shares_two_graphs(graphs):
    model = scaled_model()
    compiled = torch.compile(model, fullgraph=True, backend=graphs)
    for length in (30, 41, 52, 17):
        check(model, compiled, [length], None)
    assert graphs.frame_count == 2


def test_bounds_in_a_list_are_part_of_the_graph(graphs):
    model = scaled_model()
    compiled = torch.compile(model, fullgraph=True, backend=graphs)
    for lengths in ([10, 10, 10], [5, 7, 9], [10, 10, 10]):
        check(model, compiled, lengths, torch.Tensor.tolist)
    assert graphs.frame_count == 2


def test_eager_and_given_windows_compile_too(graphs):
    model = scaled_model(window_frames=2)
    model.set_attn_implementation("eager")
    compiled = torch.compile(model, fullgraph=True, backend=graphs)
    patches, positions, bounds = random_pack([6, 9])
    given = {"patch_positions": positions, "cu_seqlens": bounds, "window_cu_seqlens": torch.tensor([0, 2, 6, 10, 15])}
    with torch.no_grad():
        wanted, got = model(patches, **given), compiled(patches, **given)
    assert (got.last_hidden_state - wanted.last_hidden_state).abs().max() < 2e-5
    with pytest.raises(torch._dynamo.exc.Unsupported, match="frame_windows"), torch.no_grad():
        compiled(patches, patch_positions=positions)  # times would have to be looked at
    parts = torch.compile(model, backend=graphs)
    with pytest.raises(InvalidArgumentError, match=r"window_cu_seqlens.*cannot look at times"), torch.no_grad():
        parts(patches, patch_positions=positions)


@pytest.mark.parametrize("windows", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_images_and_videos(graphs, windows):
    model = scaled_model(window_frames=windows)
    compiled = torch.compile(model, fullgraph=True, backend=graphs, dynamic=True)
    for shape in ((2, 3, 8, 12), (3, 3, 12, 8), (2, 3, 3, 8, 8), (3, 3, 5, 12, 16), (4, 3, 5, 8, 12)):
        pixels = torch.randn(shape, generator=torch.Generator().manual_seed(2))
        with torch.no_grad():
            assert (compiled(pixels).pooler_output - model(pixels).pooler_output).abs().max() < 2e-5
    assert graphs.frame_count <= (2 if windows is None else 5)


@pytest.mark.slow
@pytest.mark.filterwarnings(INDUCTOR_IMPORT)
def test_inductor_gives_the_same_numbers_and_gradients():
    model = scaled_model().train()
    compiled = torch.compile(model, fullgraph=True)
    video = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(2))
    index = torch.tensor([[3, 0, 9], [15, 2, 7]])
    for given in ({}, {"visible_indices": index}, {"patch_positions": torch.rand(1, 16, 3)}):
        with torch.inference_mode():
            assert torch.allclose(compiled(video, **given)[1], model(video, **given).pooler_output, atol=1e-4)
    for lengths in ([5, 9, 9], [7, 3, 20]):
        patches, positions, bounds = random_pack(lengths)
        gradients = []
        for call in (model, compiled):
            model.zero_grad()
            call(patches, patch_positions=positions, cu_seqlens=bounds).pooler_output.square().sum().backward()
            gradients.append([parameter.grad.clone() for parameter in model.parameters()])
        for mine, theirs in zip(*gradients, strict=True):
            assert (mine - theirs).norm() < 1e-4 * theirs.norm().clamp(min=1e-2)
