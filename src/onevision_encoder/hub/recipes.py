"""The original's image recipe, as ``CLIPImageProcessor`` writes it down, in our words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from onevision_encoder.errors import InvalidArgumentError

CLIP_TYPES = ("CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil", "CLIPFeatureExtractor")
RECIPES = {224: "crop224", 448: "image448"}
"""Side of the centre crop -> name of the recipe."""

_STEPS = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
_BICUBIC = 3
_CLIP_NAMES = (*_STEPS, "do_convert_rgb", "resample", "rescale_factor", "size", "crop_size")


def original_settings(settings: Mapping[str, Any], *, ours: str) -> dict[str, Any]:
    """Settings for our image processor: themselves, or translated from CLIP's.

    Args:
        settings: of a ``preprocessor_config.json``; its ``image_processor_type`` says whose they are, without one
            they are ours. ours: the name of our class.
    Raises:
        InvalidArgumentError: another class, or steps that make no recipe of ours.
    """
    kind = settings.get("image_processor_type", settings.get("feature_extractor_type", ours))
    if kind == ours:
        return {name: value for name, value in settings.items() if name not in _CLIP_NAMES}
    if kind not in CLIP_TYPES:
        allowed = f"{ours} or CLIPImageProcessor, the original's; any other one can be made with {ours}(recipe=...)"
        raise InvalidArgumentError("image_processor_type", kind, allowed)
    for name in _STEPS:
        if settings.get(name, True) is not True:
            raise InvalidArgumentError(name, settings[name], "true: this recipe resizes, crops, rescales, normalises")
    if settings.get("resample", _BICUBIC) != _BICUBIC:
        raise InvalidArgumentError("resample", settings["resample"], f"{_BICUBIC}, bicubic")
    factor = settings.get("rescale_factor", 1 / 255)
    if not isinstance(factor, float) or not math.isclose(factor, 1 / 255):
        raise InvalidArgumentError("rescale_factor", factor, "1/255")
    size, crop = _edge(settings.get("size", 224)), _square(settings.get("crop_size", 224))
    if size != crop or size not in tuple(RECIPES):  # a list has no hash
        found = {"size": settings.get("size"), "crop_size": settings.get("crop_size")}
        allowed = f"shortest_edge and a square crop of the same side, one of {tuple(RECIPES)}"
        raise InvalidArgumentError("preprocessor_config", found, allowed)
    kept = {name: settings[name] for name in ("image_mean", "image_std", "patch_size") if name in settings}
    return {"recipe": RECIPES[size], **kept}


def clip_settings(recipe: str) -> dict[str, Any]:
    """What ``CLIPImageProcessor`` is to find in our file, so that it crops as we do; {} for recipes it has not."""
    sides = {name: side for side, name in RECIPES.items()}
    if recipe not in sides:
        return {}
    side = sides[recipe]
    return {
        **dict.fromkeys((*_STEPS, "do_convert_rgb"), True),
        "resample": _BICUBIC,
        "rescale_factor": 1 / 255,
        "size": {"shortest_edge": side},
        "crop_size": {"height": side, "width": side},
    }


def _edge(size: Any) -> int | None:
    """The short side that CLIP resizes to; older files hold a bare number."""
    return size.get("shortest_edge") if isinstance(size, Mapping) else size


def _square(crop: Any) -> int | None:
    if not isinstance(crop, Mapping):
        return crop  # type: ignore[no-any-return]
    return crop.get("height") if crop.get("height") == crop.get("width") else None
