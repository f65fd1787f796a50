"""Making transformers' Auto classes know the encoder: configuration, model, processors. Nothing runs at import.

The packages ``onevision_encoder``, ``onevision_encoder.model`` and ``onevision_encoder.hub`` call
:func:`register_auto_classes` when a name that concerns transformers is first taken from them.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoProcessor

from onevision_encoder.hub.image_processor import OneVisionEncoderImageProcessor
from onevision_encoder.hub.processor import OneVisionEncoderProcessor
from onevision_encoder.hub.remote_code import ignore_remote_code
from onevision_encoder.model.configuration import OneVisionEncoderConfig
from onevision_encoder.model.encoder import OneVisionEncoderModel


@functools.cache
def register_auto_classes() -> None:
    """Register with AutoConfig, AutoModel, AutoImageProcessor and AutoProcessor; a second call does nothing.

    From then on ``auto_map`` in the files of this encoder is not followed, whatever ``trust_remote_code`` says.
    """
    AutoConfig.register(OneVisionEncoderConfig.model_type, OneVisionEncoderConfig, exist_ok=True)
    AutoModel.register(OneVisionEncoderConfig, OneVisionEncoderModel, exist_ok=True)
    AutoImageProcessor.register(OneVisionEncoderConfig, exist_ok=True, **_image_processor_arguments())
    AutoProcessor.register(OneVisionEncoderConfig, OneVisionEncoderProcessor, exist_ok=True)
    ignore_remote_code()


class _Backends(dict[str, type]):
    """Processors by backend. transformers 5 asks everything registered for its ``__name__`` when it looks for another
    library's class (``ProcessorMixin.get_possibly_dynamic_module``), and would trip over a plain dict."""

    __name__ = ""


def _image_processor_arguments() -> dict[str, Any]:
    """transformers 5 names processors by backend (ours serves both), 4.57 by slow and fast."""
    if "image_processor_classes" in inspect.signature(AutoImageProcessor.register).parameters:
        ours = OneVisionEncoderImageProcessor
        return {"image_processor_classes": _Backends(pil=ours, torchvision=ours)}
    return {"slow_image_processor_class": OneVisionEncoderImageProcessor}
