"""lmms-eval's way in: its entry-point group ``lmms_eval.models`` finds :func:`manifests`, which names the model class.

lmms-eval --model onevision_encoder --model_args pretrained=DIR,budget=256 --tasks videomme
"""

from __future__ import annotations

import importlib
from typing import Any

MODEL_ID = "onevision_encoder"


def manifests() -> Any:
    """The ModelManifest of lmms-eval, which calls this."""
    registry: Any = importlib.import_module("lmms_eval.models.registry_v2")
    return registry.ModelManifest(
        model_id=MODEL_ID,
        chat_class_path="onevision_encoder.lmm.lmms_model.OneVisionLmms",
        aliases=("ove",),
    )
