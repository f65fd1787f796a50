"""Against checkpoints, inputs and outputs of the original encoder."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file

from onevision_encoder.model import OneVisionEncoderModel

TOLERANCE = 1e-5
CASES = [
    ("layernorm", "image"),
    ("layernorm", "image_native"),
    ("layernorm", "video_full"),
    ("layernorm", "video_visible"),
    ("layernorm", "video_positions"),
    ("layernorm", "video_visible_positions"),
    ("rmsnorm-nohead", "image"),
    ("rmsnorm-nohead", "video_visible_positions"),
]


def test_every_case_is_listed(parity):
    for folder in parity.iterdir():
        if (folder / "cases.json").is_file():
            names = json.loads((folder / "cases.json").read_text())["cases"]
            assert set(names) == {case for kind, case in CASES if kind == folder.name}


@pytest.fixture(scope="module")
def loaded(parity):
    models = {}

    def get(kind, implementation):
        if (kind, implementation) not in models:
            models[kind, implementation] = OneVisionEncoderModel.from_pretrained(
                parity / kind, dtype=torch.float32, attn_implementation=implementation
            ).eval()
        return models[kind, implementation]

    return get


def read_case(parity, kind, case):
    tensors = load_file(parity / kind / "cases.safetensors")
    return {key.removeprefix(f"{case}."): t for key, t in tensors.items() if key.startswith(f"{case}.")}


def assert_equal(output, case, batch=None):
    def shaped(x, name):
        return x if batch is None else x.reshape(case[name].shape)

    assert (shaped(output.last_hidden_state, "last_hidden_state") - case["last_hidden_state"]).abs().max() <= TOLERANCE
    assert (shaped(output.hidden_states[1], "hidden_states_1") - case["hidden_states_1"]).abs().max() <= TOLERANCE
    if "pooler_output" in case:
        assert (output.pooler_output - case["pooler_output"]).abs().max() <= TOLERANCE
    else:
        assert output.pooler_output is None


def cut_patches(pixels, p):
    """[B, 3, (T,) H, W] -> [B, L, 3*p*p] and addresses [L, 3], with loops."""
    if pixels.ndim == 4:
        pixels = pixels[:, :, None]
    _, _, T, H, W = pixels.shape
    patches, addresses = [], []
    for t in range(T):
        for y in range(H // p):
            for x in range(W // p):
                patches.append(pixels[:, :, t, y * p : (y + 1) * p, x * p : (x + 1) * p].flatten(1))
                addresses.append((t, y, x))
    return torch.stack(patches, dim=1), torch.tensor(addresses)


# Without gradients SDPA on a CPU runs tile by tile, with them as whole-pack operations: both are held to parity.
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize(("kind", "case"), CASES)
class TestParity:
    def test_as_the_original_was_called(self, parity, loaded, kind, case, implementation, grad):
        tensors = read_case(parity, kind, case)
        given = {name: tensors[name] for name in ("visible_indices", "patch_positions") if name in tensors}
        with torch.set_grad_enabled(grad):
            output = loaded(kind, implementation)(tensors["pixel_values"], output_hidden_states=True, **given)
        assert_equal(output, tensors)

    def test_by_the_packed_core(self, parity, loaded, kind, case, implementation, grad):
        tensors = read_case(parity, kind, case)
        model = loaded(kind, implementation)
        patches_BLD, address_L3 = cut_patches(tensors["pixel_values"], model.config.patch_size)
        B = len(patches_BLD)
        positions_BK3 = address_L3.expand(B, -1, -1)
        if "visible_indices" in tensors:
            index = tensors["visible_indices"]
            patches_BLD = torch.stack([patches_BLD[b, index[b]] for b in range(B)])
            positions_BK3 = torch.stack([address_L3[index[b]] for b in range(B)])
        positions_BK3 = tensors.get("patch_positions", positions_BK3)
        K = patches_BLD.shape[1]
        with torch.set_grad_enabled(grad):
            output = model(
                patches_BLD.flatten(0, 1),
                patch_positions=positions_BK3.flatten(0, 1),
                cu_seqlens=torch.arange(B + 1) * K,
                output_hidden_states=True,
            )
        assert output.last_hidden_state.shape == (B * K, model.config.hidden_size)
        assert_equal(output, tensors, batch=(B, K))

    def test_by_patch_positions(self, parity, loaded, kind, case, implementation, grad):
        """Whatever the case was called with, positions written out give the same."""
        tensors = read_case(parity, kind, case)
        model = loaded(kind, implementation)
        _, address_L3 = cut_patches(tensors["pixel_values"], model.config.patch_size)
        given = {"patch_positions": address_L3[None].float()}
        if "visible_indices" in tensors:
            index = tensors["visible_indices"]
            given = {"visible_indices": index.to(torch.int16), "patch_positions": address_L3[index]}
        if "patch_positions" in tensors:
            given["patch_positions"] = tensors["patch_positions"]
        with torch.set_grad_enabled(grad):
            output = model(tensors["pixel_values"], output_hidden_states=True, **given)
        assert_equal(output, tensors)


def test_the_files_see_rope(parity, loaded):
    """All positions zero = no RoPE: the parity files must notice, or they prove nothing about it."""
    tensors = read_case(parity, "layernorm", "video_full")
    output = loaded("layernorm", "sdpa")(tensors["pixel_values"], patch_positions=torch.zeros(1, 64, 3))
    assert (output.last_hidden_state - tensors["last_hidden_state"]).abs().max() > 0.1
