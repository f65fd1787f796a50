"""Per-token features back on the grid they were chosen from.

Axes: N tokens of the pack, C channels, T h w frames, rows and columns of one clip's grid.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.checks import require, short_repr
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.model.embed import Embeddings
from onevision_encoder.types import ClipInfo, PatchTokens


@dataclass(frozen=True, kw_only=True, eq=False)
class DenseFeatures:
    """One clip's features as a map.

    Attributes:
        map_ThwC: float32; row t is frame ``clip.frame_index_T[t]``. ``fill`` where there is no token.
        mask_Thw: bool, True where there is a token.
        clip: whose.
    """

    map_ThwC: NDArray[np.float32]
    mask_Thw: NDArray[np.bool_]
    clip: ClipInfo
    __repr__ = short_repr


def dense_features(features: Embeddings | Any, tokens: PatchTokens, *, fill: float = np.nan) -> list[DenseFeatures]:
    """Scatter features of tokens to [T, h, w, C], one map for each clip of the pack.

    Args:
        features: :class:`Embeddings` with tokens (``return_tokens=True``), or [N, C] numbers in the order of the
            pack, as a tensor (``last_hidden_state`` of packed input, an entry of ``hidden_states``) or an array.
        tokens: what was encoded; their addresses say where features go (for layout ``tiled`` too: those of frames).
        fill: what stands where there is no token. NaN by default, so that nobody takes it for a feature.
    Raises:
        InvalidArgumentError: the embeddings hold no tokens. ShapeError: rows are not those of the tokens, an address
            lies outside its clip or is there twice.
    """
    if isinstance(features, Embeddings):
        if features.tokens_NC is None:
            raise InvalidArgumentError("features.tokens_NC", None, "embeddings made with return_tokens=True")
        features_NC: NDArray[np.float32] = features.tokens_NC
    else:
        features_NC = _array(features)
    fits = features_NC.ndim == 2 and len(features_NC) == len(tokens)
    require(fits, "features", features_NC.shape, f"[{len(tokens)}, C], one row for each token")
    maps = []
    for clip, (start, stop) in zip(tokens.clips, pairwise(tokens.cu_seqlens.tolist()), strict=True):
        shape = (len(clip.frame_index_T), *clip.grid)
        t, h, w = _addresses(tokens.positions_N3[start:stop], shape, clip.name)
        mask_Thw = np.zeros(shape, dtype=np.bool_)
        mask_Thw[t, h, w] = True
        require(int(mask_Thw.sum()) == stop - start, "positions_N3", f"repeated rows in {clip.name}", "unique rows")
        map_ThwC = np.full((*shape, features_NC.shape[1]), fill, dtype=np.float32)
        map_ThwC[t, h, w] = features_NC[start:stop]
        maps.append(DenseFeatures(map_ThwC=map_ThwC, mask_Thw=mask_Thw, clip=clip))
    return maps


def _addresses(positions_K3: NDArray[np.int32], shape: tuple[int, ...], name: str) -> tuple[NDArray[np.int32], ...]:
    inside = bool((positions_K3 >= 0).all() and (positions_K3 < np.asarray(shape)).all())
    found = (positions_K3.min(0).tolist(), positions_K3.max(0).tolist())
    require(inside, f"positions_N3 of {name}", found, f"inside the grid {shape}")
    return tuple(positions_K3.T)


def _array(features: Any) -> NDArray[np.float32]:
    import torch

    if isinstance(features, torch.Tensor):
        features = features.detach().to(torch.float32).cpu().numpy()
    return np.asarray(features, dtype=np.float32)
