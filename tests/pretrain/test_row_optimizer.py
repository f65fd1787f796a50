"""AdamW by rows against torch's AdamW, rows that rest, and one norm for encoder and banks."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.pretrain import BankConfig, ConceptBank, RowAdamW, clip_global_norm
from onevision_encoder.pretrain import row_optimizer as module

OPTIONS = {"lr": 0.02, "betas": (0.8, 0.99), "eps": 1e-6, "weight_decay": 0.3}


def make_bank(rate=1.0, classes=40, **options):
    return ConceptBank("object", BankConfig(classes=classes, sample_rate=rate, scale=8.0, **options), 6)


def batch(step, classes=40):
    generator = torch.Generator().manual_seed(step)
    return torch.randn(7, 6, generator=generator), torch.randint(0, classes, (7, 3), generator=generator)


def sparse(shape, rows, generator):
    """A gradient of some rows, and the same dense."""
    dense = torch.zeros(shape)
    dense[rows] = torch.randn(len(rows), shape[1], generator=generator)
    return torch.sparse_coo_tensor(torch.tensor([rows]), dense[rows], shape, check_invariants=True), dense


def test_rows_touched_in_every_step_are_those_of_torch(monkeypatch):
    monkeypatch.setattr(module, "_CHUNK_BYTES", 7 * 6 * 4)  # seven rows at a time
    bank = make_bank()
    twin = nn.Parameter(bank.rows.detach().clone())
    ours, theirs = RowAdamW([bank], **OPTIONS), torch.optim.AdamW([twin], **OPTIONS)
    for step in range(30):
        bank(*batch(step), step=step).loss.backward()
        twin.grad = bank.rows.grad.clone()
        for optimizer in (ours, theirs):
            optimizer.step()
            optimizer.zero_grad()
    torch.testing.assert_close(bank.rows, twin, rtol=1e-5, atol=1e-7)


def test_a_row_lives_by_its_own_steps(monkeypatch):
    """Each row equals one that torch's AdamW trains alone, on the steps that touch it; the others rest."""
    monkeypatch.setattr(module, "_CHUNK_BYTES", 3 * 6 * 4)
    bank, generator = make_bank(rate=0.5, classes=12), torch.Generator().manual_seed(0)
    alone = [nn.Parameter(row.detach().clone()) for row in bank.rows]
    theirs = [torch.optim.AdamW([row], **OPTIONS) for row in alone]
    ours = RowAdamW([bank], **OPTIONS)
    touches = torch.zeros(12, dtype=torch.int32)
    for _ in range(40):
        rows = torch.randperm(11, generator=generator)[: int(torch.randint(1, 6, (), generator=generator))].tolist()
        bank.rows.grad, dense = sparse(bank.rows.shape, rows, generator)
        before = bank.rows.detach().clone()
        ours.step()
        rest = [row for row in range(12) if row not in rows]
        assert torch.equal(bank.rows[rest], before[rest])
        for row in rows:
            alone[row].grad = dense[row].clone()
            theirs[row].step()
        touches[rows] += 1
    torch.testing.assert_close(bank.rows.detach(), torch.stack([row.detach() for row in alone]), rtol=1e-5, atol=1e-7)
    assert torch.equal(ours.state[bank.rows]["step"], touches)
    assert touches[11] == 0


def test_the_first_touch_moves_by_the_rate_however_late():
    bank, generator = make_bank(rate=0.5, classes=4), torch.Generator().manual_seed(0)
    optimizer = RowAdamW([bank], lr=0.02)
    for _ in range(100):
        bank.rows.grad, _ = sparse(bank.rows.shape, [0], generator)
        optimizer.step()
    before = bank.rows[1].detach().clone()
    bank.rows.grad, _ = sparse(bank.rows.shape, [1], generator)
    optimizer.step()
    torch.testing.assert_close((bank.rows[1] - before).detach().abs(), torch.full((6,), 0.02), rtol=1e-4, atol=0)


def test_only_sampled_classes_and_positives_move():
    bank = make_bank(rate=0.2, classes=400)
    embeddings, labels = batch(0, classes=400)
    before = bank.rows.detach().clone()
    bank(embeddings, labels, step=5).loss.backward()
    RowAdamW([bank], weight_decay=0.5).step()
    moved = (bank.rows != before).any(1).nonzero().squeeze(1).tolist()
    assert moved == sorted({*bank.sampled(5).tolist(), *labels.flatten().tolist()})


