"""One self-describing safetensors file per clip.

Tensors (K patches, T frames, D = 3*p*p): ``patches`` uint8 [K, D] in (channel, y, x) order; ``positions`` int32
[K, 3] of (t, h, w), t a row of ``frame_index``; ``score`` float32 [K]; ``kind`` uint8 [K] (0 anchor, 1 codec,
2 fill); ``frame_index`` int64 [T]; ``pts_seconds`` float64 [T]; ``model_time`` float32 [T].
Metadata key ``onevision_encoder``: JSON with ``schema``, ``name``, ``patch``, ``grid``, ``layout``, ``order``,
``provenance``. What RoPE sees is derived from these on loading, so that it cannot diverge from them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import InvalidArgumentError, MediaNotFoundError, ShapeError, TokenFileError
from onevision_encoder.tokens.described import Form
from onevision_encoder.tokens.positions import model_positions
from onevision_encoder.types import ClipInfo, PatchTokens, Selection

FORM = Form(
    noun="a token file",
    error=TokenFileError,
    schema=1,
    tensors={
        "patches": np.uint8,
        "positions": np.int32,
        "score": np.float32,
        "kind": np.uint8,
        "frame_index": np.int64,
        "pts_seconds": np.float64,
        "model_time": np.float32,
    },
    optional={},
    fields={"name": str, "patch": int, "grid": list, "layout": str, "order": str, "provenance": dict},
)


def save_tokens(path: str | os.PathLike[str], tokens: PatchTokens) -> None:
    """Write the tokens of one clip, whole or not at all.

    Raises:
        ShapeError: a pack of several (unpack it first). WriteError: the file cannot be written.
        InvalidArgumentError: no tokens.
    """
    _check_order(path, tokens)
    arrays, described = token_parts(tokens)
    FORM.write(path, arrays, **described)


def token_parts(tokens: PatchTokens) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """(tensors, metadata) of the file of one clip. Raises ShapeError for a pack of several."""
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
        "name": clip.name,
        "patch": clip.patch,
        "grid": list(clip.grid),
        "layout": clip.layout,
        "order": clip.order,
        "provenance": clip.provenance,
    }
    return arrays, described


def _check_order(path: object, tokens: object) -> None:
    if not isinstance(tokens, PatchTokens):
        swapped = " (path and tokens are swapped)" if isinstance(path, PatchTokens) else ""
        raise InvalidArgumentError("tokens", tokens, f"save_tokens(path, tokens) with PatchTokens{swapped}")


def load_tokens(path: str | os.PathLike[str]) -> PatchTokens:
    """Read the tokens of one clip, checked.

    Raises:
        MediaNotFoundError: no such file.
        TokenFileError: not a token file of ours, an unknown schema, or contents that contradict each other.
    """
    if not Path(path).is_file():
        raise MediaNotFoundError(path, "no such token file")
    return tokens_of(path, *FORM.read(path))


def tokens_of(path: object, described: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> PatchTokens:
    """The tokens that tensors and metadata hold, checked; ``path`` is what errors call the file.

    Raises:
        TokenFileError: contents that contradict each other.
    """
    grid = (described["grid"][0], described["grid"][1])
    try:
        clip = ClipInfo(
            name=described["name"],
            patch=described["patch"],
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
    except (ValueError, OverflowError) as error:  # ShapeError is one; numpy has its own for absurd grids
        raise TokenFileError(f"{path}: {error}") from error
