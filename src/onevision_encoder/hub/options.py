"""The options of a processor call: their names, what they apply to, what a wrong one was meant to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, Literal, get_args

import numpy as np

from onevision_encoder.checks import MEANT, is_read, meant
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.selection.config import AUTO_BUDGET
from onevision_encoder.tokens.pipeline import TokenizeConfig
from onevision_encoder.video.config import Sampling, Sizing

VideoBackend = Literal["codec", "frames", "tiled"]
ImageLayout = Literal["packed", "dense"]
ReturnTensors = Literal["pt", "np"]

DENSE_FRAMES = 16
"""Frames of backend ``frames`` where nothing else says how many: the published instructions' video."""

FRAME_OPTIONS = frozenset(option.name for part in (Sampling, Sizing) for option in fields(part))
"""Options that decide which frames are read and at what size."""

IMAGE_OPTIONS = ("recipe", "max_patches", "side", "merge", "order")
"""Options that mean for an image what they mean for a video."""

_OF_ONE_RECIPE = {"max_patches": "native", "side": "letterbox"}
"""Options that one recipe alone looks at."""

_POLICIES = {"codec": ("codec",), "frames": ("dense", "uniform", "uniform_lowres"), "tiled": ("tiled",)}
_COUNTS = {"num_frames", "fps"}
_MEANT = {
    **MEANT,
    "image": "images",
    "video": "videos",
    "backend": "video_backend",
    "do_center_crop": "recipe",
    "do_resize": "recipe",
}
"""What other libraries call it, where the letters do not give it away."""

_PATCH = "the patch size is the model's, given when the image processor is made: patch_size=..."
_BESIDE = {
    "patch": _PATCH,
    "patch_size": _PATCH,
    "use_fast": "leave it out: there is one image processor, and it needs no torchvision",
}

_HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")
_SERVICE = frozenset(
    {
        *_HUB_ARGUMENTS,
        *("auto_map", "code_revision", "resume_download", "trust_remote_code", "use_auth_token"),
        *("chat_template", "feature_extractor_type", "image_processor_type", "processor_class"),
    }
)


def hub_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Where files are to come from."""
    return {name: value for name, value in given.items() if name in _HUB_ARGUMENTS}


def settings_among(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is left without the arguments of ``from_pretrained`` and the entries that transformers keeps for itself."""
    return {name: value for name, value in given.items() if name not in _SERVICE and not name.startswith("_")}


def video_options() -> tuple[str, ...]:
    """Names of all options of a video: those of :meth:`TokenizeConfig.of`, without the patch size of the model."""
    return tuple(sorted(set(_usual_values()) - {"patch"}))


def _usual_values() -> dict[str, Any]:
    return {name: value for part in TokenizeConfig().as_dict().values() for name, value in part.items()}


def check_options(given: Mapping[str, Any], accepted: Iterable[str]) -> None:
    """Raise InvalidArgumentError for an option that is not accepted, saying what was probably meant."""
    names = sorted(accepted)
    for name, value in given.items():
        if name not in names:
            hint = (meant(name, names, _MEANT) or ".") + " "
            if name in _BESIDE:
                hint = f"; {_BESIDE[name]}. "
            raise InvalidArgumentError(name, brief(value), f"no such option{hint}Accepted are {', '.join(names)}")


def check_effect(given: Mapping[str, Any], recipes: Iterable[str]) -> None:
    """Raise InvalidArgumentError for a size that none of the recipes, those of all that was given, looks at."""
    used = sorted(set(recipes))
    for name, recipe in _OF_ONE_RECIPE.items():
        if name in given and recipe not in used:
            here = " and ".join(map(repr, used))
            raise InvalidArgumentError(name, given[name], f"for recipe={recipe!r} only; here it is {here}")


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of numpy as Python's: they are saved as JSON, and not every check knows them."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in options.items()}


def check_choice(name: str, value: object, choices: Any) -> None:
    """Raise InvalidArgumentError unless ``value`` is None or one of the Literal ``choices``."""
    if value is not None and value not in get_args(choices):
        known = ", ".join(repr(choice) for choice in get_args(choices))
        raise InvalidArgumentError(name, value, f"one of {known} or None")


def brief(value: Any) -> Any:
    """What to show of a value in a message: arrays by shape and dtype, the rest as it is, but short."""
    if getattr(value, "shape", None) is not None:
        return (type(value).__name__, tuple(value.shape), str(value.dtype))
    return value if len(repr(value)) <= 80 else f"{repr(value)[:77]}..."


def video_config(
    given: Mapping[str, Any], defaults: Mapping[str, Any], *, backend: str | None, usual: str, patch: int
) -> TokenizeConfig:
    """The configuration of one call.

    Args:
        given: options of the call, which win over ``defaults``, those of the processor. Of these, the ones that belong
            to another policy than the call's have no meaning for it and are left out.
        backend: the call's ``video_backend``; ``usual``: the processor's, where the call says nothing.
    Raises:
        InvalidArgumentError: a value out of range; a backend and a policy that exclude each other.
    """
    check_choice("video_backend", backend, VideoBackend)
    options = plain({**defaults, **given, "patch": patch})
    if backend is None and "policy" not in options:
        backend = usual
    if backend is not None:
        options["policy"] = _policy(backend, options, given)
    if options["policy"] == "dense" and "policy" not in defaults:
        if "budget" not in given:
            options.pop("budget", None)  # the processor's, for policies that choose
        if not _COUNTS & set(options):
            options["num_frames"] = DENSE_FRAMES
    values = {**_usual_values(), **options}
    asked = set(given) - {"side"}  # which may be meant for the images of the call; check_effect sees to it
    return TokenizeConfig.of(
        **{name: value for name, value in options.items() if name in asked or is_read(name, values)}
    )


def _policy(backend: str, options: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """What a backend stands for. Whole frames are counted by the call, else bought by a budget, else counted."""
    policies = _POLICIES[backend]
    if options.get("policy") in policies:
        return str(options["policy"])
    if "policy" in given:
        allowed = f"one of {policies} with video_backend={backend!r}; or leave one of the two out"
        raise InvalidArgumentError("policy", given["policy"], allowed)
    settings = options if "budget" in given or not _COUNTS & set(given) else given
    bought = settings.get("budget", AUTO_BUDGET) != AUTO_BUDGET
    return "uniform" if backend == "frames" and bought else policies[0]
