"""Policy ``codec``: anchors, then what could not be predicted.

Axes: T frames, U units of a frame. All figures in units. With K the budget, A what anchors took, R = K - A:

1. Anchors (:mod:`onevision_encoder.selection.anchors`): the first frame, scene starts, evenly spaced ones.
2. Frames that cannot be ranked (scene starts whose anchor is less than that, frames without signals) are brought to an
   even share K / T, none getting more than R / T on top of its anchor, by even coverage. Without this a montage would
   spend three quarters of its budget on what happens between its cuts; with it a scene start never gets more than
   its anchor or an even share, so a cut cannot swallow the budget, however many cells it coded anew.
3. Every ranked frame gets its ``min_per_frame`` best units (fewer where R / T is less; anchors count).
4. ``scope="chunk"``: what is left of R is shared so that each run of ``chunk_frames`` frames gets its part of R
   (largest remainder; a full run passes on what it cannot take) and spends it on its own best units.
   ``scope="global"``: the best units of the clip.
5. Where nothing stands out of the noise any more, the rest is spread over all frames by even coverage.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from onevision_encoder.selection.anchors import Anchors, plan_anchors
from onevision_encoder.selection.board import Board, Floats
from onevision_encoder.selection.config import SelectionConfig
from onevision_encoder.selection.cover import Ints, apportion
from onevision_encoder.selection.saliency import Saliency
from onevision_encoder.types import Kind


def choose_codec(board: Board, budget: int, sal: Saliency, config: SelectionConfig) -> dict[str, Any]:
    """Spend ``budget`` units on ``board``; returns the facts for provenance. Looks at no pixel."""
    value_TU = sal.value_Thw.reshape(board.free_TU.shape)
    anchors = plan_anchors(
        budget=budget,
        per_frame=board.per_frame,
        starts_T=sal.starts_T,
        count=config.anchors,
        share=config.anchor_share,
    )
    anchor_T = np.zeros(board.frames, np.int64)
    anchor_T[anchors.frame_A] = anchors.units_A
    board.cover(anchor_T, Kind.ANCHOR)
    rest = budget - int(anchor_T.sum())
    least = min(config.min_per_frame, rest // board.frames)
    _share_out(board, sal, value_TU, budget=budget, rest=rest, least=least)
    quotas: list[int] | None = None
    if config.scope == "chunk":
        quotas = _by_chunk(board, value_TU, rest, anchor_T, config.chunk_frames)
    else:
        left = budget - int(board.taken_T.sum())
        board.fill(left - board.top(value_TU, left))
    return {
        **sal.facts,
        **_anchor_facts(anchors, board.per_frame),
        "unranked_frames": np.flatnonzero(~sal.ranked_T).tolist(),
        "min_per_frame": least,
        "chunk_quotas": quotas,
    }


def _share_out(board: Board, sal: Saliency, value_TU: Floats, *, budget: int, rest: int, least: int) -> None:
    """Steps 2 and 3: each frame takes at most R / T here, so that all of them together never exceed R."""
    even, most = budget // board.frames, rest // board.frames
    missing_T = np.maximum(np.where(sal.ranked_T, least, even) - board.taken_T, 0)
    missing_T = np.minimum(np.minimum(missing_T, most), board.room_T)
    board.cover(np.where(sal.ranked_T, 0, missing_T))
    board.top_of_frames(value_TU, np.where(sal.ranked_T, missing_T, 0))


def _by_chunk(board: Board, value_TU: Floats, rest: int, anchor_T: Ints, chunk: int) -> list[int]:
    """Step 4 for chunks. Returns the quota of each: units beside its anchors."""
    begins = np.arange(0, board.frames, chunk)
    sizes = np.diff([*begins, board.frames])
    taken_C = np.add.reduceat(board.taken_T - anchor_T, begins)
    room_C = np.add.reduceat(board.room_T, begins)
    quota_C = apportion(rest, sizes, taken_C + room_C)
    for begin, quota, taken in zip(begins, quota_C, taken_C, strict=True):
        within, left = slice(int(begin), int(begin) + chunk), int(quota - taken)
        board.fill(left - board.top(value_TU, left, within), within)
    return [int(q) for q in quota_C]


def _anchor_facts(anchors: Anchors, per_frame: int) -> dict[str, Any]:
    whole = anchors.units_A == per_frame
    return {
        "anchor_frames": anchors.frame_A.tolist(),
        "anchor_units": anchors.units_A.tolist(),
        "coarse_anchors": anchors.frame_A[~whole].tolist(),
    }
