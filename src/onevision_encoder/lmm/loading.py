"""A composed model and its processor, from a folder or the hub, ready to answer."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from onevision_encoder.errors import CheckpointError, InvalidArgumentError
from onevision_encoder.lmm.modeling import OneVisionForConditionalGeneration
from onevision_encoder.lmm.processing import OneVisionVLProcessor
from onevision_encoder.lmm.registration import register_language_models

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_language_model(
    source: str | os.PathLike[str], *, device: str = "auto", dtype: str = "auto", attention: str | None = None
) -> tuple[OneVisionForConditionalGeneration, OneVisionVLProcessor]:
    """Model, in evaluation mode, and processor of a folder that ``save_pretrained`` wrote, or of a hub id.

    Args:
        device: ``auto`` is a GPU if there is one, or what torch calls a device. dtype: ``auto`` is as saved, or
            ``float32``, ``bfloat16``, ``float16``. attention: ``sdpa``, ``eager``, ...; None = the model's own.
    Raises:
        CheckpointError: no such folder, or one that holds another kind of model. InvalidArgumentError: dtype.
    """
    if dtype != "auto" and dtype not in DTYPES:
        raise InvalidArgumentError("dtype", dtype, f"auto or one of {', '.join(DTYPES)}")
    register_language_models()
    name = os.fspath(source)
    looks_local = Path(name).is_absolute() or name.startswith(".") or name.count("/") != 1
    if looks_local and not Path(name).is_dir():
        raise CheckpointError(name, "no such folder; a folder that save_pretrained wrote, or a hub id owner/name")
    options: dict[str, Any] = {"dtype": DTYPES.get(dtype, "auto")}
    if attention is not None:
        options["attn_implementation"] = attention
    try:
        model = AutoModelForImageTextToText.from_pretrained(name, **options)
        processor = AutoProcessor.from_pretrained(name)
    except (OSError, ValueError) as error:  # transformers says so in both ways
        raise CheckpointError(name, f"{' '.join(str(error).split())[:300]}") from error
    if not isinstance(processor, OneVisionVLProcessor):
        raise CheckpointError(name, f"a {type(model).__name__}; a OneVisionForConditionalGeneration is wanted")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    to: Any = model.to  # its annotation is that of a decorator
    to(device)
    return model.eval(), processor
