"""Which patches become which token: a token of the language model stands for a unit, a run of neighbouring rows.

A pack of N patches is cut into S segments (images, videos), each of which is cut into units:

===========  =====================================================================================
merger       units
===========  =====================================================================================
``none``     one row each
``2x2``      four rows, the 2x2 block of a frame: rows come in ``block2`` order, whole blocks only
``attention``  any lengths, given by bounds; else each segment in equal parts
===========  =====================================================================================

Axes: N patches of a pack, S segments, M units (= tokens of the language model), 3 = (t, h, w).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.model.segments import Segments

BLOCK = ((0.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0.0, 1.0, 1.0))
"""(t, h, w) of the rows of a 2x2 block from its first."""


@dataclass(frozen=True, kw_only=True)
class UnitPlan:
    """``units`` of all N rows, and how many of them, ``per_segment``, each segment has."""

    units: Segments
    per_segment: tuple[int, ...]


def equal_units(length: int, count: int) -> list[int]:
    """``length`` rows in ``count`` units whose lengths differ by at most one, the longer ones first.

    Raises:
        InvalidArgumentError: fewer rows than units.
    """
    if not 1 <= count <= length:
        raise InvalidArgumentError("tokens", count, f"1 to {length}, the patches there are")
    short, longer = divmod(length, count)
    return [short + 1] * longer + [short] * (count - longer)


def share_out(total: int, weights: Sequence[int]) -> list[int]:
    """``total`` split in proportion to ``weights`` (largest remainder, ties to the first), at least 1 and at most the
    weight each. Raises InvalidArgumentError where that cannot be."""
    groups, whole = len(weights), sum(weights)
    if not groups <= total <= whole:
        raise InvalidArgumentError("tokens", total, f"{groups} to {whole}: one a frame group at least, one a patch")
    spare = total - groups  # each group has one; the rest goes where patches are left
    left = [weight - 1 for weight in weights]
    if not spare:
        return [1] * groups
    shares = [spare * weight // sum(left) for weight in left]
    remainder = [spare * weight % sum(left) for weight in left]
    for i in sorted(range(groups), key=lambda i: (-remainder[i], i))[: spare - sum(shares)]:
        shares[i] += 1
    return [1 + share for share in shares]


def plan_units(
    merger: str,
    lengths: Sequence[int],
    *,
    positions_N3: Tensor,
    unit_cu_seqlens: Tensor | Sequence[int] | None = None,
    default_tokens: int = 1,
) -> UnitPlan:
    """Cut a pack into units.

    Args:
        merger: of the configuration. lengths: rows of each segment. positions_N3: what RoPE sees; ``2x2`` checks by
            them that four rows are a block.
        unit_cu_seqlens: M + 1 bounds 0 ... N, among them those of the segments; for ``attention`` only.
        default_tokens: units of each segment with ``attention`` and no bounds.
    Raises:
        ShapeError: rows that are no blocks, bounds that do not fit. InvalidArgumentError: bounds for another merger.
    """
    if unit_cu_seqlens is not None:
        if merger != "attention":
            raise InvalidArgumentError("unit_cu_seqlens", "given", f"None with merger={merger!r}")
        return _bounded(lengths, unit_cu_seqlens)
    if merger == "attention":
        parts = [equal_units(length, default_tokens) for length in lengths]
        units = Segments.from_lengths(length for part in parts for length in part)
        return UnitPlan(units=units, per_segment=tuple(map(len, parts)))
    if merger == "none":
        return UnitPlan(units=Segments.dense(sum(lengths), 1), per_segment=tuple(lengths))
    check_blocks(lengths, positions_N3)
    return UnitPlan(units=Segments.dense(sum(lengths) // 4, 4), per_segment=tuple(n // 4 for n in lengths))


def check_blocks(lengths: Iterable[int], positions_N3: Tensor) -> None:
    """Raise ShapeError unless every four rows are a 2x2 block of one frame, in raster order, at even h and w."""
    odd = [length for length in lengths if length % 4]
    if odd:
        raise ShapeError("rows of a segment", odd[0], "a multiple of 4 with merger='2x2' (read media with merge=2)")
    if torch.compiler.is_compiling() or positions_N3.is_meta:  # reading values would break the graph
        return
    blocks_M43 = positions_N3.detach().to(torch.float64).reshape(-1, 4, 3)
    corner_M13 = blocks_M43[:, :1]
    wanted_43 = torch.tensor(BLOCK, dtype=torch.float64, device=positions_N3.device)
    wrong_M = ((blocks_M43 - corner_M13) != wanted_43).flatten(1).any(1) | (corner_M13[:, 0, 1:] % 2 != 0).any(1)
    if bool(wrong_M.any()):
        first = int(wrong_M.nonzero()[0])
        allowed = "2x2 blocks at even h and w, rows in block2 order: read media with merge=2, order='block2'"
        raise ShapeError(f"patch_positions of rows {4 * first}..{4 * first + 3}", blocks_M43[first].tolist(), allowed)


def _bounded(lengths: Sequence[int], unit_cu_seqlens: Tensor | Sequence[int]) -> UnitPlan:
    units = Segments.from_cu_seqlens(unit_cu_seqlens, sum(lengths), "unit_cu_seqlens")
    place = {bound: i for i, bound in enumerate(units.bounds())}
    ends = [0, *accumulate(lengths)]
    missing = [end for end in ends if end not in place]
    if missing:
        raise ShapeError("unit_cu_seqlens", f"no bound at {missing[0]}", "every bound of cu_seqlens: units keep apart")
    per_segment = tuple(place[b] - place[a] for a, b in pairwise(ends))
    return UnitPlan(units=units, per_segment=per_segment)
