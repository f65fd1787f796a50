"""The encoder room: patch tokens in, embeddings out. Names load torch and transformers when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from onevision_encoder import join_transformers

if TYPE_CHECKING:
    from onevision_encoder.model.configuration import PRESETS, OneVisionEncoderConfig, preset_config
    from onevision_encoder.model.embed import Embeddings, embed_tokens, normalize_patches
    from onevision_encoder.model.embedding_file import ClipEmbeddings, load_embeddings, save_embeddings
    from onevision_encoder.model.encoder import OneVisionEncoderModel
    from onevision_encoder.model.loading import LoadedEncoder, load_encoder

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

__all__ = [
    "PRESETS",
    "ClipEmbeddings",
    "Embeddings",
    "LoadedEncoder",
    "OneVisionEncoderConfig",
    "OneVisionEncoderModel",
    "embed_tokens",
    "load_embeddings",
    "load_encoder",
    "normalize_patches",
    "preset_config",
    "save_embeddings",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        join_transformers()
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
