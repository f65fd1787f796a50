"""Rows of a bank: who owns them, how they begin, which are sampled, and where they may come from."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from onevision_encoder.errors import CheckpointError, InvalidArgumentError
from onevision_encoder.pretrain import BankConfig, ConceptBank
from onevision_encoder.pretrain.rows import first_rows, sampled_rows, split_rows


@pytest.mark.parametrize("classes", [1, 7, 8, 2_000_000])
@pytest.mark.parametrize("world", [1, 3, 8])
def test_rows_are_split_as_the_original_does(classes, world):
    spans = [split_rows(classes, world, rank) for rank in range(world)]
    for rank, (start, stop) in enumerate(spans):
        assert start == classes // world * rank + min(rank, classes % world)
        assert stop - start == classes // world + (rank < classes % world)
    assert spans[-1][1] == classes


def test_first_rows_do_not_depend_on_the_number_of_ranks():
    whole = first_rows(3, "object", 0, 2500, 4)
    parts = [first_rows(3, "object", *split_rows(2500, 3, rank), 4) for rank in range(3)]
    assert torch.equal(torch.cat(parts), whole)
    assert whole.std().item() == pytest.approx(0.01, rel=0.03)
    assert whole.unique().numel() > 9900, "blocks must differ"
    for other in (first_rows(4, "object", 0, 10, 4), first_rows(3, "motion", 0, 10, 4)):
        assert not torch.equal(other, whole[:10])


def test_each_class_is_sampled_at_the_rate_in_each_step():
    classes, steps, rate = 20_000, 60, 0.1
    hits = torch.zeros(classes, dtype=torch.int64)
    for step in range(steps):
        chosen = sampled_rows(0, "object", step, 0, classes, rate)
        assert torch.equal(chosen, chosen.unique())
        assert abs(len(chosen) - rate * classes) < 6 * (classes * rate * (1 - rate)) ** 0.5
        hits[chosen] += 1
    # a binomial: neither some classes always nor all of them in turn
    assert hits.float().mean().item() == pytest.approx(rate * steps, rel=0.01)
    assert hits.float().var().item() == pytest.approx(steps * rate * (1 - rate), rel=0.05)


def test_steps_seeds_and_banks_sample_independently():
    def chosen(seed, bank, step):
        return set(sampled_rows(seed, bank, step, 0, 100_000, 0.1).tolist())

    first = chosen(0, "object", 0)
    assert chosen(0, "object", 0) == first
    for other in (chosen(0, "object", 1), chosen(1, "object", 0), chosen(0, "motion", 0)):
        assert len(first & other) == pytest.approx(1000, abs=6 * 1000**0.5)


def test_a_span_across_the_blocks_of_the_hash_is_the_same():
    low, high = (1 << 18) - 50, (1 << 18) + 50
    whole = sampled_rows(0, "object", 0, 0, (1 << 18) + 100, 0.3)
    part = sampled_rows(0, "object", 0, low, high, 0.3) + low
    assert torch.equal(part, whole[(whole >= low) & (whole < high)])
    assert len(sampled_rows(0, "object", 0, 5, 5, 0.3)) == 0


def bank_of(classes=6, width=4, **options):
    return ConceptBank("object", BankConfig(classes=classes), width, **options)


@pytest.mark.parametrize("name", ["rows", "centres", "anything"])
def test_rows_are_read_from_a_file(name, tmp_path):
    centres = torch.randn(6, 4).half()
    save_file({name: centres, "counts": torch.zeros(6)}, tmp_path / "c.safetensors")
    bank = bank_of()
    bank.load_rows(tmp_path / "c.safetensors")
    assert torch.equal(bank.rows, centres.float())
    other = bank_of(seed=1)
    other.load_rows(bank.full_state()["rows"])
    assert torch.equal(other.rows, bank.rows)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"centres": torch.ones(6, 5)}, r"\[6, 5\]; the bank's width is 4"),
        ({"centres": torch.ones(6)}, "width is 4"),
        ({"centres": torch.ones(5, 4)}, "5 rows, fewer than"),
        ({"centres": torch.ones(7, 4)}, "7 rows, more than the bank's 6 classes"),
        ({"a": torch.ones(6, 4), "b": torch.ones(6, 4)}, "holds 2 matrices"),
        ({"centres": torch.eye(6, 4)}, r"2 rows are zero or not finite, from row \[4, 5\]"),
        ({"centres": torch.ones(6, 4) * torch.tensor([1, 1, torch.inf, 1])}, "6 rows are zero or not finite"),
    ],
)
def test_rows_that_do_not_fit_are_refused_and_leave_the_bank_alone(tensors, message, tmp_path):
    save_file(tensors, tmp_path / "c.safetensors")
    bank = bank_of()
    before = bank.rows.detach().clone()
    with pytest.raises(CheckpointError, match=message) as refused:
        bank.load_rows(tmp_path / "c.safetensors")
    assert str(tmp_path) in str(refused.value)
    assert torch.equal(bank.rows, before)


def test_files_that_are_none_are_refused(tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{")
    for name in ("absent.safetensors", "cut.safetensors"):
        with pytest.raises(CheckpointError, match=name):
            bank_of().load_rows(tmp_path / name)


def test_a_bank_can_be_made_to_be_counted():
    bank = bank_of(classes=2_000_000, width=1024, device="meta")
    assert bank.rows.numel() == 2_048_000_000
    assert "rows 0 to 2000000 of 2000000" in repr(bank)
    with pytest.raises(InvalidArgumentError, match="width"):
        bank_of(width=0)
