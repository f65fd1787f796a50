"""Orders and choices: every sample once an epoch, neighbours far apart, chances as asked."""

from __future__ import annotations

import numpy as np
import pytest

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.pretrain.mixing import Draws, EpochOrder

SIZES = np.array([7, 1, 12, 5, 9, 3])


def order(window: int = 2, seed: int = 0, name: str = "c") -> EpochOrder:
    return EpochOrder(SIZES, window=window, seed=seed, name=name)


def test_every_epoch_has_every_sample_once_in_an_order_of_its_own() -> None:
    places = [order().place(visit) for visit in range(3 * 37)]
    epochs = [[place[1:] for place in places if place[0] == epoch] for epoch in range(3)]
    everything = sorted((shard, row) for shard, size in enumerate(SIZES) for row in range(size))
    for epoch in epochs:
        assert sorted(epoch) == everything
    assert epochs[0] != epochs[1] != epochs[2]
    assert places == [order().place(visit) for visit in reversed(range(3 * 37))][::-1]


@pytest.mark.parametrize("window", [1, 2, 6])
def test_no_more_than_a_window_of_shards_is_in_use(window: int) -> None:
    some = order(window)
    shards = [some.place(visit)[1] for visit in range(37)]
    first = {shard: shards.index(shard) for shard in shards}
    last = {shard: 36 - shards[::-1].index(shard) for shard in shards}
    most = max(sum(first[s] <= at <= last[s] for s in first) for at in range(37))
    assert most <= window
    assert len(set(shards[: 7 * window])) > 1 or window == 1


def test_seeds_and_names_shuffle_differently() -> None:
    places = {
        key: tuple(order(seed=key[0], name=key[1]).place(v) for v in range(37))
        for key in ((0, "c"), (1, "c"), (0, "d"))
    }
    assert len(set(places.values())) == 3


def test_draws_are_by_weight_and_by_position() -> None:
    draws = Draws([3, 0, 1], seed=5, purpose="p")
    chosen = draws.at(0, 40000)
    assert np.bincount(chosen, minlength=3)[1] == 0
    assert abs((chosen == 0).mean() - 0.75) < 4 * (0.75 * 0.25 / 40000) ** 0.5
    parts = [Draws([3, 0, 1], seed=5, purpose="p").at(begin, begin + 997) for begin in range(0, 39880, 997)]
    np.testing.assert_array_equal(np.concatenate(parts), chosen[: 997 * 40])
    assert len(draws.at(7, 7)) == 0


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1], [float("nan")]])
def test_weights_that_are_none_are_refused(weights: list[float]) -> None:
    with pytest.raises(InvalidArgumentError, match="probabilities"):
        Draws(weights, seed=0, purpose="p")
