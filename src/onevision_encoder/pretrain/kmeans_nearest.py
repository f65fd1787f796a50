"""The nearest centre of every row, exactly, without an n x k matrix.

Axes: B rows of a chunk, k centres, D width.

Nearest = greatest score: x . c where all lengths are 1, x . c - |c|^2 / 2 otherwise; of equal ones the first. Scores of
a block of centres at a time are made and forgotten.

Screening: products of bfloat16 copies are several times faster where the CPU has them, and their error is bounded: with
x' and c' the rounded copies, |x.c - x'.c'| <= |x - x'| |c| + |x'| |c - c'|, plus what the sum and its own rounding to
bfloat16 add. Centres whose score lies further below the best one than both bounds are ruled out; what is left is scored
in float32. The mean of the centres is taken off all of them first, which changes no order and makes the bounds small.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onevision_encoder.model.precision import native_bf16_unit
from onevision_encoder.pretrain.kmeans_config import Screening

ROWS, CENTRES = 1024, 1024
"""Of a block of scores: 4 MB of float32, which stays in the cache."""

CROWDED = 64
"""Where more than one in so many centres is left by screening, float32 products of all are faster."""

_SUM = 2.0**-23
"""Relative error of one addition in float32, generously."""

_OUT = 2.0**-8 * 1.01
"""Relative error of rounding a score to bfloat16: half of the last of 8 bits, generously."""


NARROW = 128
"""Below this width float32 products are as fast as screening."""


def screens(asked: Screening, width: int, *, spherical: bool) -> bool:
    """Whether products are screened in bfloat16 on this machine."""
    if asked == "auto":
        return spherical and width >= NARROW and native_bf16_unit() is not None
    return asked == "bf16"


class Nearest:
    """Centres, prepared for many chunks.

    Attributes:
        centres_kD: float32. compared: pairs that float32 decided after screening; full: chunks that were not screened.
    """

    def __init__(self, centres_kD: Tensor, *, spherical: bool, screening: bool) -> None:
        self.centres_kD = centres_kD.contiguous()
        self.half_k = None if spherical else centres_kD.square().sum(1) / 2
        self.compared = self.full = 0
        self.screened = screening and len(centres_kD) > 1
        if self.screened:
            self._prepare()

    def _prepare(self) -> None:
        mean_D = self.centres_kD.mean(0, dtype=torch.float64)
        exact_kD = self.centres_kD.double() - mean_D
        self._rounded_kD = exact_kD.to(torch.bfloat16)
        self._longest = float(torch.linalg.vector_norm(exact_kD, dim=1).max())
        self._lost = float(torch.linalg.vector_norm(exact_kD - self._rounded_kD, dim=1).max())

    def find(self, x_BD: Tensor) -> Tensor:
        """Int64 [B]: the nearest centre of each row."""
        found = [self._block(x_BD[i : i + ROWS]) for i in range(0, len(x_BD), ROWS)]
        return torch.cat(found)

    def _block(self, x_BD: Tensor) -> Tensor:
        if self.screened:
            labels = self._screened(x_BD)
            if labels is not None:
                return labels
            self.full += 1
        return self._plain(x_BD)

    def _plain(self, x_BD: Tensor) -> Tensor:
        """By float32 products of all."""
        B, k = len(x_BD), len(self.centres_kD)
        best_B, label_B = np.full(B, -np.inf, np.float32), np.zeros(B, np.int64)
        row_B = np.arange(B)
        out = torch.empty(B * min(k, CENTRES))
        for j in range(0, k, CENTRES):
            part_kD = self.centres_kD[j : j + CENTRES]
            score_Bk = torch.mm(x_BD, part_kD.T, out=out[: B * len(part_kD)].view(B, -1))
            if self.half_k is not None:
                score_Bk -= self.half_k[j : j + CENTRES]
            scores = score_Bk.numpy()
            at_B = scores.argmax(1)
            top_B = scores[row_B, at_B]
            better_B = top_B > best_B
            best_B[better_B] = top_B[better_B]
            label_B[better_B] = at_B[better_B] + j
        return torch.from_numpy(label_B)

    def _screened(self, x_BD: Tensor) -> Tensor | None:
        """By screening; None where too many centres are left."""
        B, k, D = len(x_BD), len(self.centres_kD), x_BD.shape[1]
        x16_BD = x_BD.to(torch.bfloat16)
        error_B = torch.linalg.vector_norm(x_BD - x16_BD, dim=1) * self._longest
        error_B += 1.01 * (self._lost + D * _SUM * self._longest)  # rows have length 1, copies less than 1.01
        error = error_B.numpy().astype(np.float32) * np.float32(1 + 1e-5)
        top_B, rows, columns, scores = np.zeros(B, np.int16), [], [], []
        out = torch.empty(B * min(k, CENTRES), dtype=torch.bfloat16)
        left = 0
        for j in range(0, k, CENTRES):
            part_kD = self._rounded_kD[j : j + CENTRES]
            score_Bk = torch.mm(x16_BD, part_kD.T, out=out[: B * len(part_kD)].view(B, -1))
            bits_Bk = score_Bk.view(torch.int16).numpy()  # of numbers above 0, bits are in the order of the numbers
            top_B = np.maximum(top_B, bits_Bk.max(1))
            least_B = _least(top_B, error)
            if (least_B <= 0).any():
                return None
            at = np.flatnonzero(bits_Bk >= least_B[:, None])
            left += len(at)
            if left > B * k / CROWDED + B * 4:
                return None
            row, column = np.divmod(at, bits_Bk.shape[1])
            rows.append(row)
            columns.append(column + j)
            scores.append(bits_Bk[row, column])
        return torch.from_numpy(self._decide(x_BD, least_B, *map(np.concatenate, (rows, columns, scores))))

    def _decide(
        self,
        x_BD: Tensor,
        least_B: NDArray[np.int16],
        row: NDArray[np.int64],
        column: NDArray[np.int64],
        bits: NDArray[np.int16],
    ) -> NDArray[np.int64]:
        """The best of the pairs (row, column) that are left; every row has one."""
        keep = bits >= least_B[row]  # by the best of all blocks
        row, column = row[keep], column[keep]
        label_B = np.zeros(len(x_BD), np.int64)
        count_B = np.bincount(row, minlength=len(x_BD))
        alone = count_B[row] == 1
        label_B[row[alone]] = column[alone]
        row, column = row[~alone], column[~alone]
        self.compared += len(row)
        if len(row):
            pairs = torch.from_numpy(row), torch.from_numpy(column)
            score = torch.linalg.vecdot(x_BD[pairs[0]], self.centres_kD[pairs[1]]).numpy()
            order = np.lexsort((column, -score, row))
            first = np.r_[True, row[order][1:] != row[order][:-1]]
            label_B[row[order][first]] = column[order][first]
        return label_B


def _least(top_B: NDArray[np.int16], error_B: NDArray[np.float32]) -> NDArray[np.int16]:
    """Bits of the lowest score that may belong to the nearest centre; 0 where that is not above 0."""
    best_B = (top_B.astype(np.int32) << 16).view(np.float32)
    least_B = (best_B * np.float32(1 - _OUT) - 2 * error_B) / np.float32(1 + _OUT)
    bits: NDArray[np.int16] = (np.maximum(least_B, 0).view(np.int32) >> 16).astype(np.int16)
    return bits
