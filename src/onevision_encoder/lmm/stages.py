"""Which weights a stage trains, adapters among them."""

from __future__ import annotations

import importlib
import re
from typing import Any

from torch import nn

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.lmm.loading import need
from onevision_encoder.lmm.modeling import OneVisionForConditionalGeneration
from onevision_encoder.lmm.training_config import TrainingConfig

NEW = ("merger", "projector")
"""What stands between encoder and language model, trained whole in every stage."""


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
