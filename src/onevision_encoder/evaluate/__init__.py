"""evaluate/: does a way of choosing tokens win, by how much, at what cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onevision_encoder.lazy import lazy_names

if TYPE_CHECKING:
    from onevision_encoder.evaluate.motion_suite import MotionClip as MotionClip
    from onevision_encoder.evaluate.motion_suite import MotionSuite as MotionSuite
    from onevision_encoder.evaluate.motion_suite import make_suite as make_suite
    from onevision_encoder.evaluate.motion_suite import suite_clips as suite_clips

_HOME = {
    "MotionClip": "motion_suite",
    "MotionSuite": "motion_suite",
    "make_suite": "motion_suite",
    "suite_clips": "motion_suite",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
