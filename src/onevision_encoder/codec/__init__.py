"""codec/: what a codec could not predict, per cell of 8 x 8 pixels, and what that makes of each patch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onevision_encoder.lazy import lazy_names

if TYPE_CHECKING:
    from onevision_encoder.codec.blockcoder import blockcoder_signals as blockcoder_signals
    from onevision_encoder.codec.cells import cells_to_patches as cells_to_patches
    from onevision_encoder.codec.provider import AUTO as AUTO
    from onevision_encoder.codec.provider import ProviderName as ProviderName
    from onevision_encoder.codec.provider import SignalProvider as SignalProvider
    from onevision_encoder.codec.provider import compute_signals as compute_signals
    from onevision_encoder.codec.provider import get_provider as get_provider
    from onevision_encoder.codec.provider import read_with_signals as read_with_signals
    from onevision_encoder.codec.scores import ScoreName as ScoreName
    from onevision_encoder.codec.scores import frame_difference as frame_difference
    from onevision_encoder.codec.scores import fuse as fuse
    from onevision_encoder.codec.scores import patch_scores as patch_scores
    from onevision_encoder.codec.scores import raw_scores as raw_scores

_HOME = {
    "AUTO": "provider",
    "ProviderName": "provider",
    "ScoreName": "scores",
    "SignalProvider": "provider",
    "blockcoder_signals": "blockcoder",
    "cells_to_patches": "cells",
    "compute_signals": "provider",
    "frame_difference": "scores",
    "fuse": "scores",
    "get_provider": "provider",
    "patch_scores": "scores",
    "raw_scores": "scores",
    "read_with_signals": "provider",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
