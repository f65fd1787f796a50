"""Segments whose bounds only the device knows: what a compiled or exported graph works with.

Axes: N tokens of the pack, S segments.

A graph cannot read the values of a tensor without breaking, so it cannot cut a pack into runs. It can mark every token
with the number of its segment and mask attention by that: one graph for any number of clips of any lengths, at the
price of N x N products and a mask of N x N booleans, where runs only pay for the blocks on the diagonal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onevision_encoder.errors import ShapeError
from onevision_encoder.model.segments import Segments


@dataclass(frozen=True, kw_only=True)
class MarkedSegments:
    """Segments as a tensor of bounds, integers [S + 1] on the device of the tokens, and the number of tokens N."""

    bounds: Tensor
    num_tokens: int

    @classmethod
    def from_cu_seqlens(
        cls, cu_seqlens: Tensor, num_tokens: int, device: torch.device, name: str = "cu_seqlens"
    ) -> MarkedSegments:
        """Take the bounds as they are: 0 ... N strictly increasing is the caller's promise, values cannot be read.

        Raises:
            ShapeError: no 1-D integers.
        """
        if cu_seqlens.ndim != 1 or cu_seqlens.is_floating_point() or cu_seqlens.dtype == torch.bool:
            found = (tuple(cu_seqlens.shape), str(cu_seqlens.dtype))
            raise ShapeError(name, found, f"1-D integers 0 ... {num_tokens} (the number of tokens)")
        return cls(bounds=cu_seqlens.to(device), num_tokens=num_tokens)

    @property
    def longest(self) -> int:
        """A bound on the length of a segment: nobody knows it."""
        return self.num_tokens

    def cu_seqlens(self, device: torch.device) -> Tensor:
        """int32 [S + 1], as variable-length attention kernels take it."""
        return self.bounds.to(device, torch.int32)

    def segment_N(self, device: torch.device) -> Tensor:
        """int64: how many segments end at or before each token, which is the number of its own."""
        row_N = torch.arange(self.num_tokens, device=device)
        return (row_N[:, None] >= self.bounds.to(device)[None, 1:]).sum(-1)

    def allowed_NN(self) -> Tensor:
        """bool: True where a token (row) may see another (column)."""
        segment_N = self.segment_N(self.bounds.device)
        return segment_N[:, None] == segment_N[None, :]

    def mask_NN(self) -> Tensor:
        """What attention takes: ``allowed_NN``, or in an exported graph, which is float32, 0 and -inf to be added.

        A boolean mask is exported with a guard against rows that see nothing, which no row of a token is; it cost
        onnxruntime a quarter of its time (preset tiny, 1,024 tokens).
        """
        allowed_NN = self.allowed_NN()
        exporting = getattr(torch.compiler, "is_exporting", bool)()  # absent in old torch: bool() is False
        return torch.where(allowed_NN, 0.0, -torch.inf) if exporting else allowed_NN

    def members_SN(self) -> Tensor:
        """bool: True where a token belongs to a segment."""
        row_1N = torch.arange(self.num_tokens, device=self.bounds.device)[None]
        return (row_1N >= self.bounds[:-1, None]) & (row_1N < self.bounds[1:, None])


def segments_of(
    cu_seqlens: Tensor | Sequence[int] | None, num_tokens: int, device: torch.device, name: str = "cu_seqlens"
) -> Segments | MarkedSegments:
    """Bounds as a caller may give them: read by the host, or left on the device where a graph is being made of them.

    Raises:
        ShapeError: they are no bounds of N tokens.
    """
    if isinstance(cu_seqlens, Tensor) and torch.compiler.is_compiling():
        return MarkedSegments.from_cu_seqlens(cu_seqlens, num_tokens, device, name)
    return Segments.from_cu_seqlens(cu_seqlens, num_tokens, name)
