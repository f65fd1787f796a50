"""Tensors of a checkpoint, one at a time: safetensors in one file or many, and what torch.save wrote.

Nothing is read before it is asked for, so that the vision tower of a large model costs no more than itself. Pickled
files are opened with ``weights_only=True``: they may hold tensors, not code.
"""

from __future__ import annotations

import json
import pickle
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from onevision_encoder.errors import CheckpointError

PICKLED = (".pt", ".pth", ".bin")
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
ENVELOPES = ("state_dict", "model", "module", "backbone")
"""Keys under which training loops put a state dict."""


class Weights(ABC):
    """Names and tensors of a checkpoint."""

    @abstractmethod
    def names(self) -> Iterable[str]: ...

    @abstractmethod
    def tensor(self, name: str) -> Tensor: ...


class SafetensorsWeights(Weights):
    """Name -> file. Each read opens the file and maps it: no shard stays in memory."""

    def __init__(self, source: object, home: Mapping[str, Path]) -> None:
        self._source, self._home = source, home

    def names(self) -> Iterable[str]:
        return self._home

    def tensor(self, name: str) -> Tensor:
        file = self._home[name]
        try:
            with safe_open(str(file), framework="pt") as opened:
                tensor: Tensor = opened.get_tensor(name)
                return tensor
        except (SafetensorError, OSError) as error:
            raise CheckpointError(self._source, f"{file.name} cannot be read at {name}: {error}") from error


class PickledWeights(Weights):
    """A state dict in memory or mapped from its file."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._state = state

    def names(self) -> Iterable[str]:
        return self._state

    def tensor(self, name: str) -> Tensor:
        return self._state[name]


def open_weights(source: Path) -> Weights:
    """Open a folder or file.

    A folder holds ``model.safetensors``, shards with their index, one other ``model*.safetensors``, or one pickled
    file. Other files beside ``model.safetensors`` (an average of the weights, say) are not opened.

    Raises:
        CheckpointError: no such place, no weights, files missing or broken, several that may be meant.
    """
    if source.is_file():
        if source.suffix == ".safetensors":
            return _safetensors(source, source)
        if source.suffix in PICKLED:
            return PickledWeights(_unpickle(source))
        raise CheckpointError(source, f"is no weight file: .safetensors or one of {PICKLED} is wanted")
    if not source.is_dir():
        raise CheckpointError(source, "no such file or folder (of a hub repository, download a copy first)")
    if (source / INDEX).is_file():
        return _indexed(source)
    whole = source / WHOLE
    files = [whole] if whole.is_file() else sorted(source.glob("model*.safetensors"))
    if len(files) > 1:
        found = ", ".join(file.name for file in files[:4]) + (", ..." if len(files) > 4 else "")
        raise CheckpointError(source, f"holds {found} and neither {WHOLE} nor {INDEX}; name one file")
    if files:
        return _safetensors(source, files[0])
    pickled = sorted(file for file in source.iterdir() if file.suffix in PICKLED)
    if len(pickled) != 1:
        found = f"{len(pickled)} pickled files; name one of them" if pickled else "no weights"
        raise CheckpointError(source, f"holds {found}; model.safetensors, {INDEX} or one of {PICKLED} is wanted")
    return PickledWeights(_unpickle(pickled[0]))


def _indexed(folder: Path) -> Weights:
    try:
        listed = json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"]
        home = {str(name): folder / Path(file).name for name, file in listed.items()}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(folder, f"{INDEX} is no index of shards: {error}") from error
    if (folder / WHOLE).is_file() and folder / WHOLE not in home.values():
        raise CheckpointError(folder, f"holds both {WHOLE} and {INDEX}, which does not name it; name one file")
    return SafetensorsWeights(folder, home)


def _safetensors(source: Path, file: Path) -> Weights:
    try:
        with safe_open(str(file), framework="pt") as opened:
            return SafetensorsWeights(source, dict.fromkeys(opened.keys(), file))
    except (SafetensorError, OSError) as error:
        raise CheckpointError(source, f"{file.name} is no readable safetensors file: {error}") from error


def _unpickle(file: Path) -> Mapping[str, Tensor]:
    try:
        try:
            loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # files older than the zip format cannot be mapped
            loaded = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        cause = "holds more than tensors and is not opened: unpickling it would run code of the file"
        raise CheckpointError(file, f"{cause} ({(str(error).splitlines() or [''])[0]})") from error
    except Exception as error:  # a damaged pickle fails in any way there is: KeyError, AssertionError, TypeError ...
        raise CheckpointError(file, f"cannot be read: {type(error).__name__}: {error}") from error
    return _state_dict(file, loaded)


def _state_dict(file: Path, loaded: Any) -> Mapping[str, Tensor]:
    envelopes = [key for key in ENVELOPES if isinstance(loaded, dict) and isinstance(loaded.get(key), dict)]
    state = loaded[envelopes[0]] if envelopes else loaded
    if not isinstance(state, dict) or not any(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(file, f"is no state dict, nor holds one under {ENVELOPES}")
    return {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
