"""One safetensors file of embeddings per clip.

Tensors (K tokens, T frames, C width): ``pooled`` float32 [C]; ``tokens`` float32 [K, C]; ``positions`` int32 [K, 3] of
(t, h, w), t a row of ``frame_index``; ``frame_index`` int64 [T]; ``pts_seconds`` float64 [T]. Only what was asked
for of the first two. Metadata key ``onevision_encoder``: JSON with ``schema``, ``name``, ``patch``, ``grid``,
``layout``, the provenance of the tokens and that of the encoder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.checks import freeze, require, short_repr
from onevision_encoder.errors import EmbeddingFileError, InvalidArgumentError, MediaNotFoundError, ShapeError
from onevision_encoder.model.embed import Embeddings
from onevision_encoder.tokens.described import Form
from onevision_encoder.tokens.positions import model_positions
from onevision_encoder.types import ClipInfo, Layout, PatchTokens

Output = Literal["pooled", "tokens", "both"]
FORM = Form(
    noun="an embedding file",
    error=EmbeddingFileError,
    schema=1,
    tensors={"positions": np.int32, "frame_index": np.int64, "pts_seconds": np.float64},
    optional={"pooled": np.float32, "tokens": np.float32},
    fields={"name": str, "patch": int, "grid": list, "layout": str, "tokens": dict, "encoder": dict},
)


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipEmbeddings(Embeddings):
    """Embeddings of one clip (S = 1) as they come from a file, with the places of its tokens.

    Attributes:
        pooled_SC, tokens_NC, cu_seqlens, provenance: as in :class:`Embeddings`; None is what was not stored.
        positions_N3: int32 (t, h, w), t a row of ``frame_index_T``, h and w a patch of ``grid``.
        frame_index_T: int64, frame number in the source. pts_seconds_T: float64, its time.
        name: of the clip. patch: side in pixels. grid: patches per frame (rows, columns). layout: see ClipInfo.
        tokens_provenance: of the tokens: source, sampling, selection, the request.
    """

    name: str
    patch: int
    grid: tuple[int, int]
    positions_N3: NDArray[np.int32]
    frame_index_T: NDArray[np.int64]
    pts_seconds_T: NDArray[np.float64]
    layout: Layout = "frames"
    tokens_provenance: Mapping[str, Any] = field(default_factory=dict)
    __repr__ = short_repr

    def __post_init__(self) -> None:
        super().__post_init__()
        found, N = self.positions_N3, int(self.cu_seqlens[-1])
        require(len(self.cu_seqlens) == 2, "cu_seqlens", self.cu_seqlens.tolist(), "the bounds of one clip")
        require(found.shape == (N, 3), "positions_N3", found.shape, f"{(N, 3)}")
        # The clip and the addresses are held to the rules of tokens.
        clip = ClipInfo(
            name=self.name,
            patch=self.patch,
            grid=self.grid,
            frame_index_T=self.frame_index_T,
            pts_seconds_T=self.pts_seconds_T,
            model_time_T=np.zeros(self.pts_seconds_T.shape, np.float32),
            layout=self.layout,
        )
        model_positions(found, clip.model_time_T, layout=clip.layout, grid=clip.grid)
        freeze(self)


def save_embeddings(
    path: str | os.PathLike[str], tokens: PatchTokens, embeddings: Embeddings, *, output: Output = "pooled"
) -> None:
    """Write the embeddings of one clip, with the places of its tokens, whole or not at all.

    Raises:
        ShapeError: several clips, or ``embeddings`` are not those of ``tokens`` (``unpack`` splits both).
        InvalidArgumentError: ``output`` is unknown or names what ``embeddings`` does not hold.
        WriteError: the file cannot be written.
    """
    if output not in get_args(Output):
        raise InvalidArgumentError("output", output, f"one of {get_args(Output)}")
    if len(tokens.clips) != 1:
        raise ShapeError("tokens", f"{len(tokens.clips)} clips", "the tokens of one clip; unpack() splits a pack")
    if not np.array_equal(embeddings.cu_seqlens, tokens.cu_seqlens):
        found = f"{len(embeddings.cu_seqlens) - 1} clips, {embeddings.cu_seqlens[-1]} tokens"
        allowed = f"the bounds of these tokens: 1 clip, {len(tokens)} tokens; Embeddings.unpack() splits a pack"
        raise ShapeError("embeddings.cu_seqlens", found, allowed)
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
    FORM.write(
        path,
        arrays,
        name=clip.name,
        patch=clip.patch,
        grid=list(clip.grid),
        layout=clip.layout,
        tokens=clip.provenance,
        encoder=embeddings.provenance,
    )


def load_embeddings(path: str | os.PathLike[str]) -> ClipEmbeddings:
    """Read what :func:`save_embeddings` wrote, checked.

    Raises:
        MediaNotFoundError: no such file.
        EmbeddingFileError: not an embedding file of ours, an unknown schema, or contents that contradict each other.
    """
    if not Path(path).is_file():
        raise MediaNotFoundError(path, "no such embedding file")
    described, arrays = FORM.read(path)
    pooled, tokens, positions = arrays.get("pooled"), arrays.get("tokens"), arrays["positions"]
    if pooled is None and tokens is None:
        raise EmbeddingFileError(f"{path}: holds neither 'pooled' nor 'tokens'")
    try:
        return ClipEmbeddings(
            pooled_SC=None if pooled is None else pooled[None],
            tokens_NC=tokens,
            cu_seqlens=np.array([0, len(positions) if positions.ndim else 0], dtype=np.int32),
            provenance=described["encoder"],
            name=described["name"],
            patch=described["patch"],
            grid=(described["grid"][0], described["grid"][1]),
            positions_N3=positions,
            frame_index_T=arrays["frame_index"],
            pts_seconds_T=arrays["pts_seconds"],
            layout=described["layout"],
            tokens_provenance=described["tokens"],
        )
    except (ValueError, OverflowError) as error:  # ShapeError is one
        raise EmbeddingFileError(f"{path}: {error}") from error


def _held(array: NDArray[np.float32] | None, output: Output) -> NDArray[np.float32]:
    if array is None:
        raise InvalidArgumentError(
            "output", output, "what was computed: embed_tokens(return_tokens=...), a pooling head"
        )
    return array
