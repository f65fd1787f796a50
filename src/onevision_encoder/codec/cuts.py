"""Where a new scene starts.

The rule, in words: frame t is a cut when it has texture and next to nothing of that texture can be predicted from the
frame before, neither block by block nor as a whole:

1. at least 5 % of its cells are textured (mean absolute deviation from the cell's mean >= 2 grey levels, see below);
2. at least 90 % of the textured cells, and 25 % of all cells, have no useful prediction from the frame before: they are
   intra, or the prediction error is at least 0.7 of what predicting the cell by its own mean would leave;
3. the frame before does not explain the texture after one global shift: take zero shift and the best shift of the
   whole picture (phase correlation); the median correlation between textured cells, each freed of its mean, is below
   0.25 for all of them.

Textured = deviates from its mean by 2 grey levels and by twice the sensor's noise
(:mod:`onevision_encoder.codec.noise`): in a dark picture the grain of the sensor is all the texture there is, and it is
new in every frame. A cut between two pictures whose texture drowns in noise is not seen.

Step 2 leaves out objects, however large and fast, that leave some of the old scene in place; step 3 leaves out fades
and flashes (correlation does not see brightness and contrast), slow dissolves, and pans faster than the motion search.
Flat frames (black, saturated white) are never cuts: there is nothing to look at; a picture that follows one is a cut.

The thresholds sit in wide gaps. On 8 real films sampled every 1, 4 or 8 frames (2,260 frame pairs), the 29 true cuts
had at least 94 % of their textured cells intra and a correlation of at most 0.06 at zero shift. Every other frame above
80 % was a fade or dissolve with a correlation of at least 0.4. The fastest action, a car that fills the picture, stayed
below 84 % by step 2's measure.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.codec.cells import cell_difference
from onevision_encoder.codec.noise import noise_levels
from onevision_encoder.types import CELL

CUT_RULE = "codec.cuts: >= 90 % of cells with texture above the noise unpredicted, and no global shift explains it"
TEXTURED_LEVELS = 2.0
_NOISES = 2.0
_USELESS = 0.7
_MIN_TEXTURED, _MIN_UNPREDICTED_TEXTURE, _MIN_UNPREDICTED, _MAX_CORRELATION = 0.05, 0.9, 0.25, 0.25
_MIN_OVERLAP = 0.2
"""Of the textured cells: a global shift that leaves fewer of them over the old picture explains nothing."""


def is_cut(
    previous_HW: NDArray[np.uint8],
    current_HW: NDArray[np.uint8],
    predicted_HW: NDArray[np.uint8],
    has_vector_yx: NDArray[np.bool_],
    deviation_yx: NDArray[np.float32],
) -> bool:
    """Does ``current_HW`` start a new scene? The rule is the module's docstring.

    Args:
        previous_HW, current_HW: uint8 luma, sides multiples of 8.
        predicted_HW: the motion-compensated frame before.
        has_vector_yx: cells for which there is a prediction at all.
        deviation_yx: :func:`cell_deviation` of ``current_HW``.
    """
    difference_yx = cell_difference(current_HW, predicted_HW)
    seen = max(TEXTURED_LEVELS, _NOISES * noise_levels(previous_HW, current_HW))
    unpredicted_yx = ~has_vector_yx | (difference_yx >= np.maximum(_USELESS * deviation_yx, seen))
    textured_yx = deviation_yx >= seen
    if unpredicted_yx.mean() < _MIN_UNPREDICTED or textured_yx.mean() < _MIN_TEXTURED:
        return False
    if unpredicted_yx[textured_yx].mean() < _MIN_UNPREDICTED_TEXTURE:
        return False
    shifts = {(0, 0), *_global_shifts(previous_HW, current_HW)}
    return all(_correlation(previous_HW, current_HW, textured_yx, s) < _MAX_CORRELATION for s in sorted(shifts))


def _global_shifts(previous_HW: NDArray[np.uint8], current_HW: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """The peak of the phase correlation as (dy, dx) of the content, and what else it means modulo the frame size."""
    H, W = current_HW.shape
    window = np.hanning(H + 2)[1:-1, None] * np.hanning(W + 2)[None, 1:-1]
    spectrum = [np.fft.rfft2((p - p.mean()) * window) for p in (previous_HW, current_HW)]
    cross = spectrum[1] * np.conj(spectrum[0])
    surface = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-9), (H, W))
    dy, dx = (int(i) for i in np.unravel_index(int(np.argmax(surface)), surface.shape))
    return [(y, x) for y in (dy, dy - H) for x in (dx, dx - W)]


def _correlation(
    previous_HW: NDArray[np.uint8],
    current_HW: NDArray[np.uint8],
    textured_yx: NDArray[np.bool_],
    shift: tuple[int, int],
) -> float:
    """Median correlation of textured cells with the shifted previous frame; -1 where too few of them overlap it."""
    H, W = current_HW.shape
    y, x = np.arange(H) - shift[0], np.arange(W) - shift[1]
    inside_y = ((y >= 0) & (y < H)).reshape(-1, CELL).all(1)
    inside_x = ((x >= 0) & (x < W)).reshape(-1, CELL).all(1)
    wanted_yx = textured_yx & inside_y[:, None] & inside_x[None, :]
    if wanted_yx.sum() < _MIN_OVERLAP * textured_yx.sum():
        return -1.0
    shifted_HW = previous_HW[np.clip(y, 0, H - 1)][:, np.clip(x, 0, W - 1)]
    a, b = (_zero_mean_cells(p)[wanted_yx] for p in (shifted_HW, current_HW))
    energy = np.sqrt((a * a).sum(1) * (b * b).sum(1))
    return float(np.median((a * b).sum(1) / np.maximum(energy, 1e-3)))


def _zero_mean_cells(picture_HW: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 [y, x, 64]: the pixels of each cell minus their mean."""
    H, W = picture_HW.shape
    cells = picture_HW.reshape(H // CELL, CELL, W // CELL, CELL).transpose(0, 2, 1, 3)
    flat = cells.reshape(H // CELL, W // CELL, CELL * CELL).astype(np.float32)
    centred: NDArray[np.float32] = flat - flat.mean(-1, keepdims=True)
    return centred
