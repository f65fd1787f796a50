"""What the caller decides about a selection, and what that asks of budgets and of signals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.selection.budget import parse_budget
from onevision_encoder.types import Order

PolicyName = Literal["codec", "uniform", "uniform_lowres", "dense", "random", "run_length", "tiled"]
ScoreName = Literal["bits", "fused", "motion", "residual", "frame_difference"]
Scope = Literal["global", "chunk"]
Camera = Literal["auto", "none"]
Short = Literal["error", "cap"]

AUTO_BUDGET = "auto"


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """How a budget is spent.

    Policies besides the first three: dense takes every patch; random draws by seed; run_length takes what changed since
    it was last kept at the same place; tiled is uniform, laid out as one tall picture.

    An option that the policy does not read is refused where a clip is read, save for the page of ``ove view``, whose
    controls change the policy.

    Raises:
        InvalidArgumentError, BudgetError: a value that no clip could satisfy.
    """

    policy: PolicyName = "codec"
    """codec: anchors, then what no codec could predict. uniform: whole frames. uniform_lowres: more, smaller frames."""
    budget: int | str = "auto"
    """Exact number of patches, or a share such as 12.5%. auto: 12.5% of a video, all of an image."""
    score: ScoreName = "fused"
    """What policy codec, and it alone, ranks by. fused: motion and residual."""
    scope: Scope = "global"
    """Of policy codec. chunk: each run of chunk_frames frames gets its share of the budget, anchors apart."""
    chunk_frames: int = 8
    """Frames of a chunk, with scope chunk only."""
    anchors: int | None = None
    """Frames that policy codec reads for their own sake, scene starts included. None: 1 per 32 frames."""
    anchor_share: float = 0.25
    """Most of the budget that anchors of policy codec may take, 0 to 1; what does not fit whole is read coarsely."""
    min_per_frame: int = 1
    """Patches (2x2 blocks with merge 2) that policy codec gives every frame where the budget allows."""
    camera: Camera = "auto"
    """Of policy codec. auto: the camera's own motion is subtracted before motion counts."""
    short: Short = "error"
    """A budget above what a short clip holds. error: refuse. cap: take all there is, and record it."""
    order: Order = "raster"
    """Order of the rows. raster: by (t, h, w). block2, block3: by t, then 2x2 or 3x3 block."""
    seed: int = 0
    """Of policy random only."""

    def __post_init__(self) -> None:
        choices = (("policy", PolicyName), ("score", ScoreName), ("scope", Scope), ("camera", Camera))
        for name, literal in (*choices, ("short", Short), ("order", Order)):
            if getattr(self, name) not in get_args(literal):
                raise InvalidArgumentError(name, getattr(self, name), f"one of {', '.join(get_args(literal))}")
        if self.budget != AUTO_BUDGET:
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


def budget_for(config: SelectionConfig, num_frames: int) -> int | str:
    """What ``budget="auto"`` means for a clip of ``num_frames`` frames; any other budget is itself."""
    if config.budget != AUTO_BUDGET:
        return config.budget
    return "100%" if num_frames == 1 or config.policy == "dense" else "12.5%"


def needs_signals(config: SelectionConfig) -> bool:
    """Whether :func:`select` looks at :class:`CodecSignals`: for the score, for scene cuts, for the camera's motion."""
    return config.policy == "codec"
