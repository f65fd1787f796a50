"""Tuning: it learns what can be learnt and nothing else, the same each time, as the formulas say."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from tiny_tokens import FAST, PATCH, bright_patch, toned

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.evaluate import TokenSet, TuneConfig, Tuned, tune
from onevision_encoder.evaluate.tuning import TuningFailedError, batches, loss_of
from onevision_encoder.evaluate.tuning_model import Augment, scratch_encoder, tuning_input
from onevision_encoder.model import embed_tokens
from onevision_encoder.types import PatchTokens

TRAIN, HELD_OUT = bright_patch(64, 0), bright_patch(64, 1, first=500)


def tuned(train: TokenSet, config: TuneConfig = FAST, *, seed: int = 0, **more: object) -> Tuned:
    return tune(partial(scratch_encoder, config, PATCH), train, config, num_classes=2, seed=seed, **more)  # type: ignore[arg-type]


def accuracy(found: Tuned, tokens: TokenSet) -> float:
    return float((found.predict(tokens).argmax(1) == tokens.labels).mean())


@pytest.mark.parametrize("pool", ["head", "mean", "attentive"])
def test_what_can_be_learnt_is_learnt(pool: str) -> None:
    found = tuned(toned(48, 0), replace(FAST, pool=pool, steps=30), validation=toned(64, 1))  # type: ignore[arg-type]
    assert accuracy(found, toned(64, 1)) == found.record["validation"]["top1"] >= 0.95
    assert found.record["loss"][-1] < found.record["loss"][0]
    assert json.loads(json.dumps(found.record)) == found.record | {
        "config": json.loads(json.dumps(found.record["config"]))
    }


def test_what_only_positions_tell_is_learnt() -> None:
    """The class is in no pixel and no position alone, only in which token is where."""
    assert accuracy(tuned(TRAIN, replace(FAST, pool="mean", steps=120)), HELD_OUT) >= 0.95
    moved = replace(HELD_OUT, model_positions_N3=np.zeros_like(HELD_OUT.model_positions_N3))
    blind = tuned(replace(TRAIN, model_positions_N3=moved.model_positions_N3), replace(FAST, pool="mean", steps=40))
    assert 0.25 <= accuracy(blind, moved) <= 0.75


def test_labels_without_meaning_are_not() -> None:
    drawn = np.random.default_rng(9).integers(0, 2, len(TRAIN))
    found = tuned(replace(TRAIN, labels=drawn))
    assert 0.25 <= accuracy(found, replace(HELD_OUT, labels=np.random.default_rng(8).integers(0, 2, 64))) <= 0.75


def test_the_same_seed_gives_the_same_bits() -> None:
    config = replace(FAST, steps=6, augment=("colour", "noise", "drop"))
    torch.manual_seed(77)
    state = torch.random.get_rng_state()
    one = tuned(TRAIN, config)
    assert torch.equal(torch.random.get_rng_state(), state), "the caller's random state is left alone"
    torch.manual_seed(5)
    two, other = tuned(TRAIN, config), tuned(TRAIN, config, seed=1)
    assert one.record == two.record
    np.testing.assert_array_equal(one.predict(HELD_OUT), two.predict(HELD_OUT))
    assert one.record["loss"] != other.record["loss"]


def test_the_input_is_what_embedding_gives() -> None:
    """Pixels, positions and bounds of mixed lengths reach the encoder as embed_tokens passes them, clip by clip."""
    mixed = bright_patch(5, 3, lengths=(8, 4, 6))
    found = tuned(mixed, replace(FAST, steps=2))
    pack: PatchTokens = mixed.batch(range(5))
    pooled = embed_tokens(found.model.encoder, pack).pooled_SC
    expected = found.model.head(torch.from_numpy(pooled)).numpy()
    np.testing.assert_allclose(found.predict(mixed), expected, atol=1e-5)
    np.testing.assert_allclose(found.predict(mixed, batch_tokens=1), expected, atol=1e-5)
    given, order = tuning_input(mixed, np.arange(5), torch.device("cpu"))
    assert np.diff(given.cu_seqlens).tolist() == [4, 4, 6, 8, 8]
    assert order.tolist() == [1, 4, 2, 0, 3]


def test_a_fresh_encoder_is_of_the_sizes_asked_for() -> None:
    usual = scratch_encoder(TuneConfig(), 14)
    assert (usual.config.hidden_size, usual.config.num_hidden_layers, usual.config.num_attention_heads) == (64, 3, 2)
    assert (usual.config.place_waves, usual.config.rope_mode, usual.config.initializer_range) == (12, "rotary", 0.08)
    assert usual.embeddings.place_embedding is not None
    asked = scratch_encoder(TuneConfig(preset="tiny", layers=2, place_waves=0, pool="mean"), 8)
    assert (asked.config.hidden_size, asked.config.num_hidden_layers, asked.config.patch_size) == (192, 2, 8)
    assert asked.embeddings.place_embedding is None
    assert asked.head is None
    with pytest.raises(InvalidArgumentError, match="mite"):
        scratch_encoder(TuneConfig(preset="giant"), 14)


def test_the_schedule_is_the_formula() -> None:
    config = TuneConfig(steps=100, lr=2.0, warmup_share=0.1)
    rates = [config.rate(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert rates[10] == 2.0
    assert rates[55] == pytest.approx(1.0)
    assert rates[99] == pytest.approx(1 + np.cos(np.pi * 89 / 90))
    assert replace(config, warmup_share=0.0).rate(0, 100) == 2.0
    found = tuned(TRAIN, replace(FAST, steps=3))
    assert found.record["lr"] == [FAST.rate(step, 3) for step in range(3)]
    assert replace(FAST, steps=None, epochs=2.5).total_steps(64) == 10
    assert TuneConfig().total_steps(64) == 1200
    assert TuneConfig(init="weights").total_steps(64) == 60


def test_every_pass_sees_every_clip_once() -> None:
    seen = np.concatenate(list(batches(10, 4, 5, seed=3)))
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10].tolist() != seen[10:].tolist()
    np.testing.assert_array_equal(np.concatenate(list(batches(10, 4, 2, seed=3))), seen[:8])
    assert [len(batch) for batch in batches(3, 8, 2, seed=0)] == [3, 3]


def test_norms_biases_and_queries_do_not_decay() -> None:
    """With a gradient of zero only decay moves a weight: AdamW multiplies it by 1 - lr * decay."""
    from onevision_encoder.evaluate.tuning import _groups_of

    found = tuned(TRAIN, replace(FAST, steps=1))
    names = {id(p): name for name, p in found.model.named_parameters()}
    decays, rests = ([names[id(p)] for p in group["params"]] for group in _groups_of(found.model, FAST))
    assert len(decays) + len(rests) == len(names)
    assert {"encoder.embeddings.patch_embedding.weight", "head.1.weight"} <= set(decays)
    assert not [name for name in decays if "norm" in name or name.endswith("bias") or name.endswith("probe")]


def test_a_set_of_several_labels() -> None:
    one = toned(48, 0)
    several = replace(one, labels=np.stack([one.labels == 0, one.labels == 1], 1))
    found = tuned(several, replace(FAST, steps=30), validation=several)
    assert found.record["validation"]["map"] >= 0.95
    assert found.record["accuracy"] is None
    logits, truth = torch.tensor([[0.3, -2.0]]), torch.tensor([[True, False]])
    expected = (np.log1p(np.exp(-0.3)) + np.log1p(np.exp(-2.0))) / 2
    assert float(loss_of(logits, truth, 0.5)) == pytest.approx(expected)


def test_bfloat16_is_near_float32() -> None:
    wide, narrow = (tuned(TRAIN, replace(FAST, steps=4, precision=p)) for p in ("float32", "bfloat16"))  # type: ignore[arg-type]
    assert (wide.record["attention"], narrow.record["attention"]) == ("sdpa", "eager")
    assert all(p.dtype == torch.float32 for p in narrow.model.parameters())
    assert wide.record["loss"] != narrow.record["loss"]
    np.testing.assert_allclose(wide.record["loss"], narrow.record["loss"], atol=0.05)


def test_augmentations_do_what_they_say() -> None:
    mixed = bright_patch(4, 3, lengths=(20, 40))
    plain, _ = tuning_input(mixed, np.arange(4), torch.device("cpu"))

    def given(*kinds: str) -> torch.Tensor:
        change = Augment(kinds=kinds, generator=np.random.default_rng(0))  # type: ignore[arg-type]
        return tuning_input(mixed, np.arange(4), torch.device("cpu"), change)[0]  # type: ignore[return-value]

    dropped = given("drop")
    assert np.diff(dropped.cu_seqlens).tolist() == [18, 18, 36, 36]
    assert len(dropped.x_ND) == len(dropped.positions_N3) == 108
    kept = {tuple(row) for row in dropped.x_ND.numpy().round(5).tolist()}
    assert kept < {tuple(row) for row in plain.x_ND.numpy().round(5).tolist()}
    moved = (given("shift").positions_N3 - plain.positions_N3).numpy()
    for clip in np.split(moved, plain.cu_seqlens[1:-1]):
        assert (clip == clip[0]).all(), "a clip moves as a whole"
        assert clip[0, 0] == 0
    assert {float(x) for x in moved[:, 1:].ravel()} <= set(range(-4, 5))
    assert np.abs(moved).max() > 0
    colour, noise = given("colour").x_ND, given("noise").x_ND
    red_before, red_after = (x[:20, :16].flatten().numpy() for x in (plain.x_ND, colour))
    unclipped = red_before < 1  # grey levels up to 190
    red_before, red_after = red_before[unclipped], red_after[unclipped]
    slope, offset = np.polyfit(red_before, red_after, 1)
    assert slope != pytest.approx(1, abs=0.01)
    assert np.abs(slope * red_before + offset - red_after).max() < 0.02, (
        "one line for a channel of a clip, but rounding"
    )
    grey = (noise - plain.x_ND).unflatten(1, (3, -1)) * torch.tensor([0.2686, 0.2613, 0.2758])[:, None] * 255
    assert float(grey.std()) == pytest.approx(5.0, abs=0.3)


def test_what_cannot_be_is_refused() -> None:
    for bad in (
        {"init": "magic"},
        {"augment": ("blur",)},
        {"augment": ("drop", "drop")},
        {"lr": float("nan")},
        {"lr": 0.0},
        {"batch_size": 0},
        {"betas": (0.9, 1.0)},
        {"steps": 3, "epochs": 2.0},
        {"init": "weights", "width": 64},
        {"init": "weights", "place_waves": 0},
        {"place_std": -0.1},
        {"place_waves": -1},
        {"precision": "float16"},
        {"warmup_share": 1.0},
    ):
        with pytest.raises(InvalidArgumentError):
            TuneConfig(**bad)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="patch size"):
        tune(partial(scratch_encoder, FAST, 8), TRAIN, FAST, num_classes=2, seed=0)
    with pytest.raises(InvalidArgumentError, match="num_classes"):
        tune(partial(scratch_encoder, FAST, PATCH), TRAIN, FAST, num_classes=1, seed=0)
    with pytest.raises(InvalidArgumentError, match="no pooling head"):
        tune(partial(scratch_encoder, replace(FAST, pool="mean"), PATCH), TRAIN, FAST, num_classes=2, seed=0)
    with pytest.raises(TuningFailedError, match="at step"):
        tuned(TRAIN, replace(FAST, lr=1e30, clip_norm=1e30))
