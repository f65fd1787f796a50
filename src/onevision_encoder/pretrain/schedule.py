"""The learning rate as a function of the step and nothing else, so that a resumed run is on the same curve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from onevision_encoder.errors import InvalidArgumentError

Decay = Literal["cosine", "linear", "poly", "constant"]


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """Warm-up in equal steps to the full rate, then a decay that would reach ``final`` one step after the last.

    With W warm-up steps of N: step s < W runs at (s + 1) / W of the rate; after that x = (s - W + 1) / (N - W + 1) is
    above 0 and below 1, and the share of the rate is final + (1 - final) * d(x), where d is (1 + cos(pi x)) / 2,
    1 - x, (1 - x)^power or 1. So no step is taken at rate 0.
    """

    decay: Decay = "cosine"
    warmup: float = 0.05
    """Share of all steps (below 1), or a number of steps (1 or more, whole)."""
    final: float = 0.0
    """Share of the rate that is left at the end."""
    power: float = 2.0
    """Of ``poly``."""

    def __post_init__(self) -> None:
        if self.decay not in get_args(Decay):
            raise InvalidArgumentError("decay", self.decay, f"one of {', '.join(get_args(Decay))}")
        if not 0 <= self.warmup < math.inf or (self.warmup >= 1 and self.warmup != int(self.warmup)):
            raise InvalidArgumentError("warmup", self.warmup, "a share below 1, or a whole number of steps")
        if not 0 <= self.final <= 1:
            raise InvalidArgumentError("final", self.final, "0 to 1")
        if not 0 < self.power < math.inf:
            raise InvalidArgumentError("power", self.power, "above 0")

    def warmup_steps(self, steps: int) -> int:
        """W of a run of ``steps``: a share is rounded up to whole steps. It leaves at least one step to decay in."""
        wanted = math.ceil(self.warmup * steps) if self.warmup < 1 else int(self.warmup)
        return min(wanted, steps - 1)


def rate_share(config: ScheduleConfig, step: int, steps: int) -> float:
    """Share of the full learning rate, 0 to 1, at a step counted from 0 of a run of ``steps``.

    Raises:
        InvalidArgumentError: no such step.
    """
    if not 0 <= step < steps:
        raise InvalidArgumentError("step", step, f"0 to {steps - 1}, of a run of {steps} steps")
    warmup = config.warmup_steps(steps)
    if step < warmup:
        return (step + 1) / warmup
    x = (step - warmup + 1) / (steps - warmup + 1)
    left = {
        "cosine": (1 + math.cos(math.pi * x)) / 2,
        "linear": 1 - x,
        "poly": math.pow(1 - x, config.power),
        "constant": 1.0,
    }
    return config.final + (1 - config.final) * left[config.decay]
