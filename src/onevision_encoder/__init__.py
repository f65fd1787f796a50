"""OneVision-Encoder: a vision transformer that reads video the way a codec writes it.

The import is light: torch, transformers and av load when a name that needs them is first used.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Embeddings": "model",
    "OneVisionEncoderConfig": "model",
    "OneVisionEncoderModel": "model",
    "Sampling": "video",
    "SelectionConfig": "selection",
    "Sizing": "video",
    "TokenizeConfig": "tokens",
    "embed_tokens": "model",
    "load_encoder": "model",
    "load_tokens": "tokens",
    "pack": "tokens",
    "patch_scores": "codec",
    "read_clip": "tokens",
    "read_media": "video",
    "save_tokens": "tokens",
    "select": "selection",
    "tokenize": "tokens",
    "write_preview": "view",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
