"""The encoder taken out of a composed model again (the paper's "-Lang" variant, trained with a language model)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from onevision_encoder.errors import CheckpointError, InvalidArgumentError
from onevision_encoder.hub.image_processor import OneVisionEncoderImageProcessor
from onevision_encoder.lmm.configuration import OneVisionVLConfig
from onevision_encoder.lmm.loading import is_adapter
from onevision_encoder.model.card import write_model_card
from onevision_encoder.model.encoder import OneVisionEncoderModel
from onevision_encoder.model.weight_files import open_weights

PREFIX = "vision_model."


@dataclass(frozen=True, kw_only=True)
class ExtractedEncoder:
    """``tensors`` and ``parameters`` written, the dtypes they have; ``unread``: last blocks that the language model
    did not read, and that were not trained with it."""

    tensors: int
    parameters: int
    dtypes: tuple[str, ...]
    unread: int


def extract_encoder(checkpoint: str | Path, out: str | Path) -> ExtractedEncoder:
    """Write the encoder of a composed model as an encoder's folder; reads no other weights. It has no pooling head.

    Raises:
        CheckpointError: no composed model, adapters alone, tensors missing. InvalidArgumentError: ``out`` is taken.
    """
    checkpoint, out = Path(checkpoint), Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InvalidArgumentError("out", str(out), "a new folder")
    if is_adapter(checkpoint):
        raise CheckpointError(checkpoint, "holds adapters alone: their encoder is that of the model below them")
    config = _config(checkpoint)
    weights = open_weights(checkpoint)
    state = {name.removeprefix(PREFIX): weights.tensor(name) for name in weights.names() if name.startswith(PREFIX)}
    with torch.device("meta"):
        model = OneVisionEncoderModel(config.vision_config)
    lacking = sorted(model.state_dict().keys() ^ state.keys())
    if lacking:
        raise CheckpointError(checkpoint, f"its encoder's tensors are not those of config.json: {lacking[0]} differs")
    model.load_state_dict(state, assign=True)
    kinds = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in state.values()})
    model.config.dtype = next(iter(state.values())).dtype
    model.save_pretrained(str(out))
    OneVisionEncoderImageProcessor.from_pretrained(str(checkpoint)).save_pretrained(str(out))
    words = f"Taken out of the vision-language model `{checkpoint.name}`, where it was the eyes of a language model."
    write_model_card(model, out, weights=words, overwrite=True)
    _check_written(out, state)
    return ExtractedEncoder(
        tensors=len(state),
        parameters=sum(tensor.numel() for tensor in state.values()),
        dtypes=tuple(kinds),
        unread=config.vision_config.num_hidden_layers - config.num_read_layers,
    )


def _config(checkpoint: Path) -> OneVisionVLConfig:
    if not (checkpoint / "config.json").is_file():
        raise CheckpointError(checkpoint, "no such folder, or no config.json in it")
    fields, _ = OneVisionVLConfig.get_config_dict(str(checkpoint))
    if fields.get("model_type") != OneVisionVLConfig.model_type:
        wanted = OneVisionVLConfig.model_type
        raise CheckpointError(checkpoint, f"model_type={fields.get('model_type')!r}, {wanted!r} is wanted")
    config: OneVisionVLConfig = OneVisionVLConfig.from_dict(fields)
    return config


def _check_written(out: Path, state: dict[str, Any]) -> None:
    back = open_weights(out)
    for name, tensor in state.items():
        found = back.tensor(name)
        if found.dtype != tensor.dtype or not torch.equal(found.view(torch.uint8), tensor.view(torch.uint8)):
            raise CheckpointError(out, f"{name} reads back differently")
