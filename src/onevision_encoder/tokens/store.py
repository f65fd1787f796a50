"""One self-describing safetensors file per clip.

Tensors (K patches, T frames, D = 3*p*p): ``patches`` uint8 [K, D] in (channel, y, x) order; ``positions`` int32
[K, 3] of (t, h, w), t a row of ``frame_index``; ``score`` float32 [K]; ``kind`` uint8 [K] (0 anchor, 1 codec,
2 fill); ``frame_index`` int64 [T]; ``pts_seconds`` float64 [T]; ``model_time`` float32 [T].
Metadata key ``onevision_encoder``: JSON with ``schema``, ``name``, ``patch``, ``grid``, ``layout``, ``order``,
``provenance``. What RoPE sees is derived from these on loading, so that it cannot diverge from them.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from onevision_encoder.errors import MediaNotFoundError, ShapeError, TokenFileError
from onevision_encoder.tokens.positions import model_positions
from onevision_encoder.types import ClipInfo, PatchTokens, Selection

SCHEMA = 1
_KEY = "onevision_encoder"
_TENSORS = {
    "patches": np.uint8,
    "positions": np.int32,
    "score": np.float32,
    "kind": np.uint8,
    "frame_index": np.int64,
    "pts_seconds": np.float64,
    "model_time": np.float32,
}


def write_atomically(path: str | os.PathLike[str], payload: bytes) -> None:
    """Write beside ``path`` and rename, so that a reader never sees half a file."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(payload)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def save_tokens(path: str | os.PathLike[str], tokens: PatchTokens) -> None:
    """Write the tokens of one clip. Raises ShapeError for a pack of several (unpack it first)."""
    if len(tokens.clips) != 1:
        raise ShapeError("tokens", f"{len(tokens.clips)} clips", "the tokens of one clip; unpack() splits a pack")
    clip = tokens.clips[0]
    arrays: dict[str, NDArray[Any]] = {
        "patches": tokens.patches_ND,
        "positions": tokens.positions_N3,
        "score": tokens.score_N,
        "kind": tokens.kind_N,
        "frame_index": clip.frame_index_T,
        "pts_seconds": clip.pts_seconds_T,
        "model_time": clip.model_time_T,
    }
    described = {
        "schema": SCHEMA,
        "name": clip.name,
        "patch": clip.patch,
        "grid": list(clip.grid),
        "layout": clip.layout,
        "order": clip.order,
        "provenance": clip.provenance,
    }
    contiguous = {name: np.ascontiguousarray(a, dtype=_TENSORS[name]) for name, a in arrays.items()}
    write_atomically(path, save(contiguous, metadata={_KEY: json.dumps(described, sort_keys=True)}))


def load_tokens(path: str | os.PathLike[str]) -> PatchTokens:
    """Read the tokens of one clip, checked.

    Raises:
        MediaNotFoundError: no such file.
        TokenFileError: not a token file of ours, an unknown schema, or arrays that contradict each other.
    """
    if not Path(path).is_file():
        raise MediaNotFoundError(path, "no such token file")
    described, arrays = _read(path)
    grid = (int(described["grid"][0]), int(described["grid"][1]))
    try:
        clip = ClipInfo(
            name=described["name"],
            patch=int(described["patch"]),
            grid=grid,
            frame_index_T=arrays["frame_index"],
            pts_seconds_T=arrays["pts_seconds"],
            model_time_T=arrays["model_time"],
            layout=described["layout"],
            order=described["order"],
            provenance=described["provenance"],
        )
        # A selection checks what a token file must hold too: unique rows, inside the grid, in order.
        Selection(
            positions_K3=arrays["positions"],
            score_K=arrays["score"],
            kind_K=arrays["kind"],
            shape=(len(clip.frame_index_T), *grid),
            order=clip.order,
        )
        return PatchTokens(
            patches_ND=arrays["patches"],
            positions_N3=arrays["positions"],
            model_positions_N3=model_positions(arrays["positions"], clip.model_time_T, layout=clip.layout, grid=grid),
            score_N=arrays["score"],
            kind_N=arrays["kind"],
            cu_seqlens=np.array([0, len(arrays["positions"])], dtype=np.int32),
            clips=(clip,),
        )
    except ShapeError as error:
        raise TokenFileError(f"{path}: {error}") from error


def _read(path: str | os.PathLike[str]) -> tuple[Mapping[str, Any], dict[str, NDArray[Any]]]:
    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            missing = sorted(set(_TENSORS) - set(file.keys()))
            if _KEY not in metadata or missing:
                raise TokenFileError(
                    f"{path}: not a token file: it lacks " + (f"tensors {missing}" if missing else f"metadata {_KEY!r}")
                )
            arrays = {name: file.get_tensor(name) for name in _TENSORS}
            described = json.loads(metadata[_KEY])
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TokenFileError(f"{path}: not a readable safetensors file: {error}") from error
    if described.get("schema") != SCHEMA:
        raise TokenFileError(f"{path}: schema {described.get('schema')!r}; this version reads schema {SCHEMA}")
    absent = sorted({"name", "patch", "grid", "layout", "order", "provenance"} - set(described))
    if absent:
        raise TokenFileError(f"{path}: the metadata lacks {absent}")
    wrong = {name: str(a.dtype) for name, a in arrays.items() if a.dtype != _TENSORS[name]}
    if wrong:
        raise TokenFileError(f"{path}: tensors of unexpected dtype: {wrong}")
    return described, arrays
