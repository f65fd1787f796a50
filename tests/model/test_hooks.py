"""Whoever looks on or takes part sees the same forward passes with and without gradients."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch
from encoders import random_pack, scaled_model
from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from onevision_encoder.model import load_encoder, tiled

PARTS = ["", "self_attn", "self_attn.q_proj", "mlp", "mlp.activation", "layer_norm2"]


def run(model, grad, monkeypatch, lengths=(9, 5, 9)):
    """(last hidden state, number of blocks that ran in tiles); a tile is smaller than the pack."""
    monkeypatch.setattr(tiled, "TOKENS", 4)
    patches, positions, bounds = random_pack(lengths)
    tiles = []
    inner = tiled.TiledRunner.run
    with monkeypatch.context() as patch, torch.set_grad_enabled(grad):
        patch.setattr(tiled.TiledRunner, "run", lambda *a: tiles.append(1) or inner(*a))
        output = model(patches, patch_positions=positions, cu_seqlens=bounds)
    return output.last_hidden_state.detach(), len(tiles)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("name", PARTS)
def test_hooks_fire_once_and_see_the_whole_pack(name, grad, monkeypatch):
    model = scaled_model()
    part = model.encoder.layers[1].get_submodule(name)
    before, after = [], []
    handles = [
        part.register_forward_pre_hook(lambda _, args: before.append(args[0].shape[0])),
        part.register_forward_hook(lambda _, args, out: after.append(out)),
    ]
    hooked, tiles = run(model, grad, monkeypatch)
    assert (before, len(after), tiles) == ([23], 1, 0)
    for handle in handles:
        handle.remove()
    plain, tiles = run(model, grad, monkeypatch)
    assert tiles == (0 if grad else 2)
    assert (hooked - plain).abs().max() < 1e-5


def test_a_hook_may_change_what_a_block_gives(monkeypatch):
    model = scaled_model()
    plain, _ = run(model, False, monkeypatch)
    model.encoder.layers[0].register_forward_hook(lambda _, args, out: (args[0], out[1]))  # skips the block
    outputs = [run(model, grad, monkeypatch)[0] for grad in (True, False)]
    assert torch.equal(*outputs)
    assert (outputs[0] - plain).abs().max() > 1e-2


@pytest.mark.parametrize("register", [register_module_forward_hook, register_module_forward_pre_hook])
def test_hooks_on_all_modules(register, monkeypatch):
    model = scaled_model()
    seen = []
    handle = register(lambda module, *_: seen.append(module))
    try:
        run(model, False, monkeypatch)
    finally:
        handle.remove()
    assert set(model.encoder.layers) <= set(seen)
    assert run(model, False, monkeypatch)[1] == 2


@pytest.mark.parametrize("name", PARTS)
def test_a_forward_put_on_an_instance_is_called(name, monkeypatch):
    """What accelerate does to offload weights."""
    model = scaled_model()
    part = model.encoder.layers[0].get_submodule(name)
    plain, calls = part.forward, []
    part.forward = lambda *args, **more: calls.append(1) or plain(*args, **more)
    for grad in (True, False):
        assert run(model, grad, monkeypatch)[1] == 0
    assert len(calls) == 2


@contextmanager
def patched(kind, monkeypatch, calls):
    inner = kind.forward
    with monkeypatch.context() as patch:
        patch.setattr(kind, "forward", lambda *args, **more: calls.append(1) or inner(*args, **more))
        yield


def test_a_forward_put_on_a_class_is_called(monkeypatch):
    model, calls = scaled_model(), []
    with patched(type(model.encoder.layers[0].self_attn), monkeypatch, calls):
        run(model, False, monkeypatch)
    assert len(calls) == 2
    assert run(model, False, monkeypatch)[1] == 2


class Adapter(nn.Module):
    """A layer around a layer, as low-rank adapters are; it looks at all tokens at once."""

    def __init__(self, base):
        super().__init__()
        self.base, self.rows = base, []

    @property
    def weight(self):
        return self.base.weight

    def forward(self, x_NC):
        self.rows.append(len(x_NC))
        return self.base(x_NC) + x_NC.mean(0)


def test_a_part_of_another_class_gets_whole_packs(monkeypatch):
    model = scaled_model()
    adapter = model.encoder.layers[0].self_attn.q_proj = Adapter(model.encoder.layers[0].self_attn.q_proj)
    outputs = [run(model, grad, monkeypatch)[0] for grad in (True, False)]
    assert adapter.rows == [23, 23]
    assert torch.equal(*outputs)


def test_loaded_models_run_in_tiles(tmp_path, monkeypatch):
    scaled_model().save_pretrained(tmp_path)
    loaded = load_encoder(tmp_path, device="cpu", dtype="float32")
    assert run(loaded.model, False, monkeypatch)[1] == 2
    assert run(scaled_model(layer_norm_type="rms_norm", hidden_act="silu"), False, monkeypatch)[1] == 2