def test_passes_that_touch_a_row_twice_count_as_one_step():
    one, two = make_bank(rate=0.3), make_bank(rate=0.3)
    (one(*batch(0), step=0).loss + one(*batch(1), step=0).loss).backward()
    for number in (0, 1):
        two(*batch(number), step=0).loss.backward()
    for bank in (one, two):
        RowAdamW([bank]).step()
        assert len(bank.rows.grad._indices()[0]) == len(bank.rows.grad._indices()[0].unique())
    torch.testing.assert_close(one.rows, two.rows)
    assert not torch.equal(one.rows, make_bank(rate=0.3).rows)


def test_rates_of_banks_follow_their_scale_and_the_schedule():
    plain, fast = make_bank(), make_bank(lr_scale=3.0)
    optimizer = RowAdamW([plain, fast], lr=1.0)
    first = [bank.rows.detach().clone() for bank in (plain, fast)]
    for group in optimizer.param_groups:
        group["lr"] = 0.01
    for bank in (plain, fast):
        bank.rows.grad = torch.ones_like(bank.rows)
    optimizer.step()
    moves = [(before - bank.rows).mean().item() for before, bank in zip(first, (plain, fast), strict=True)]
    assert moves == pytest.approx([0.01, 0.03], rel=1e-4)
    assert [group["name"] for group in optimizer.param_groups] == ["object", "object"]


def test_a_saved_optimiser_goes_on_bit_by_bit(tmp_path):
    def train(bank, optimizer, steps):
        for step in steps:
            bank(*batch(step), step=step).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    bank = make_bank(rate=0.3)
    optimizer = RowAdamW([bank], **OPTIONS)
    train(bank, optimizer, range(5))
    torch.save({"bank": bank.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "c.pt")
    saved = torch.load(tmp_path / "c.pt")
    train(bank, optimizer, range(5, 10))
    again = make_bank(rate=0.3)
    resumed = RowAdamW([again], **OPTIONS)
    again.load_state_dict(saved["bank"])
    resumed.load_state_dict(saved["optimizer"])
    assert resumed.state[again.rows]["step"].dtype == torch.int32
    train(again, resumed, range(5, 10))
    assert torch.equal(again.rows, bank.rows)


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"eps": float("nan")}, {"weight_decay": -1}, {"betas": (0.9, 1.0)}])
def test_wrong_options_are_refused(wrong):
    with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
        RowAdamW([make_bank()], **wrong)


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_one_norm_of_encoder_and_banks(rate):
    """Two passes, so that sparse gradients hold rows twice; the truth is torch's own clip of dense gradients."""
    encoder, banks = nn.Linear(6, 6), [make_bank(rate=rate), make_bank(rate=rate)]
    for number in (0, 1):
        embeddings, labels = batch(number)
        for bank in banks:
            bank(encoder(embeddings), labels.roll(number, 1), step=0).loss.backward()
    dense = [copy.deepcopy(p.grad).to_dense() for p in (*encoder.parameters(), *(bank.rows for bank in banks))]
    twins = [nn.Parameter(torch.zeros_like(grad)) for grad in dense]
    for twin, grad in zip(twins, dense, strict=True):
        twin.grad = grad
    limit = 0.5 * float(torch.stack([grad.norm() for grad in dense]).norm())
    wanted = nn.utils.clip_grad_norm_(twins, limit)
    found = clip_global_norm(encoder.parameters(), banks, limit)
    torch.testing.assert_close(found, wanted.double(), rtol=1e-6, atol=0)
    for p, twin in zip((*encoder.parameters(), *(bank.rows for bank in banks)), twins, strict=True):
        torch.testing.assert_close(p.grad.to_dense(), twin.grad, rtol=1e-5, atol=1e-8)


def test_a_norm_below_the_limit_or_not_finite_changes_nothing():
    encoder, bank = nn.Linear(6, 6), make_bank()
    bank(encoder(batch(0)[0]), batch(0)[1], step=0).loss.backward()
    before = bank.rows.grad.clone()
    clip_global_norm(encoder.parameters(), [bank], float("inf"))
    assert torch.equal(bank.rows.grad, before)
    encoder.weight.grad[0, 0] = torch.nan
    assert clip_global_norm(encoder.parameters(), [bank], 1e-9).isnan()
    assert torch.equal(bank.rows.grad, before)
    assert clip_global_norm([], [], 1.0) == 0
    with pytest.raises(InvalidArgumentError, match="max_norm"):
        clip_global_norm([], [bank], 0.0)
