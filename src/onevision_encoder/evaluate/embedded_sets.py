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
from onevision_encoder.model import Embeddings, LoadedEncoder, embed_tokens

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
    """:func:`embed_sets` of one form."""
    return embed_sets(name, encoder, tokens, (form,))[form]


def embed_sets(name: str, encoder: LoadedEncoder, tokens: TokenSet, forms: Sequence[Form]) -> dict[Form, EmbeddedSet]:
    """What an encoder makes of every clip, for :func:`run_probe`: one pass for all forms.

    Args:
        forms: pooled: the embedding of its pooling head, [1, C]. tokens: of every token, [L, C]. places: these in one
            row, [1, L C], for clips that all have L tokens.
    Raises:
        InvalidArgumentError: no form, or another one. Errors of ``embed_tokens``.
    """
    if not forms or set(forms) - set(get_args(Form)):
        raise InvalidArgumentError("form", list(forms), f"one or more of {', '.join(get_args(Form))}")
    features: dict[Form, dict[str, NDArray[np.float32]]] = {form: {} for form in forms}
    step = max(1, TOKENS_AT_ONCE // int(tokens.lengths_S.max()))
    for start in range(0, len(tokens), step):
        which = range(start, min(start + step, len(tokens)))
        made = embed_tokens(encoder, tokens.batch(which), return_tokens=set(forms) != {"pooled"})
        for s, one in zip(which, made.unpack(), strict=True):
            for form, rows in features.items():
                rows[tokens.ids[s]] = _formed(one, form)
    failures = {one.id: one.cause for one in tokens.broken}
    return {
        form: EmbeddedSet(
            backbone=_Named(name=name, width=next(iter(rows.values())).shape[1]),
            reading=tokens.config,
            pool=form != "tokens",
            failures=dict(failures),
            features=rows,
        )
        for form, rows in features.items()
    }


def _formed(one: Embeddings, form: Form) -> NDArray[np.float32]:
    found = one.pooled_SC if form == "pooled" else one.tokens_NC
    assert found is not None
    return found.astype(np.float32).reshape((1, -1) if form == "places" else found.shape)
