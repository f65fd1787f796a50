"""Which weights a stage trains, and adapters: on, off, and into the weights."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import nn

from onevision_encoder.errors import CheckpointError, InvalidArgumentError, MissingExtraError
from onevision_encoder.lmm.modeling import OneVisionForConditionalGeneration
from onevision_encoder.lmm.processing import OneVisionVLProcessor
from onevision_encoder.lmm.registration import register_language_models
from onevision_encoder.lmm.training_config import TrainingConfig
from onevision_encoder.model.loading import weights_digest

ADAPTER = "adapter_config.json"
NEW = ("merger", "projector")
"""What stands between encoder and language model, trained whole in every stage."""


def need(*packages: str, purpose: str) -> None:
    """Raises MissingExtraError for packages that are not installed."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError("lmm", missing, purpose)


def enter_stage(model: OneVisionForConditionalGeneration, config: TrainingConfig) -> Any:
    """The model with the stage's weights, and no others, requiring gradients; wrapped by peft for ``lora``.

    Raises:
        MissingExtraError: no peft. InvalidArgumentError: a language model without linear layers.
    """
    read = {id(p) for p in model.parameters() if p.requires_grad}  # the encoder's unread blocks are none of them
    trained = {
        "projector": [model.merger, model.projector],
        "full": [model.merger, model.projector, model.language_model],
        "lora": [],
    }[config.stage]
    if config.stage == "full" and not config.freeze_encoder:
        trained.append(model.vision_model)
    model.requires_grad_(False)
    for part in trained:
        for parameter in part.parameters():
            parameter.requires_grad_(id(parameter) in read)
    return _adapted(model, config) if config.stage == "lora" else model


def _adapted(model: OneVisionForConditionalGeneration, config: TrainingConfig) -> Any:
    need("peft", purpose="stage lora")
    peft: Any = importlib.import_module("peft")
    head: Any = model.get_output_embeddings()
    inside = model.language_model.named_modules()
    names = {name.rpartition(".")[2] for name, m in inside if isinstance(m, nn.Linear) and m is not head}
    if not names:
        kind = model.config.text_config.model_type
        raise InvalidArgumentError("stage", "lora", f"projector or full: {kind} has no linear layers to adapt")
    targets = "|".join(map(re.escape, sorted(names)))
    lora = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=rf"language_model\..*\.({targets})",
        modules_to_save=list(NEW),
    )
    return peft.get_peft_model(model, lora)


def is_adapter(folder: str | Path) -> bool:
    """Whether a folder holds adapters alone."""
    return (Path(folder) / ADAPTER).is_file()


def model_digest(source: str | Path, config: Any) -> str:
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
    return f"{own} on {model_digest(_under(folder), config)}" if is_adapter(folder) else own


def _under(folder: str | Path) -> str:
    """What adapters were trained on, as they say themselves."""
    stated = json.loads((Path(folder) / ADAPTER).read_text(encoding="utf-8")).get("base_model_name_or_path")
    if not stated:
        raise CheckpointError(folder, "does not say what model its adapters belong to: name it with base")
    return str(stated)


def load_trained(
    folder: str | Path, *, base: str | Path | None = None, dtype: Any = torch.float32, **options: Any
) -> tuple[OneVisionForConditionalGeneration, OneVisionVLProcessor]:
    """A composed model and its processor from a folder or hub id; adapters become part of the weights.

    Args:
        base: the model that adapters were trained on; None = where it was then. dtype: ``"auto"`` = as saved.
        options: defaults of the processor, over the saved ones.
    Raises:
        CheckpointError: files are missing or do not fit. MissingExtraError: adapters, and no peft.
    """
    register_language_models()
    if not is_adapter(folder):
        if base is not None:
            raise InvalidArgumentError("base", str(base), f"None: {folder} holds no adapters but a whole model")
        try:
            model = OneVisionForConditionalGeneration.from_pretrained(str(folder), dtype=dtype)
            return model, OneVisionVLProcessor.from_pretrained(str(folder), **options)
        except OSError as error:
            raise CheckpointError(folder, f"cannot be loaded: {error}") from error
    need("peft", purpose="loading adapters")
    peft: Any = importlib.import_module("peft")
    model, _ = load_trained(_under(folder) if base is None else base, dtype=dtype)
    merged: Any = peft.PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
    return merged.requires_grad_(True), OneVisionVLProcessor.from_pretrained(str(folder), **options)
