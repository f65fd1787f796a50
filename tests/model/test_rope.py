from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_encoder import rope_reference

from onevision_encoder.model.rope import apply_rope, inverse_frequencies, rope_angles, rope_table


def turn(x_ND, positions_N3, mode):
    """One head, channels back in the order they came in."""
    D = x_ND.shape[-1]
    table = rope_table(positions_N3, head_dim=D, theta=10000.0, mode=mode)
    y_ND = apply_rope(x_ND[:, None], table)[:, 0]
    if mode == "rotary":
        return y_ND
    first, second = y_ND.chunk(2, dim=-1)
    return torch.stack([first, second], dim=-1).flatten(-2)


def positions(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, 3, generator=generator) * torch.tensor([63.0, 31.0, 31.0])


@pytest.mark.parametrize("mode", ["pairwise", "rotary"])
@pytest.mark.parametrize("head_dim", [32, 64, 96])
@pytest.mark.parametrize("whole", [True, False])
def test_equals_the_formula_written_out(mode, head_dim, whole):
    at = positions(9)
    at = at.round().long() if whole else at
    x = torch.randn(9, head_dim, generator=torch.Generator().manual_seed(3))
    wanted = np.stack([rope_reference(x[n].double().numpy(), at[n].tolist(), mode) for n in range(9)])
    np.testing.assert_allclose(turn(x, at, mode).numpy(), wanted, atol=2e-5)


def test_pairwise_is_bit_faithful():
    """The operator of the published weights, as its paper trail has it: y = x cos F + rot(x) sin F, F = [f | f]."""
    at = positions(50).round()
    x = torch.randn(50, 64, generator=torch.Generator().manual_seed(3))
    unit = 2
    f = torch.cat(
        [
            at[:, axis, None] * (1.0 / 10000.0 ** (torch.arange(size, dtype=torch.float32) / size))
            for axis, size in enumerate((4 * unit, 6 * unit, 6 * unit))
        ],
        dim=-1,
    )
    F = torch.cat([f, f], dim=-1)
    rotated = torch.stack([-x[:, 1::2], x[:, 0::2]], dim=-1).flatten(1)
    assert torch.equal(turn(x, at, "pairwise"), x * F.cos() + rotated * F.sin())


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-64, 64, width=32), min_size=9, max_size=9),
    st.integers(0, 2**31),
)
def test_rotary_is_a_rotation(numbers, seed):
    first, second, shift = (torch.tensor(numbers[i : i + 3], dtype=torch.float64) for i in (0, 3, 6))
    q, k = torch.randn(2, 1, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    moved = turn(q, first[None], "rotary")
    assert torch.allclose(moved.norm(), q.norm(), rtol=1e-9)
    here = (turn(q, first[None], "rotary") * turn(k, second[None], "rotary")).sum()
    there = (turn(q, (first + shift)[None], "rotary") * turn(k, (second + shift)[None], "rotary")).sum()
    assert torch.allclose(here, there, atol=1e-6)


def test_pairwise_is_none():
    """Documented behaviour: norms change and q.k depends on the place, not only on the offset."""
    q, k = torch.randn(2, 40, 64, generator=torch.Generator().manual_seed(5))
    at, offset = positions(40), torch.tensor([1.0, 2.0, 3.0])
    norms = turn(q, at, "pairwise").norm(dim=-1) / q.norm(dim=-1)
    assert (norms - 1).abs().max() > 0.05
    here = (turn(q, at, "pairwise") * turn(k, at + offset, "pairwise")).sum(-1)
    there = (turn(q, at + 5, "pairwise") * turn(k, at + 5 + offset, "pairwise")).sum(-1)
    assert (here - there).abs().max() > 0.5


def test_split_is_4_6_6_and_each_axis_spans_its_whole_range():
    omegas = inverse_frequencies(64, 10000.0)
    assert [len(o) for o in omegas] == [8, 12, 12]
    for omega in omegas:
        assert omega[0] == 1.0
        assert torch.allclose(omega[-1] ** len(omega), torch.tensor(10000.0) ** -(len(omega) - 1), rtol=1e-4)
    only_h = rope_angles(torch.tensor([[0, 5, 0]]), 64, 10000.0)[0]
    assert (only_h.nonzero()[:, 0] == torch.arange(8, 20)).all()


def test_half_precision_is_turned_in_float32():
    x = torch.randn(20, 64, generator=torch.Generator().manual_seed(7)).bfloat16()
    at = positions(20)
    for mode in ("pairwise", "rotary"):
        y = turn(x, at, mode)
        assert y.dtype == torch.bfloat16
        assert torch.equal(y, turn(x.float(), at, mode).bfloat16())
