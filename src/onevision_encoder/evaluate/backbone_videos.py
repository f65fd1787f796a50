"""Towers that see several frames at once.

Axes: T frames, N tokens, C width, 3 = RGB or (t, h, w).
"""

from __future__ import annotations

from typing import Any

import torch

from onevision_encoder.errors import CheckpointError, InvalidArgumentError
from onevision_encoder.evaluate.backbone import Features, TooFewFramesError
from onevision_encoder.evaluate.backbone_families import Family
from onevision_encoder.evaluate.backbone_files import LoadedTower
from onevision_encoder.evaluate.backbone_pixels import grid_positions, merged_patches, pixel_values
from onevision_encoder.evaluate.backbone_sizes import PixelBudget
from onevision_encoder.evaluate.backbone_specs import Preprocessing
from onevision_encoder.evaluate.backbone_towers import TowerBackbone, one_clip, pair
from onevision_encoder.types import FrameSequence


class VideoBackbone(TowerBackbone):
    """V-JEPA 2 and VideoMAE: a clip of exactly as many frames as the model was made for.

    ``num_frames`` may be set for V-JEPA 2, whose positions are rotary; VideoMAE's table fits one length only.
    """

    def __init__(
        self, name: str, family: Family, loaded: LoadedTower, spec: Preprocessing, num_frames: int | None
    ) -> None:
        config = loaded.config
        self.tubelet = int(config.tubelet_size)
        own = int(config.num_frames if family.name == "videomae" else config.frames_per_clip)
        if num_frames is not None and num_frames != own and family.name == "videomae":
            raise InvalidArgumentError("num_frames", num_frames, f"{own} or None: the only length that {name} reads")
        frames = own if num_frames is None else num_frames
        if frames % self.tubelet:
            raise InvalidArgumentError("num_frames", frames, f"a multiple of {self.tubelet}, the tubelet of {name}")
        super().__init__(name, family, loaded, spec, frames)

    def _encode(self, frames: FrameSequence) -> Features:
        rows = self._exactly(frames)
        x_T3HW = pixel_values(frames.rgb_THW3[rows], self.spec)
        h, w = self._check_grid(x_T3HW, pair(self.config.patch_size))
        x_1T3HW = self._ready(x_T3HW)[None]
        if self.family.name == "videomae":
            output = self.tower(pixel_values=x_1T3HW)
        else:
            output = self.tower(pixel_values_videos=x_1T3HW, skip_predictor=True)
        return one_clip(output.last_hidden_state[0], grid_positions(rows[:: self.tubelet], h, w), None)

    def _described(self) -> dict[str, Any]:
        output, patch = self.spec.output, pair(self.config.patch_size)
        frames = self.num_frames or 0
        tokens = None if output is None else frames // self.tubelet * (output[0] // patch[0]) * (output[1] // patch[1])
        return {
            "frames": "num_frames of the clip evenly spread, seen together",
            "tubelet": self.tubelet,
            "tokens_per_clip": tokens,
            "dropped_tokens_per_frame": {"class": 0, "register": 0},
            "final_norm": getattr(self.tower, "layernorm", True) is not None,
            "pooled": None,
        }


class MergedBackbone(TowerBackbone):
    """The towers of Qwen2.5-VL and Qwen3-VL. Tokens are those that the language model reads: merge x merge patches of
    a tubelet, after the merger. Qwen3-VL's features of inner layers (deepstack) are left out.

    Raises:
        CheckpointError: the processor's file contradicts the configuration.
    """

    def __init__(
        self, name: str, family: Family, loaded: LoadedTower, spec: Preprocessing, num_frames: int | None
    ) -> None:
        config, size = loaded.config, spec.size
        self.tubelet, self.merge = int(config.temporal_patch_size), int(config.spatial_merge_size)
        self.patch = int(config.patch_size)
        unit = self.patch * self.merge
        if not isinstance(size, PixelBudget) or (size.unit, size.tubelet) != (unit, self.tubelet):
            wanted = f"patch_size * merge_size = {unit} and temporal_patch_size = {self.tubelet}, as config.json says"
            raise CheckpointError(loaded.origin, f"{spec.file} has {size}; accepted is {wanted}")
        if num_frames is not None and num_frames % self.tubelet:
            raise InvalidArgumentError("num_frames", num_frames, f"a multiple of {self.tubelet}, the tubelet of {name}")
        super().__init__(name, family, loaded, spec, num_frames)
        self.width = int(config.out_hidden_size)

    def _encode(self, frames: FrameSequence) -> Features:
        rows = self._exactly(frames)
        if len(rows) % self.tubelet:
            allowed = (
                f"a multiple of {self.tubelet} frames, the tubelet of {self.name}; pass num_frames when loading it"
            )
            raise TooFewFramesError(f"frames of {frames.source.name}", len(rows), allowed)
        x_T3HW = pixel_values(frames.rgb_THW3[rows], self.spec)
        patches, (t, h, w) = merged_patches(x_T3HW, patch=self.patch, tubelet=self.tubelet, merge=self.merge)
        grid_13 = torch.tensor([[t, h, w]], device=self.tower.device)
        output = self.tower(self._ready(patches), grid_thw=grid_13)
        # transformers 4 gives the merged tokens (with the deepstack ones beside), 5 a named output
        merged = getattr(output, "pooler_output", output)
        tokens_NC = merged[0] if isinstance(merged, tuple) else merged
        positions_N3 = grid_positions(rows[:: self.tubelet], h // self.merge, w // self.merge)
        return one_clip(tokens_NC, positions_N3, None)

    def _described(self) -> dict[str, Any]:
        return {
            "frames": "all of the clip, or num_frames of them evenly spread, tubelets seen one by one",
            "tubelet": self.tubelet,
            "merge": self.merge,
            "tokens_per_clip": None,  # frames and aspect of the clip decide
            "dropped_tokens_per_frame": {"class": 0, "register": 0},
            "final_norm": True,
            "deepstack": "left out" if hasattr(self.config, "deepstack_visual_indexes") else None,
            "pooled": None,
        }
