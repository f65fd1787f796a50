"""hub/: at home in transformers. Processors that make model inputs, and the Auto classes that find them.

Taking any name from here makes the Auto classes know the encoder (see :mod:`onevision_encoder.hub.register`).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from onevision_encoder import join_transformers

if TYPE_CHECKING:
    from onevision_encoder.hub.features import EncoderInputs as EncoderInputs
    from onevision_encoder.hub.features import InputMetadata as InputMetadata
    from onevision_encoder.hub.image_processor import OneVisionEncoderImageProcessor as OneVisionEncoderImageProcessor
    from onevision_encoder.hub.processor import OneVisionEncoderProcessor as OneVisionEncoderProcessor
    from onevision_encoder.hub.register import register_auto_classes as register_auto_classes

_HOME = {
    "EncoderInputs": "features",
    "InputMetadata": "features",
    "OneVisionEncoderImageProcessor": "image_processor",
    "OneVisionEncoderProcessor": "processor",
    "register_auto_classes": "register",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    join_transformers()
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
