"""What the caller decides about a selection, and what that asks of sampling and of signals."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.selection.budget import parse_budget
from onevision_encoder.types import Order

if TYPE_CHECKING:
    from onevision_encoder.video import Sampling, Sizing

PolicyName = Literal["codec", "uniform", "uniform_lowres", "dense", "random", "run_length", "tiled"]
ScoreName = Literal["bits", "fused", "motion", "residual", "frame_difference"]
Scope = Literal["global", "chunk"]
Camera = Literal["auto", "none"]
Short = Literal["error", "cap"]

SMALLEST_LOWRES = 16
"""Patches below which a frame of ``uniform_lowres`` is not shrunk further (4 x 4): fewer frames are taken instead."""


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """How a budget is spent.

    Attributes:
        policy: ``codec`` = anchors, then what the codec could not predict; ``uniform`` = whole frames, evenly spaced;
            ``uniform_lowres`` = the same over more frames at lower resolution (:func:`sampling_for`); ``dense`` =
            everything; ``random``; ``run_length`` = what changed since it was last kept at the same place; ``tiled`` =
            ``uniform`` laid out as one tall picture.
        budget: number of patches (exact), or a percentage of all content patches ("12.5%").
        score: what ``codec`` ranks by. ``fused`` = motion and residual.
        scope: ``chunk`` gives each run of ``chunk_frames`` frames its share of the budget, anchors apart.
        anchors: frames ``codec`` reads for their own sake; None = 1 per 32 frames. A frame that starts a scene is
            always one and counts towards the number. 0 = none at all.
        anchor_share: share of the budget that anchors may take, 0..1. What does not fit whole is read coarsely.
        min_per_frame: units (patches, or 2x2 blocks) that every frame gets where the budget allows. The default of 1
            keeps every instant visible (an otherwise empty frame says that nothing happened) at 3 % of the usual
            budget.
        camera: ``auto`` subtracts the camera's own motion (:mod:`onevision_encoder.selection.camera`).
        short: ``cap`` lowers an integer budget to what a short clip holds, and records it; ``error`` refuses.
        order: order of the rows. seed: of ``random``.
    Raises:
        InvalidArgumentError, BudgetError: a value that no clip could satisfy.
    """

    policy: PolicyName = "codec"
    budget: int | str = "12.5%"
    score: ScoreName = "fused"
    scope: Scope = "global"
    chunk_frames: int = 8
    anchors: int | None = None
    anchor_share: float = 0.25
    min_per_frame: int = 1
    camera: Camera = "auto"
    short: Short = "error"
    order: Order = "raster"
    seed: int = 0

    def __post_init__(self) -> None:
        choices = (("policy", PolicyName), ("score", ScoreName), ("scope", Scope), ("camera", Camera))
        for name, literal in (*choices, ("short", Short), ("order", Order)):
            if getattr(self, name) not in get_args(literal):
                raise InvalidArgumentError(name, getattr(self, name), f"one of {', '.join(get_args(literal))}")
        parse_budget(self.budget)
        for name, least in (("chunk_frames", 1), ("min_per_frame", 0), ("seed", 0)):
            _at_least(name, getattr(self, name), least)
        if self.anchors is not None:
            _at_least("anchors", self.anchors, 0)
        if not 0 <= self.anchor_share <= 1:
            raise InvalidArgumentError("anchor_share", self.anchor_share, "a share from 0 to 1")


def _at_least(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidArgumentError(name, value, f"an integer of at least {least}")


def needs_signals(config: SelectionConfig) -> bool:
    """Whether :func:`select` wants :class:`CodecSignals`. ``frame_difference`` looks at the frames themselves."""
    return config.policy == "codec" and config.score != "frame_difference"


def sampling_for(config: SelectionConfig, sampling: Sampling, sizing: Sizing) -> tuple[Sampling, Sizing]:
    """Sampling and sizing that ``config`` should be given; identity for every policy but ``uniform_lowres``.

    ``uniform`` spends K patches on K / P whole frames of P patches. ``uniform_lowres`` spends them on all T sampled
    frames, each shrunk to about K / T patches (not below 4 x 4: then on K / 16 frames). The size asked for is a
    good row and column above that, because native sizing rounds down and an exact integer K must not come out of reach
    (for pictures up to 3:1; a clip shorter than T may still hold less, see ``short``).

    A percentage means the share of the frames as ``sampling`` and ``sizing`` describe them, and this function spends
    it: :func:`select` then takes every patch of the smaller frames.

    Raises:
        InvalidArgumentError: a recipe of fixed size, or no number of frames.
    """
    if config.policy != "uniform_lowres":
        return sampling, sizing
    if sizing.recipe != "native":
        raise InvalidArgumentError("recipe", sizing.recipe, "'native': policy='uniform_lowres' chooses the size itself")
    if sampling.num_frames is None:
        raise InvalidArgumentError("num_frames", None, "a number of frames, over which 'uniform_lowres' divides K")
    unit = sizing.merge**2
    frames = sampling.num_frames
    parsed = parse_budget(config.budget)
    if isinstance(parsed, int):
        wanted: float = parsed
        if parsed >= frames * sizing.max_patches:
            return sampling, sizing
    else:
        wanted = float(parsed) * frames * sizing.max_patches
    frames = max(1, min(frames, int(wanted // (SMALLEST_LOWRES * unit))))
    per_frame = wanted / unit / frames
    if isinstance(parsed, int):
        per_frame = max(float(SMALLEST_LOWRES), (math.sqrt(per_frame) + 1.2) ** 2)
    patches = min(sizing.max_patches, math.ceil(per_frame) * unit)
    return dataclasses.replace(sampling, num_frames=frames), dataclasses.replace(sizing, max_patches=patches)
