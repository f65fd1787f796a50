"""``select``: frames and signals in, exactly K patches out, with an account of why."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from onevision_encoder.errors import BudgetError, InvalidArgumentError, ShapeError
from onevision_encoder.selection.board import Board
from onevision_encoder.selection.budget import resolve_budget
from onevision_encoder.selection.codec_policy import choose_codec
from onevision_encoder.selection.config import SelectionConfig, budget_for, needs_signals
from onevision_encoder.selection.policies import choose_random, choose_run_length, choose_uniform
from onevision_encoder.selection.saliency import clip_saliency
from onevision_encoder.types import CodecSignals, FrameSequence, Selection, order_rank

_DEFAULT = SelectionConfig()


def select(frames: FrameSequence, signals: CodecSignals | None = None, config: SelectionConfig = _DEFAULT) -> Selection:
    """Choose exactly K patches of a clip.

    The unit of selection is a patch, or a 2x2 block of patches where ``frames.merge`` is 2 (K is then a multiple of 4).
    Units that hold any letterbox are never chosen and do not count as available. The same input, configuration and
    seed give the same rows; ties are resolved by (score descending, t, h, w).

    Args:
        signals: of exactly these frames; needed where :func:`needs_signals` says so, unused by the other policies.
    Returns:
        ``score_K`` is the saliency that ranked a patch (``run_length``: its change in grey levels), 0 where a rule did.
    Raises:
        BudgetError: the budget cannot be met exactly. InvalidArgumentError: signals are missing.
        ShapeError: signals of other frames. SignalUnavailableError: a score that the provider cannot give.
    """
    _check(frames, signals, config)
    board = Board(frames)
    budget = budget_of(board, config) // board.merge**2
    if config.policy == "codec":
        sal = clip_saliency(frames, signals, score=config.score, camera=config.camera)
        facts = choose_codec(board, budget, sal, config)
    elif config.policy == "random":
        facts = choose_random(board, budget, config.seed)
    elif config.policy == "run_length":
        facts = choose_run_length(board, budget, frames)
    else:
        facts = choose_uniform(board, budget)
    name = None if signals is None else str(signals.provenance.get("provider", "unnamed"))
    return selection_of(board, config, {"signals": name, **facts})


def _check(frames: FrameSequence, signals: CodecSignals | None, config: SelectionConfig) -> None:
    if frames.merge not in (1, 2):
        raise ShapeError("merge", frames.merge, "1 or 2 patches per side of a selection unit")
    if signals is None:
        # frames alone can be ranked by their difference, but then nobody knows of cuts; provenance says so
        if needs_signals(config) and config.score != "frame_difference":
            raise InvalidArgumentError(
                "signals", None, f"CodecSignals, which policy='codec' with score={config.score!r} ranks by"
            )
        return
    T, H, W = frames.luma_THW.shape
    if len(signals.valid_T) != T:
        raise ShapeError("signals", len(signals.valid_T), f"signals of these {T} frames")
    if signals.frame_size != (H, W):
        raise ShapeError("signals.frame_size", signals.frame_size, f"the size of the frames, {(H, W)}")


def budget_of(board: Board, config: SelectionConfig) -> int:
    """The exact number of patches that ``config.budget`` asks of a board. Raises BudgetError."""
    unit = board.merge**2
    available = board.frames * board.per_frame * unit
    asked = budget_for(config, board.frames)
    budget = resolve_budget(asked, available=available, unit=unit, short=config.short)
    if config.policy == "dense" and budget != available:
        raise BudgetError("budget", config.budget, f"{available} or '100%': policy='dense' reads every patch")
    return budget


def selection_of(board: Board, config: SelectionConfig, facts: dict[str, Any]) -> Selection:
    """What was taken of a board, in the order of ``config``; ``facts`` go to the provenance."""
    merge, (rows, cols) = board.merge, board.grid
    t, unit = np.nonzero(board.chosen())
    inside = np.arange(merge**2)
    h = (unit // cols * merge)[:, None] + inside // merge
    w = (unit % cols * merge)[:, None] + inside % merge
    positions_K3 = np.stack((np.repeat(t, merge**2), h.ravel(), w.ravel()), 1).astype(np.int32)
    shape = (board.frames, rows * merge, cols * merge)
    order = np.argsort(order_rank(positions_K3, shape, config.order), kind="stable")
    provenance = {
        "config": dataclasses.asdict(config),
        "budget": len(positions_K3),
        "available": board.frames * board.per_frame * merge**2,
        "unit": merge**2,
        **facts,
    }
    return Selection(
        positions_K3=positions_K3[order],
        score_K=np.repeat(board.score_TU[t, unit], merge**2)[order],
        kind_K=np.repeat(board.kind_TU[t, unit], merge**2)[order],
        shape=shape,
        order=config.order,
        layout="tiled" if config.policy == "tiled" else "frames",
        provenance=provenance,
    )
