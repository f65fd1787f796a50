"""One frame of a video through the readable coder, with everything on the way kept for drawing.

Axes: T frames, H W pixels (of the padded picture: multiples of 16), y x cells of 8 x 8 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onevision_encoder.codec import blockcoder_signals
from onevision_encoder.codec.twin import coded_frames
from onevision_encoder.codec.twin.bits import Vector
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


def walk(luma_THW: np.ndarray) -> Walk:
    """The last of the frames.

    Raises:
        SystemExit: it starts a scene.
    """
    (before, _), (coder, _) = list(coded_frames(luma_THW))[-2:]
    if coder.reference is None:
        raise SystemExit("a scene starts here, so that nothing is predicted: choose another --frame")
    rows, columns = (n // 8 for n in coder.source.shape)
    bits_yx = np.array([[coder.out.bits[j, i] / 256 for i in range(columns)] for j in range(rows)])
    core_yx = blockcoder_signals(luma_THW).bits_Tyx[-1]
    if not np.array_equal(bits_yx[: core_yx.shape[0], : core_yx.shape[1]].astype(np.float32), core_yx):
        raise SystemExit("the twin and the C core differ: is the extension built from these sources?")
    return Walk(
        coder=coder,
        reference=coder.reference,
        source_HW=coder.source,
        before_HW=before.recon,
        prediction_HW=prediction(coder, coder.reference),
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
