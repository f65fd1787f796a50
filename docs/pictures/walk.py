"""One frame of a video through the readable coder, with everything on the way kept for drawing.

Axes: T frames, H W pixels (of the padded picture: multiples of 16), y x cells of 8 x 8 pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from onevision_encoder.codec.blockcoder import blockcoder_signals, coder_constants
from onevision_encoder.codec.cells import pad_to
from onevision_encoder.codec.twin.bits import Bits, Vector
from onevision_encoder.codec.twin.coder import FrameCoder
from onevision_encoder.codec.twin.pictures import Picture, Reference, intra_prediction
from onevision_encoder.codec.twin.search import search


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Frame t: ``before_HW`` is the decoded frame before, ``decoded_HW`` what a decoder shows, all int64."""

    coder: FrameCoder
    reference: Reference
    source_HW: Picture
    before_HW: Picture
    prediction_HW: Picture
    decoded_HW: Picture
    bits_yx: np.ndarray


def coders(luma_THW: np.ndarray, constants: Mapping[str, int]) -> Iterator[FrameCoder]:
    """Every frame coded on the one before; no cuts are looked for."""
    bits, past, reference = Bits(constants["rate"]), {}, None
    for luma_HW in luma_THW:
        coder = FrameCoder(pad_to(luma_HW, 16).astype(np.int64), reference, past, bits, constants)
        coder.code()
        yield coder
        past, reference = coder.cells, Reference(coder.recon)


def walk(luma_THW: np.ndarray) -> Walk:
    """The last of the frames.

    Raises:
        SystemExit: the C core codes it otherwise: a scene starts in these frames, or the whole picture jumps.
    """
    before, coder = list(coders(luma_THW, coder_constants()))[-2:]
    rows, columns = (n // 8 for n in coder.source.shape)
    bits_yx = np.array([[coder.out.bits[j, i] / 256 for i in range(columns)] for j in range(rows)])
    core_yx = blockcoder_signals(luma_THW).bits_Tyx[-1]
    if not np.array_equal(bits_yx[: core_yx.shape[0], : core_yx.shape[1]].astype(np.float32), core_yx):
        raise SystemExit("a new scene, or a jump of the whole picture, before this frame: choose another --frame")
    return Walk(
        coder=coder,
        reference=Reference(before.recon),
        source_HW=coder.source,
        before_HW=before.recon,
        prediction_HW=prediction(coder, Reference(before.recon)),
        decoded_HW=coder.recon,
        bits_yx=bits_yx,
    )


def prediction(coder: FrameCoder, reference: Reference) -> Picture:
    """What each cell was predicted to look like."""
    out = np.zeros_like(coder.source)
    for y in range(0, out.shape[0], 8):
        for x in range(0, out.shape[1], 8):
            cell = coder.cells[y // 8, x // 8]
            inter = cell.inter
            block = reference.block(x, y, 8, cell.mv) if inter else intra_prediction(coder.source, coder.recon, x, y)
            out[y : y + 8, x : x + 8] = block
    return out


@dataclass(frozen=True, kw_only=True)
class Search:
    """The search of one 16 x 16 block: what it looked at in order, what it chose, and what it could have known."""

    x: int
    y: int
    predictor: Vector
    seen: list[Vector]
    found: Vector


class _Watched(Reference):
    """A reference that notes which vectors were looked at."""

    def __init__(self, recon: Picture) -> None:
        super().__init__(recon)
        self.seen: list[Vector] = []

    def block(self, x: int, y: int, size: int, mv: Vector) -> Picture:
        self.seen.append(mv)
        return super().block(x, y, size, mv)


def search_again(step: Walk, x: int, y: int) -> Search:
    """The search of the block at pixel (x, y), as the coder made it."""
    coder, watched = step.coder, _Watched(step.before_HW)
    predictor = coder._median(x, y, 16, watched)
    starts = [*coder._merge_list(x, y, 16, watched), predictor]
    block = step.source_HW[y : y + 16, x : x + 16]
    found = search(watched, block, x, y, predictor, starts, coder.weight_search, coder.p)
    return Search(x=x, y=y, predictor=predictor, seen=list(dict.fromkeys(watched.seen)), found=found)
