"""Safetensors with one JSON object of metadata: what token files and embedding files have in common."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load, save

from onevision_encoder.errors import OneVisionError
from onevision_encoder.tokens.files import write_atomically

KEY = "onevision_encoder"
_CODES = {"U8": np.uint8, "I32": np.int32, "I64": np.int64, "F32": np.float32, "F64": np.float64}


@dataclass(frozen=True, kw_only=True)
class Form:
    """What a kind of file holds.

    Attributes:
        noun: what to call it. error: what to raise of it. schema: the version that is read and written.
        tensors: name -> dtype, all of which must be there. optional: those that need not.
        fields: name -> type of the metadata.
    """

    noun: str
    error: type[OneVisionError]
    schema: int
    tensors: Mapping[str, type[np.generic]]
    fields: Mapping[str, type]
    optional: Mapping[str, type[np.generic]]

    def write(self, path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], **described: Any) -> None:
        """Write the file, whole or not at all. Raises WriteError."""
        write_atomically(path, self.encode(arrays, **described))

    def encode(self, arrays: Mapping[str, NDArray[Any]], **described: Any) -> bytes:
        """The content of the file: the same bytes for the same arrays."""
        dtypes = {**self.tensors, **self.optional}
        contiguous = {name: np.ascontiguousarray(array, dtype=dtypes[name]) for name, array in arrays.items()}
        metadata = json.dumps({"schema": self.schema, **described}, sort_keys=True)
        return save(contiguous, metadata={KEY: metadata})

    def read(self, path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """(metadata, tensors), of the right names and types. Raises ``error``, naming the file."""
        try:
            with safe_open(os.fspath(path), framework="numpy") as file:
                codes = {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118
                described, wanted = self._checked(path, file.metadata() or {}, codes)
                return described, {name: file.get_tensor(name) for name in wanted}
        except (SafetensorError, OSError, ValueError, RecursionError) as error:
            if isinstance(error, OneVisionError):
                raise
            raise self.error(f"{path}: not a readable safetensors file: {error}") from error

    def decode(self, name: object, payload: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """As :meth:`read`, of the file's content; ``name`` is what errors call it."""
        try:
            arrays = load(payload)  # checks the header
            header = json.loads(payload[8 : 8 + int.from_bytes(payload[:8], "little")])
            codes = {tensor: header[tensor]["dtype"] for tensor in arrays}
            described, wanted = self._checked(name, header.get("__metadata__") or {}, codes)
            return described, {tensor: arrays[tensor] for tensor in wanted}
        except (SafetensorError, ValueError, LookupError, RecursionError) as error:
            if isinstance(error, OneVisionError):
                raise
            raise self.error(f"{name}: not readable as safetensors: {error}") from error

    def _checked(
        self, path: object, metadata: Mapping[str, str], codes: Mapping[str, str]
    ) -> tuple[dict[str, Any], list[str]]:
        """(our metadata, names of the tensors that are ours)."""
        missing = sorted(set(self.tensors) - set(codes))
        if KEY not in metadata or missing:
            lacks = f"tensors {missing}" if missing else f"metadata {KEY!r}"
            raise self.error(f"{path}: not {self.noun}: it lacks {lacks}")
        described = json.loads(metadata[KEY])
        self._check_fields(path, described)
        wanted = {name: t for name, t in {**self.tensors, **self.optional}.items() if name in codes}
        wrong = {name: codes[name] for name, t in wanted.items() if _CODES.get(codes[name]) is not t}
        if wrong:
            raise self.error(f"{path}: tensors of unexpected dtype: {wrong}")
        return described, list(wanted)

    def _check_fields(self, path: object, described: Any) -> None:
        if not isinstance(described, dict):
            raise self.error(f"{path}: the metadata is {type(described).__name__}, not a JSON object")
        if described.get("schema") != self.schema:
            raise self.error(
                f"{path}: schema {described.get('schema')!r}; this version reads schema {self.schema} of {self.noun}"
            )
        absent = sorted(set(self.fields) - set(described))
        if absent:
            raise self.error(f"{path}: the metadata lacks {absent}")
        for name, kind in self.fields.items():
            value = described[name]
            if not isinstance(value, kind) or isinstance(value, bool):
                raise self.error(f"{path}: {name} is {value!r:.80}, not of type {kind.__name__}")
        if "grid" in self.fields:
            grid = described["grid"]
            if len(grid) != 2 or not all(type(side) is int and 1 <= side < 2**31 for side in grid):
                raise self.error(f"{path}: grid is {grid!r:.80}, not two integers of at least 1 (int32)")
