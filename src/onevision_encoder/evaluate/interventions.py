"""What happens to a model if the tokens it was given are disturbed on purpose: the paper's three interventions.

Axes: K tokens of a clip, N all patches of a clip, D = 3*p*p, 3 = (t, h, w).

The number of tokens stays. ``non_motion``: ranked patches give way to patches of the same clip that were not chosen,
which bring their own positions. ``other_video``: ranked patches keep their positions and show what another video shows
there. ``shuffled``: all pixels stay, positions are dealt anew among the tokens. Where a policy ranks nothing (uniform,
random), its first two apply to all of its tokens.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.checks import require
from onevision_encoder.errors import BudgetError, InvalidArgumentError
from onevision_encoder.types import Kind

Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipTokens:
    """Tokens of one clip.

    Attributes:
        patches_KD: uint8. positions_K3: int32 addresses (t, h, w). model_K3: float32 (t, h, w) that RoPE sees.
        kind_K: uint8 of Kind.
    """

    patches_KD: Bytes
    positions_K3: Ints
    model_K3: NDArray[np.float32]
    kind_K: NDArray[np.uint8]

    def __post_init__(self) -> None:
        K = len(self.patches_KD)
        shapes = (self.positions_K3.shape, self.model_K3.shape, self.kind_K.shape)
        require(shapes == ((K, 3), (K, 3), (K,)), "tokens of a clip", shapes, f"arrays of {K} tokens")


def intervene(
    kind: str, chosen: ClipTokens, *, share: float, seed: int, clip: str, own: ClipTokens, other: ClipTokens | None
) -> ClipTokens:
    """The disturbed tokens of a clip: the same for the same seed and clip name, whatever clips are beside it.

    Args:
        kind: ``non_motion``, ``other_video`` or ``shuffled`` (``none`` gives ``chosen`` back).
        share: of the tokens concerned, rounded to the nearest number of tokens.
        own: every patch of the clip. other: every patch of another one (``other_video`` alone looks at it).
    Raises:
        BudgetError: more patches to replace than are left. InvalidArgumentError: another kind, or a clip that has no
            patch where one is needed.
    """
    rng = np.random.default_rng([seed, zlib.crc32(clip.encode())])
    if kind == "none":
        return chosen
    if kind == "shuffled":
        return _shuffled(chosen, _some(np.arange(len(chosen.kind_K)), share, rng), rng)
    rows = _some(ranked_rows(chosen), share, rng)
    held = _held(chosen, own, clip)
    if kind == "non_motion":
        return _replaced(chosen, rows, own, _left(held, own, len(rows), rng))
    if kind == "other_video" and other is not None:
        places = _places(other, chosen.positions_K3[rows], clip)
        patches_KD = chosen.patches_KD.copy()
        patches_KD[rows] = other.patches_KD[places]
        return ClipTokens(
            patches_KD=patches_KD, positions_K3=chosen.positions_K3, model_K3=chosen.model_K3, kind_K=chosen.kind_K
        )
    raise InvalidArgumentError("intervention", kind, "none, non_motion, shuffled; other_video with another video")


def ranked_rows(chosen: ClipTokens) -> NDArray[np.int64]:
    """Rows that were ranked in; all rows where none was."""
    ranked = np.flatnonzero(chosen.kind_K == Kind.CODEC)
    return ranked if len(ranked) else np.arange(len(chosen.kind_K))


def _some(rows: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    count = int(np.floor(share * len(rows) + 0.5))
    return np.sort(rng.permutation(rows)[:count])


def _shuffled(chosen: ClipTokens, rows: NDArray[np.int64], rng: np.random.Generator) -> ClipTokens:
    source = np.arange(len(chosen.kind_K))
    source[rows] = rng.permutation(rows)
    return ClipTokens(
        patches_KD=chosen.patches_KD,
        positions_K3=chosen.positions_K3[source],
        model_K3=chosen.model_K3[source],
        kind_K=chosen.kind_K,
    )


def _held(chosen: ClipTokens, own: ClipTokens, clip: str) -> NDArray[np.int64]:
    """Rows of ``own`` that are the chosen tokens, to the pixel: what is exchanged must come from the same frames."""
    rows = _places(own, chosen.positions_K3, clip)
    same = np.array_equal(own.patches_KD[rows], chosen.patches_KD)
    if not same or not np.array_equal(own.model_K3[rows], chosen.model_K3):
        allowed = "a policy that takes patches of the frames as they are: not uniform_lowres, not tiled"
        raise InvalidArgumentError("intervention", clip, allowed)
    return rows


def _left(held: NDArray[np.int64], own: ClipTokens, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows of ``own`` that are not among the chosen, ``count`` of them at random."""
    free = np.setdiff1d(np.arange(len(own.kind_K)), held)
    if len(free) < count:
        allowed = f"fewer of the {len(own.kind_K)} patches: {len(free)} are left to replace {count}"
        raise BudgetError("budget", len(held), allowed)
    return np.sort(rng.permutation(free)[:count])


def _replaced(chosen: ClipTokens, rows: NDArray[np.int64], own: ClipTokens, new: NDArray[np.int64]) -> ClipTokens:
    arrays = {}
    for name in ("patches_KD", "positions_K3", "model_K3", "kind_K"):
        array = getattr(chosen, name).copy()
        array[rows] = Kind.FILL if name == "kind_K" else getattr(own, name)[new]
        arrays[name] = array
    return ClipTokens(**arrays)


def _places(clip: ClipTokens, positions_K3: Ints, name: str) -> NDArray[np.int64]:
    """Rows of ``clip`` at these addresses."""
    low, high = clip.positions_K3.min(0), clip.positions_K3.max(0) + 1
    inside = bool(((positions_K3 >= low) & (positions_K3 < high)).all())
    shape = tuple(int(n) for n in high - low)
    flat_N = _flat(clip.positions_K3, low, shape)
    order_N = np.argsort(flat_N)
    asked_K = _flat(positions_K3, low, shape) if inside else np.zeros(0, np.int64)
    found_K = np.searchsorted(flat_N[order_N], asked_K)
    if not inside or found_K.max(initial=0) >= len(flat_N) or not (flat_N[order_N][found_K] == asked_K).all():
        raise InvalidArgumentError("intervention", name, f"patches on the grid of {shape} of what takes their place")
    return order_N[found_K]


def _flat(positions_K3: Ints, low: Ints, shape: tuple[int, ...]) -> NDArray[np.int64]:
    t, h, w = (positions_K3.astype(np.int64) - low).T
    flat: NDArray[np.int64] = (t * shape[1] + h) * shape[2] + w
    return flat
