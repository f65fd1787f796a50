"""What the towers of transformers share: which frames they see, one clip after another, what is recorded.

Axes: T frames of the clip that was given, N tokens, C width, 3 = (t, h, w).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from torch import Tensor

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.evaluate.backbone import Clip, Features, TooFewFramesError
from onevision_encoder.evaluate.backbone_families import Family
from onevision_encoder.evaluate.backbone_files import LoadedTower
from onevision_encoder.evaluate.backbone_specs import Preprocessing
from onevision_encoder.selection import SelectionConfig
from onevision_encoder.tokens import TokenizeConfig
from onevision_encoder.types import FrameSequence
from onevision_encoder.video import Sampling, Sizing, Source, read_media
from onevision_encoder.video.sampling import uniform_indices

_OWN_SIZE = Sizing(patch=2, max_patches=2**40)
"""More patches than any picture has, so that it is read at its own size; an odd side is rounded to an even one."""


class TowerBackbone(ABC):
    """A tower with the preprocessing of its own processor. Subclasses say which frames it takes and how.

    Attributes:
        name: what the caller loaded. width: C. num_frames: how many frames of a clip are used; None = all.
    """

    def __init__(
        self, name: str, family: Family, loaded: LoadedTower, spec: Preprocessing, num_frames: int | None
    ) -> None:
        self.name, self.family, self.loaded, self.spec, self.num_frames = name, family, loaded, spec, num_frames
        self.tower: Any = loaded.tower
        self.config = loaded.config
        self.width = int(self.config.hidden_size)
        expected = self._fixed_size()
        if expected is not None and spec.output not in (None, expected):
            raise ShapeError(f"{name}: {spec.file}", spec.output, f"{expected}, the image_size of config.json")

    @property
    def reading(self) -> TokenizeConfig:
        """For ``read_clip``: frames as this model wants them, ``num_frames`` (64 where that is None) evenly spread, at
        the size of the source. What is sized for another model beforehand would be resized twice.

        A reading selects something; here it is one patch, which no tower looks at.
        """
        sampling = Sampling() if self.num_frames is None else Sampling(num_frames=self.num_frames)
        nothing = SelectionConfig(policy="uniform", budget=1)
        return TokenizeConfig(sampling=sampling, sizing=_OWN_SIZE, selection=nothing)

    @property
    def device(self) -> torch.device:
        parameter: Tensor = next(self.tower.parameters())
        return parameter.device

    def read(self, source: Source) -> FrameSequence:
        """The frames that :attr:`reading` gives, without a selection. Raises MediaError as ``read_media`` does."""
        return read_media(source, sampling=self.reading.sampling, sizing=_OWN_SIZE)

    @torch.no_grad()
    def encode(self, clips: Sequence[Clip]) -> Features:
        """Features of each clip, in order; each clip goes through the tower alone.

        Raises:
            InvalidArgumentError: no clip, something else than a clip, or one with too few frames for this model.
            ShapeError: letterboxed frames, or the model cannot read the size that its own preprocessing makes.
        """
        return Features.join([self._encode(_frames(clip)) for clip in clips])

    def describe(self) -> dict[str, Any]:
        """JSON-able: what decides the numbers."""
        parameter = next(self.tower.parameters())
        return {
            "name": self.name,
            "family": self.family.name,
            "model": self.loaded.origin,
            "weights_sha256": self.loaded.sha256,
            "left_out": dict(self.loaded.left_out),
            "tower": self.family.tower,
            "dtype": str(parameter.dtype).removeprefix("torch."),
            "device": str(parameter.device),
            "attention": self.config._attn_implementation,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "width": self.width,
            "preprocessing": self.spec.as_dict(),
            "patch_size": self.config.patch_size,
            "num_frames": self.num_frames,
            **self._described(),
        }

    @abstractmethod
    def _described(self) -> dict[str, Any]:
        """What of a subclass decides its numbers, JSON-able."""

    @abstractmethod
    def _encode(self, frames: FrameSequence) -> Features:
        """Features of one clip."""

    def _fixed_size(self) -> tuple[int, int] | None:
        """The one size of picture that the position table fits, if it fits one only."""
        if not self.family.fixed_size or getattr(self.config, "is_native", False):
            return None
        return pair(self.config.image_size)

    def _thinned(self, frames: FrameSequence) -> NDArray[np.int64]:
        """Rows of the frames to use: all, or ``num_frames`` of them evenly spread from the first to the last."""
        return uniform_indices(frames.num_frames, self.num_frames)

    def _exactly(self, frames: FrameSequence) -> NDArray[np.int64]:
        """``num_frames`` rows, evenly spread; a clip with fewer is refused, for a frame is never shown twice."""
        if self.num_frames is not None and frames.num_frames < self.num_frames:
            allowed = f"at least {self.num_frames} frames for {self.name}; read the clip with num_frames >= that, "
            allowed += "or take a longer one"
            raise TooFewFramesError(f"frames of {frames.source.name}", frames.num_frames, allowed)
        return self._thinned(frames)

    def _ready(self, x: Tensor) -> Tensor:
        """On the tower's device, in its dtype."""
        return x.to(next(self.tower.parameters()))

    def _check_grid(self, x_T3HW: Tensor, patch: tuple[int, int]) -> tuple[int, int]:
        """Patches (h, w) of a frame."""
        H, W = int(x_T3HW.shape[-2]), int(x_T3HW.shape[-1])
        expected = self._fixed_size()
        if expected is not None and expected != (H, W):
            raise ShapeError("prepared frame", (H, W), f"{expected}, the only size that {self.name} reads")
        return H // patch[0], W // patch[1]


def one_clip(tokens_NC: Tensor, positions_N3: Tensor, pooled_C: Tensor | None) -> Features:
    """Features of one clip; raises ShapeError where the model gave another number of tokens than its grid has."""
    if len(tokens_NC) != len(positions_N3):
        raise ShapeError("tokens", len(tokens_NC), f"{len(positions_N3)}, one for each place of the grid")
    device = tokens_NC.device
    return Features(
        tokens_NC=tokens_NC.to(torch.float32),
        cu_seqlens=torch.tensor([0, len(tokens_NC)], dtype=torch.int32, device=device),
        pooled_SC=None if pooled_C is None else pooled_C.to(torch.float32)[None],
        positions_N3=positions_N3.to(device),
    )


def pair(size: Any) -> tuple[int, int]:
    """(height, width) of a configuration's integer or pair."""
    return (int(size), int(size)) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _frames(clip: object) -> FrameSequence:
    frames = getattr(clip, "frames", clip)
    if not isinstance(frames, FrameSequence):
        raise InvalidArgumentError("clips", type(clip).__name__, "each a FrameSequence or a ClipReading")
    if frames.content_hw is not None:
        raise ShapeError(f"content_hw of {frames.source.name}", "letterboxed", "frames without padding")
    return frames
