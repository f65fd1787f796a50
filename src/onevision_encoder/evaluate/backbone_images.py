"""Towers that see one frame at a time: tokens of the frames end to end, in order of time.

Axes: T frames, L patches of a frame, C width, 3 = RGB or (t, h, w).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from onevision_encoder.errors import CheckpointError, ShapeError
from onevision_encoder.evaluate.backbone import Features
from onevision_encoder.evaluate.backbone_families import Family
from onevision_encoder.evaluate.backbone_files import LoadedTower
from onevision_encoder.evaluate.backbone_pixels import flat_patches, grid_positions, pixel_values
from onevision_encoder.evaluate.backbone_sizes import PatchCount
from onevision_encoder.evaluate.backbone_specs import Preprocessing
from onevision_encoder.evaluate.backbone_towers import TowerBackbone, one_clip, pair
from onevision_encoder.types import FrameSequence

FRAMES_AT_ONCE = 32


class ImageBackbone(TowerBackbone):
    """A tower of pixels: SigLIP, CLIP, MetaCLIP, AIMv2, DINO. Class and register tokens are dropped."""

    @property
    def dropped(self) -> dict[str, int]:
        """Tokens before the patches, which are no patches."""
        registers = int(self.config.num_register_tokens) if self.family.registers else 0
        return {"class": self.family.class_tokens, "register": registers}

    def _encode(self, frames: FrameSequence) -> Features:
        rows = self._thinned(frames)
        x_T3HW = pixel_values(frames.rgb_THW3[rows], self.spec)
        h, w = self._check_grid(x_T3HW, pair(self.config.patch_size))
        parts = [self._forward(part, h, w) for part in x_T3HW.split(FRAMES_AT_ONCE)]
        before = sum(self.dropped.values())
        tokens_TLC = torch.cat([part.last_hidden_state[:, before:] for part in parts])
        if tokens_TLC.shape[1] != h * w:
            raise ShapeError("tokens of a frame", tokens_TLC.shape[1], f"{h * w}, a grid of {h} x {w} patches")
        pooled = [part.pooler_output for part in parts if part.pooler_output is not None]
        return one_clip(
            tokens_TLC.flatten(0, 1),
            grid_positions(rows, h, w),
            torch.cat(pooled).to(torch.float32).mean(0) if pooled else None,
        )

    def _forward(self, x_T3HW: Tensor, h: int, w: int) -> Any:
        return self.tower(pixel_values=self._ready(x_T3HW))

    def _described(self) -> dict[str, Any]:
        has_head = getattr(self.config, "vision_use_head", getattr(self.config, "use_head", True))
        output, patch = self.spec.output, pair(self.config.patch_size)
        per_frame = None if output is None else (output[0] // patch[0]) * (output[1] // patch[1])
        known = per_frame is not None and self.num_frames is not None
        return {
            "frames": "each alone; all of the clip, or num_frames of them evenly spread",
            "tokens_per_frame": per_frame,
            "tokens_per_clip": per_frame * self.num_frames if known and per_frame and self.num_frames else None,
            "dropped_tokens_per_frame": self.dropped,
            "final_norm": self.family.final_norm,
            "pooled": f"mean over frames of the {self.family.pooled}" if self.family.pooled and has_head else None,
        }


class PatchesBackbone(ImageBackbone):
    """A tower of flat patches at any aspect: SigLIP 2 NaFlex. All frames of a clip have one size, so none is padded.

    Raises:
        CheckpointError: the processor's file contradicts the configuration.
    """

    def __init__(
        self, name: str, family: Family, loaded: LoadedTower, spec: Preprocessing, num_frames: int | None
    ) -> None:
        self.patch, size = int(loaded.config.patch_size), spec.size
        if not isinstance(size, PatchCount) or size.patch != self.patch:
            wanted = f"a NaFlex processor with patch_size={self.patch}, as config.json says"
            raise CheckpointError(loaded.origin, f"{spec.file} has {size}; accepted is {wanted}")
        super().__init__(name, family, loaded, spec, num_frames)

    def _forward(self, x_T3HW: Tensor, h: int, w: int) -> Any:
        patches = self._ready(flat_patches(x_T3HW, self.patch))
        T, L = patches.shape[:2]
        return self.tower(
            pixel_values=patches,
            pixel_attention_mask=torch.ones(T, L, dtype=torch.int32, device=patches.device),
            spatial_shapes=torch.tensor([[h, w]] * T, device=patches.device),
        )
