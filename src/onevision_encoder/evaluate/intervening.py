"""An intervention as what is done to a clip's tokens after it was read (see ``token_making.Change``).

Axes: K tokens, 3 = (t, h, w).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from onevision_encoder.errors import InvalidArgumentError, OneVisionError
from onevision_encoder.evaluate.datasets import Example
from onevision_encoder.evaluate.features import source_of
from onevision_encoder.evaluate.interventions import ClipTokens, intervene
from onevision_encoder.tokens import ClipReading, model_positions, patchify
from onevision_encoder.types import FrameSequence, Kind, PatchTokens
from onevision_encoder.video import OnDamage, Sampling, Sizing, read_media


@dataclass(frozen=True, kw_only=True)
class Intervention:
    """Disturbs the tokens of a clip; see ``interventions`` for the kinds.

    Attributes:
        share: of the tokens concerned. seed: of what is drawn, together with the clip's id.
        others: id -> examples of other videos in the order in which they are tried, for ``other_video``: the first that
            can be read and has a grid of the same frames, rows and columns is taken.
    """

    kind: str
    share: float = 1.0
    seed: int = 0
    others: Mapping[str, tuple[Example, ...]] = field(default_factory=dict, repr=False)

    def describe(self) -> dict[str, Any]:
        """What decides the result."""
        pairs = {id: [e.id for e in others] for id, others in self.others.items()}
        return {"intervention": self.kind, "share": self.share, "seed": self.seed, "others": pairs or None}

    def __call__(self, reading: ClipReading, id: str) -> PatchTokens:
        """Raises InvalidArgumentError, BudgetError: it cannot be done to this clip."""
        tokens = reading.tokens()
        chosen = ClipTokens(
            patches_KD=tokens.patches_ND,
            positions_K3=tokens.positions_N3,
            model_K3=tokens.model_positions_N3,
            kind_K=tokens.kind_N,
        )
        own = _all_patches(reading.frames, reading)
        other = self._other(reading, id) if self.kind == "other_video" else None
        made = intervene(self.kind, chosen, share=self.share, seed=self.seed, clip=id, own=own, other=other)
        return replace(
            tokens,
            patches_ND=made.patches_KD,
            positions_N3=made.positions_K3,
            model_positions_N3=made.model_K3,
            kind_N=made.kind_K,
        )

    def _other(self, reading: ClipReading, id: str) -> ClipTokens:
        wanted = reading.frames.rgb_THW3.shape
        for e in self.others.get(id, ()):
            how = reading.config
            window = replace(how.sampling, start_seconds=e.start_seconds, end_seconds=e.end_seconds)
            frames = _frames(e, window, how.sizing, how.signals.on_damage)
            if frames is not None and frames.rgb_THW3.shape == wanted:
                return _all_patches(frames, reading)
        T, H, W, _ = wanted
        tried = len(self.others.get(id, ()))
        raise InvalidArgumentError("other_video", id, f"another video of {T} frames of {H} x {W} pixels; {tried} tried")


@lru_cache(maxsize=4)  # the same clip is looked at by one policy after the other
def _frames(e: Example, sampling: Sampling, sizing: Sizing, on_damage: OnDamage) -> FrameSequence | None:
    """Frames of an example; None: it cannot be read, and another is tried."""
    try:
        return read_media(source_of(e.path), sampling=sampling, sizing=sizing, on_damage=on_damage)
    except OneVisionError:
        return None


def others_of(examples: Sequence[Example], seed: int, most: int = 8) -> dict[str, tuple[Example, ...]]:
    """id -> up to ``most`` examples of other videos, drawn in a seeded order from all that are given."""
    ordered = sorted(examples, key=lambda e: e.id)
    place = np.random.default_rng([seed, 7]).permutation(len(ordered))
    round_ = [ordered[i] for i in place]
    out = {}
    for i, e in enumerate(round_):
        others = [o for o in round_[i + 1 :] + round_[:i] if o.video != e.video]
        out[e.id] = tuple(others[:most])
    return out


def _all_patches(frames: FrameSequence, reading: ClipReading) -> ClipTokens:
    """Every patch of the frames, letterbox left out."""
    rows, cols = frames.grid
    content = np.ones((rows, cols), np.bool_) if frames.content_hw is None else frames.content_hw
    inside_Thw = np.broadcast_to(content, (frames.num_frames, rows, cols))
    positions_N3 = np.argwhere(inside_Thw).astype(np.int32)
    time_T = reading.model_time_T
    return ClipTokens(
        patches_KD=patchify(frames.rgb_THW3, frames.patch)[inside_Thw.ravel()],
        positions_K3=positions_N3,
        model_K3=model_positions(positions_N3, time_T, grid=frames.grid),
        kind_K=np.full(len(positions_N3), Kind.FILL, np.uint8),
    )
