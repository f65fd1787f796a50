"""A ready encoder from a preset's name, a folder or a hub id, and a record of what exactly was loaded."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from onevision_encoder import __version__
from onevision_encoder.errors import CheckpointError, InvalidArgumentError, RandomWeightsWarning
from onevision_encoder.model.configuration import PRESETS, OneVisionEncoderConfig, preset_config
from onevision_encoder.model.encoder import OneVisionEncoderModel
from onevision_encoder.model.precision import resolve_device, resolve_dtype
from onevision_encoder.model.shipped import DEFAULT, folder_of

RANDOM_SEED = 0
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedEncoder:
    """A model in ``eval`` mode on its device.

    Attributes:
        weights: where they are from, in words; ``"random (seed 0), preset tiny"`` where there are none.
        pretrained: False for random weights: embeddings then mean nothing, and whoever shows them must say so.
        provenance: name, weights, dtype and why, device, attention, versions; JSON-ready.
    """

    model: OneVisionEncoderModel
    weights: str
    pretrained: bool
    provenance: Mapping[str, Any] = field(default_factory=dict)


def load_encoder(
    name_or_path: str | Path = DEFAULT,
    *,
    dtype: torch.dtype | str = "auto",
    device: torch.device | str = "auto",
    attn_implementation: str = "sdpa",
) -> LoadedEncoder:
    """Load an encoder for inference.

    Args:
        name_or_path: ``default`` (the small weights that come along, see their card), a preset (``tiny``, ``small``,
            ``base``, ``large``, ``huge``: random weights of a fixed seed, with a RandomWeightsWarning), a folder with
            ``config.json`` and safetensors, or a hub id ``owner/name``. The first two win over a folder of that name;
            write ``./tiny`` for the folder.
        dtype: ``"auto"`` = :func:`~onevision_encoder.model.precision.inference_dtype`, or a float dtype.
        device: ``"auto"`` = CUDA if there is any, else the CPU.
    Raises:
        CheckpointError: the folder or hub repository cannot be had, lacks files, or does not fit.
        InvalidArgumentError: no preset, folder or hub id; unknown dtype or device.
    Warns:
        RandomWeightsWarning: ``name_or_path`` is a preset.
    """
    name = str(name_or_path)
    where = resolve_device(device)
    choice = resolve_dtype(dtype, where)
    pretrained = name not in PRESETS
    if pretrained:
        model, weights = _from_checkpoint(name, choice.dtype, attn_implementation)
    else:
        model, weights = _random(name, choice.dtype, attn_implementation)
        warnings.warn(_no_meaning(name), RandomWeightsWarning, stacklevel=2)
    torch.nn.Module.to(model, where).train(False)
    provenance = {
        "model": name,
        "weights": weights,
        "pretrained": pretrained,
        **describe(model),
        "dtype_reason": choice.reason,
    }
    return LoadedEncoder(model=model, weights=weights, pretrained=pretrained, provenance=provenance)


def _no_meaning(preset: str) -> str:
    return (
        f"the weights are random (seed {RANDOM_SEED}): {preset!r} is a preset, its embeddings mean nothing; for real "
        'ones load the weights that come along, load_encoder(), or a checkpoint: load_encoder("folder"), '
        'load_encoder("owner/name") from the hub'
    )


def describe(model: OneVisionEncoderModel) -> dict[str, Any]:
    """What of a model decides its numbers, apart from the weights; JSON-ready."""
    return {
        "dtype": str(model.dtype).removeprefix("torch."),
        "device": str(model.device),
        "attention": model.config._attn_implementation,
        "rope_mode": model.config.rope_mode,
        "window_frames": model.config.window_frames,
        "place_waves": model.config.place_waves,
        "patch_size": model.config.patch_size,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def _random(preset: str, dtype: torch.dtype, attention: str) -> tuple[OneVisionEncoderModel, str]:
    with torch.random.fork_rng(devices=[]):  # the caller's random state is none of our business
        torch.manual_seed(RANDOM_SEED)
        config = preset_config(preset, attn_implementation=attention)
        model = OneVisionEncoderModel(config)
        torch.nn.Module.to(model, dtype)
    return model, f"random (seed {RANDOM_SEED}), preset {preset}"


def _from_checkpoint(name: str, dtype: torch.dtype, attention: str) -> tuple[OneVisionEncoderModel, str]:
    folder = Path(folder_of(name))
    if name == DEFAULT:
        origin = f"shipped with onevision-encoder {__version__}"
    elif folder.is_dir():
        origin = f"folder {name}"
    elif folder.exists():
        raise CheckpointError(name, "is a file; give the folder that holds config.json and model.safetensors")
    elif HUB_ID.fullmatch(name) and not name.startswith("."):
        folder = _download(name)
        origin = f"hub {name} at {folder.name}"
    else:
        allowed = f"{DEFAULT}, a preset {tuple(PRESETS)}, an existing folder or a hub id owner/name"
        raise InvalidArgumentError("model", name, allowed)
    weight_files = _check_folder(name, folder)
    try:
        model = OneVisionEncoderModel.from_pretrained(
            folder, dtype=dtype, attn_implementation=attention, local_files_only=True, use_safetensors=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        if isinstance(error, InvalidArgumentError):
            raise
        raise CheckpointError(name, f"cannot be loaded: {error}") from error
    return model, f"{origin}, sha256 {weights_digest(weight_files)}"


def _download(repo: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(
            snapshot_download(repo, allow_patterns=["config.json", "*.safetensors", "*.safetensors.index.json"])
        )
    except (OSError, ValueError, HfHubHTTPError) as error:
        cause = f"no such folder here, and the hub did not give it ({type(error).__name__}: {error})"
        raise CheckpointError(repo, cause) from error


def _check_folder(name: str, folder: Path) -> list[Path]:
    """The folder's weight files, after its configuration was found to be one of ours."""
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise CheckpointError(name, "holds no config.json")
    try:
        model_type = json.loads(config_file.read_text(encoding="utf-8")).get("model_type")
    except (ValueError, AttributeError) as error:
        raise CheckpointError(name, f"config.json is not a JSON object: {error}") from error
    if model_type != OneVisionEncoderConfig.model_type:
        wanted = OneVisionEncoderConfig.model_type
        cause = f"config.json has model_type={model_type!r}, accepted is {wanted!r}"
        hint = "ove convert takes the encoder out of LLaVA-OneVision-2, Mage-VL and training checkpoints, "
        hint += "ove lmm extract-encoder out of a model of ove lmm make"
        raise CheckpointError(name, f"{cause}; {hint}")
    if not any((folder / file).is_file() for file in WEIGHT_FILES):
        raise CheckpointError(name, f"holds no weights: none of {WEIGHT_FILES}")
    return sorted(folder.glob("model*.safetensors"))


def weights_digest(files: list[Path]) -> str:
    """First 16 hex digits of the SHA-256 over the files, in the order of their names."""
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            whole.update(hashlib.file_digest(stream, "sha256").digest())
    return whole.hexdigest()[:16]
