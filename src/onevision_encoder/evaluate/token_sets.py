"""Tokens of many labelled clips in one place, so that training never decodes a clip twice.

Axes: N tokens of all clips, S clips, M classes, D = 3*p*p in (channel, y, x) order, 3 = (t, h, w).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from onevision_encoder.checks import freeze, require, require_dtypes, short_repr
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.evaluate.datasets import Example
from onevision_encoder.tokens import TokenizeConfig
from onevision_encoder.types import ClipInfo, PatchTokens

_CHUNK = 1 << 24


@dataclass(frozen=True, kw_only=True)
class Broken:
    """An example that gave no tokens, and why. It is left out, never replaced."""

    id: str
    cause: str


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenSet:
    """Labelled clips as tokens of one configuration.

    Attributes:
        patches_ND: uint8, in memory or a np.memmap. positions_N3: int32 address (t, h, w) inside the clip.
        model_positions_N3: float32 (t, h, w) that RoPE sees. score_N: float32. kind_N: uint8 of ``Kind``.
        cu_seqlens: int64 [S + 1], clip s holds rows cu_seqlens[s]:cu_seqlens[s + 1].
        clips: grid and frame times of each clip, without provenance, which ``config`` stands for.
        ids: of the examples, unique. videos: what they are stretches of, the unit of every split.
        labels: int64 [S]; of a multi-label set bool [S, M].
        decode_ms_S, select_ms_S: float32, CPU time that each clip took when it was read (see ``tokens.variants``).
        config: how the clips were read. change: what was done to their tokens afterwards, JSON-able; None = nothing.
        broken: examples that are missing here.
    Raises:
        ShapeError: an invariant does not hold.
    """

    patches_ND: NDArray[np.uint8]
    positions_N3: NDArray[np.int32]
    model_positions_N3: NDArray[np.float32]
    score_N: NDArray[np.float32]
    kind_N: NDArray[np.uint8]
    cu_seqlens: NDArray[np.int64]
    clips: tuple[ClipInfo, ...]
    ids: tuple[str, ...]
    videos: tuple[str, ...]
    labels: NDArray[np.int64] | NDArray[np.bool_]
    decode_ms_S: NDArray[np.float32]
    select_ms_S: NDArray[np.float32]
    config: TokenizeConfig
    data: str = ""
    change: Mapping[str, Any] | None = None
    broken: tuple[Broken, ...] = field(default=())
    __repr__ = short_repr

    def __post_init__(self) -> None:
        N, S = len(self.patches_ND), len(self.ids)
        require(S >= 1, "ids", S, "at least one clip")
        require(len(set(self.ids)) == S, "ids", f"{S - len(set(self.ids))} repeated", "unique ids")
        patch = self.clips[0].patch if self.clips else 0
        rows: tuple[tuple[str, tuple[int, ...]], ...] = (
            ("patches_ND", (N, 3 * patch * patch)),
            ("positions_N3", (N, 3)),
            ("model_positions_N3", (N, 3)),
            ("score_N", (N,)),
            ("kind_N", (N,)),
            ("cu_seqlens", (S + 1,)),
            ("decode_ms_S", (S,)),
            ("select_ms_S", (S,)),
        )
        for name, wanted in rows:
            require(getattr(self, name).shape == wanted, name, getattr(self, name).shape, f"{wanted}")
        for name in ("clips", "videos", "labels"):
            require(len(getattr(self, name)) == S, name, len(getattr(self, name)), f"one for each of {S} clips")
        require_dtypes(
            self,
            {
                "patches_ND": np.uint8,
                "positions_N3": np.int32,
                "model_positions_N3": np.float32,
                "cu_seqlens": np.int64,
                "labels": np.bool_ if self.labels.ndim == 2 else np.int64,
            },
        )
        cu = self.cu_seqlens
        rising = cu[0] == 0 and cu[-1] == N and bool((np.diff(cu) > 0).all())
        require(rising, "cu_seqlens", (int(cu[0]), int(cu[-1])), f"0 ... {N}, strictly increasing")
        freeze(self)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def model_time_N(self) -> NDArray[np.float32]:
        """The time of each token as RoPE sees it."""
        return self.model_positions_N3[:, 0]

    @property
    def lengths_S(self) -> NDArray[np.int64]:
        """Tokens of each clip."""
        return np.diff(self.cu_seqlens)

    @property
    def patch(self) -> int:
        return self.clips[0].patch

    @property
    def multi_label(self) -> bool:
        return self.labels.ndim == 2

    @property
    def num_tokens(self) -> int:
        return len(self.patches_ND)

    def rows(self, indices: ArrayLike) -> NDArray[np.int64]:
        """Rows of the tokens of these clips, clip after clip in the order asked for.

        Raises:
            InvalidArgumentError: no clip, or one that is not there.
        """
        asked = self._indices(indices)
        start, length = self.cu_seqlens[asked], self.lengths_S[asked]
        first = np.repeat(start - np.concatenate([[0], np.cumsum(length)[:-1]]), length)
        rows: NDArray[np.int64] = first + np.arange(len(first))
        return rows

    def batch(self, indices: ArrayLike) -> PatchTokens:
        """The tokens of these clips as one pack, in the order asked for. Raises as :meth:`rows`."""
        asked, rows = self._indices(indices), self.rows(indices)
        bounds = np.concatenate([[0], np.cumsum(self.lengths_S[asked])])
        return PatchTokens(
            patches_ND=np.asarray(self.patches_ND[rows]),
            positions_N3=self.positions_N3[rows],
            model_positions_N3=self.model_positions_N3[rows],
            score_N=self.score_N[rows],
            kind_N=self.kind_N[rows],
            cu_seqlens=bounds.astype(np.int32),
            clips=tuple(self.clips[i] for i in asked),
        )

    def subset(self, indices: ArrayLike) -> TokenSet:
        """These clips alone, in the order asked for, in memory. Raises as :meth:`rows`."""
        asked, rows = self._indices(indices), self.rows(indices)
        return replace(
            self,
            patches_ND=np.asarray(self.patches_ND[rows]),
            positions_N3=self.positions_N3[rows],
            model_positions_N3=self.model_positions_N3[rows],
            score_N=self.score_N[rows],
            kind_N=self.kind_N[rows],
            cu_seqlens=np.concatenate([[0], np.cumsum(self.lengths_S[asked])]).astype(np.int64),
            clips=tuple(self.clips[i] for i in asked),
            ids=tuple(self.ids[i] for i in asked),
            videos=tuple(self.videos[i] for i in asked),
            labels=self.labels[asked],
            decode_ms_S=self.decode_ms_S[asked],
            select_ms_S=self.select_ms_S[asked],
        )

    def named(self, ids: Sequence[str]) -> TokenSet:
        """The clips of these ids, in their order. Raises InvalidArgumentError for one that is not there."""
        place = {name: i for i, name in enumerate(self.ids)}
        absent = [name for name in ids if name not in place]
        if absent:
            raise InvalidArgumentError("ids", absent[:5], f"among the {len(self)} clips of this set")
        return self.subset([place[name] for name in ids])

    @cached_property
    def fingerprint(self) -> str:
        """Digest of everything that training sees: pixels, positions, bounds, ids, videos, labels. Not of what the
        clips cost."""
        whole = hashlib.blake2b(digest_size=16)
        flat = self.patches_ND.reshape(-1)
        for start in range(0, flat.size, _CHUNK):
            whole.update(np.ascontiguousarray(flat[start : start + _CHUNK]).data)
        for array in (self.positions_N3, self.model_positions_N3, self.score_N, self.kind_N, self.cu_seqlens):
            whole.update(f"{array.dtype}{array.shape}".encode())
            whole.update(np.ascontiguousarray(array).data)
        labels = np.ascontiguousarray(self.labels)
        whole.update(f"{labels.dtype}{labels.shape}{self.ids}{self.videos}".encode())
        whole.update(labels.tobytes())
        return whole.hexdigest()

    def describe(self) -> dict[str, Any]:
        """JSON-able: what the set is and what decided it."""
        lengths = self.lengths_S
        return {
            "data": self.data,
            "clips": len(self),
            "videos": len(set(self.videos)),
            "tokens": self.num_tokens,
            "tokens_per_clip": [int(lengths.min()), int(lengths.max())],
            "tokenize": self.config.as_dict(),
            "change": None if self.change is None else dict(self.change),
            "broken": [{"id": b.id, "cause": b.cause} for b in self.broken],
            "fingerprint": self.fingerprint,
        }

    def _indices(self, indices: ArrayLike) -> NDArray[np.int64]:
        asked = np.asarray(indices)
        whole = asked.ndim == 1 and len(asked) > 0 and np.issubdtype(asked.dtype, np.integer)
        if not whole or asked.min() < 0 or asked.max() >= len(self):
            raise InvalidArgumentError("indices", f"{asked!r:.80}", f"a list of integers from 0 to {len(self) - 1}")
        return asked.astype(np.int64)


def in_common(sets: Mapping[str, TokenSet]) -> dict[str, TokenSet]:
    """The same sets with no more than the clips that all of them have, sorted by id: for comparing configurations.

    Raises:
        InvalidArgumentError: no set, or not one clip in common.
    """
    shared = set.intersection(*(set(tokens.ids) for tokens in sets.values())) if sets else set()
    if not shared:
        raise InvalidArgumentError("sets", sorted(sets), "sets with at least one clip in common")
    ids = sorted(shared)
    return {name: tokens if list(tokens.ids) == ids else tokens.named(ids) for name, tokens in sets.items()}


def labels_of(examples: Sequence[Example], num_classes: int | None) -> NDArray[np.int64] | NDArray[np.bool_]:
    """int64 [S], or of a multi-label set of ``num_classes`` classes bool [S, M].

    Raises:
        InvalidArgumentError: an example without its one class, or a class that is not there.
    """
    if num_classes is None:
        bad = [e.id for e in examples if len(e.classes) != 1]
        if bad:
            raise InvalidArgumentError("examples", bad[:5], "one class each, or num_classes of a multi-label set")
        return np.array([e.classes[0] for e in examples], dtype=np.int64)
    member_SM = np.zeros((len(examples), num_classes), np.bool_)
    for row, e in zip(member_SM, examples, strict=True):
        if any(not 0 <= label < num_classes for label in e.classes):
            raise InvalidArgumentError("classes", e.classes, f"from 0 to {num_classes - 1}")
        row[list(e.classes)] = True
    return member_SM
