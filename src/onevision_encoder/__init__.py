"""OneVision-Encoder: a vision transformer that reads video the way a codec writes it.

The import is light: torch, transformers and av load when a name that needs them is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "OneVisionEncoderConfig": "onevision_encoder.model",
    "OneVisionEncoderModel": "onevision_encoder.model",
    "patch_scores": "onevision_encoder.codec",
    "read_video": "onevision_encoder.video",
    "select": "onevision_encoder.selection",
    "tokenize": "onevision_encoder.tokens",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
