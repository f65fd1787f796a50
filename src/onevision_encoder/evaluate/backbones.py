"""A backbone from a name or folder: its architecture is read from config.json, its preprocessing from its processor."""

from __future__ import annotations

from pathlib import Path

import torch

from onevision_encoder.errors import CheckpointError, InvalidArgumentError
from onevision_encoder.evaluate.backbone_families import FAMILIES, Family, family_of
from onevision_encoder.evaluate.backbone_files import find_checkpoint, load_tower
from onevision_encoder.evaluate.backbone_images import ImageBackbone, PatchesBackbone
from onevision_encoder.evaluate.backbone_ours import OurBackbone
from onevision_encoder.evaluate.backbone_specs import read_json, read_preprocessing
from onevision_encoder.evaluate.backbone_towers import TowerBackbone
from onevision_encoder.evaluate.backbone_videos import MergedBackbone, VideoBackbone
from onevision_encoder.model import PRESETS, OneVisionEncoderConfig, load_encoder
from onevision_encoder.model.precision import resolve_device, resolve_dtype
from onevision_encoder.model.shipped import DEFAULT
from onevision_encoder.tokens import TokenizeConfig
from onevision_encoder.video import Sampling

_KINDS: dict[str, type[TowerBackbone]] = {
    "image": ImageBackbone,
    "patches": PatchesBackbone,
    "video": VideoBackbone,
    "merged": MergedBackbone,
}


def known_backbones() -> dict[str, tuple[str, ...]]:
    """Family -> the ``model_type`` values of config.json that name it."""
    ours = {"onevision_encoder": (OneVisionEncoderConfig.model_type,)}
    return ours | {family.name: family.model_types for family in FAMILIES}


def is_ours(name_or_path: str | Path) -> bool:
    """Whether a name is of our own encoder: ``default``, a preset, or a folder or hub id whose config.json says so.

    Raises:
        CheckpointError: no config.json. InvalidArgumentError: no preset, folder or hub id.
    """
    name = str(name_or_path)
    return (
        name in (*PRESETS, DEFAULT)
        or _model_type(name, find_checkpoint(name).folder) == OneVisionEncoderConfig.model_type
    )


def load_backbone(
    name_or_path: str | Path,
    *,
    device: torch.device | str = "auto",
    dtype: torch.dtype | str = "auto",
    num_frames: int | None = None,
    tokens: TokenizeConfig | None = None,
) -> OurBackbone | TowerBackbone:
    """A frozen encoder for evaluation.

    Args:
        name_or_path: a folder with config.json, the processor's file and safetensors; a hub id ``owner/name``;
            ``default``, our own weights that come along; or a preset of our own encoder (random weights, with a
            RandomWeightsWarning).
        device, dtype: as for :func:`~onevision_encoder.model.load_encoder`.
        num_frames: how many frames of a clip the model sees, evenly spread. None = all of them (models of images, Qwen)
            or as many as the model was made for (V-JEPA 2, VideoMAE). Our own encoder's are part of ``tokens``.
        tokens: which tokens our own encoder takes of sources and bare frames; not for other models.
    Raises:
        CheckpointError: files are missing, contradict each other, or hold an unknown model.
        InvalidArgumentError: no folder or hub id, an option of another kind of model, unknown device or dtype.
    """
    name = str(name_or_path)
    num_frames = Sampling(num_frames=num_frames).num_frames  # checked there
    if name in (*PRESETS, DEFAULT):
        return _ours(name, device, dtype, num_frames, tokens)
    checkpoint = find_checkpoint(name)
    model_type = _model_type(name, checkpoint.folder)
    if model_type == OneVisionEncoderConfig.model_type:
        return _ours(name, device, dtype, num_frames, tokens)
    if tokens is not None:
        raise InvalidArgumentError("tokens", "TokenizeConfig", f"None: {name} is no onevision_encoder, it takes frames")
    family = _family(name, model_type)
    spec = read_preprocessing(checkpoint.folder, video=family.kind in ("video", "merged"))
    where = resolve_device(device)
    loaded = load_tower(family, checkpoint, device=where, dtype=resolve_dtype(dtype, where).dtype)
    return _KINDS[family.kind](name, family, loaded, spec, num_frames)


def _ours(
    name: str,
    device: torch.device | str,
    dtype: torch.dtype | str,
    num_frames: int | None,
    tokens: TokenizeConfig | None,
) -> OurBackbone:
    if num_frames is not None:
        raise InvalidArgumentError(
            "num_frames", num_frames, f"None for {name}: pass tokens=TokenizeConfig.of(num_frames=...)"
        )
    return OurBackbone(name, load_encoder(name, device=device, dtype=dtype), tokens)


def _model_type(name: str, folder: Path) -> str:
    file = folder / "config.json"
    if not file.is_file():
        raise CheckpointError(name, "holds no config.json")
    return str(read_json(file).get("model_type"))


def _family(name: str, model_type: str) -> Family:
    family = family_of(model_type)
    if family is None:
        known = ", ".join(kind for kinds in known_backbones().values() for kind in kinds)
        raise CheckpointError(name, f"config.json has model_type={model_type!r}; known are {known}")
    return family
