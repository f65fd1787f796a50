"""The decisions of one frame: skip, vectors, intra, levels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field

import numpy as np

from onevision_encoder.codec.twin.bits import Bits, Vector, vector_bits
from onevision_encoder.codec.twin.pictures import DCT, Picture, Reference, intra_prediction, satd, transform
from onevision_encoder.codec.twin.search import FAR, search

STEP = [round(1024 * 2 ** (i / 48)) for i in range(48)]


def _step(qp: int) -> int:
    """Grey levels x 16 of a quantiser step; ``qp`` in eighths."""
    return (STEP[(qp - 32) % 48] << ((qp - 32) // 48)) >> 6


@dataclass
class Cell:
    """What later blocks and frames see of a cell: its vector; was it predicted from the frame before, skipped, does it
    have levels?"""

    mv: Vector = (0, 0)
    inter: bool = False
    skip: bool = False
    coded: bool = False


@dataclass
class Choice:
    """How a block or cell is coded.

    ``which`` = place in the merge list, where ``merge``; else ``mv`` is sent as its difference from ``predictor``.
    ``distortion`` = SATD of the prediction; ``levels`` None = no residual is sent. Of the cell, once coded: ``bits`` of
    the levels, ``squared`` error of the decoded pixels, sum of the coded |``residual``|, sum of |source - prediction|
    as ``error``.
    """

    mv: Vector = (0, 0)
    inter: bool = True
    merge: bool = True
    which: int = 0
    predictor: Vector = (0, 0)
    distortion: int = 0
    levels: Picture | None = None
    bits: int = 0
    squared: int = 0
    residual: int = 0
    error: int = 0


@dataclass
class Frame:
    """Outputs of one frame, per cell: units of bits, sums of |residual| and of |source - prediction| (None = intra)."""

    bits: dict[Vector, int] = field(default_factory=dict)
    residual: dict[Vector, int] = field(default_factory=dict)
    error: dict[Vector, int | None] = field(default_factory=dict)


class FrameCoder:
    """One frame. ``cells`` and ``recon`` (the decoded picture) become the past of the next.

    ``weight`` is lambda, the price of a bit, x 256, where errors are SATD; ``weight_search`` where they are SAD,
    ``weight_rate`` where they are squared. All grow with the quantiser's step: the coarser, the dearer a bit.
    """

    def __init__(
        self,
        source: Picture,
        reference: Reference | None,
        past: Mapping[Vector, Cell],
        bits: Bits,
        constants: Mapping[str, int],
        noise: int,
        shift: Vector = (0, 0),
    ) -> None:
        self.source, self.reference, self.past, self.bits, self.shift = source, reference, past, bits, shift
        # Steps below the noise would code the noise: they are raised, and with them all that weighs errors.
        plain = _step(constants["qp_inter"])
        step = max(plain, min(constants["noise"] * noise // 16, _step(400)))
        self.p = dict(constants)
        for name in ("still_from", "split_from", "intra_from"):
            self.p[name] = constants[name] * step // plain
        self.step16 = step if reference else min(_step(constants["qp_intra"]) * step // plain, _step(400))
        self.weight = self.p["lambda"] * self.step16 // 16
        self.weight_search = self.p["lambda_search"] * self.step16 // 16
        self.weight_rate = self.p["lambda_rate"] * self.step16**2 // 256
        self.cells: dict[Vector, Cell] = defaultdict(Cell)
        self.recon = np.zeros_like(source)
        self.out = Frame()

    def code(self) -> Frame:
        """All blocks in raster order, so that what is left of a block and above it is known: to a decoder as well."""
        for y in range(0, self.source.shape[0], 16):
            for x in range(0, self.source.shape[1], 16):
                if self.reference:
                    self._block(x, y, self.reference)
                else:
                    for u, v in _quarters(x, y):
                        cell = Choice(inter=False)
                        self._code_cell(u, v, cell)
                        self._output(u, v, cell, 512 + cell.bits)
        return self.out

    def _output(self, x: int, y: int, cell: Choice, bits: int) -> None:
        at = (y // 8, x // 8)
        self.out.bits[at], self.out.residual[at] = bits, cell.residual
        self.out.error[at] = cell.error if cell.inter else None

    def _price(self, squared: int, bits: int) -> int:
        """What every last decision is made by: squared error + lambda x bits."""
        return (squared << 16) + bits * self.weight_rate

    def _around(self, x: int, y: int) -> tuple[Cell, Cell]:
        """The cells to the left and above; outside the picture, empty ones."""
        return self.cells[y // 8, x // 8 - 1], self.cells[y // 8 - 1, x // 8]

    # -- vectors --

    def _merge_list(self, x: int, y: int, size: int, reference: Reference) -> list[Vector]:
        """Vectors that cost next to nothing: still, left, above, above right, the block's own a frame ago."""
        cy, cx, last = y // 8, x // 8, size // 8 - 1
        around = [self.cells[cy + last, cx - 1], self.cells[cy - 1, cx + last], self.cells[cy - 1, cx + last + 1]]
        around.append(self.past.get((cy + last, cx + last), Cell()))
        vectors = [(0, 0), *(reference.limit(x, y, size, c.mv) for c in around if c.inter)]
        return list(dict.fromkeys(vectors))

    def _median(self, x: int, y: int, size: int, reference: Reference) -> Vector:
        """What a searched vector is compared with: the median of left, above and above right, dx and dy apart."""
        left, above = self._around(x, y)
        mvs = left.mv, above.mv, self.cells[y // 8 - 1, (x + size) // 8].mv
        middle = sorted(mv[0] for mv in mvs)[1], sorted(mv[1] for mv in mvs)[1]
        return reference.limit(x, y, size, middle)

    def _satd(self, x: int, y: int, size: int, mv: Vector, reference: Reference) -> int:
        return satd(self.source[y : y + size, x : x + size], reference.block(x, y, size, mv))

    def _best_merge(
        self, x: int, y: int, size: int, vectors: list[Vector], reference: Reference
    ) -> tuple[int, int, int]:
        """(cost, place, SATD) of the best of the list."""
        tried = vectors[: self.p["merges"]]
        best = (FAR, 0, 0)
        for i, mv in enumerate(tried):
            distortion = self._satd(x, y, size, mv, reference)
            place = 0 if len(tried) < 2 else 256 * (i + 1 if i < 2 else 3)
            best = min(best, (distortion + (place * self.weight >> 16), i, distortion))
        return best

    def _choose_vector(
        self,
        x: int,
        y: int,
        size: int,
        vectors: list[Vector],
        merge: tuple[int, int, int],
        extra: Vector,
        reference: Reference,
    ) -> tuple[int, Choice]:
        """A vector of the merge list, or one that is searched and sent. Returns (SATD + lambda x bits, choice)."""
        cost, which, distortion = merge
        cost += 256 * self.weight >> 16
        predictor = self._median(x, y, size, reference)
        choice = Choice(mv=vectors[which], which=which, predictor=predictor, distortion=distortion)
        if cost <= self.p["still_from"] >> (2 if size == 8 else 0):
            return cost, choice
        starts = [(0, 0), *vectors, extra, predictor, self.shift]
        starts = [reference.limit(x, y, size, mv) for mv in starts]
        source = self.source[y : y + size, x : x + size]
        found = search(reference, source, x, y, predictor, starts, self.weight_search, self.p)
        if found == choice.mv:
            return cost, choice
        distortion = self._satd(x, y, size, found, reference)
        searched = distortion + ((512 + vector_bits(found, predictor)) * self.weight >> 16)
        if searched >= cost:
            return cost, choice
        return searched, Choice(mv=found, merge=False, predictor=predictor, distortion=distortion)

    # -- blocks --

    def _block(self, x: int, y: int, reference: Reference) -> None:
        """16 x 16 pixels: skipped, or one vector, or a vector or intra for each cell."""
        left, above = self._around(x, y)
        header, kept = ("skip", left.skip + above.skip), self.bits.contexts.copy()
        vectors = self._merge_list(x, y, 16, reference)
        merge = self._best_merge(x, y, 16, vectors, reference)
        mv, later = vectors[merge[1]], merge[1] > 0
        skipped = reference.block(x, y, 16, mv)
        skip_squared = int(((self.source[y : y + 16, x : x + 16] - skipped) ** 2).sum())
        skip_bits = self.bits.cost(header, True) + self.bits.cost("which", later) + 256 * later
        parts: list[Choice] = []
        split = False
        if merge[0] > self.p["still_from"]:
            parts, split = self._parts(x, y, vectors, merge, reference)
            for (u, v), part in zip(_quarters(x, y), parts, strict=True):
                self._code_cell(u, v, part, reference)
            split = split or not all(part.inter for part in parts)
            bits = sum(part.bits for part in parts) + self.bits.cost(header, False) + self.bits.cost("split", split)
            bits += sum(self._prediction_bits(part, self.bits.cost) for part in parts[: 4 if split else 1])
            squared = sum(part.squared for part in parts)
        if not parts or self._price(skip_squared, skip_bits) <= self._price(squared, bits):
            self.bits.contexts = kept
            bits = self.bits.put(header, True) + self.bits.put("which", later) + 256 * later
            for u, v in _quarters(x, y):
                self.cells[v // 8, u // 8] = Cell(mv=mv, inter=True, skip=True)
                self._output(u, v, Choice(), bits // 4)
            self.recon[y : y + 16, x : x + 16] = skipped
            return
        head = self.bits.put(header, False) + self.bits.put("split", split)
        if not split:
            head += self._prediction_bits(parts[0], self.bits.put)
        for (u, v), part in zip(_quarters(x, y), parts, strict=True):
            own = self._prediction_bits(part, self.bits.put) if split else 0
            self._output(u, v, part, head // 4 + part.bits + own)

    def _parts(
        self, x: int, y: int, vectors: list[Vector], merge: tuple[int, int, int], reference: Reference
    ) -> tuple[list[Choice], bool]:
        """The four cells' vectors, and whether they are their own."""
        cost, whole = self._choose_vector(x, y, 16, vectors, merge, (0, 0), reference)
        if whole.distortion > self.p["split_from"]:
            total, parts = 512 * self.weight >> 16, []
            for u, v in _quarters(x, y):
                own = self._merge_list(u, v, 8, reference)
                best = self._best_merge(u, v, 8, own, reference)
                part_cost, part = self._choose_vector(u, v, 8, own, best, whole.mv, reference)
                self.cells[v // 8, u // 8] = Cell(mv=part.mv, inter=True)
                total += part_cost
                parts.append(part)
            if total < cost:
                return parts, True
        parts = []
        for u, v in _quarters(x, y):
            distortion = self._satd(u, v, 8, whole.mv, reference)
            same = Choice(mv=whole.mv, merge=whole.merge, which=whole.which, predictor=whole.predictor)
            same.distortion = distortion
            parts.append(same)
        return parts, False

    def _prediction_bits(self, part: Choice, event: Callable[[Hashable, bool], int]) -> int:
        """How the part is predicted, in bits; ``event`` only asks (``Bits.cost``) or also learns (``Bits.put``)."""
        bits = event("inter", part.inter)
        if not part.inter:
            return bits + 512
        bits += event("merge", part.merge)
        if part.merge:
            return bits + event("which", part.which > 0) + 256 * (part.which > 0)
        return bits + vector_bits(part.mv, part.predictor)

    # -- cells --

    def _code_cell(self, x: int, y: int, cell: Choice, reference: Reference | None = None) -> None:
        """Prediction (intra where that is cheaper) + coded residual = the decoded cell, as later ones will see it."""
        source = self.source[y : y + 8, x : x + 8]
        if reference:
            prediction = reference.block(x, y, 8, cell.mv)
        if not reference or cell.distortion > self.p["intra_from"]:
            intra = intra_prediction(self.source, self.recon, x, y)
            if not reference or satd(source, intra) + (1024 * self.weight >> 16) < cell.distortion:
                cell.inter, cell.merge, cell.mv, prediction = False, False, (0, 0), intra
        left, above = self._around(x, y)
        recon = self._code_residual(source, prediction, cell, left.coded + above.coded)
        self.recon[y : y + 8, x : x + 8] = recon
        self.cells[y // 8, x // 8] = Cell(mv=cell.mv, inter=cell.inter, coded=cell.levels is not None)

    def _code_residual(self, source: Picture, prediction: Picture, cell: Choice, neighbours: int) -> Picture:
        """Transform, quantise, and back; the levels are kept if they pay. Returns the coded pixels."""
        residual = source - prediction
        cell.error, cell.squared = int(np.abs(residual).sum()), int((residual**2).sum())
        nothing: Hashable = ("coded", not cell.inter, neighbours)
        levels = np.zeros((8, 8), np.int64)
        if 16 * cell.error >= 3 * self.step16:
            spectrum = transform(residual, DCT, (2, 9))
            rounding = (self.p["round_inter"] if cell.inter else self.p["round_intra"]) * self.step16 // 256
            magnitude = np.minimum(np.abs(spectrum) + rounding, 32767)
            levels = np.sign(spectrum) * (magnitude * (65536 // self.step16) >> 16)
        if levels.any():
            change = transform(levels * self.step16, DCT.T, (7, 12))
            recon: Picture = np.clip(prediction + change, 0, 255)
            squared = int(((source - recon) ** 2).sum())
            without = self._price(cell.squared, self.bits.cost(nothing, False))
            kept = self.bits.contexts.copy()
            bits = self.bits.levels(levels, not cell.inter, neighbours)
            if self._price(squared, bits) < without:
                cell.levels, cell.bits, cell.squared = levels, bits, squared
                cell.residual = int(np.abs(recon - prediction).sum())
                return recon
            self.bits.contexts = kept
        cell.bits = self.bits.put(nothing, False)
        return prediction


def _quarters(x: int, y: int) -> list[Vector]:
    return [(x, y), (x + 8, y), (x, y + 8), (x + 8, y + 8)]
