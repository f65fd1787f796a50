"""What a dry run counts, against what torch counts when it runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from small_runs import small_config
from torch.utils.flop_counter import FlopCounterMode

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.model import OneVisionEncoderModel, preset_config
from onevision_encoder.pretrain.config import ParallelConfig
from onevision_encoder.pretrain.flops import forward_flops, peak_flops
from onevision_encoder.pretrain.memory import activations
from onevision_encoder.pretrain.recipes import RECIPES, recipe
from onevision_encoder.pretrain.run_budget import describe_run, dry_run, meta_parameters, sample_lengths

LENGTHS = [48, 48, 20]


def model_of(layers: int = 3, width: int = 128) -> OneVisionEncoderModel:
    torch.manual_seed(0)
    return OneVisionEncoderModel(
        preset_config(
            "tiny", hidden_size=width, intermediate_size=3 * width, num_hidden_layers=layers, num_attention_heads=2
        )
    )


def inputs(lengths: Sequence[int]) -> dict[str, Any]:
    bounds = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    return {
        "patch_positions": torch.zeros(bounds[-1], 3),
        "cu_seqlens": bounds,
        "pixel_values": torch.ones(bounds[-1], 588),
    }


def test_operations_are_those_torch_counts() -> None:
    model = model_of()
    with (
        FlopCounterMode(display=False) as counter,
        torch.no_grad(),
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ):
        model.train()(**inputs(LENGTHS))
    assert forward_flops(model.config, LENGTHS) == pytest.approx(counter.get_total_flops(), rel=0.002)


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
def test_activations_are_those_autograd_keeps(bfloat16: bool, recompute: bool) -> None:
    model = model_of().train()
    if recompute:
        new = hasattr(model, "activation_checkpointing_enable")
        getattr(model, f"{'activation' if new else 'gradient'}_checkpointing_enable")()
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(x: torch.Tensor) -> torch.Tensor:
        if x.untyped_storage()._cdata not in own:
            kept[x.untyped_storage()._cdata] = x
        return x

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda x: x),
        torch.autocast("cpu", torch.bfloat16, enabled=bfloat16),
    ):
        model(**inputs(LENGTHS))
    # bfloat16 copies of matrices are counted with the weights: they have no axis of tokens, nor of segments
    rows = {sum(LENGTHS), len(LENGTHS), *LENGTHS, 2, 1}
    found = sum(x.untyped_storage().nbytes() for x in kept.values() if x.dtype != torch.bfloat16 or x.shape[0] in rows)
    settings = ParallelConfig(precision="bfloat16" if bfloat16 else "float32", activation_checkpointing=recompute)
    counted = activations(model.config, LENGTHS, settings, sharded=False)
    if recompute:  # one block is computed again on the way back; RoPE's table is kept too: the hook sees neither
        plain = replace(settings, activation_checkpointing=False)
        four = model_of(layers=4).config
        block = activations(four, LENGTHS, plain, sharded=False) - activations(
            model.config, LENGTHS, plain, sharded=False
        )
        counted -= block + sum(LENGTHS) * 4 * 32 * 4
    assert counted == pytest.approx(found, rel=0.03)


def test_paper_scale_recipes_have_the_published_sizes() -> None:
    assert meta_parameters(recipe("large-stage1-image").encoder_config())[0] == 315_509_760
    config = recipe("large-stage2-video")
    assert {name: bank.classes for name, bank in config.banks.items()} == {
        "object": 2_000_000,
        "motion": 400_000,
        "text": 365_187,
    }
    assert (config.optimizer.lr, config.optimizer.weight_decay) == (1e-3, 0.2)
    found = dry_run(config, 128)
    assert found.samples_per_rank == 40
    assert sample_lengths(config, 40) == [1024] * 24 + [4096] * 16
    assert found.bank_parameters["object"] == 2_000_000 * 1024
    rows = sum(-(-n // 128) for n in (2_000_000, 400_000, 365_187))
    assert found.memory.bank_rows == rows * 4096
    assert found.memory.total < 141e9, "fits an H200"
    assert found.memory.weights == 4 * -(-315_509_760 // 128)
    shape = config.encoder_config()
    assert found.step_flops > 4 * 3 * 128 * forward_flops(shape, [1024] * 24 + [4096] * 16)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_described(name: str) -> None:
    found = dry_run(recipe(name), 8)
    assert json.loads(json.dumps(found.as_dict()))["memory"]["total"] == found.memory.total
    words = describe_run(found)
    assert name in words
    assert f"{found.parameters:,} parameters" in words


def test_what_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="batch_size=4"):
        dry_run(small_config(), 3)
    with pytest.raises(InvalidArgumentError, match="world"):
        dry_run(small_config(), 0)
    with pytest.raises(InvalidArgumentError, match="did you mean large-stage1-image"):
        recipe("large-stage-1-image")


def test_peaks() -> None:
    assert peak_flops("NVIDIA H200") == 989.4e12
    assert peak_flops("NVIDIA A100-SXM4-80GB") == 311.9e12
    assert peak_flops("CPU") is None
    assert peak_flops("CPU", 0.5) == 0.5e12
