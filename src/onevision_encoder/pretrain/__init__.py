"""The pretraining room: from features to a bank of concepts. Names load torch when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onevision_encoder.lazy import lazy_names

if TYPE_CHECKING:
    from onevision_encoder.pretrain.centres import Centres as Centres
    from onevision_encoder.pretrain.concept_page import ConceptPage as ConceptPage
    from onevision_encoder.pretrain.duplicates import Duplicates as Duplicates
    from onevision_encoder.pretrain.duplicates import find_duplicates as find_duplicates
    from onevision_encoder.pretrain.feature_extract import extract_features as extract_features
    from onevision_encoder.pretrain.feature_store import FeatureStore as FeatureStore
    from onevision_encoder.pretrain.feature_store import FeatureStoreError as FeatureStoreError
    from onevision_encoder.pretrain.feature_store import open_features as open_features
    from onevision_encoder.pretrain.kmeans_config import KMeansConfig as KMeansConfig
    from onevision_encoder.pretrain.kmeans_run import kmeans as kmeans
    from onevision_encoder.pretrain.labels import InvertedIndex as InvertedIndex
    from onevision_encoder.pretrain.labels import LabelTable as LabelTable
    from onevision_encoder.pretrain.labels import label_features as label_features

_HOME = {
    "Centres": "centres",
    "ConceptPage": "concept_page",
    "Duplicates": "duplicates",
    "FeatureStore": "feature_store",
    "FeatureStoreError": "feature_store",
    "InvertedIndex": "labels",
    "KMeansConfig": "kmeans_config",
    "LabelTable": "labels",
    "extract_features": "feature_extract",
    "find_duplicates": "duplicates",
    "kmeans": "kmeans_run",
    "label_features": "labels",
    "open_features": "feature_store",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
