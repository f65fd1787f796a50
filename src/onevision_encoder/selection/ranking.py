"""What decides a choice, without the pixels: so that another budget can be chosen when the frames are gone.

``select_ranked(rank(frames, signals, config), config)`` is ``select(frames, signals, config)``: same rows, same scores.

Axes: T frames, h w patches of a frame, U units of a frame (patches, or 2x2 blocks where a 2x2 merge follows).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.checks import freeze, require, require_finite, short_repr
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.selection.board import Board
from onevision_encoder.selection.choose import budget_of, selection_of
from onevision_encoder.selection.codec_policy import choose_codec
from onevision_encoder.selection.config import PolicyName, SelectionConfig
from onevision_encoder.selection.policies import choose_random, choose_uniform
from onevision_encoder.selection.saliency import Saliency, clip_saliency
from onevision_encoder.types import CodecSignals, FrameSequence, Selection

NEED_PIXELS = ("run_length", "uniform_lowres")
"""Policies that look at the pixels themselves, or change them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """The board of a clip, and what policy codec ranks by.

    Attributes:
        num_frames, grid, merge, content_hw: as of the FrameSequence.
        value_TU: float32, saliency of every unit. ranked_T: frames that can be ranked. starts_T: frames that start a
            scene. All three None where the policy looks at no signals.
    Raises:
        ShapeError: arrays that do not fit the board.
    """

    num_frames: int
    grid: tuple[int, int]
    merge: int
    content_hw: NDArray[np.bool_] | None = None
    value_TU: NDArray[np.float32] | None = None
    ranked_T: NDArray[np.bool_] | None = None
    starts_T: NDArray[np.bool_] | None = None
    __repr__ = short_repr

    def __post_init__(self) -> None:
        T, units = self.num_frames, self.grid[0] // self.merge * (self.grid[1] // self.merge)
        wanted = {"content_hw": self.grid, "value_TU": (T, units), "ranked_T": (T,), "starts_T": (T,)}
        for name, shape in wanted.items():
            array = getattr(self, name)
            require(array is None or array.shape == shape, name, getattr(array, "shape", None), f"{shape}")
        given = [array is not None for array in (self.value_TU, self.ranked_T, self.starts_T)]
        require(all(given) or not any(given), "value_TU, ranked_T, starts_T", given, "all three or none")
        require_finite(self, "value_TU")
        freeze(self)


def rank(frames: FrameSequence, signals: CodecSignals | None, config: SelectionConfig) -> Ranking:
    """What ``config.policy`` decides by, for any budget.

    Raises:
        InvalidArgumentError: a policy that needs the pixels. What :func:`select` raises of signals.
    """
    if config.policy in NEED_PIXELS:
        allowed = f"one of {[name for name in get_args(PolicyName) if name not in NEED_PIXELS]}: it needs the pixels"
        raise InvalidArgumentError("policy", config.policy, allowed)
    board = Ranking(num_frames=frames.num_frames, grid=frames.grid, merge=frames.merge, content_hw=frames.content_hw)
    if config.policy != "codec":
        return board
    sal = clip_saliency(frames, signals, score=config.score, camera=config.camera)
    value_TU = sal.value_Thw.reshape(frames.num_frames, -1)
    return replace(board, value_TU=value_TU, ranked_T=sal.ranked_T, starts_T=sal.starts_T)


def select_ranked(ranking: Ranking, config: SelectionConfig) -> Selection:
    """The rows that :func:`select` would choose of the clip that was ranked.

    ``config`` may differ from the one ranked with in budget, order, seed, and in how policy codec shares out (anchors,
    scope, minimum); score and camera are in the ranking already.

    Raises:
        BudgetError: the budget cannot be met exactly. InvalidArgumentError: policy codec of a ranking without values.
    """
    board = Board(ranking)
    budget = budget_of(board, config) // board.merge**2
    if config.policy == "codec":
        if ranking.value_TU is None or ranking.ranked_T is None or ranking.starts_T is None:
            raise InvalidArgumentError("policy", config.policy, "a ranking made for policy='codec'")
        rows, cols = board.grid
        value_Thw = ranking.value_TU.reshape(board.frames, rows, cols)
        sal = Saliency(value_Thw=value_Thw, ranked_T=ranking.ranked_T, starts_T=ranking.starts_T, facts={})
        facts = choose_codec(board, budget, sal, config)
    elif config.policy == "random":
        facts = choose_random(board, budget, config.seed)
    elif config.policy in NEED_PIXELS:
        raise InvalidArgumentError("policy", config.policy, "a policy that needs no pixels")
    else:
        facts = choose_uniform(board, budget)
    return selection_of(board, config, {"signals": "ranked before", **facts})
