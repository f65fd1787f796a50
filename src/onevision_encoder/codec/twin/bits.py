"""What coding costs: adaptive binary events, the levels of a block, vectors. A bit is 256 units."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

Vector = tuple[int, int]
COST = [round(-256 * math.log2((2 * i + 1) / 256)) for i in range(128)]
"""Units of an event of probability (i + 1/2) / 128."""
LOG2 = [round(256 * math.log2(1 + i / 64)) for i in range(65)]
SCAN = [(v, u) for s in range(15) for v in range(8) for u in range(8) if u + v == s]
"""Levels in the order they are coded: diagonal after diagonal, low frequencies first."""


class Bits:
    """What events cost, learnt from how often they came: a context is 65536 x the probability of a 1."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.contexts: dict[Hashable, int] = defaultdict(lambda: 32768)

    def cost(self, context: Hashable, bit: bool) -> int:
        """What the event would cost: -log2 of its probability."""
        p = self.contexts[context] >> 9
        return COST[p if bit else 127 - p]

    def put(self, context: Hashable, bit: bool) -> int:
        """What the event costs; its context moves towards it by 2^-rate."""
        cost, p = self.cost(context, bit), self.contexts[context]
        self.contexts[context] = p + ((65535 - p) >> self.rate) if bit else p - (p >> self.rate)
        return cost

    def levels(self, levels: NDArray[np.int64], intra: bool, neighbours: int) -> int:
        """An 8 x 8 block of levels: is there any, where is the last, which are not 0, how large are they."""
        coded = bool(levels.any())
        bits = self.put(("coded", intra, neighbours), coded)
        if not coded:
            return bits
        last = max(n for n, (v, u) in enumerate(SCAN) if levels[v, u])
        size = (last + 1).bit_length() - 1
        for i in range(min(size + 1, 6)):
            bits += self.put(("last", intra, i), i < size)
        bits += 256 * size
        present = np.pad(levels != 0, (0, 1)).astype(int)
        state = 1
        for n in range(last, -1, -1):
            v, u = SCAN[n]
            if n < last:
                near = int(present[v, u + 1] + present[v + 1, u] + present[v + 1, u + 1])
                place = 0 if n == 0 else 1 if n < 6 else 2 if n < 21 else 3
                bits += self.put(("present", intra, place, near), bool(present[v, u]))
            magnitude = abs(int(levels[v, u]))
            if not magnitude:
                continue
            bits += 256 + self.put(("one", intra, state), magnitude > 1)
            if magnitude == 1:
                state = min(state + 1, 3) if state else 0
                continue
            state = 0
            bits += self.put(("two", intra), magnitude > 2)
            if magnitude > 2:
                bits += 256 * (2 * ((magnitude - 2).bit_length() - 1) + 1)
        return bits


def log2(value: int) -> int:
    """256 log2(value) in integers."""
    exponent = value.bit_length() - 1
    mantissa = (value << (16 - exponent)) - (1 << 16)
    i, f = mantissa >> 10, mantissa & 1023
    return exponent * 256 + ((LOG2[i] * (1024 - f) + LOG2[i + 1] * f + 512) >> 10)


def vector_bits(mv: Vector, predictor: Vector) -> int:
    """A vector as its difference from what is expected: a fixed code whose length grows with the logarithm."""
    return sum(2 * log2(abs(a - b) + 1) + 256 if a != b else 128 for a, b in zip(mv, predictor, strict=True))
