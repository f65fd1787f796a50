"""What every frozen encoder under evaluation looks like: clips in, tokens out.

Axes: N tokens of all clips, S clips, C width, 3 = (t, h, w).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor

from onevision_encoder.checks import require
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.tokens import ClipReading
from onevision_encoder.types import FrameSequence

Clip: TypeAlias = ClipReading | FrameSequence
"""What a backbone reads: frames, or frames with the selection that our own encoder takes its patches from."""


class TooFewFramesError(InvalidArgumentError):
    """A clip that is too short for this model, which never sees a frame twice."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """What a backbone made of clips. All tensors are on one device and carry no gradient.

    Attributes:
        tokens_NC: float32, patch tokens of all clips end to end; no class or register token among them.
        cu_seqlens: int32 [S + 1], clip s holds rows cu_seqlens[s]:cu_seqlens[s + 1].
        pooled_SC: float32, the model's own summary of each clip; None where it has none.
        positions_N3: int32 (t, h, w): t the row of the frame in the clip that was given (a token of several frames has
            that of the first), h and w the token's place in the grid of that model; None where it is not known.
    Raises:
        ShapeError: tensors that do not fit each other, or other dtypes.
    """

    tokens_NC: Tensor
    cu_seqlens: Tensor
    pooled_SC: Tensor | None = None
    positions_N3: Tensor | None = None

    def __post_init__(self) -> None:
        tokens, cu = self.tokens_NC, self.cu_seqlens
        ok = tokens.ndim == 2 and tokens.dtype == torch.float32
        require(ok, "tokens_NC", (tuple(tokens.shape), str(tokens.dtype)), "float32 [N, C]")
        require(cu.ndim == 1 and cu.dtype == torch.int32, "cu_seqlens", (tuple(cu.shape), str(cu.dtype)), "int32 [S+1]")
        bounds = cu.tolist()
        rising = len(bounds) >= 2 and all(a < b for a, b in pairwise(bounds))
        fits = rising and bounds[0] == 0 and bounds[-1] == len(tokens)
        require(fits, "cu_seqlens", bounds, f"0 ... {len(tokens)}, strictly increasing, one step a clip")
        S, N = len(bounds) - 1, len(tokens)
        for name, shape, dtype in (("pooled_SC", (S, None), torch.float32), ("positions_N3", (N, 3), torch.int32)):
            array: Tensor | None = getattr(self, name)
            if array is not None:
                fits = array.ndim == 2 and array.dtype == dtype and len(array) == shape[0]
                fits = fits and shape[1] in (None, array.shape[1])
                require(fits, name, (tuple(array.shape), str(array.dtype)), f"{dtype} {shape}")

    @classmethod
    def join(cls, parts: Sequence[Features]) -> Features:
        """The clips of all parts end to end, in order.

        Raises:
            InvalidArgumentError: nothing to join, or a field that only some parts have.
        """
        if not parts:
            raise InvalidArgumentError("clips", [], "at least one clip")
        lengths = torch.cat([part.cu_seqlens.diff() for part in parts])
        start = torch.zeros(1, dtype=torch.int32, device=lengths.device)
        return cls(
            tokens_NC=torch.cat([part.tokens_NC for part in parts]),
            cu_seqlens=torch.cat([start, lengths.cumsum(0, dtype=torch.int32)]),
            pooled_SC=_joined("pooled_SC", [part.pooled_SC for part in parts]),
            positions_N3=_joined("positions_N3", [part.positions_N3 for part in parts]),
        )


def _joined(name: str, arrays: Sequence[Tensor | None]) -> Tensor | None:
    present = [array for array in arrays if array is not None]
    if len(present) not in (0, len(arrays)):
        raise InvalidArgumentError(name, f"in {len(present)} of {len(arrays)} parts", "in all parts or in none")
    return torch.cat(present) if present else None


@runtime_checkable
class Backbone(Protocol):
    """A frozen encoder.

    ``width`` is C of its tokens. ``describe`` is JSON-able and holds everything that decides the numbers: model,
    digest of the weights, dtype, preprocessing, frames, tokens of a clip, what is dropped. ``encode`` gives the same
    numbers for a clip whatever clips are beside it, up to rounding.
    """

    @property
    def name(self) -> str: ...

    @property
    def width(self) -> int: ...

    def describe(self) -> dict[str, Any]: ...

    def encode(self, clips: Sequence[Clip]) -> Features: ...
