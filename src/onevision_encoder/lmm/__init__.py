"""lmm/: the encoder as the eyes of a language model. Encoder + merger + any causal language model of transformers.

Taking any name from here makes ``AutoModelForImageTextToText`` and ``AutoProcessor`` know the composed model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from onevision_encoder import join_transformers
from onevision_encoder.lazy import lazy_names

if TYPE_CHECKING:
    from onevision_encoder.lmm.answering import Answer as Answer
    from onevision_encoder.lmm.answering import Writing as Writing
    from onevision_encoder.lmm.answering import answer as answer
    from onevision_encoder.lmm.composing import add_vision_tokens as add_vision_tokens
    from onevision_encoder.lmm.configuration import OneVisionVLConfig as OneVisionVLConfig
    from onevision_encoder.lmm.loading import load_language_model as load_language_model
    from onevision_encoder.lmm.media import Medium as Medium
    from onevision_encoder.lmm.modeling import OneVisionForConditionalGeneration as OneVisionForConditionalGeneration
    from onevision_encoder.lmm.outputs import MediumRecord as MediumRecord
    from onevision_encoder.lmm.outputs import VLInputs as VLInputs
    from onevision_encoder.lmm.processing import OneVisionVLProcessor as OneVisionVLProcessor

_HOME = {
    "Answer": "answering",
    "Medium": "media",
    "MediumRecord": "outputs",
    "OneVisionForConditionalGeneration": "modeling",
    "OneVisionVLConfig": "configuration",
    "OneVisionVLProcessor": "processing",
    "VLInputs": "outputs",
    "Writing": "answering",
    "add_vision_tokens": "composing",
    "answer": "answering",
    "load_language_model": "loading",
}


def _register() -> None:
    join_transformers()
    importlib.import_module(f"{__name__}.registration").register_language_models()


__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME, first=_register)
