"""What a concept bank is told to do. Light: no torch, so that recipes and a command line can be read with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from onevision_encoder.errors import InvalidArgumentError

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class BankConfig:
    """One bank and its loss.

    Raises:
        InvalidArgumentError: a value outside its range.
    """

    classes: int
    """Rows of the whole bank; labels are 0 to ``classes - 1``."""
    scale: float = 64.0
    """s of the loss: what cosines are multiplied by."""
    margin: float = 0.3
    """m of the loss: what is taken from the cosine of a positive."""
    sample_rate: float = 0.1
    """Chance of each class to be a negative in a step, above 0 and at most 1."""
    filter: float | None = None
    """tau of the loss: a sampled class whose cosine is above it is no negative of that sample. None: all are."""
    weight: float = 1.0
    """What the training loop multiplies the loss by. The bank itself returns the plain loss."""
    lr_scale: float = 1.0
    """What the row optimiser multiplies its learning rate by."""
    precision: Precision = "float32"
    """Of products of embeddings and rows. bfloat16: both sides are rounded, sums stay float32; the path for GPUs."""
    chunk: int | None = None
    """Rows worked on at once. None: by the device and the batch (see ``loss.chunk_rows``)."""

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise InvalidArgumentError("classes", self.classes, "at least 1")
        if not 0 < self.sample_rate <= 1:
            raise InvalidArgumentError("sample_rate", self.sample_rate, "above 0 and at most 1")
        if not 0 < self.scale < math.inf:
            raise InvalidArgumentError("scale", self.scale, "a finite number above 0")
        for name, most in (("margin", 2.0), ("weight", math.inf), ("lr_scale", math.inf)):
            if not 0 <= getattr(self, name) <= most or math.isinf(getattr(self, name)):
                raise InvalidArgumentError(name, getattr(self, name), f"a finite number, 0 to {most:g}")
        if self.filter is not None and not -1 <= self.filter <= 1:
            raise InvalidArgumentError("filter", self.filter, "None, or a cosine: -1 to 1")
        if self.precision not in get_args(Precision):
            raise InvalidArgumentError("precision", self.precision, f"one of {', '.join(get_args(Precision))}")
        if self.chunk is not None and self.chunk < 1:
            raise InvalidArgumentError("chunk", self.chunk, "None, or at least 1")
