"""A composed model and its processor, from a folder or the hub, with adapters or without."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from onevision_encoder.errors import CheckpointError, InvalidArgumentError, MissingExtraError
from onevision_encoder.lmm.configuration import OneVisionVLConfig
from onevision_encoder.lmm.modeling import OneVisionForConditionalGeneration
from onevision_encoder.lmm.processing import OneVisionVLProcessor
from onevision_encoder.lmm.registration import register_language_models
from onevision_encoder.model.configuration import OneVisionEncoderConfig
from onevision_encoder.model.loading import weights_digest
from onevision_encoder.model.precision import resolve_device

ADAPTER = "adapter_config.json"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def load_language_model(
    source: str | os.PathLike[str], *, device: str = "auto", dtype: str = "auto", attention: str | None = None
) -> tuple[OneVisionForConditionalGeneration, OneVisionVLProcessor]:
    """Model, in evaluation mode, and processor of a folder that ``save_pretrained`` wrote, or of a hub id.

    Args:
        device: ``auto`` is a GPU if there is one, or what torch calls a device. dtype: ``auto`` is as saved, or
            ``float32``, ``bfloat16``, ``float16``. attention: ``sdpa``, ``eager``, ...; None = the model's own.
    Raises:
        CheckpointError: no such folder, or one that holds another kind of model. InvalidArgumentError: dtype, device.
    """
    if dtype != "auto" and dtype not in DTYPES:
        raise InvalidArgumentError("dtype", dtype, f"auto or one of {', '.join(DTYPES)}")
    where = resolve_device(device)
    more = {} if attention is None else {"attn_implementation": attention}
    model, processor = load_trained(source, dtype=DTYPES.get(dtype, "auto"), of_model=more)
    to: Any = model.to  # its annotation is that of a decorator
    to(where)
    return model.train(False), processor


def load_trained(
    folder: str | os.PathLike[str],
    *,
    base: str | Path | None = None,
    dtype: Any = torch.float32,
    of_model: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[OneVisionForConditionalGeneration, OneVisionVLProcessor]:
    """A composed model and its processor from a folder or hub id; adapters become part of the weights.

    Args:
        base: the model that adapters were trained on; None = where it was then. dtype: ``"auto"`` = as saved.
        of_model: more for the model's ``from_pretrained``. options: defaults of the processor, over the saved ones.
    Raises:
        CheckpointError: files are missing or do not fit. MissingExtraError: adapters, and no peft.
    """
    if not is_adapter(folder):
        if base is not None:
            raise InvalidArgumentError("base", str(base), f"None: {folder} holds no adapters but a whole model")
        return _composed(folder, dtype, of_model or {}, options)
    need("peft", purpose="loading adapters")
    peft: Any = importlib.import_module("peft")
    model, _ = load_trained(base_of(folder) if base is None else base, dtype=dtype, of_model=of_model)
    merged: Any = peft.PeftModel.from_pretrained(model, os.fspath(folder)).merge_and_unload()
    return merged.requires_grad_(True), OneVisionVLProcessor.from_pretrained(os.fspath(folder), **options)


def _composed(
    source: str | os.PathLike[str], dtype: Any, of_model: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[OneVisionForConditionalGeneration, OneVisionVLProcessor]:
    """A whole model, once its configuration says that it is a composed one; else the command that helps is named."""
    register_language_models()
    name = os.fspath(source)
    looks_local = Path(name).is_absolute() or name.startswith(".") or name.count("/") != 1
    if looks_local and not Path(name).is_dir():
        raise CheckpointError(name, "no such folder; a folder that save_pretrained wrote, or a hub id owner/name")
    try:
        _check_kind(name, AutoConfig.from_pretrained(name, trust_remote_code=False))
        model = OneVisionForConditionalGeneration.from_pretrained(name, dtype=dtype, **of_model)
        return model, OneVisionVLProcessor.from_pretrained(name, **options)
    except InvalidArgumentError:  # ours, a ValueError too
        raise
    except (OSError, ValueError) as error:  # transformers says so in both ways
        raise CheckpointError(name, f"{' '.join(str(error).split())[:300]}") from error


def _check_kind(name: str, config: Any) -> None:
    kind = config.model_type
    if kind == OneVisionEncoderConfig.model_type:
        cause = "is an encoder alone: ove lmm make --encoder puts it together with a language model"
        raise CheckpointError(name, cause)
    if kind != OneVisionVLConfig.model_type:
        raise CheckpointError(name, f"is a model of type {kind}; what ove lmm make and ove lmm train write is wanted")


def need(*packages: str, purpose: str) -> None:
    """Raises MissingExtraError for packages that are not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError("lmm", missing, purpose)


def is_adapter(folder: str | os.PathLike[str]) -> bool:
    """Whether a folder holds adapters alone."""
    return (Path(folder) / ADAPTER).is_file()


def model_digest(source: str | os.PathLike[str], config: Any) -> str:
    """What tells a model from another under the same name: a digest of its files, of adapters and what they stand on;
    of a hub id the commit.

    Args:
        config: of the loaded model.
    """
    folder = Path(source)
    if not folder.is_dir():
        return str(getattr(config, "_commit_hash", None))
    files = [path for kind in ("*.safetensors", "*.json", "*.jinja") for path in folder.glob(kind)]
    own = weights_digest(sorted(files))
    return f"{own} on {model_digest(base_of(folder), config)}" if is_adapter(folder) else own


def base_of(folder: str | os.PathLike[str]) -> str:
    """What adapters were trained on, as they say themselves."""
    stated = json.loads((Path(folder) / ADAPTER).read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not stated:
        raise CheckpointError(folder, "does not say what model its adapters belong to: name it with base")
    return str(stated)
