"""The learning rate against the formulas written out."""

from __future__ import annotations

import math

import pytest

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.pretrain.schedule import ScheduleConfig, rate_share


def test_warm_up_is_linear_and_begins_above_zero() -> None:
    config = ScheduleConfig(warmup=4, decay="constant")
    assert [rate_share(config, step, 10) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]


@pytest.mark.parametrize(
    ("decay", "expected"),
    [
        ("linear", [9 / 10, 5 / 10, 1 / 10]),
        ("poly", [0.9**3, 0.5**3, 0.1**3]),
        ("cosine", [(1 + math.cos(math.pi * x)) / 2 for x in (0.1, 0.5, 0.9)]),
    ],
)
def test_decay(decay: str, expected: list[float]) -> None:
    config = ScheduleConfig(decay=decay, warmup=0, power=3)  # type: ignore[arg-type]
    found = [rate_share(config, step, 9) for step in (0, 4, 8)]
    assert found == pytest.approx(expected)
    final = ScheduleConfig(decay=decay, warmup=0, power=3, final=0.1)  # type: ignore[arg-type]
    assert [rate_share(final, step, 9) for step in (0, 4, 8)] == pytest.approx([0.1 + 0.9 * x for x in expected])


def test_every_step_has_a_rate_and_it_falls_after_the_warm_up() -> None:
    for config in (ScheduleConfig(warmup=0.1), ScheduleConfig(warmup=500), ScheduleConfig(warmup=0.999)):
        shares = [rate_share(config, step, 100) for step in range(100)]
        assert min(shares) > 0
        top = shares.index(max(shares))
        assert shares[: top + 1] == sorted(shares[: top + 1])
        assert shares[top:] == sorted(shares[top:], reverse=True)


@pytest.mark.parametrize("bad", [{"decay": "step"}, {"warmup": -1}, {"warmup": 1.5}, {"final": 2}, {"power": 0}])
def test_what_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError, match=next(iter(bad))):
        ScheduleConfig(**bad)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="step"):
        rate_share(ScheduleConfig(), 10, 10)
