"""Configurations of the other layouts <-> ours.

Field names are shared; what differs: LLaVA-OneVision-2 and Mage keep the tower's fields under ``vision_config``, call
``window_frames`` ``frame_windows_size`` (0 or less = no windows) and have no head; newer transformers keep
``rope_theta`` inside ``rope_parameters``. Whatever a file does not say is taken from the defaults of the published
configuration classes and noted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from onevision_encoder.errors import CheckpointError
from onevision_encoder.model.configuration import PRESETS, OneVisionEncoderConfig, preset_config
from onevision_encoder.model.layouts import PATCH, WeightLayout

FOREIGN_TYPES: Mapping[str, WeightLayout] = {
    "llava_onevision2": "ov2",
    "llava_onevision2_moe": "ov2",
    "mage_vl": "mage",
    "mage_vl_vision": "mage",
}
VISION_TYPES: Mapping[WeightLayout, str] = {"ov2": "llava_onevision2", "mage": "mage_vl_vision"}
SHAPES = ("hidden_size", "intermediate_size", "num_hidden_layers", "patch_size")
"""Fields that the tensors tell themselves."""
SHARED: Mapping[str, Any] = {
    "num_attention_heads": 16,
    "num_channels": 3,
    "image_size": 448,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-6,
    "layer_norm_type": "layer_norm",
    "attention_dropout": 0.0,
    "initializer_range": 0.02,
    "rope_theta": 10000.0,
}
"""Fields that only a configuration tells, with the defaults of the published classes."""
PUBLISHED_WINDOW = 4
OURS_ONLY = ("rope_mode", "window_frames", "place_waves", "place_size", "place_std")
EPS_NOTE = (
    "LLaVA-OneVision-2's Megatron training code normalises with eps 1e-5 (1e-4 before the first block), its published "
    "configuration says {eps:g}; the configuration was followed"
)


@dataclass(frozen=True, kw_only=True)
class ReadConfig:
    """``config`` of our kind, the ``layout`` it came in, and ``notes`` on what was not said."""

    config: OneVisionEncoderConfig
    layout: WeightLayout
    notes: tuple[str, ...]


def read_json(source: object, path: Path) -> dict[str, Any]:
    """Raises CheckpointError unless the file holds a JSON object."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(source, f"{path.name} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(source, f"{path.name} holds {type(found).__name__}, not a JSON object")
    return found


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, int]:
    """The fields of :data:`SHAPES` by the tensors, in our names."""
    numbers = [int(name.split(".")[2]) for name in state if name.startswith("encoder.layers.")]
    fc1 = state.get("encoder.layers.0.mlp.fc1.weight")
    return {
        "hidden_size": len(state[PATCH]),
        "intermediate_size": 0 if fc1 is None else len(fc1),
        "num_hidden_layers": max(numbers, default=-1) + 1,
        "patch_size": state[PATCH].shape[-1],
    }


def read_config(
    source: object, found: Mapping[str, Any] | None, state: Mapping[str, Tensor], *, fused: bool
) -> ReadConfig:
    """The configuration of an encoder whose tensors are there, in our names.

    Args:
        found: contents of ``config.json``; None = there is none, and the size must be that of a preset.
    Raises:
        CheckpointError: a configuration of something else, or one that contradicts the tensors.
    """
    shapes = shapes_of(state)
    if found is None:
        return _by_shapes(source, shapes, state, fused)
    nested = found.get("vision_config")
    if not isinstance(nested, Mapping | None):
        raise CheckpointError(source, f"config.json has vision_config={nested!r:.80}, not a JSON object")
    layout = _layout(source, found, fused)
    if nested is None and layout in VISION_TYPES and ("text_config" in found or "hidden_size" not in found):
        raise CheckpointError(source, "config.json has no vision_config")
    fields = found if nested is None else nested
    for name, value in shapes.items():
        if name in fields and fields[name] != value:
            raise CheckpointError(source, f"config.json says {name}={fields[name]!r}, the tensors say {value}")
    notes = [
        f"config.json does not say {name}; the tensors say {shapes[name]}" for name in SHAPES if name not in fields
    ]
    chosen = {**shapes, **_told(fields, notes)}
    if layout in VISION_TYPES:
        chosen |= {"use_head": False, "window_frames": _window(source, fields, notes)}
        if fields.get("use_head"):
            raise CheckpointError(source, "config.json says use_head=true: no tower with a head was published")
        if layout == "ov2":
            notes.append(EPS_NOTE.format(eps=chosen["layer_norm_eps"]))
    else:
        chosen["use_head"] = "head.probe" in state
        chosen |= {name: fields[name] for name in ("rope_temporal_size", *OURS_ONLY) if name in fields}
    for name in ("rope_theta", "layer_norm_eps"):
        if type(chosen[name]) not in (int, float) or not chosen[name] > 0:
            raise CheckpointError(source, f"config.json says {name}={chosen[name]!r}, not a number above 0")
    try:
        config = OneVisionEncoderConfig(**chosen)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise CheckpointError(source, f"config.json makes no sense: {error}") from error
    return ReadConfig(config=config, layout=layout, notes=tuple(notes))


