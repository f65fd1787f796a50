"""Making transformers' Auto classes know the composed model and its processor. Nothing runs at import."""

from __future__ import annotations

import functools

from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from onevision_encoder import join_transformers
from onevision_encoder.hub.remote_code import claim
from onevision_encoder.lmm.configuration import OneVisionVLConfig
from onevision_encoder.lmm.modeling import OneVisionForConditionalGeneration
from onevision_encoder.lmm.processing import OneVisionVLProcessor


@functools.cache
def register_language_models() -> None:
    """Register with AutoConfig, AutoModelForImageTextToText and AutoProcessor, and the encoder with them; a second
    call does nothing.

    As for the encoder, ``auto_map`` in the files of this model is not followed (see :mod:`..hub.remote_code`).
    """
    join_transformers()
    AutoConfig.register(OneVisionVLConfig.model_type, OneVisionVLConfig, exist_ok=True)
    AutoModelForImageTextToText.register(OneVisionVLConfig, OneVisionForConditionalGeneration, exist_ok=True)
    AutoProcessor.register(OneVisionVLConfig, OneVisionVLProcessor, exist_ok=True)
    claim(OneVisionVLConfig.model_type, OneVisionVLProcessor.__name__)
