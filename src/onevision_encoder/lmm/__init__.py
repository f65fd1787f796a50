"""lmm/: the encoder as the eyes of a language model. Encoder + merger + any causal language model of transformers.

Taking any name from here makes ``AutoModelForImageTextToText`` and ``AutoProcessor`` know the composed model.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from onevision_encoder.lazy import lazy_names

if TYPE_CHECKING:
    from onevision_encoder.lmm.answering import Answer as Answer
    from onevision_encoder.lmm.answering import Writing as Writing
    from onevision_encoder.lmm.answering import answer as answer
    from onevision_encoder.lmm.composing import add_vision_tokens as add_vision_tokens
    from onevision_encoder.lmm.configuration import OneVisionVLConfig as OneVisionVLConfig
    from onevision_encoder.lmm.extraction import ExtractedEncoder as ExtractedEncoder
    from onevision_encoder.lmm.extraction import extract_encoder as extract_encoder
    from onevision_encoder.lmm.loading import load_language_model as load_language_model
    from onevision_encoder.lmm.loading import load_trained as load_trained
    from onevision_encoder.lmm.media import Medium as Medium
    from onevision_encoder.lmm.modeling import OneVisionForConditionalGeneration as OneVisionForConditionalGeneration
    from onevision_encoder.lmm.outputs import MediumRecord as MediumRecord
    from onevision_encoder.lmm.outputs import VLInputs as VLInputs
    from onevision_encoder.lmm.processing import OneVisionVLProcessor as OneVisionVLProcessor
    from onevision_encoder.lmm.samples import Sample as Sample
    from onevision_encoder.lmm.samples import read_samples as read_samples
    from onevision_encoder.lmm.token_cache import TokenCache as TokenCache
    from onevision_encoder.lmm.training import TrainingReport as TrainingReport
    from onevision_encoder.lmm.training import fine_tune as fine_tune
    from onevision_encoder.lmm.training_config import TrainingConfig as TrainingConfig

_HOME = {
    "Answer": "answering",
    "ExtractedEncoder": "extraction",
    "Medium": "media",
    "MediumRecord": "outputs",
    "OneVisionForConditionalGeneration": "modeling",
    "OneVisionVLConfig": "configuration",
    "OneVisionVLProcessor": "processing",
    "Sample": "samples",
    "TokenCache": "token_cache",
    "TrainingConfig": "training_config",
    "TrainingReport": "training",
    "VLInputs": "outputs",
    "Writing": "answering",
    "add_vision_tokens": "composing",
    "answer": "answering",
    "load_language_model": "loading",
    "extract_encoder": "extraction",
    "fine_tune": "training",
    "load_trained": "loading",
    "read_samples": "samples",
}


def _register() -> None:
    importlib.import_module(f"{__name__}.registration").register_language_models()


__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME, first=_register)