def _by_shapes(source: object, shapes: Mapping[str, int], state: Mapping[str, Tensor], fused: bool) -> ReadConfig:
    """Widths do not tell the number of heads; the sizes that were published do."""
    for name, (width, layers, _) in PRESETS.items():
        if (width, 4 * width, layers) == tuple(shapes[field] for field in SHAPES[:3]):
            config = preset_config(name, patch_size=shapes["patch_size"], use_head="head.probe" in state)
            note = f"there is no config.json; the tensors have the shapes of preset {name!r}"
            if fused:
                config.window_frames = PUBLISHED_WINDOW
                note += f", windows of {PUBLISHED_WINDOW} frames are those of the published towers"
            return ReadConfig(config=config, layout="ov2" if fused else "original", notes=(note,))
    raise CheckpointError(source, f"there is no config.json, and {dict(shapes)} is no preset: name one with config=")


def _layout(source: object, found: Mapping[str, Any], fused: bool) -> WeightLayout:
    nested = found.get("vision_config")
    kinds = [str(part.get("model_type")) for part in (found, nested) if isinstance(part, Mapping)]
    for kind in kinds:
        if kind in FOREIGN_TYPES:
            return FOREIGN_TYPES[kind]
    if fused:
        known = sorted(FOREIGN_TYPES)
        raise CheckpointError(
            source, f"config.json has model_type={kinds[0]!r}; with fused qkv one of {known} is known"
        )
    if OneVisionEncoderConfig.model_type in kinds or nested is not None:
        return "ours" if any(name in found for name in OURS_ONLY) else "original"
    wanted = [OneVisionEncoderConfig.model_type, *sorted(FOREIGN_TYPES)]
    cause = f"config.json has model_type={kinds[0]!r}; known are {wanted}"
    raise CheckpointError(source, f"{cause}. Name the encoder's own config.json with config= (--config)")


def _told(fields: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    rope = fields.get("rope_parameters")
    told = {name: fields[name] for name in SHARED if name in fields}
    if "rope_theta" not in told and isinstance(rope, Mapping) and "rope_theta" in rope:
        told["rope_theta"] = rope["rope_theta"]
    for name, value in SHARED.items():
        if name not in told:
            notes.append(f"config.json does not say {name}; the published default is {value!r}")
    return {**SHARED, **told}


def _window(source: object, fields: Mapping[str, Any], notes: list[str]) -> int | None:
    if "frame_windows_size" not in fields:
        notes.append(f"config.json does not say frame_windows_size; the published default is {PUBLISHED_WINDOW}")
    size = fields.get("frame_windows_size", PUBLISHED_WINDOW)
    if size is not None and type(size) is not int:
        raise CheckpointError(source, f"config.json says frame_windows_size={size!r:.80}, not a number of frames")
    return size if size and size > 0 else None


def wordless(config: OneVisionEncoderConfig, to: WeightLayout) -> list[str]:
    """Notes on fields that layout ``to`` has no room for, and that readers will take to be the default."""
    usual = OneVisionEncoderConfig().rope_temporal_size
    if to not in VISION_TYPES or config.rope_temporal_size == usual:
        return []
    found = f"rope_temporal_size={config.rope_temporal_size!r}"
    return [f"{found} has no word in {to}; coming back it is {usual} (it numbers frames that have no positions)"]


def write_config(source: object, config: OneVisionEncoderConfig, to: WeightLayout) -> dict[str, Any]:
    """Contents of a ``config.json`` of another layout.

    Raises:
        CheckpointError: the layout has no word for what this encoder does.
    """
    if config.rope_mode != "pairwise":
        raise CheckpointError(source, f"rope_mode={config.rope_mode!r} exists in no layout but ours")
    if config.place_waves:
        raise CheckpointError(source, f"place_waves={config.place_waves} exists in no layout but ours")
    fields = {name: getattr(config, name) for name in (*SHAPES, *SHARED)}
    if to == "original":
        if config.window_frames is not None:
            cause = f"window_frames={config.window_frames}: the original attends over the whole clip only"
            raise CheckpointError(source, cause)
        own = {"use_head": config.use_head, "rope_temporal_size": config.rope_temporal_size}
        return {"architectures": ["OneVisionEncoderModel"], "model_type": config.model_type, **fields, **own}
    windows = {"use_head": False, "frame_windows_size": config.window_frames or 0}
    return {"model_type": VISION_TYPES[to], **fields, **windows}
