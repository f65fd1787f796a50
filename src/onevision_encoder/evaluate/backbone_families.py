"""The vision towers of transformers that can be evaluated, and what of each must be known beyond its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["image", "patches", "video", "merged"]


@dataclass(frozen=True, kw_only=True)
class Family:
    """One architecture.

    Attributes:
        name: what reports call it. module, tower: where transformers keeps the class.
        model_types: of config.json. composite: the one of them that names a model with a text side, whose tower is
            described by ``vision_config``; None where there is none or where transformers uses one name for both.
        kind: ``image`` = frame by frame, pixels; ``patches`` = frame by frame, flat patches of any aspect (NaFlex);
            ``video`` = a clip of a fixed number of frames; ``merged`` = a clip of tubelets, patches merged (Qwen-VL).
        class_tokens: how many stand before the patches. registers: ``num_register_tokens`` follow them.
        final_norm: the tokens are those after the last norm of the tower.
        pooled: what the model's own summary of a frame is; None = it has none.
        fixed_size: its position table fits one size of picture only (``image_size``).
        others: regular expression of tensors that a checkpoint may hold beside the tower.
    """

    name: str
    module: str
    tower: str
    model_types: tuple[str, ...]
    composite: str | None = None
    kind: Kind = "image"
    class_tokens: int = 0
    registers: bool = False
    final_norm: bool = True
    pooled: str | None = None
    fixed_size: bool = False
    others: str = r"(?!)"


_TEXT_SIDE = r"text_model\.|text_projection|visual_projection|logit_scale|logit_bias|classifier\."
_CLASS_TOKEN = "class token after the last norm"

FAMILIES = (
    Family(
        name="siglip",  # and SigLIP 2 at fixed resolution, which transformers stores as the same architecture
        module="siglip",
        tower="SiglipVisionModel",
        model_types=("siglip", "siglip_vision_model"),
        composite="siglip",
        pooled="attention pooling head",
        fixed_size=True,
        others=_TEXT_SIDE,
    ),
    Family(
        name="siglip2-naflex",
        module="siglip2",
        tower="Siglip2VisionModel",
        model_types=("siglip2", "siglip2_vision_model"),
        composite="siglip2",
        kind="patches",
        pooled="attention pooling head",
        others=_TEXT_SIDE,
    ),
    Family(
        name="clip",  # and MetaCLIP 1
        module="clip",
        tower="CLIPVisionModel",
        model_types=("clip", "clip_vision_model"),
        composite="clip",
        class_tokens=1,
        final_norm=False,
        pooled=_CLASS_TOKEN,
        fixed_size=True,
        others=_TEXT_SIDE,
    ),
    Family(
        name="metaclip2",
        module="metaclip_2",
        tower="MetaClip2VisionModel",
        model_types=("metaclip_2", "metaclip_2_vision_model"),
        composite="metaclip_2",
        class_tokens=1,
        final_norm=False,
        pooled=_CLASS_TOKEN,
        fixed_size=True,
        others=_TEXT_SIDE,
    ),
    Family(
        name="aimv2",
        module="aimv2",
        tower="Aimv2VisionModel",
        model_types=("aimv2", "aimv2_vision_model"),
        composite="aimv2",
        pooled="attention pooling head",
        fixed_size=True,  # unless its configuration says is_native
        others=_TEXT_SIDE,
    ),
    Family(
        name="dinov2",
        module="dinov2",
        tower="Dinov2Model",
        model_types=("dinov2",),
        class_tokens=1,
        pooled=_CLASS_TOKEN,
        others=r"classifier\.",
    ),
    Family(
        name="dinov2-registers",
        module="dinov2_with_registers",
        tower="Dinov2WithRegistersModel",
        model_types=("dinov2_with_registers",),
        class_tokens=1,
        registers=True,
        pooled=_CLASS_TOKEN,
        others=r"classifier\.",
    ),
    Family(
        name="dinov3",
        module="dinov3_vit",
        tower="DINOv3ViTModel",
        model_types=("dinov3_vit",),
        class_tokens=1,
        registers=True,
        pooled=_CLASS_TOKEN,
        others=r"classifier\.",
    ),
    Family(
        name="vjepa2",
        module="vjepa2",
        tower="VJEPA2Model",
        model_types=("vjepa2",),
        kind="video",
        others=r"pooler\.|classifier\.",
    ),
    Family(
        name="videomae",
        module="videomae",
        tower="VideoMAEModel",
        model_types=("videomae",),
        kind="video",
        fixed_size=True,
        others=r"decoder\.|encoder_to_decoder|mask_token|position_embeddings|fc_norm\.|classifier\.",
    ),
    Family(
        name="qwen2.5-vl",
        module="qwen2_5_vl",
        tower="Qwen2_5_VisionTransformerPretrainedModel",
        model_types=("qwen2_5_vl", "qwen2_5_vl_vision"),
        kind="merged",
    ),
    Family(
        name="qwen3-vl",
        module="qwen3_vl",
        tower="Qwen3VLVisionModel",
        model_types=("qwen3_vl", "qwen3_vl_vision"),
        kind="merged",
    ),
)


def family_of(model_type: str) -> Family | None:
    """The family that a config.json's ``model_type`` names, or None."""
    return next((family for family in FAMILIES if model_type in family.model_types), None)
