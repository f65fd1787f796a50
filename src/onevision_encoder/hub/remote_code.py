"""No remote code: ``auto_map`` entries in the files of this encoder are not shown to transformers.

transformers 5 prefers registered classes to remote code, except for an image processor whose type is one of its own;
4.57 runs whatever ``auto_map`` names as soon as ``trust_remote_code=True``, which the published instructions ask for.
Neither has a switch, so the three methods that read ``config.json``, ``preprocessor_config.json`` and
``processor_config.json`` drop the entry where the files are this encoder's. Nothing changes for other models.
"""

from __future__ import annotations

import functools
from typing import Any

from transformers import PretrainedConfig
from transformers.image_processing_base import ImageProcessingMixin
from transformers.processing_utils import ProcessorMixin

from onevision_encoder.hub.options import hub_arguments
from onevision_encoder.model.configuration import OneVisionEncoderConfig

ENTRY = "auto_map"
_OUR_TYPES = {OneVisionEncoderConfig.model_type}
_OUR_CLASSES = {"OneVisionEncoderImageProcessor", "OneVisionEncoderProcessor"}
_READERS = (
    (PretrainedConfig, "get_config_dict"),
    (ImageProcessingMixin, "get_image_processor_dict"),
    (ProcessorMixin, "get_processor_dict"),
)


def claim(model_type: str, *classes: str) -> None:
    """Count another model of this library, and its processors by their names, among those that run no remote code."""
    _OUR_TYPES.add(model_type)
    _OUR_CLASSES.update(classes)


def ignore_remote_code() -> None:
    """Wrap the three readers of transformers; a second call does nothing."""
    for owner, name in _READERS:
        read = owner.__dict__[name].__func__
        if not hasattr(read, "ignores_remote_code"):
            setattr(owner, name, classmethod(_ignoring(read)))


def _ignoring(read: Any) -> Any:
    @functools.wraps(read)
    def reader(
        cls: type, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        settings, rest = read(cls, pretrained_model_name_or_path, *args, **kwargs)
        if ENTRY in settings and _is_ours(settings, pretrained_model_name_or_path, hub_arguments(kwargs)):
            settings = {name: value for name, value in settings.items() if name != ENTRY}
        return settings, rest

    reader.ignores_remote_code = True  # type: ignore[attr-defined]
    return reader


def _is_ours(settings: dict[str, Any], source: Any, where: dict[str, Any]) -> bool:
    """By its own words, or by those of the ``config.json`` beside it."""
    if "model_type" in settings:
        return settings["model_type"] in _OUR_TYPES
    if any(settings.get(name) in _OUR_CLASSES for name in ("image_processor_type", "processor_class")):
        return True
    try:
        beside, _ = PretrainedConfig.get_config_dict(source, **where)
    except (OSError, ValueError):  # there is none
        return False
    return beside.get("model_type") in _OUR_TYPES
