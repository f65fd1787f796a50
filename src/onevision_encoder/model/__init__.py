"""The encoder room: patch tokens in, embeddings out. Names load torch and transformers when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onevision_encoder import join_transformers
from onevision_encoder.lazy import lazy_names

if TYPE_CHECKING:
    from onevision_encoder.model.card import model_card as model_card
    from onevision_encoder.model.card import write_model_card as write_model_card
    from onevision_encoder.model.configuration import PRESETS as PRESETS
    from onevision_encoder.model.configuration import OneVisionEncoderConfig as OneVisionEncoderConfig
    from onevision_encoder.model.configuration import preset_config as preset_config
    from onevision_encoder.model.convert import Conversion as Conversion
    from onevision_encoder.model.convert import EncoderWeights as EncoderWeights
    from onevision_encoder.model.convert import convert_checkpoint as convert_checkpoint
    from onevision_encoder.model.convert import read_weights as read_weights
    from onevision_encoder.model.dense import DenseFeatures as DenseFeatures
    from onevision_encoder.model.dense import dense_features as dense_features
    from onevision_encoder.model.embed import Embeddings as Embeddings
    from onevision_encoder.model.embed import embed_tokens as embed_tokens
    from onevision_encoder.model.embed import normalize_patches as normalize_patches
    from onevision_encoder.model.embedding_file import ClipEmbeddings as ClipEmbeddings
    from onevision_encoder.model.embedding_file import load_embeddings as load_embeddings
    from onevision_encoder.model.embedding_file import save_embeddings as save_embeddings
    from onevision_encoder.model.encoder import OneVisionEncoderModel as OneVisionEncoderModel
    from onevision_encoder.model.export import describe_graph as describe_graph
    from onevision_encoder.model.export import export_onnx as export_onnx
    from onevision_encoder.model.export import export_program as export_program
    from onevision_encoder.model.loading import LoadedEncoder as LoadedEncoder
    from onevision_encoder.model.loading import load_encoder as load_encoder
    from onevision_encoder.model.shipped import default_weights as default_weights

_HOME = {
    "ClipEmbeddings": "embedding_file",
    "Conversion": "convert",
    "DenseFeatures": "dense",
    "Embeddings": "embed",
    "EncoderWeights": "convert",
    "LoadedEncoder": "loading",
    "OneVisionEncoderConfig": "configuration",
    "OneVisionEncoderModel": "encoder",
    "PRESETS": "configuration",
    "convert_checkpoint": "convert",
    "default_weights": "shipped",
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
    "read_weights": "convert",
    "save_embeddings": "embedding_file",
    "write_model_card": "card",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME, first=join_transformers)
