"""The evaluation room: encoders under one protocol, judged the same way. Names load torch when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onevision_encoder.lazy import lazy_names

if TYPE_CHECKING:
    from onevision_encoder.evaluate.backbone import Backbone as Backbone
    from onevision_encoder.evaluate.backbone import Clip as Clip
    from onevision_encoder.evaluate.backbone import Features as Features
    from onevision_encoder.evaluate.backbones import known_backbones as known_backbones
    from onevision_encoder.evaluate.backbones import load_backbone as load_backbone

_HOME = {
    "Backbone": "backbone",
    "Clip": "backbone",
    "Features": "backbone",
    "known_backbones": "backbones",
    "load_backbone": "backbones",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
