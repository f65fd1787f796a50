"""Which K patches of a clip are read: policies, exact budgets, saliency and the camera's own motion.

Pure array code: frames and codec signals in, a :class:`~onevision_encoder.types.Selection` out.
"""

from onevision_encoder.selection.budget import resolve_budget
from onevision_encoder.selection.camera import CameraMotion, fit_camera
from onevision_encoder.selection.choose import select
from onevision_encoder.selection.config import (
    PolicyName,
    ScoreName,
    SelectionConfig,
    budget_for,
    needs_signals,
)
from onevision_encoder.selection.lowres import lower_resolution
from onevision_encoder.selection.ranking import Ranking, rank, select_ranked
from onevision_encoder.selection.saliency import Saliency, clip_saliency

__all__ = [
    "CameraMotion",
    "PolicyName",
    "Ranking",
    "Saliency",
    "ScoreName",
    "SelectionConfig",
    "budget_for",
    "clip_saliency",
    "fit_camera",
    "lower_resolution",
    "needs_signals",
    "rank",
    "resolve_budget",
    "select",
    "select_ranked",
]
