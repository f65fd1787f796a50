"""The evaluation room: frozen encoders judged by probes, exactly and repeatably. Names load torch when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onevision_encoder.lazy import lazy_names

if TYPE_CHECKING:
    from onevision_encoder.evaluate.backbone import Backbone as Backbone
    from onevision_encoder.evaluate.backbone import Clip as Clip
    from onevision_encoder.evaluate.backbone import Features as Features
    from onevision_encoder.evaluate.backbone_ours import OurBackbone as OurBackbone
    from onevision_encoder.evaluate.backbones import known_backbones as known_backbones
    from onevision_encoder.evaluate.backbones import load_backbone as load_backbone
    from onevision_encoder.evaluate.datasets import BENCHMARKS as BENCHMARKS
    from onevision_encoder.evaluate.datasets import DataSet as DataSet
    from onevision_encoder.evaluate.datasets import Example as Example
    from onevision_encoder.evaluate.datasets import load_dataset as load_dataset
    from onevision_encoder.evaluate.distributed import joined as joined
    from onevision_encoder.evaluate.embedded_sets import EmbeddedSet as EmbeddedSet
    from onevision_encoder.evaluate.embedded_sets import embed_set as embed_set
    from onevision_encoder.evaluate.embedded_sets import embed_sets as embed_sets
    from onevision_encoder.evaluate.feature_cache import FeatureCache as FeatureCache
    from onevision_encoder.evaluate.features import FeatureReader as FeatureReader
    from onevision_encoder.evaluate.metrics import interval as interval
    from onevision_encoder.evaluate.metrics import score as score
    from onevision_encoder.evaluate.motion_suite import MotionClip as MotionClip
    from onevision_encoder.evaluate.motion_suite import MotionSuite as MotionSuite
    from onevision_encoder.evaluate.motion_suite import make_suite as make_suite
    from onevision_encoder.evaluate.motion_suite import suite_clips as suite_clips
    from onevision_encoder.evaluate.probe import run_probe as run_probe
    from onevision_encoder.evaluate.probe_config import ProbeConfig as ProbeConfig
    from onevision_encoder.evaluate.probe_report import ProbeResult as ProbeResult
    from onevision_encoder.evaluate.report import write_report as write_report
    from onevision_encoder.evaluate.token_files import TokenSetCache as TokenSetCache
    from onevision_encoder.evaluate.token_making import make_token_set as make_token_set
    from onevision_encoder.evaluate.token_making import make_token_sets as make_token_sets
    from onevision_encoder.evaluate.token_sets import TokenSet as TokenSet
    from onevision_encoder.evaluate.token_sets import in_common as in_common
    from onevision_encoder.evaluate.tuning import Tuned as Tuned
    from onevision_encoder.evaluate.tuning import tune as tune
    from onevision_encoder.evaluate.tuning_config import TuneConfig as TuneConfig
    from onevision_encoder.evaluate.verification import verify as verify

_HOME = {
    "Backbone": "backbone",
    "Clip": "backbone",
    "Features": "backbone",
    "OurBackbone": "backbone_ours",
    "known_backbones": "backbones",
    "load_backbone": "backbones",
    "BENCHMARKS": "datasets",
    "DataSet": "datasets",
    "Example": "datasets",
    "FeatureCache": "feature_cache",
    "EmbeddedSet": "embedded_sets",
    "FeatureReader": "features",
    "embed_set": "embedded_sets",
    "embed_sets": "embedded_sets",
    "ProbeConfig": "probe_config",
    "ProbeResult": "probe_report",
    "interval": "metrics",
    "joined": "distributed",
    "load_dataset": "datasets",
    "run_probe": "probe",
    "score": "metrics",
    "verify": "verification",
    "TokenSet": "token_sets",
    "TokenSetCache": "token_files",
    "TuneConfig": "tuning_config",
    "Tuned": "tuning",
    "in_common": "token_sets",
    "make_token_set": "token_making",
    "make_token_sets": "token_making",
    "tune": "tuning",
    "write_report": "report",
    "MotionClip": "motion_suite",
    "MotionSuite": "motion_suite",
    "make_suite": "motion_suite",
    "suite_clips": "motion_suite",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
