"""A clip through the twin: frames, scenes, and :class:`CodecSignals`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.codec.cells import cell_grid, luma_of, pad_to
from onevision_encoder.codec.twin.bits import Bits, Vector
from onevision_encoder.codec.twin.coder import Cell, FrameCoder
from onevision_encoder.codec.twin.noise import lasting, noise_of
from onevision_encoder.codec.twin.pictures import Picture, Reference
from onevision_encoder.codec.twin.scene import Scene, scene_of
from onevision_encoder.types import CodecSignals


def twin_signals(luma_THW: NDArray[np.uint8], *, constants: Mapping[str, int] | None = None) -> CodecSignals:
    """What :func:`onevision_encoder.codec.blockcoder_signals` gives, to the bit, in far more time: for small clips.

    Args:
        luma_THW: uint8 [T, H, W]. constants: those of the C core that are to differ.
    Raises:
        ShapeError: not uint8 [T, H, W]. SignalUnavailableError: no extension, which knows the constants.
    """
    from onevision_encoder.codec.blockcoder import coder_constants

    luma_of(luma_THW)
    T, H, W = luma_THW.shape
    y, x = cell_grid(H, W)
    bits_Tyx, residual_Tyx = np.zeros((T, y, x), np.float32), np.zeros((T, y, x), np.float32)
    motion_Tyx2, intra_Tyx = np.zeros((T, y, x, 2), np.float32), np.zeros((T, y, x), np.bool_)
    cut_T = np.zeros(T, np.bool_)
    p = coder_constants() | dict(constants or {})
    for t, (coder, cut_T[t]) in enumerate(coded_frames(luma_THW, constants=constants)):
        for at in np.ndindex(y, x):
            cell = coder.cells[at[0], at[1]]
            bits_Tyx[t][at], residual_Tyx[t][at] = coder.out.bits[at] / 256, coder.out.residual[at] / 64
            motion_Tyx2[t][at], intra_Tyx[t][at] = (-cell.mv[0] / 4, -cell.mv[1] / 4), not cell.inter
    return CodecSignals(
        residual_Tyx=residual_Tyx,
        motion_Tyx2=motion_Tyx2,
        intra_Tyx=intra_Tyx,
        valid_T=np.ones(T, np.bool_),
        cut_T=cut_T,
        interval="sample",
        frame_size=(H, W),
        bits_Tyx=bits_Tyx,
        provenance={"provider": "blockcoder twin", "constants": p},
    )


def coded_frames(
    luma_THW: NDArray[np.uint8], *, constants: Mapping[str, int] | None = None
) -> Iterator[tuple[FrameCoder, bool]]:
    """The coder of every frame, its work done, and whether the frame starts a scene: to look inside.

    Of interest in a coder: ``source`` and ``recon`` (the picture and its decoded version, int64, sides multiples of
    16), ``reference`` (what it was predicted from, None where a scene starts), ``cells`` and ``out`` by (row, column)
    of the cell, ``step16`` (the quantiser's step, in sixteenths).

    Args:
        luma_THW: uint8 [T, H, W]. constants: those of the C core that are to differ.
    Raises:
        ShapeError: not uint8 [T, H, W]. SignalUnavailableError: no extension, which knows the constants.
    """
    from onevision_encoder.codec.blockcoder import coder_constants

    luma_of(luma_THW)
    T, H, W = luma_THW.shape
    p = coder_constants() | dict(constants or {})
    model, past, reference, before = Bits(p["rate"]), dict[Vector, Cell](), None, None
    sources = [pad_to(luma_HW, 16).astype(np.int64) for luma_HW in luma_THW]
    # Frame 0 has none before it: the noise of frame 1 is taken for its own.
    noise = lasting(*noise_of(sources[1], sources[0], (H, W)), 0) if T > 1 else 0
    for source in sources:
        noise_before = noise
        if before is not None:
            noise = lasting(*noise_of(source, before, (H, W)), noise)
        state = (before, reference, past, noise, noise_before)
        coder, is_cut, noise = _code(source, state, model, p, cell_grid(H, W))
        yield coder, is_cut
        # The decoded frame predicts the next one, not the original: a decoder has no other.
        past, reference, before = coder.cells, Reference(coder.recon), source


State = tuple[Picture | None, Reference | None, Mapping[Vector, Cell], int, int]


def _code(
    source: Picture, state: State, model: Bits, p: Mapping[str, int], grid: tuple[int, int]
) -> tuple[FrameCoder, bool, int]:
    """One frame, a second time where it is a cut or moved as a whole: (its coder, is it a cut, noise)."""
    before, reference, past, noise, noise_before = state
    kept = model.contexts.copy()
    coder = FrameCoder(source, reference, past, model, p, noise, _majority(past, source.shape))
    out = coder.code()
    if before is None:
        return coder, True, noise
    scene, shift = scene_of(source, before, {at: out.error[at] for at in np.ndindex(grid)}, noise)
    if scene is Scene.SAME:
        return coder, False, noise
    model.contexts = kept
    if scene is Scene.CUT:  # what is new in time says nothing
        noise = min(noise, noise_before)
        coder = FrameCoder(source, None, past, model, p, noise)
    else:
        coder = FrameCoder(source, reference, past, model, p, noise, shift)
    coder.code()
    return coder, scene is Scene.CUT, noise


def _majority(cells: Mapping[Vector, Cell], shape: tuple[int, ...]) -> Vector:
    """The vector that won the vote among a frame's cells: a camera that pans goes on.

    Where more than half had one, it is that one; else it may be any of theirs, which is only where a search starts.
    """
    mv, lead = (0, 0), 0
    for at in np.ndindex(shape[0] // 8, shape[1] // 8):  # Boyer and Moore's vote
        own = cells[at].mv if at in cells else (0, 0)
        if not lead:
            mv = own
        lead += 1 if own == mv else -1
    return mv
