"""``blockcoder``: a small block coder of our own looks at the sampled frames, whatever file they came from.

Every frame is predicted from the *coded* frame before it, block by block (motion search with a rate term, intra where
that is cheaper), the rest goes through an integer 8 x 8 transform and a quantiser, and an adaptive model counts what
each cell would cost. What it decides is written down in ``csrc/bc_coder.c`` and, to be read, in ``codec/twin``; the
arithmetic is integer throughout, so that every machine gives the same bits. There are no periodic keyframes, whose cost
would say where the texture is instead of where something happened: whole frames are intra at frame 0 and at cuts only.

Axes: T frames, H W pixels, y x cells of 8 x 8 pixels, 2 = (dx, dy).
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.codec.cells import cell_grid, luma_of
from onevision_encoder.codec.sampled import SampledLumaProvider
from onevision_encoder.errors import SignalUnavailableError
from onevision_encoder.types import CodecSignals, Interval

NAME = "blockcoder"
_CORE = "onevision_encoder.codec._blockcoder"
CUT_RULE = "codec.cuts in integers: >= 90 % of textured cells unpredicted beyond the noise, no global shift explains it"


class _Core(Protocol):
    """What the extension module offers."""

    def code_clip(self, luma: Any, shape: tuple[int, int, int], /, *rest: Any) -> None: ...

    def constants(self) -> dict[str, int]: ...

    def simd(self) -> bool: ...


def _core() -> _Core:
    try:
        return cast(_Core, importlib.import_module(_CORE))
    except ImportError as error:
        todo = "install a C compiler, then reinstall the package with pip's --force-reinstall --no-deps --no-cache-dir"
        cause = f"its C extension is not built here ({error}): {todo}"  # pip keeps the wheel it built without one
        raise SignalUnavailableError(NAME, "any signal", cause, ["provider='x264proxy'"]) from error


def coder_constants() -> dict[str, int]:
    """The coder's constants by name. Raises SignalUnavailableError where the extension is missing."""
    return _core().constants()


def has_vector_kernels() -> bool:
    """Whether this build has them besides the scalar ones. Raises SignalUnavailableError without the extension."""
    return _core().simd()


def blockcoder_signals(
    luma_THW: NDArray[np.uint8], *, constants: Mapping[str, int] | None = None, scalar: bool = False
) -> CodecSignals:
    """Bits, residual and motion of luma frames since the frame before each. Releases the GIL.

    Args:
        luma_THW: uint8 [T, H, W], any T >= 1, H and W from 1 to 16384.
        constants: other values for the coder's constants, for experiments (``csrc/bc_parameters.h`` names them).
        scalar: use the scalar kernels where the build has vector ones too; the result is the same.
    Returns:
        :class:`CodecSignals`, ``interval="sample"`` (``codec/sampled.py`` makes ``"frame"`` of it). Bits are an
        estimate of what an arithmetic coder would spend on the cell; residual is the coded one (decoded minus
        predicted, exactly 0 where the prediction was good enough); motion is in quarter pixels. Intra cells are those
        that were cheaper to predict from their neighbours, and all of frame 0 and of cuts.
    Raises:
        ShapeError: not uint8 [T, H, W]. SignalUnavailableError: the package was installed without a C compiler.
        ValueError: an unknown constant, or a side above 16384.
    """
    luma_of(luma_THW)
    core = _core()
    T, H, W = luma_THW.shape
    y, x = cell_grid(H, W)
    bits_Tyx, residual_Tyx = np.zeros((T, y, x), np.float32), np.zeros((T, y, x), np.float32)
    motion_Tyx2 = np.zeros((T, y, x, 2), np.float32)
    intra_Tyx, cut_T = np.ones((T, y, x), np.bool_), np.zeros(T, np.bool_)
    out = (bits_Tyx, residual_Tyx, motion_Tyx2, intra_Tyx, cut_T)
    given = None if constants is None else dict(constants)
    core.code_clip(np.ascontiguousarray(luma_THW), (T, H, W), *out, given, int(scalar))
    return CodecSignals(
        residual_Tyx=residual_Tyx,
        motion_Tyx2=motion_Tyx2,
        intra_Tyx=intra_Tyx,
        valid_T=np.ones(T, np.bool_),
        cut_T=cut_T,
        interval="sample",
        frame_size=(H, W),
        bits_Tyx=bits_Tyx,
        provenance={
            "provider": NAME,
            "bits": "estimate of an adaptive binary arithmetic coder, per cell",
            "motion": "vectors of the block coder on the sampled luma, since the sampled frame before",
            "residual": "decoded minus predicted (coded residual)",
            "cut": CUT_RULE,
            "constants": core.constants() | (given or {}),
        },
    )


class BlockCoder(SampledLumaProvider):
    """The provider ``blockcoder``; see :func:`blockcoder_signals`."""

    name = NAME

    def check(self, interval: Interval) -> None:
        super().check(interval)
        _core()

    def of_luma(self, luma_THW: NDArray[np.uint8]) -> CodecSignals:
        return blockcoder_signals(luma_THW)
