"""The weights that come with the package: small, trained without labels, so that embeddings mean something offline."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

DEFAULT = "default"
"""What they are called wherever a folder, hub id or preset is asked for; ``./default`` is the folder of that name."""


def default_weights() -> Path:
    """Their folder (config.json, safetensors, model card), for whatever takes a folder: ``AutoModel``, say."""
    return Path(__file__).resolve().parents[1] / "weights"


def folder_of(name_or_path: Any) -> Any:
    """The folder where ``default`` is named; anything else as it is."""
    named = isinstance(name_or_path, str | os.PathLike) and os.fspath(name_or_path) == DEFAULT
    return str(default_weights()) if named else name_or_path
