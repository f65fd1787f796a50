"""Heads against independent implementations, and the promises they make about packs."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.evaluate.heads import AttentiveHead, DeepAttentiveHead, NearestNeighbours, make_head
from onevision_encoder.evaluate.probe_config import ProbeConfig
from onevision_encoder.evaluate.training import learning_rate

BOUNDS = [0, 5, 10, 13, 14, 21]


def tokens(width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(BOUNDS[-1], width, generator=torch.Generator().manual_seed(seed))


def test_the_attentive_head_is_the_papers_formula() -> None:
    head = make_head("attentive", 128, 7, seed=1)
    assert isinstance(head, AttentiveHead)
    attention = nn.MultiheadAttention(128, 2, batch_first=True)
    ours = head.attention
    with torch.no_grad():
        nn.init.normal_(head.classifier.weight)
        nn.init.normal_(ours.key_value.bias)
        attention.in_proj_weight.copy_(torch.cat([ours.query.weight, ours.key_value.weight]))
        attention.in_proj_bias.copy_(torch.cat([ours.query.bias, ours.key_value.bias]))
        attention.out_proj.load_state_dict(ours.out.state_dict())
    x = tokens(128)
    found = head(x, BOUNDS)
    for s, (start, stop) in enumerate(itertools.pairwise(BOUNDS)):
        a, _ = attention(head.query[None], x[None, start:stop], x[None, start:stop])
        root = torch.sqrt((a**2).mean(-1, keepdim=True) + 1e-6)
        inner = nn.functional.gelu(a / root @ head.mlp.inner.weight.T + head.mlp.inner.bias)
        pooled = a + inner @ head.mlp.out.weight.T + head.mlp.out.bias
        logits = head.classifier(nn.functional.layer_norm(pooled, (128,)))
        torch.testing.assert_close(found[s], logits[0, 0])


def test_the_attentive_head_starts_as_the_paper_says() -> None:
    head = AttentiveHead(256, 400)
    weights = head.attention.key_value.weight
    assert float(weights.detach().std()) == pytest.approx(0.02, rel=0.02)
    assert float(head.classifier.weight.detach().std()) == pytest.approx(0.02e-3, rel=0.02)
    assert float(head.query.detach().std()) == pytest.approx(1, rel=0.2)
    assert head.attention.heads == 4
    biases = [p for name, p in head.named_parameters() if name.endswith("bias")]
    assert all(bool((b == 0).all()) for b in biases)


def test_the_four_block_head_is_that_of_transformers() -> None:
    from transformers import VJEPA2Config
    from transformers.models.vjepa2.modeling_vjepa2 import VJEPA2AttentivePooler

    config = VJEPA2Config(hidden_size=128, num_attention_heads=2, mlp_ratio=4.0, num_pooler_layers=3)
    config.layer_norm_eps = 1e-5
    config._attn_implementation = "eager"
    theirs = VJEPA2AttentivePooler(config).train(False)
    head = make_head("attentive4", 128, 5, seed=3)
    assert isinstance(head, DeepAttentiveHead)
    with torch.no_grad():
        for p in head.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel())))
        theirs.query_tokens.copy_(head.query[None])
        for block, layer in zip(head.blocks, theirs.self_attention_layers, strict=True):
            q, k, v = block.attention.query_key_value.weight.chunk(3)
            qb, kb, vb = block.attention.query_key_value.bias.chunk(3)
            for name, w, b in (("q_proj", q, qb), ("k_proj", k, kb), ("v_proj", v, vb)):
                getattr(layer.self_attn, name).weight.copy_(w)
                getattr(layer.self_attn, name).bias.copy_(b)
            layer.self_attn.out_proj.load_state_dict(block.attention.out.state_dict())
            _copy_norms_and_mlp(layer, block)
        cross = theirs.cross_attention_layer
        k, v = head.attention.key_value.weight.chunk(2)
        kb, vb = head.attention.key_value.bias.chunk(2)
        for name, w, b in (("k_proj", k, kb), ("v_proj", v, vb)):
            getattr(cross.cross_attn, name).weight.copy_(w)
            getattr(cross.cross_attn, name).bias.copy_(b)
        cross.cross_attn.q_proj.load_state_dict(head.attention.query.state_dict())
        _copy_norms_and_mlp(cross, head)
        x = tokens(128)
        found = head(x, BOUNDS)
        for s, (start, stop) in enumerate(itertools.pairwise(BOUNDS)):
            logits = head.classifier(theirs(x[None, start:stop]))
            torch.testing.assert_close(found[s], logits[0], rtol=1e-4, atol=1e-4)


def _copy_norms_and_mlp(theirs: nn.Module, ours: nn.Module) -> None:
    theirs.layer_norm1.load_state_dict(ours.norm1.state_dict())
    theirs.layer_norm2.load_state_dict(ours.norm2.state_dict())
    theirs.mlp.fc1.load_state_dict(ours.mlp.inner.state_dict())
    theirs.mlp.fc2.load_state_dict(ours.mlp.out.state_dict())


@pytest.mark.parametrize("name", ["attentive", "attentive4", "linear"])
def test_clips_of_a_pack_do_not_see_each_other(name: str) -> None:
    head = make_head(name, 64, 3, seed=0)
    with torch.no_grad():
        head.classifier.weight.normal_()
    x = tokens(64)
    together = head(x, BOUNDS)
    apart = torch.cat([head(x[a:b], [0, b - a]) for a, b in itertools.pairwise(BOUNDS)])
    torch.testing.assert_close(together, apart)
    pooled = head(x, None)
    assert pooled.shape == (len(x), 3)
    torch.testing.assert_close(pooled[2], head(x[2:3], [0, 1])[0])


@pytest.mark.parametrize("name", ["attentive", "attentive4", "linear"])
def test_a_seed_is_a_head(name: str) -> None:
    state = torch.random.get_rng_state()
    one, same, other = (make_head(name, 64, 3, seed=s) for s in (5, 5, 6))
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_neighbours_vote_as_a_loop_would() -> None:
    generator = np.random.default_rng(0)
    bank, query = generator.normal(size=(30, 6)), generator.normal(size=(4, 6))
    truth = np.eye(3)[generator.integers(0, 3, 30)]
    for k in (1, 7, 99):
        head = NearestNeighbours(torch.tensor(bank), torch.tensor(truth), temperature=0.1)
        found = head.logits(torch.tensor(query), None, k)
        for q in range(4):
            cosine = [float(query[q] @ b / np.linalg.norm(query[q]) / np.linalg.norm(b)) for b in bank]
            near = sorted(range(30), key=lambda i: -cosine[i])[:k]
            votes = sum(np.exp(cosine[i] / 0.1) * truth[i] for i in near)
            np.testing.assert_allclose(found[q], votes / votes.sum(), rtol=1e-4, atol=1e-6)


def test_the_schedule_is_torchs_own() -> None:
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1e-4)
    linear = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 1e-7 / 1e-4, total_iters=50)
    cosine_optimizer = torch.optim.SGD([copy.deepcopy(parameter)], lr=1e-3)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(cosine_optimizer, 50)
    for step in range(50):
        assert learning_rate(step, 50, 1e-4, "linear", 1e-7) == pytest.approx(linear.get_last_lr()[0], rel=1e-9)
        assert learning_rate(step, 50, 1e-3, "cosine", 0.0) == pytest.approx(cosine.get_last_lr()[0], rel=1e-6)
        for each, schedule in ((optimizer, linear), (cosine_optimizer, cosine)):
            each.step()
            schedule.step()


def test_the_papers_recipe_is_the_default() -> None:
    recipe = ProbeConfig().recipe(30)
    assert recipe.cells == ({"lr": 1e-4, "weight_decay": 0.0},)
    assert (recipe.epochs, recipe.schedule, recipe.final_lr) == (30, "linear", 1e-7)
    assert (recipe.clip_norm, recipe.label_smoothing, recipe.betas, recipe.eps) == (5.0, 0.1, (0.9, 0.999), 1e-8)
    assert len(ProbeConfig(head="attentive4").recipe(10).cells) == 20


def test_what_is_no_head_or_no_pack_is_refused() -> None:
    with pytest.raises(InvalidArgumentError, match="attentive4"):
        make_head("mlp", 64, 3, seed=0)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="cu_seqlens"):
        make_head("linear", 64, 3, seed=0)(tokens(64), [0, 3])
    with pytest.raises(InvalidArgumentError, match="folds"):
        ProbeConfig(folds=1)
