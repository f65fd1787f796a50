"""The encoder room: patch tokens in, embeddings out. Names load torch and transformers when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onevision_encoder.lazy import lazy_names

if TYPE_CHECKING:
    from onevision_encoder.model.configuration import PRESETS as PRESETS
    from onevision_encoder.model.configuration import OneVisionEncoderConfig as OneVisionEncoderConfig
    from onevision_encoder.model.configuration import preset_config as preset_config
    from onevision_encoder.model.embed import Embeddings as Embeddings
    from onevision_encoder.model.embed import embed_tokens as embed_tokens
    from onevision_encoder.model.embed import normalize_patches as normalize_patches
    from onevision_encoder.model.embedding_file import ClipEmbeddings as ClipEmbeddings
    from onevision_encoder.model.embedding_file import load_embeddings as load_embeddings
    from onevision_encoder.model.embedding_file import save_embeddings as save_embeddings
    from onevision_encoder.model.encoder import OneVisionEncoderModel as OneVisionEncoderModel
    from onevision_encoder.model.loading import LoadedEncoder as LoadedEncoder
    from onevision_encoder.model.loading import load_encoder as load_encoder

_HOME = {
    "ClipEmbeddings": "embedding_file",
    "Embeddings": "embed",
    "LoadedEncoder": "loading",
    "OneVisionEncoderConfig": "configuration",
    "OneVisionEncoderModel": "encoder",
    "PRESETS": "configuration",
    "embed_tokens": "embed",
    "load_embeddings": "embedding_file",
    "load_encoder": "loading",
    "normalize_patches": "embed",
    "preset_config": "configuration",
    "save_embeddings": "embedding_file",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
