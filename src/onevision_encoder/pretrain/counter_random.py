"""Random numbers that depend on what they are for and on nothing else: not on order, threads, ranks or a resume.

Every draw is a pure function of (seed, purpose, position). The bits are those of Philox4x64 (Salmon et al., SC 2011),
whose stream NumPy keeps stable from version to version; what is made of the bits is made here.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray


def raw(seed: int, purpose: str, position: int, count: int) -> NDArray[np.uint64]:
    """``count`` random 64-bit words."""
    name = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=8).digest()
    key = np.array([int.from_bytes(name, "little"), position], np.uint64)
    words: NDArray[np.uint64] = np.random.Philox(key=key).random_raw(count)
    return words


def uniform(seed: int, purpose: str, position: int, count: int) -> NDArray[np.float64]:
    """``count`` numbers in [0, 1), each of 53 random bits."""
    shares: NDArray[np.float64] = (raw(seed, purpose, position, count) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return shares


def permutation(seed: int, purpose: str, position: int, count: int) -> NDArray[np.int64]:
    """0 .. count - 1 in random order."""
    order: NDArray[np.int64] = np.argsort(raw(seed, purpose, position, count), kind="stable")
    return order
