"""Our own encoder as a backbone: it reads the tokens that a policy chose, within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.evaluate.backbone import Clip, Features
from onevision_encoder.model import LoadedEncoder, embed_tokens
from onevision_encoder.tokens import ClipReading, TokenizeConfig, pack, read_clip
from onevision_encoder.types import FrameSequence, PatchTokens
from onevision_encoder.video import Source


class OurBackbone:
    """A loaded encoder. ``config`` says which tokens sources and bare frames give; a ClipReading brings its own."""

    def __init__(self, name: str, loaded: LoadedEncoder, config: TokenizeConfig | None) -> None:
        self.name, self.loaded, self.config = name, loaded, config
        self.width = int(loaded.model.config.hidden_size)

    @property
    def reading(self) -> TokenizeConfig:
        """``config``. Raises InvalidArgumentError where there is none."""
        if self.config is None:
            allowed = "a TokenizeConfig (policy, budget ...) when loading the backbone, or clips that are ClipReadings"
            raise InvalidArgumentError("tokens", None, allowed)
        return self.config

    def read(self, source: Source) -> ClipReading:
        """Frames and selection of a video or image under ``config``. Raises as ``read_clip`` does."""
        return read_clip(source, self.reading)

    def encode(self, clips: Sequence[Clip | PatchTokens]) -> Features:
        """Features of the tokens of each clip, in order. PatchTokens may hold several clips.

        Raises:
            InvalidArgumentError: no clip, something else than a clip, or bare frames without a ``config``.
            ShapeError: the patch size of the tokens is not the model's.
        """
        if not clips:
            raise InvalidArgumentError("clips", [], "at least one clip")
        tokens = pack([self._tokens(clip) for clip in clips])
        made = embed_tokens(self.loaded, tokens, return_tokens=True)
        device = self.loaded.model.device
        states = torch.as_tensor(made.tokens_NC, device=device)
        return Features(
            tokens_NC=states,
            cu_seqlens=torch.tensor(tokens.cu_seqlens, device=device),
            pooled_SC=None if made.pooled_SC is None else torch.as_tensor(made.pooled_SC, device=device),
            positions_N3=_copied(tokens.positions_N3, device),
        )

    def describe(self) -> dict[str, Any]:
        """JSON-able: what decides the numbers."""
        config = None if self.config is None else self.config.as_dict()
        budget = None if self.config is None else self.config.selection.budget
        return {
            "name": self.name,
            "family": "onevision_encoder",
            **dict(self.loaded.provenance),
            "width": self.width,
            "tokenize": config,
            "tokens_per_clip": budget if isinstance(budget, int) else None,
            "final_norm": True,
            "pooled": None if self.loaded.model.head is None else "attention pooling head",
        }

    def _tokens(self, clip: object) -> PatchTokens:
        if isinstance(clip, PatchTokens):
            return clip
        if isinstance(clip, ClipReading):
            return clip.tokens()
        if isinstance(clip, FrameSequence):
            return read_clip(clip, self.reading).tokens()
        raise InvalidArgumentError("clips", type(clip).__name__, "each a ClipReading, a FrameSequence or PatchTokens")


def _copied(array: Any, device: torch.device) -> Tensor:
    return torch.tensor(array, device=device)  # read-only arrays cannot be shared
