"""From uint8 patch tokens to embeddings.

Axes: N tokens of a pack, S clips of it, C width, D = 3*p*p numbers of a patch in (channel, y, x) order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from onevision_encoder.checks import require, short_repr
from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.model.encoder import OneVisionEncoderModel
from onevision_encoder.model.loading import LoadedEncoder, describe
from onevision_encoder.types import PatchTokens

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
"""Mean of RGB in 0..1, of CLIP's ``preprocessor_config.json``, which the published encoders were trained with."""
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Standard deviation of RGB in 0..1, same source."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Embeddings:
    """What an encoder made of a pack.

    Attributes:
        pooled_SC: float32, one row for each clip; None if the model has no pooling head.
        tokens_NC: float32, one row for each token, in the order of the pack; None unless asked for.
        cu_seqlens: int32 [S + 1], bounds of the clips in ``tokens_NC``.
        provenance: model, weights, dtype, normalisation; JSON-ready.
    Raises:
        ShapeError: rows that do not fit ``cu_seqlens``.
    """

    pooled_SC: NDArray[np.float32] | None
    tokens_NC: NDArray[np.float32] | None
    cu_seqlens: NDArray[np.int32]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    __repr__ = short_repr

    def __post_init__(self) -> None:
        cu = self.cu_seqlens
        ok = cu.ndim == 1 and len(cu) >= 2 and cu[0] == 0 and bool((np.diff(cu) > 0).all())
        require(ok, "cu_seqlens", cu.tolist(), "0 ... N, strictly increasing, one step a clip")
        for name, rows in (("pooled_SC", len(cu) - 1), ("tokens_NC", int(cu[-1]))):
            array = getattr(self, name)
            fits = array is None or (array.ndim == 2 and len(array) == rows)
            require(fits, name, getattr(array, "shape", None), f"[{rows}, C]")
        widths = {array.shape[1] for array in (self.pooled_SC, self.tokens_NC) if array is not None}
        require(len(widths) < 2, "C", sorted(widths), "one width")

    def unpack(self) -> Iterator[Embeddings]:
        """The clips one by one, in the order of the pack, as ``tokens.unpack`` gives their tokens."""
        for s, (start, stop) in enumerate(pairwise(self.cu_seqlens.tolist())):
            yield Embeddings(
                pooled_SC=None if self.pooled_SC is None else self.pooled_SC[s : s + 1],
                tokens_NC=None if self.tokens_NC is None else self.tokens_NC[start:stop],
                cu_seqlens=np.array([0, stop - start], dtype=np.int32),
                provenance=self.provenance,
            )


def normalize_patches(patches_ND: Tensor) -> Tensor:
    """uint8 RGB patches [N, 3*p*p] -> float32 (x / 255 - mean) / std, CLIP's mean and std for each channel.

    Raises:
        InvalidArgumentError: no uint8 tensor. ShapeError: not [N, 3*p*p].
    """
    if not isinstance(patches_ND, Tensor) or patches_ND.dtype != torch.uint8:
        found = f"{type(patches_ND).__name__} of {getattr(patches_ND, 'dtype', 'no dtype')}"
        raise InvalidArgumentError("patches_ND", found, "a torch tensor of uint8 pixels, 0..255")
    if patches_ND.ndim != 2 or patches_ND.shape[1] % 3:
        raise ShapeError("patches_ND", tuple(patches_ND.shape), "[N, 3 * p * p] in (channel, y, x) order")
    x_N3P = torch.unflatten(patches_ND.to(torch.float32), 1, (3, -1))
    mean, std = (torch.tensor(v, device=x_N3P.device)[:, None] for v in (CLIP_MEAN, CLIP_STD))
    return x_N3P.div_(255.0).sub_(mean).div_(std).flatten(1)  # in place: the float copy is ours


