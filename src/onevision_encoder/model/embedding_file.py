"""One safetensors file of embeddings per clip.

Tensors (K tokens, T frames, C width): ``pooled`` float32 [C]; ``tokens`` float32 [K, C]; ``positions`` int32 [K, 3] of
(t, h, w), t a row of ``frame_index``; ``frame_index`` int64 [T]; ``pts_seconds`` float64 [T]. Only what was asked
for of the first two. Metadata key ``onevision_encoder``: JSON with ``schema``, ``name``, ``patch``, ``grid``,
``layout``, the provenance of the tokens and that of the encoder.
"""

from __future__ import annotations

import json
import os
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.model.embed import Embeddings
from onevision_encoder.tokens.store import write_atomically
from onevision_encoder.types import PatchTokens

SCHEMA = 1
Output = Literal["pooled", "tokens", "both"]


def save_embeddings(
    path: str | os.PathLike[str], tokens: PatchTokens, embeddings: Embeddings, *, output: Output = "pooled"
) -> None:
    """Write the embeddings of one clip, with the places of its tokens.

    Raises:
        ShapeError: several clips. InvalidArgumentError: ``output`` names what ``embeddings`` does not hold.
    """
    if len(tokens.clips) != 1:
        raise ShapeError("tokens", f"{len(tokens.clips)} clips", "the tokens of one clip")
    clip = tokens.clips[0]
    arrays: dict[str, NDArray[Any]] = {
        "positions": tokens.positions_N3,
        "frame_index": clip.frame_index_T,
        "pts_seconds": clip.pts_seconds_T,
    }
    if output != "tokens":
        arrays["pooled"] = _held(embeddings.pooled_SC, output)[0]
    if output != "pooled":
        arrays["tokens"] = _held(embeddings.tokens_NC, output)
    described = {
        "schema": SCHEMA,
        "name": clip.name,
        "patch": clip.patch,
        "grid": list(clip.grid),
        "layout": clip.layout,
        "tokens": clip.provenance,
        "encoder": embeddings.provenance,
    }
    metadata = {"onevision_encoder": json.dumps(described, sort_keys=True)}
    write_atomically(path, save({k: np.ascontiguousarray(a) for k, a in arrays.items()}, metadata=metadata))


def _held(array: NDArray[np.float32] | None, output: Output) -> NDArray[np.float32]:
    if array is None:
        raise InvalidArgumentError(
            "output", output, "what was computed: embed_tokens(return_tokens=...), a pooling head"
        )
    return array
