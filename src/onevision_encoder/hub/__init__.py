"""hub/: at home in transformers. Processors that make model inputs, and the Auto classes that find them.

Taking any name from here makes the Auto classes know the encoder (see :mod:`onevision_encoder.hub.register`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onevision_encoder import join_transformers
from onevision_encoder.lazy import lazy_names

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

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME, first=join_transformers)
