"""OneVision-Encoder: a vision transformer that reads video the way a codec writes it.

The import is light: torch, transformers and av load when a name that needs them is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from onevision_encoder.lazy import lazy_names

if TYPE_CHECKING:
    from onevision_encoder.codec import patch_scores as patch_scores
    from onevision_encoder.hub import OneVisionEncoderImageProcessor as OneVisionEncoderImageProcessor
    from onevision_encoder.hub import OneVisionEncoderProcessor as OneVisionEncoderProcessor
    from onevision_encoder.lmm import OneVisionForConditionalGeneration as OneVisionForConditionalGeneration
    from onevision_encoder.lmm import OneVisionVLProcessor as OneVisionVLProcessor
    from onevision_encoder.model import Embeddings as Embeddings
    from onevision_encoder.model import OneVisionEncoderConfig as OneVisionEncoderConfig
    from onevision_encoder.model import OneVisionEncoderModel as OneVisionEncoderModel
    from onevision_encoder.model import embed_tokens as embed_tokens
    from onevision_encoder.model import load_encoder as load_encoder
    from onevision_encoder.selection import SelectionConfig as SelectionConfig
    from onevision_encoder.selection import select as select
    from onevision_encoder.tokens import TokenizeConfig as TokenizeConfig
    from onevision_encoder.tokens import load_tokens as load_tokens
    from onevision_encoder.tokens import pack as pack
    from onevision_encoder.tokens import read_clip as read_clip
    from onevision_encoder.tokens import save_tokens as save_tokens
    from onevision_encoder.tokens import tokenize as tokenize
    from onevision_encoder.video import Sampling as Sampling
    from onevision_encoder.video import Sizing as Sizing
    from onevision_encoder.video import read_media as read_media
    from onevision_encoder.view import make_page as make_page
    from onevision_encoder.view import write_preview as write_preview

__version__ = "0.1.0"

_HOME = {
    "Embeddings": "model",
    "OneVisionEncoderConfig": "model",
    "OneVisionEncoderImageProcessor": "hub",
    "OneVisionEncoderModel": "model",
    "OneVisionEncoderProcessor": "hub",
    "OneVisionForConditionalGeneration": "lmm",
    "OneVisionVLProcessor": "lmm",
    "Sampling": "video",
    "SelectionConfig": "selection",
    "Sizing": "video",
    "TokenizeConfig": "tokens",
    "embed_tokens": "model",
    "load_encoder": "model",
    "load_tokens": "tokens",
    "make_page": "view",
    "pack": "tokens",
    "patch_scores": "codec",
    "read_clip": "tokens",
    "read_media": "video",
    "save_tokens": "tokens",
    "select": "selection",
    "tokenize": "tokens",
    "write_preview": "view",
}

_GUESSES = {
    **dict.fromkeys(("embed", "encode", "encode_video"), "model.encode_video(...) of a loaded model, or embed_tokens"),
    "encode_image": "model.encode_image(...) of a loaded model",
    **dict.fromkeys(("load", "load_model", "from_pretrained"), "load_encoder"),
    "convert": "onevision_encoder.model.convert_checkpoint",
    "preview": "write_preview",
    "read_video": "read_media or onevision_encoder.video.read_video",
    "view": "make_page (or the subpackage: import onevision_encoder.view)",
}
"""What readers try first -> what to write."""

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME, eager=("__version__",), guesses=_GUESSES)


def join_transformers() -> None:
    """Make transformers' Auto classes know the encoder and its processors.

    Called by the packages ``model`` and ``hub`` when one of their names is first taken. It lives here, above all of
    them, because the processors are built on the model, and the model must not import them.
    """
    importlib.import_module(f"{__name__}.hub.register").register_auto_classes()
