"""Attention implementations by their names: all give the same numbers, none lets clips see each other."""

from __future__ import annotations

import pytest
import torch
from encoders import quiet_encoder, random_pack, scaled_model, small_config
from torch.nn import functional
from transformers import AttentionInterface

from onevision_encoder.errors import InvalidArgumentError, OneVisionError
from onevision_encoder.model import OneVisionEncoderModel
from onevision_encoder.model.attention import EAGER_TOKENS, attention_for_training, eager_attention

LENGTHS = [5, 5, 1, 9, 9, 3]
INDUCTOR_IMPORT = "ignore:.*torch.jit.script_method.*:DeprecationWarning"


@pytest.mark.parametrize(
    "name", ["no_such_attention", "SDPA", "flash_attention_2", "flash_attention_3", "owner/kernel"]
)
def test_names_that_cannot_run_here(name, tmp_path):
    """Where a GPU and its packages are, the flash names do run."""
    if torch.cuda.is_available() and "_" in name and "flash" in name:
        pytest.skip("a GPU is here")
    scaled_model().save_pretrained(tmp_path)
    calls = (
        lambda: scaled_model().set_attn_implementation(name),
        lambda: OneVisionEncoderModel(small_config(attn_implementation=name)),
        lambda: OneVisionEncoderModel.from_pretrained(tmp_path, attn_implementation=name),
        lambda: quiet_encoder("tiny", device="cpu", attn_implementation=name),
    )
    for call in calls:
        with pytest.raises(InvalidArgumentError) as caught:
            call()
        assert isinstance(caught.value, OneVisionError)
        for word in (
            name,
            "'eager'",
            "'sdpa'",
            "'flex_attention'",
            "flash_attention_2",
            "owner/name",
            "transformers says",
        ):
            assert word in str(caught.value)


def test_what_training_takes_by_itself():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    short = {"bfloat16": True, "longest": EAGER_TOKENS}
    assert attention_for_training("auto", device=cpu, **short) == "eager"
    assert attention_for_training("auto", device=gpu, **short) == "sdpa"
    assert attention_for_training("auto", device=cpu, bfloat16=True, longest=EAGER_TOKENS + 1) == "sdpa"
    assert attention_for_training("auto", device=cpu, bfloat16=False, longest=1) == "sdpa"
    assert attention_for_training("flex_attention", device=cpu, **short) == "flex_attention"


def test_a_function_of_somebody_else():
    """What kernels of the Hub come down to: a name in the interface. Called segment by segment, or by bounds."""
    calls = []

    def own(module, query, key, value, attention_mask, scaling, **rest):
        calls.append((tuple(query.shape), "cu_seq_lens_q" in rest))
        return functional.scaled_dot_product_attention(query, key, value, scale=scaling).transpose(1, 2), None

    AttentionInterface.register("test_attention_of_somebody", own)
    model = scaled_model()
    patches, positions, bounds = random_pack(LENGTHS)
    wanted = model(patches, patch_positions=positions, cu_seqlens=bounds).last_hidden_state
    model.set_attn_implementation("test_attention_of_somebody")
    got = model(patches, patch_positions=positions, cu_seqlens=bounds).last_hidden_state
    assert (got - wanted).abs().max() < 1e-5
    shapes = [(2, 2, 5, 64), (1, 2, 1, 64), (2, 2, 9, 64), (1, 2, 3, 64)]
    assert calls == [(shape, False) for shape in shapes] * 2


def test_eager_masks():
    q, k, v = torch.randn(3, 1, 2, 6, 8, generator=torch.Generator().manual_seed(0))
    allowed = torch.rand(6, 6, generator=torch.Generator().manual_seed(1)) > 0.4
    allowed |= torch.eye(6, dtype=torch.bool)
    wanted = functional.scaled_dot_product_attention(q, k, v, attn_mask=allowed).transpose(1, 2)
    added = torch.zeros(6, 6).masked_fill(~allowed, -torch.inf)
    for mask in (allowed, added):
        got, weights = eager_attention(torch.nn.Identity(), q, k, v, mask, scaling=8**-0.5)
        assert torch.allclose(got, wanted, atol=1e-6)
        assert (weights[..., ~allowed] == 0).all()


@pytest.mark.slow
@pytest.mark.filterwarnings(INDUCTOR_IMPORT)
def test_flex_attention_has_windows_and_clips_and_says_where_it_cannot_train():
    model = scaled_model(window_frames=1)
    patches, positions, bounds = random_pack([130, 70])
    positions[:, 0] = torch.arange(200) // 40 * 3.0
    given = {"patch_positions": positions, "cu_seqlens": bounds}
    with torch.inference_mode():
        wanted = model(patches, **given)
        model.set_attn_implementation("flex_attention")
        got = model(patches, **given)
    assert (got.last_hidden_state - wanted.last_hidden_state).abs().max() < 1e-4
    other, places, ends = random_pack([90, 50, 20])  # a second size is compiled for itself
    with torch.inference_mode():
        second = model(other, patch_positions=places, cu_seqlens=ends).last_hidden_state
        model.set_attn_implementation("sdpa")
        assert (model(other, patch_positions=places, cu_seqlens=ends).last_hidden_state - second).abs().max() < 1e-4
    model.set_attn_implementation("flex_attention")
    with pytest.raises(InvalidArgumentError, match=r"flex_attention.*inference_mode.*sdpa"):
        model(patches, **given)
