"""Orders of rows: raster, or by blocks of patches that a later merge joins.

Axes: T frames, h w patches, N patches of a pack.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.types import Order, PatchTokens, order_rank


def order_permutation(shape: tuple[int, int, int], order: Order) -> NDArray[np.int64]:
    """Raster indices in another order: ``dense[order_permutation(shape, order)]``, int64 [T*h*w].

    ``block2`` is how LLaVA-OneVision-2 and Mage lay out the patches of a frame: the four of a 2x2 block follow
    each other, blocks in raster order. ``np.argsort`` of it leads back.
    """
    positions = np.stack(np.unravel_index(np.arange(np.prod(shape)), shape), axis=1).astype(np.int32)
    return np.argsort(order_rank(positions, shape, order), kind="stable")


def reorder(tokens: PatchTokens, order: Order) -> PatchTokens:
    """The same tokens with the rows of each clip in another order. Pixels, places, scores move together."""
    rows = np.arange(len(tokens))
    for s, clip in enumerate(tokens.clips):
        mine = slice(int(tokens.cu_seqlens[s]), int(tokens.cu_seqlens[s + 1]))
        shape = (len(clip.frame_index_T), *clip.grid)
        rows[mine] = mine.start + np.argsort(order_rank(tokens.positions_N3[mine], shape, order), kind="stable")
    return replace(
        tokens,
        patches_ND=tokens.patches_ND[rows],
        positions_N3=tokens.positions_N3[rows],
        model_positions_N3=tokens.model_positions_N3[rows],
        score_N=tokens.score_N[rows],
        kind_N=tokens.kind_N[rows],
        clips=tuple(replace(clip, order=order) for clip in tokens.clips),
    )
