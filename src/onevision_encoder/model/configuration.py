"""Configuration of the encoder and the sizes it comes in.

Field names and defaults are those of the published checkpoints, so that their ``config.json`` loads as it is.
``rope_mode``, ``window_frames`` and ``place_waves`` are new: files without them mean ``"pairwise"``, the operator those
weights were trained with, None, attention over the whole clip, and 0, no positions but RoPE's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from transformers import PretrainedConfig

from onevision_encoder.errors import InvalidArgumentError, ShapeError

LAYER_NORM_TYPES = ("layer_norm", "rms_norm")
ROPE_MODES = ("pairwise", "rotary")
ROPE_UNIT = 32
"""Head widths are multiples of this: the 4:6:6 split of half a head wants 16 equal parts (see ``rope.py``)."""


class OneVisionEncoderConfig(PretrainedConfig):
    """Shape and operators of a :class:`OneVisionEncoderModel`.

    Args:
        hidden_size, intermediate_size, num_hidden_layers, num_attention_heads: the usual; the head width
            ``hidden_size / num_attention_heads`` must be a multiple of 32.
        num_channels: 3 (RGB). patch_size: side of a patch in pixels.
        image_size: pixels the weights were trained at; information only, any size is accepted.
        hidden_act: activation of every MLP, ``"gelu"`` is the exact one.
        layer_norm_eps, layer_norm_type: ``"layer_norm"`` or ``"rms_norm"``. The pooling head has an RMSNorm in both.
        attention_dropout: probability, in training only.
        initializer_range: standard deviation of the normal that new weights are drawn from.
        rope_theta: base of the geometric series of frequencies.
        rope_temporal_size: frames of the grid that ``visible_indices`` address when they only relabel
            positions (their count equals the number of patches); None = the frames that are there.
        use_head: True builds ``layernorm_post`` and the pooling head, False neither.
        rope_mode: ``"pairwise"`` = bit-faithful to the published weights, ``"rotary"`` = a true rotation.
        window_frames: None = every token of a clip sees the whole clip; n = attention only inside groups of n
            consecutive frames of a clip (see ``windows.py``). Positions and pooling stay those of the clip.
        place_waves: 0 = positions are RoPE's alone, as in the published weights. n = each patch also gets a learned map
            of n waves of its t, of its h and of its w (see ``place.py``), for new training.
        place_size: (t, h, w) at which the longest wave is half over; beyond twice that, places repeat.
        place_std: standard deviation of the first weights of that map.
    Raises:
        InvalidArgumentError, ShapeError: a value is outside what is written above.
    """

    model_type = "onevision_encoder"

    def __init__(
        self,
        hidden_size: int = 1024,
        intermediate_size: int = 4096,
        num_hidden_layers: int = 24,
        num_attention_heads: int = 16,
        num_channels: int = 3,
        patch_size: int = 14,
        image_size: int = 448,
        hidden_act: str = "gelu",
        layer_norm_eps: float = 1e-6,
        layer_norm_type: str = "layer_norm",
        attention_dropout: float = 0.0,
        initializer_range: float = 0.02,
        rope_theta: float = 10000.0,
        rope_temporal_size: int | None = 64,
        use_head: bool = True,
        rope_mode: str = "pairwise",
        window_frames: int | None = None,
        place_waves: int = 0,
        place_size: Sequence[float] = (64.0, 16.0, 16.0),
        place_std: float = 1.0,
        **kwargs: Any,
    ) -> None:
        kwargs.pop("auto_map", None)  # names remote code: never followed, never written again
        self.hidden_size = hidden_size
        self.intermediate_size = intermediate_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.num_channels = num_channels
        self.patch_size = patch_size
        self.image_size = image_size
        self.hidden_act = hidden_act
        self.layer_norm_eps = layer_norm_eps
        self.layer_norm_type = layer_norm_type
        self.attention_dropout = attention_dropout
        self.initializer_range = initializer_range
        self.rope_theta = rope_theta
        self.rope_temporal_size = rope_temporal_size
        self.use_head = use_head
        self.rope_mode = rope_mode
        self.window_frames = window_frames
        self.place_waves = place_waves
        self.place_size = list(place_size)  # as it comes back from JSON
        self.place_std = place_std
        self._check()
        super().__init__(**kwargs)

    def to_dict(self) -> dict[str, Any]:
        """As in transformers, without ``auto_map``, whoever set it: a saved folder names no remote code."""
        fields: dict[str, Any] = super().to_dict()
        fields.pop("auto_map", None)
        return fields

    def _check(self) -> None:
        for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "patch_size"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise InvalidArgumentError(name, value, "an integer of at least 1")
        if self.hidden_size % (self.num_attention_heads * ROPE_UNIT):
            raise ShapeError(
                "hidden_size",
                self.hidden_size,
                f"num_attention_heads = {self.num_attention_heads} times a multiple of {ROPE_UNIT}",
            )
        if self.num_channels != 3:
            raise InvalidArgumentError("num_channels", self.num_channels, "3 (RGB)")
        if self.layer_norm_type not in LAYER_NORM_TYPES:
            raise InvalidArgumentError("layer_norm_type", self.layer_norm_type, f"one of {LAYER_NORM_TYPES}")
        if self.rope_mode not in ROPE_MODES:
            raise InvalidArgumentError("rope_mode", self.rope_mode, f"one of {ROPE_MODES}")
        if self.rope_temporal_size is not None and self.rope_temporal_size < 1:
            raise InvalidArgumentError("rope_temporal_size", self.rope_temporal_size, "None or at least 1")
        if self.window_frames is not None and (type(self.window_frames) is not int or self.window_frames < 1):
            raise InvalidArgumentError("window_frames", self.window_frames, "None or an integer of at least 1")
        if type(self.place_waves) is not int or self.place_waves < 0:
            raise InvalidArgumentError("place_waves", self.place_waves, "an integer of at least 0")
        if len(self.place_size) != 3 or any(not 0 < size < math.inf for size in self.place_size):
            raise InvalidArgumentError("place_size", self.place_size, "three numbers above 0: t, h, w")
        if not 0 < self.place_std < math.inf:
            raise InvalidArgumentError("place_std", self.place_std, "a number above 0")
        if not 0.0 <= self.attention_dropout < 1.0:
            raise InvalidArgumentError("attention_dropout", self.attention_dropout, "0 <= p < 1")


PRESETS = MappingProxyType(
    {
        "tiny": (192, 6, 3),
        "small": (384, 12, 6),
        "base": (768, 12, 12),
        "large": (1024, 24, 16),
        "huge": (1280, 32, 20),
    }
)
"""Name -> (width, layers, heads). Patch 14, MLP four times the width, head width 64."""


def preset_config(name: str, **overrides: Any) -> OneVisionEncoderConfig:
    """Configuration of a preset.

    Args:
        name: a key of :data:`PRESETS`. overrides: fields that differ, ``rope_mode="rotary"`` say.
    Raises:
        InvalidArgumentError: no preset of that name.
    """
    if name not in PRESETS:
        raise InvalidArgumentError("preset", name, f"one of {tuple(PRESETS)}")
    width, layers, heads = PRESETS[name]
    fields: dict[str, Any] = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }
    return OneVisionEncoderConfig(**(fields | overrides))
