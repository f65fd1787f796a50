"""The pretraining room: from raw media to a checkpoint that ``from_pretrained`` loads. Names load when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onevision_encoder.lazy import lazy_names

if TYPE_CHECKING:
    from onevision_encoder.pretrain.attached_labels import AttachedLabels as AttachedLabels
    from onevision_encoder.pretrain.attached_labels import attach_labels as attach_labels
    from onevision_encoder.pretrain.augment import AugmentConfig as AugmentConfig
    from onevision_encoder.pretrain.bank import BankLoss as BankLoss
    from onevision_encoder.pretrain.bank import ConceptBank as ConceptBank
    from onevision_encoder.pretrain.bank_config import BankConfig as BankConfig
    from onevision_encoder.pretrain.centres import Centres as Centres
    from onevision_encoder.pretrain.clipping import clip_global_norm as clip_global_norm
    from onevision_encoder.pretrain.concept_page import ConceptPage as ConceptPage
    from onevision_encoder.pretrain.config import PretrainConfig as PretrainConfig
    from onevision_encoder.pretrain.corpus import Corpus as Corpus
    from onevision_encoder.pretrain.corpus_build import BuildReport as BuildReport
    from onevision_encoder.pretrain.corpus_build import build_corpus as build_corpus
    from onevision_encoder.pretrain.corpus_config import CorpusConfig as CorpusConfig
    from onevision_encoder.pretrain.duplicates import Duplicates as Duplicates
    from onevision_encoder.pretrain.duplicates import find_duplicates as find_duplicates
    from onevision_encoder.pretrain.failures import DivergedError as DivergedError
    from onevision_encoder.pretrain.failures import InterruptedRunError as InterruptedRunError
    from onevision_encoder.pretrain.failures import RankLostError as RankLostError
    from onevision_encoder.pretrain.failures import ResumeError as ResumeError
    from onevision_encoder.pretrain.feature_extract import extract_features as extract_features
    from onevision_encoder.pretrain.feature_store import FeatureStore as FeatureStore
    from onevision_encoder.pretrain.feature_store import FeatureStoreError as FeatureStoreError
    from onevision_encoder.pretrain.feature_store import open_features as open_features
    from onevision_encoder.pretrain.kmeans_config import KMeansConfig as KMeansConfig
    from onevision_encoder.pretrain.kmeans_run import kmeans as kmeans
    from onevision_encoder.pretrain.labels import InvertedIndex as InvertedIndex
    from onevision_encoder.pretrain.labels import LabelTable as LabelTable
    from onevision_encoder.pretrain.labels import label_features as label_features
    from onevision_encoder.pretrain.recipes import RECIPES as RECIPES
    from onevision_encoder.pretrain.recipes import recipe as recipe
    from onevision_encoder.pretrain.row_optimizer import RowAdamW as RowAdamW
    from onevision_encoder.pretrain.run_budget import DryRun as DryRun
    from onevision_encoder.pretrain.run_budget import describe_run as describe_run
    from onevision_encoder.pretrain.run_budget import dry_run as dry_run
    from onevision_encoder.pretrain.run_folder import export_encoder as export_encoder
    from onevision_encoder.pretrain.schedule import ScheduleConfig as ScheduleConfig
    from onevision_encoder.pretrain.shards import index_shard as index_shard
    from onevision_encoder.pretrain.start import RunResult as RunResult
    from onevision_encoder.pretrain.start import pretrain as pretrain
    from onevision_encoder.pretrain.stream import MixedStream as MixedStream
    from onevision_encoder.pretrain.stream import TrainingBatch as TrainingBatch
    from onevision_encoder.pretrain.stream_config import CorpusShare as CorpusShare
    from onevision_encoder.pretrain.stream_config import StreamConfig as StreamConfig
    from onevision_encoder.pretrain.stream_config import TextBank as TextBank
    from onevision_encoder.pretrain.text import RapidOcrReader as RapidOcrReader
    from onevision_encoder.pretrain.text import TextReader as TextReader
    from onevision_encoder.pretrain.text import corpus_words as corpus_words
    from onevision_encoder.pretrain.text import read_texts as read_texts
    from onevision_encoder.pretrain.vocabulary import Vocabulary as Vocabulary
    from onevision_encoder.pretrain.vocabulary import Word as Word
    from onevision_encoder.pretrain.vocabulary import build_vocabulary as build_vocabulary
    from onevision_encoder.pretrain.vocabulary import text_labels as text_labels

_HOME = {
    "AttachedLabels": "attached_labels",
    "attach_labels": "attached_labels",
    "AugmentConfig": "augment",
    "BankLoss": "bank",
    "ConceptBank": "bank",
    "BankConfig": "bank_config",
    "Centres": "centres",
    "clip_global_norm": "clipping",
    "ConceptPage": "concept_page",
    "PretrainConfig": "config",
    "Corpus": "corpus",
    "BuildReport": "corpus_build",
    "build_corpus": "corpus_build",
    "CorpusConfig": "corpus_config",
    "Duplicates": "duplicates",
    "find_duplicates": "duplicates",
    "DivergedError": "failures",
    "InterruptedRunError": "failures",
    "RankLostError": "failures",
    "ResumeError": "failures",
    "extract_features": "feature_extract",
    "FeatureStore": "feature_store",
    "FeatureStoreError": "feature_store",
    "open_features": "feature_store",
    "KMeansConfig": "kmeans_config",
    "kmeans": "kmeans_run",
    "InvertedIndex": "labels",
    "LabelTable": "labels",
    "label_features": "labels",
    "RECIPES": "recipes",
    "recipe": "recipes",
    "RowAdamW": "row_optimizer",
    "DryRun": "run_budget",
    "describe_run": "run_budget",
    "dry_run": "run_budget",
    "export_encoder": "run_folder",
    "ScheduleConfig": "schedule",
    "index_shard": "shards",
    "RunResult": "start",
    "pretrain": "start",
    "MixedStream": "stream",
    "TrainingBatch": "stream",
    "CorpusShare": "stream_config",
    "StreamConfig": "stream_config",
    "TextBank": "stream_config",
    "RapidOcrReader": "text",
    "TextReader": "text",
    "corpus_words": "text",
    "read_texts": "text",
    "Vocabulary": "vocabulary",
    "Word": "vocabulary",
    "build_vocabulary": "vocabulary",
    "text_labels": "vocabulary",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
