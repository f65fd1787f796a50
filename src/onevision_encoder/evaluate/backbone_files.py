"""The vision tower of a checkpoint of transformers, from a folder or the hub, every tensor of it accounted for."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from torch import nn

from onevision_encoder.errors import CheckpointError, InvalidArgumentError
from onevision_encoder.evaluate.backbone_families import Family
from onevision_encoder.evaluate.backbone_specs import read_json
from onevision_encoder.model.loading import HUB_ID, weights_digest

_ONE_FILE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_VISUAL = re.compile(r"^(model\.)?visual\.")
"""Where Qwen-VL checkpoints keep the tower (older files ``visual.``, newer ones ``model.visual.``)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedTower:
    """A tower in ``eval`` mode, without gradients, and where it is from.

    ``sha256``: of the weight files that were read, in the order of their names. ``left_out``: tensors of the files
    that are no part of the tower, counted by the first part of their name.
    """

    tower: nn.Module
    config: Any
    origin: str
    sha256: str
    left_out: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A folder with config.json, and where it is from: ``repo`` and the commit on the hub, or None = a local folder."""

    folder: Path
    repo: str | None = None

    @property
    def origin(self) -> str:
        return f"folder {self.folder}" if self.repo is None else f"hub {self.repo} at {self.folder.name}"


def find_checkpoint(name: str) -> Checkpoint:
    """A local folder, or a hub id of which the JSON files are fetched.

    Raises:
        InvalidArgumentError: neither. CheckpointError: the hub does not give it.
    """
    folder = Path(name)
    if folder.is_dir():
        return Checkpoint(folder=folder)
    if folder.exists():
        raise CheckpointError(name, "is a file; give the folder that holds config.json and model.safetensors")
    if not HUB_ID.fullmatch(name) or name.startswith("."):
        raise InvalidArgumentError("name_or_path", name, "an existing folder or a hub id owner/name")
    return Checkpoint(folder=_fetch(name, ["*.json"]), repo=name)


def load_tower(family: Family, checkpoint: Checkpoint, *, device: torch.device, dtype: torch.dtype) -> LoadedTower:
    """The tower of ``family`` with every one of its tensors taken from the files.

    Raises:
        CheckpointError: no safetensors, missing or misshapen tensors, tensors that should belong to the tower and
            have no place in it, or a transformers without this model.
    """
    model_class = _model_class(family)
    config = _vision_config(family, model_class, checkpoint.folder)
    files = _weight_files(family, checkpoint)
    load = _load_visual if family.kind == "merged" else _load_pretrained
    try:
        tower, left_out = load(family, model_class, config, files, dtype)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise CheckpointError(checkpoint.origin, f"cannot be loaded as {family.tower}: {error}") from error
    tower.to(device).train(False).requires_grad_(False)
    origin, digest = checkpoint.origin, weights_digest(files)
    return LoadedTower(tower=tower, config=tower.config, origin=origin, sha256=digest, left_out=left_out)


def _model_class(family: Family) -> Any:
    module = f"transformers.models.{family.module}.modeling_{family.module}"
    try:
        return getattr(importlib.import_module(module), family.tower)
    except (ImportError, AttributeError) as error:
        cause = f"transformers {transformers.__version__} has no {family.tower}"
        raise CheckpointError(family.name, f"{cause}; a version that has it is needed") from error


def _vision_config(family: Family, model_class: Any, folder: Path) -> Any:
    fields = read_json(folder / "config.json")
    if "vision_config" in fields:
        with _quiet():  # it remarks on parts of the text side
            whole = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        return whole.vision_config
    if family.composite == fields.get("model_type"):
        allowed = f"a config.json with a vision_config, or the tower alone with model_type {family.model_types[-1]!r}"
        raise CheckpointError(folder, f"config.json has no vision_config; accepted is {allowed}")
    return model_class.config_class.from_dict(fields)


def _weight_files(family: Family, checkpoint: Checkpoint) -> list[Path]:
    """The safetensors to read. Of a Qwen-VL on the hub only those that hold a part of the tower are fetched."""
    folder = checkpoint.folder
    index = folder / _INDEX
    names = [_ONE_FILE]
    if index.is_file() and not (folder / _ONE_FILE).is_file():
        placed = read_json(index).get("weight_map", {})
        visual = {file for key, file in placed.items() if _VISUAL.match(key)}
        names = sorted(visual if family.kind == "merged" and visual else set(placed.values()))
    if checkpoint.repo is not None:
        folder = _fetch(checkpoint.repo, [*names, "*.json"], revision=folder.name)
    missing = [name for name in names if not (folder / name).is_file()]
    if missing or not names:
        raise CheckpointError(
            checkpoint.origin, f"lacks {', '.join(missing) or 'any safetensors'}; other formats are not read"
        )
    return [folder / name for name in names]


def _load_pretrained(
    family: Family, model_class: Any, config: Any, files: list[Path], dtype: torch.dtype
) -> tuple[Any, dict[str, int]]:
    """Through ``from_pretrained``, which knows how names changed over the versions of transformers."""
    with _quiet():
        tower, info = model_class.from_pretrained(
            files[0].parent,
            config=config,
            dtype=dtype,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    unexpected = sorted(str(key) for key in info["unexpected_keys"])
    homeless = [key for key in unexpected if not re.match(family.others, key)]
    _require_all(info["missing_keys"], homeless, info["mismatched_keys"])
    return tower, _by_first_part(unexpected)


def _load_visual(
    family: Family, model_class: Any, config: Any, files: list[Path], dtype: torch.dtype
) -> tuple[Any, dict[str, int]]:
    """The tower's tensors alone, picked out of the files of a whole language model (or of a tower saved alone)."""
    names = {key: file for file in files for key in _keys(file)}
    whole = any(_VISUAL.match(key) for key in names)
    state: dict[str, torch.Tensor] = {}
    for file in files:
        with safe_open(str(file), framework="pt") as opened:
            for key in opened.keys():  # noqa: SIM118 - no mapping
                if not whole or _VISUAL.match(key):
                    state[_VISUAL.sub("", key)] = opened.get_tensor(key)
    tower = model_class(config)
    found = tower.load_state_dict(state, strict=False)
    _require_all(found.missing_keys, found.unexpected_keys, ())
    for parameter in tower.parameters():  # not tower.to(dtype), which would round the frequencies of RoPE as well
        parameter.data = parameter.data.to(dtype)
    return tower, _by_first_part([key for key in names if whole and not _VISUAL.match(key)])


def _keys(file: Path) -> list[str]:
    with safe_open(str(file), framework="pt") as opened:
        return list(opened.keys())


def _require_all(missing: Any, homeless: Any, misshapen: Any) -> None:
    """Raise ValueError (the caller names the source) unless every tensor was found and used."""
    faults = {"are missing": missing, "have no place in it": homeless, "have another shape": misshapen}
    told = [
        f"{len(keys)} tensors {what} ({', '.join(sorted(map(str, keys))[:4])})" for what, keys in faults.items() if keys
    ]
    if told:
        raise ValueError("; ".join(told))


def _by_first_part(keys: list[str]) -> dict[str, int]:
    parts = [key.split(".")[0] for key in keys]
    return {part: parts.count(part) for part in sorted(set(parts))}


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar, and no table of what was left out: here that is checked and recorded."""
    logging = transformers.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _fetch(repo: str, patterns: list[str], revision: str | None = None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=patterns))
    except (OSError, ValueError, HfHubHTTPError) as error:
        cause = f"no such folder here, and the hub did not give it ({type(error).__name__}: {error})"
        raise CheckpointError(repo, cause) from error
