"""The encoder room: patch tokens in, embeddings out. Names load torch and transformers when first used."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onevision_encoder.model.card import model_card, write_model_card
    from onevision_encoder.model.configuration import PRESETS, OneVisionEncoderConfig, preset_config
    from onevision_encoder.model.dense import DenseFeatures, dense_features
    from onevision_encoder.model.embed import Embeddings, embed_tokens, normalize_patches
    from onevision_encoder.model.embedding_file import ClipEmbeddings, load_embeddings, save_embeddings
    from onevision_encoder.model.encoder import OneVisionEncoderModel
    from onevision_encoder.model.export import describe_graph, export_onnx, export_program
    from onevision_encoder.model.loading import LoadedEncoder, load_encoder

_HOME = {
    "ClipEmbeddings": "embedding_file",
    "DenseFeatures": "dense",
    "Embeddings": "embed",
    "LoadedEncoder": "loading",
    "OneVisionEncoderConfig": "configuration",
    "OneVisionEncoderModel": "encoder",
    "PRESETS": "configuration",
    "dense_features": "dense",
    "describe_graph": "export",
    "embed_tokens": "embed",
    "export_onnx": "export",
    "export_program": "export",
    "load_embeddings": "embedding_file",
    "load_encoder": "loading",
    "model_card": "card",
    "normalize_patches": "embed",
    "preset_config": "configuration",
    "save_embeddings": "embedding_file",
    "write_model_card": "card",
}

__all__ = [
    "PRESETS",
    "ClipEmbeddings",
    "DenseFeatures",
    "Embeddings",
    "LoadedEncoder",
    "OneVisionEncoderConfig",
    "OneVisionEncoderModel",
    "dense_features",
    "describe_graph",
    "embed_tokens",
    "export_onnx",
    "export_program",
    "load_embeddings",
    "load_encoder",
    "model_card",
    "normalize_patches",
    "preset_config",
    "save_embeddings",
    "write_model_card",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
