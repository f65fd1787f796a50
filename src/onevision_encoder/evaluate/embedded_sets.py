"""Features of a token set: clips are read once, and every encoder that is compared embeds the same tokens.

Axes: S clips, L tokens of one of them, C width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.evaluate.backbone import Clip, Features
from onevision_encoder.evaluate.datasets import Example
from onevision_encoder.evaluate.features import FeatureReader
from onevision_encoder.evaluate.token_sets import TokenSet
from onevision_encoder.model import LoadedEncoder, embed_tokens

Form = Literal["pooled", "tokens", "places"]
TOKENS_AT_ONCE = 16_384


@dataclass(frozen=True, kw_only=True)
class _Named:
    """What a report wants to know of the encoder; nothing is left to encode."""

    name: str
    width: int

    def describe(self) -> dict[str, Any]:
        return {"family": "onevision_encoder", "name": self.name}

    def encode(self, clips: Sequence[Clip]) -> Features:
        raise NotImplementedError


@dataclass
class EmbeddedSet(FeatureReader):
    """Features that are all there; ``failures`` are the examples that the token set lacks."""

    features: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def read(self, examples: Sequence[Example]) -> dict[str, NDArray[np.float32]]:
        return {e.id: self.features[e.id] for e in examples if e.id in self.features}


def embed_set(name: str, encoder: LoadedEncoder, tokens: TokenSet, form: Form = "pooled") -> EmbeddedSet:
    """What an encoder makes of every clip, for :func:`run_probe`.

    Args:
        form: pooled: the embedding of its pooling head, [1, C]. tokens: of every token, [L, C]. places: these in one
            row, [1, L C], for clips that all have L tokens.
    Raises:
        InvalidArgumentError: another form. Errors of ``embed_tokens``.
    """
    if form not in get_args(Form):
        raise InvalidArgumentError("form", form, f"one of {', '.join(get_args(Form))}")
    features: dict[str, NDArray[np.float32]] = {}
    step = max(1, TOKENS_AT_ONCE // int(tokens.lengths_S.max()))
    for start in range(0, len(tokens), step):
        which = range(start, min(start + step, len(tokens)))
        made = embed_tokens(encoder, tokens.batch(which), return_tokens=form != "pooled")
        for s, one in zip(which, made.unpack(), strict=True):
            found = one.pooled_SC if form == "pooled" else one.tokens_NC
            assert found is not None
            shape = (1, -1) if form == "places" else found.shape
            features[tokens.ids[s]] = found.astype(np.float32).reshape(shape)
    return EmbeddedSet(
        backbone=_Named(name=name, width=next(iter(features.values())).shape[1]),
        reading=tokens.config,
        pool=form != "tokens",
        failures={one.id: one.cause for one in tokens.broken},
        features=features,
    )
