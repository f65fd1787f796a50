"""Rows of a bank from a tensor or a safetensors file; of a file only the rows that are asked for are read.

Axes: C classes of the whole bank, L rows asked for, D width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from onevision_encoder.errors import CheckpointError

NAMES = ("rows", "centres")


def read_rows(source: Path | str | Tensor, classes: int, width: int, span: tuple[int, int]) -> Tensor:
    """Rows ``span`` of ``source``, float32 [L, D].

    Args:
        source: [C, D] floats; or a safetensors file of one matrix, or of one named ``rows`` or ``centres``.
    Raises:
        CheckpointError: not such a file; another width or number of rows; rows that are zero or not finite.
    """
    if isinstance(source, Tensor):
        _check("a tensor", tuple(source.shape), classes, width)
        return _sound("a tensor", source[span[0] : span[1]].detach().float(), span[0])
    path = Path(source)
    try:
        with safe_open(path, framework="pt") as file:
            piece = file.get_slice(_name(path, file))
            _check(path, tuple(piece.get_shape()), classes, width)
            rows_LD: Tensor = piece[span[0] : span[1]]
    except (OSError, SafetensorError) as error:
        raise CheckpointError(path, f"no rows of a bank: {error}") from error
    return _sound(path, rows_LD.float(), span[0])


def _name(path: Path, file: Any) -> str:
    names = list(file.keys())
    for name in NAMES:
        if name in names:
            return name
    matrices = [name for name in names if len(file.get_slice(name).get_shape()) == 2]
    if len(matrices) != 1:
        raise CheckpointError(path, f"holds {len(matrices)} matrices {matrices[:5]}; one is wanted, or one of {NAMES}")
    return str(matrices[0])


def _check(source: object, shape: tuple[int, ...], classes: int, width: int) -> None:
    if len(shape) != 2 or shape[1] != width:
        raise CheckpointError(source, f"rows of shape {list(shape)}; the bank's width is {width}")
    if shape[0] != classes:
        few = "fewer" if shape[0] < classes else "more"
        raise CheckpointError(
            source, f"{shape[0]} rows, {few} than the bank's {classes} classes; they must be the same"
        )


def _sound(source: object, rows_LD: Tensor, start: int) -> Tensor:
    """A zero row has no direction, and one that is not finite spoils every loss."""
    norms_L = torch.linalg.vector_norm(rows_LD, dim=1)
    bad = ((norms_L == 0) | ~norms_L.isfinite()).nonzero().squeeze(1)
    if len(bad):
        first = [start + int(row) for row in bad[:5]]
        raise CheckpointError(source, f"{len(bad)} rows are zero or not finite, from row {first}")
    return rows_LD
