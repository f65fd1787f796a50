"""Random numbers by what they are for."""

from __future__ import annotations

import numpy as np

from onevision_encoder.pretrain.counter_random import permutation, raw, uniform


def test_draws_depend_on_seed_purpose_and_position_alone() -> None:
    first = uniform(3, "crop", 7, 8)
    uniform(3, "crop", 8, 5)
    np.testing.assert_array_equal(uniform(3, "crop", 7, 8), first)
    np.testing.assert_array_equal(uniform(3, "crop", 7, 3), first[:3])
    for other in (uniform(4, "crop", 7, 8), uniform(3, "drop", 7, 8), uniform(3, "crop", 8, 8)):
        assert not np.isin(other, first).any()


def test_the_bits_are_those_of_philox_on_every_machine() -> None:
    # NumPy's Philox4x64-10 with this key: a change here changes every run that is resumed
    assert raw(0, "test", 1, 3).tolist() == [17435547593856831473, 7783618646877409411, 2459340791893246129]


def test_draws_are_even_and_without_a_trend() -> None:
    drawn = np.concatenate([uniform(0, "even", n, 4) for n in range(5000)])
    assert drawn.min() >= 0
    assert drawn.max() < 1
    counts = np.bincount((drawn * 20).astype(int), minlength=20)
    chi2 = ((counts - 1000) ** 2 / 1000).sum()
    assert chi2 < 43.8  # 19 degrees of freedom, 0.1 %
    neighbours = np.corrcoef(drawn[:-1], drawn[1:])[0, 1]
    assert abs(neighbours) < 4 / len(drawn) ** 0.5


def test_permutations_hold_everything_once() -> None:
    assert sorted(permutation(1, "p", 0, 100).tolist()) == list(range(100))
    assert permutation(1, "p", 0, 100).tolist() != permutation(1, "p", 1, 100).tolist()
