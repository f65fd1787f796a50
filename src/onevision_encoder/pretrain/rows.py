"""Rows of a bank: who owns which, their first values, and which are sampled in a step.

Axes: C classes of the whole bank, L rows that one rank owns, S sampled ones of those, D width.

Everything here is a function of names and numbers, never of the number of ranks: a row starts with the same values and
is sampled in the same steps whoever owns it.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

INIT_STD = 0.01
_BLOCK = 1024
_SPAN = 1 << 18
_STRIDE, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_BITS = 53


def split_rows(classes: int, world: int, rank: int) -> tuple[int, int]:
    """``(start, stop)`` of a rank: contiguous, the first ``classes % world`` ranks own one row more."""
    share, rest = divmod(classes, world)
    start = share * rank + min(rank, rest)
    return start, start + share + (rank < rest)


def first_rows(seed: int, bank: str, start: int, stop: int, width: int) -> Tensor:
    """Rows ``start`` to ``stop`` of a new bank, float32 [L, D] on the CPU: normal, standard deviation 0.01.

    Each block of 1,024 rows has a generator of its own, so a shard is made without making the rows before it.
    """
    rows_LD = torch.empty(stop - start, width)
    for block in range(start // _BLOCK, -(-stop // _BLOCK)):
        generator = torch.Generator().manual_seed(_key("first rows", seed, bank, block) >> 1)
        values = torch.empty(_BLOCK, width).normal_(0, INIT_STD, generator=generator)
        low, high = max(start, block * _BLOCK), min(stop, (block + 1) * _BLOCK)
        rows_LD[low - start : high - start] = values[low - block * _BLOCK : high - block * _BLOCK]
    return rows_LD


def sampled_rows(
    seed: int, bank: str, step: int, start: int, stop: int, rate: float, device: torch.device | None = None
) -> Tensor:
    """Classes of ``start`` to ``stop`` that are sampled in a step, less ``start``: ascending int64 [S].

    Class c is in where the top 53 bits of SplitMix64's c-th output (Steele, Lea and Flood 2014) of the stream named by
    (seed, bank, step) are below ``rate`` times 2**53. So each class has exactly that chance, on its own, and who
    asks for which range changes nothing.
    """
    key, bound = _signed(_key("sample", seed, bank, step)), int(rate * (1 << _BITS))
    parts = []
    for low in range(start, stop, _SPAN):  # a span at a time stays in the cache
        x = torch.arange(low + 1, min(low + _SPAN, stop) + 1, device=device)
        x.mul_(_signed(_STRIDE)).add_(key)  # int64 wraps around, as the formula wants
        x.bitwise_xor_(_shifted(x, 30)).mul_(_signed(_FIRST))
        x.bitwise_xor_(_shifted(x, 27)).mul_(_signed(_SECOND))
        x.bitwise_xor_(_shifted(x, 31))
        parts.append((_shifted(x, 64 - _BITS) < bound).nonzero().squeeze(1).add_(low - start))
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64, device=device)


def _key(use: str, seed: int, bank: str, number: int) -> int:
    """64 bits that name a stream of random numbers."""
    name = "\0".join((use, str(seed), bank, str(number)))
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")


def _signed(bits: int) -> int:
    return bits - (1 << 64) if bits >> 63 else bits


def _shifted(x: Tensor, by: int) -> Tensor:
    """Bits shifted right with zeros coming in; torch has no unsigned shift."""
    return (x >> by).bitwise_and_((1 << (64 - by)) - 1)