def embed_tokens(
    model: OneVisionEncoderModel | LoadedEncoder,
    tokens: PatchTokens,
    *,
    batch_tokens: int = 16_384,
    return_tokens: bool = False,
) -> Embeddings:
    """Encode a pack of clips.

    Args:
        model: from :func:`load_encoder` (its provenance then comes along), or a bare model; it runs in ``eval``
            mode, and each of its modules is left in the mode it was in.
        tokens: of :func:`tokenize` or :func:`load_tokens`; :func:`pack` joins those of several clips.
        batch_tokens: at most this many tokens go through the encoder at once. Whole clips only, so a longer
            clip goes alone.
        return_tokens: also give the embedding of every token.
    Raises:
        ShapeError: the tokens' patch size is not the model's.
        InvalidArgumentError: ``model`` or ``tokens`` are something else, ``batch_tokens`` is below 1, or there is
            nothing to return (no head and no tokens).
    """
    loaded = model if isinstance(model, LoadedEncoder) else None
    encoder = model.model if isinstance(model, LoadedEncoder) else model
    _check_types(encoder, tokens)
    if tokens.patch != encoder.config.patch_size:
        raise ShapeError(
            "patch size of the tokens", tokens.patch, f"{encoder.config.patch_size}, the patch size of the model"
        )
    if batch_tokens < 1:
        raise InvalidArgumentError("batch_tokens", batch_tokens, "at least 1")
    if encoder.head is None and not return_tokens:
        raise InvalidArgumentError("return_tokens", False, "True for a model without pooling head")
    pooled: list[NDArray[np.float32]] = []
    states: list[NDArray[np.float32]] = []
    with _evaluating(encoder):
        for first, last in _batches(tokens.cu_seqlens, batch_tokens):
            output = _encode(encoder, tokens, first, last)
            if output.pooler_output is not None:
                pooled.append(_numpy(output.pooler_output))
            if return_tokens:
                states.append(_numpy(output.last_hidden_state))
    provenance = {
        **_provenance(encoder, loaded),
        "normalization": {"scale": "x / 255", "mean": list(CLIP_MEAN), "std": list(CLIP_STD)},
        "batch_tokens": batch_tokens,
    }
    return Embeddings(
        pooled_SC=np.concatenate(pooled) if pooled else None,
        tokens_NC=np.concatenate(states) if states else None,
        cu_seqlens=tokens.cu_seqlens,
        provenance=provenance,
    )


def _check_types(encoder: object, tokens: object) -> None:
    if not isinstance(encoder, nn.Module):
        allowed = "what load_encoder() returns, or an OneVisionEncoderModel"
        raise InvalidArgumentError("model", type(encoder).__name__, allowed)
    if not isinstance(tokens, PatchTokens):
        allowed = "one PatchTokens: of tokenize(), load_tokens() or read_clip().tokens(); pack() joins several into one"
        raise InvalidArgumentError("tokens", type(tokens).__name__, allowed)


@contextmanager
def _evaluating(encoder: nn.Module) -> Iterator[None]:
    """``eval`` mode inside; afterwards every module is in the mode it was in (parts may be frozen in theirs)."""
    modes = [(module, module.training) for module in encoder.modules()]
    encoder.train(False)
    try:
        yield
    finally:
        encoder.train(modes[0][1])  # by the method first: some modules do more in it than set a flag
        for module, training in modes:
            module.training = training


def _provenance(encoder: OneVisionEncoderModel, loaded: LoadedEncoder | None) -> dict[str, Any]:
    """What was recorded on loading, brought up to date: the model may have been moved or changed since."""
    now = describe(encoder)
    if loaded is None:
        return now
    recorded = dict(loaded.provenance)
    if any(recorded.get(key, now[key]) != now[key] for key in ("dtype", "device")):
        recorded["dtype_reason"] = "moved after loading"
    return {**recorded, **now}


def _encode(encoder: OneVisionEncoderModel, tokens: PatchTokens, first: int, last: int) -> Any:
    """Run clips first..last-1."""
    bounds = tokens.cu_seqlens[first : last + 1]
    rows = slice(int(bounds[0]), int(bounds[-1]))
    # torch.tensor copies: the arrays of PatchTokens are read-only, and torch has no such thing
    patches = torch.tensor(tokens.patches_ND[rows], device=encoder.device)
    with torch.inference_mode():
        return encoder(
            normalize_patches(patches),
            patch_positions=torch.tensor(tokens.model_positions_N3[rows], device=encoder.device),
            cu_seqlens=(bounds - bounds[0]).tolist(),
        )


def _batches(cu_seqlens: NDArray[np.int32], most: int) -> Iterator[tuple[int, int]]:
    """Ranges of whole clips of at most ``most`` tokens, or of one clip."""
    first, last = 0, len(cu_seqlens) - 1
    while first < last:
        end = first + 1
        while end < last and cu_seqlens[end + 1] - cu_seqlens[first] <= most:
            end += 1
        yield first, end
        first = end


def _numpy(x: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = x.to(torch.float32).cpu().numpy()
    return array
