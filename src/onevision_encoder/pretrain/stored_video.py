"""Videos as a corpus keeps them: the patches that some budget would choose, and what is needed to choose again.

Of each clip a ladder of budgets is chosen once, while its frames are there, and the union of the chosen patches is
stored, together with the clip's ranking. At training time the policy is run again, on the ranking, for any budget:

- at a budget of the ladder the tokens are exactly those the policy chooses of the clip, rows, pixels, scores and order;
- at another budget below the highest level they are too, unless the policy wants a patch that no level wanted. Of
  policy codec such a patch is replaced by the best stored one, and ``provenance["not_stored"]`` counts it; of whole
  frames (``frames``, ``tiled``) it is an error, because the frames of another budget lie elsewhere.

The file is a token file (``load_tokens`` reads it) with the tensors ``value`` float32 [T, U], ``ranked``, ``starts``
uint8 [T] and ``content`` uint8 [h, w] beside those of :mod:`onevision_encoder.tokens.store`.

Axes: T frames, U units of a frame, K patches chosen, N patches stored, h w patches of a frame.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import BudgetError, TokenFileError
from onevision_encoder.selection import (
    PolicyName,
    Ranking,
    SelectionConfig,
    needs_signals,
    rank,
    resolve_budget,
    select_ranked,
)
from onevision_encoder.tokens.described import Form
from onevision_encoder.tokens.ordering import reorder
from onevision_encoder.tokens.packing import make_tokens
from onevision_encoder.tokens.pipeline import TimeConfig
from onevision_encoder.tokens.positions import model_positions
from onevision_encoder.tokens.store import FORM as TOKEN_FORM
from onevision_encoder.tokens.store import token_parts, tokens_of
from onevision_encoder.types import ClipInfo, CodecSignals, FrameSequence, Layout, PatchTokens, Selection

VideoMode = Literal["codec", "frames", "tiled"]
POLICY: dict[VideoMode, PolicyName] = {"codec": "codec", "frames": "uniform", "tiled": "tiled"}

_OPTIONAL: dict[str, type[np.generic]] = {
    "value": np.float32,
    "ranked": np.uint8,
    "starts": np.uint8,
    "content": np.uint8,
}
FORM = Form(
    noun="a stored video",
    error=TokenFileError,
    schema=TOKEN_FORM.schema,
    tensors=TOKEN_FORM.tensors,
    optional=_OPTIONAL,
    fields={**TOKEN_FORM.fields, "merge": int, "selection": dict, "levels": list},
)


def ladder(low: float = 8 / 256, high: float = 64 / 256, steps: int = 57) -> tuple[str, ...]:
    """Percentages from ``low`` to ``high`` at equal distances: of 57 from 1/32 to 1/4, every 256th of the patches."""
    shares = np.linspace(low, high, steps)
    return tuple(f"{100 * share:.10g}%" for share in shares)


def store_mode(
    frames: FrameSequence,
    signals: CodecSignals | None,
    config: SelectionConfig,
    *,
    levels: Sequence[str],
    times: TimeConfig,
    request: dict[str, Any] | None = None,
) -> tuple[bytes, dict[str, Any]]:
    """(content of the file, facts for the index) of one clip in one mode.

    Args:
        config: its policy is the mode; its budget is not looked at. levels: shares of all patches such as ``"12.5%"``.
    Raises:
        BudgetError: a level that the clip cannot meet. InvalidArgumentError: a policy that cannot be run again.
    """
    signals = signals if needs_signals(config) else None
    config, asked = replace(config, order="raster"), config
    ranking = rank(frames, signals, config)
    available = available_patches(ranking)
    budgets = level_budgets(tuple(levels), available, ranking.merge**2)
    union = _union([select_ranked(ranking, replace(config, budget=budget)) for budget in budgets])
    tokens = make_tokens(
        frames, union, signals=signals, time=times.time, ticks_per_second=times.ticks_per_second, request=request
    )
    arrays, described = token_parts(tokens)
    arrays |= {
        name: array.astype(_OPTIONAL[name])
        for name, array in (
            ("value", ranking.value_TU),
            ("ranked", ranking.ranked_T),
            ("starts", ranking.starts_T),
            ("content", ranking.content_hw),
        )
        if array is not None
    }
    payload = FORM.encode(arrays, **described, merge=ranking.merge, selection=asdict(asked), levels=budgets)
    return payload, {"available": available, "unit": ranking.merge**2, "stored": len(tokens)}


def available_patches(ranking: Ranking) -> int:
    """Content patches of all frames: what percentages are of."""
    rows, cols, merge = *ranking.grid, ranking.merge
    if ranking.content_hw is None:
        return ranking.num_frames * rows * cols
    whole = ranking.content_hw.reshape(rows // merge, merge, cols // merge, merge).all((1, 3))
    return ranking.num_frames * int(whole.sum()) * merge**2


@functools.lru_cache(maxsize=1024)  # clips of one size ask the same, at every draw
def level_budgets(levels: tuple[str, ...], available: int, unit: int) -> tuple[int, ...]:
    """The exact number of patches of each level, each once, rising."""
    return tuple(sorted({resolve_budget(level, available=available, unit=unit) for level in levels}))


def _union(selections: Sequence[Selection]) -> Selection:
    """All rows of all, in raster order; scores and kinds of the highest budget that has the row."""
    shape = selections[0].shape
    score, kind = np.zeros(np.prod(shape), np.float32), np.zeros(np.prod(shape), np.uint8)
    there = np.zeros(len(score), np.bool_)
    for chosen in selections:
        flat = _flat(chosen.positions_K3, shape)
        there[flat], score[flat], kind[flat] = True, chosen.score_K, chosen.kind_K
    rows = np.flatnonzero(there)
    positions = np.stack(np.unravel_index(rows, shape), axis=1).astype(np.int32)
    last = selections[-1]
    facts = {"levels": [len(chosen) for chosen in selections], "highest": dict(last.provenance)}
    return replace(last, positions_K3=positions, score_K=score[rows], kind_K=kind[rows], provenance=facts)


def _flat(positions_K3: NDArray[np.int32], shape: tuple[int, int, int]) -> NDArray[np.int64]:
    flat: NDArray[np.int64] = np.ravel_multi_index(tuple(positions_K3.T.astype(np.int64)), shape)
    return flat


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredVideo:
    """One clip in one mode, read back. ``tokens`` are all that are stored, ``levels`` the budgets of the ladder."""

    tokens: PatchTokens
    ranking: Ranking
    config: SelectionConfig
    levels: tuple[int, ...]

    def at(self, budget: int, mode: VideoMode) -> PatchTokens:
        """Exactly ``budget`` tokens, as the policy of the clip chooses them, in layout ``mode``.

        Raises:
            BudgetError: above the highest level; or, of whole frames, not a budget whose frames are stored.
        """
        if budget > self.levels[-1]:
            raise BudgetError("budget", budget, f"at most {self.levels[-1]}, the highest level that is stored")
        chosen = select_ranked(self.ranking, replace(self.config, budget=budget, order="raster"))
        clip = self.tokens.clips[0]
        stored = _flat(self.tokens.positions_N3, chosen.shape)
        wanted = _flat(chosen.positions_K3, chosen.shape)
        found = np.searchsorted(stored, wanted)
        there = stored[np.minimum(found, len(stored) - 1)] == wanted
        score_N, kind_N = self.tokens.score_N.copy(), self.tokens.kind_N.copy()
        rows = found[there]
        score_N[rows], kind_N[rows] = chosen.score_K[there], chosen.kind_K[there]
        lacking = int((~there).sum())
        if lacking:
            rows = self._filled_up(rows, lacking, budget)
        layout: Layout = "tiled" if mode == "tiled" else "frames"
        facts = {"stored": clip.provenance, "budget": budget, "not_stored": lacking}
        tokens = _tokens(self.tokens, rows, score_N, kind_N, replace(clip, layout=layout, provenance=facts))
        return tokens if self.config.order == "raster" else reorder(tokens, self.config.order)

    def _filled_up(self, rows: NDArray[np.int64], lacking: int, budget: int) -> NDArray[np.int64]:
        if self.config.policy != "codec":
            allowed = f"one of {list(self.levels)}, whose whole frames are stored"
            raise BudgetError("budget", budget, allowed)
        others = np.setdiff1d(np.arange(len(self.tokens)), rows)
        best = np.argsort(-self.tokens.score_N[others], kind="stable")[:lacking]
        return np.sort(np.concatenate([rows, others[best]]))


def _tokens(
    tokens: PatchTokens,
    rows: NDArray[np.int64],
    score_N: NDArray[np.float32],
    kind_N: NDArray[np.uint8],
    clip: ClipInfo,
) -> PatchTokens:
    positions = tokens.positions_N3[rows]
    return PatchTokens(
        patches_ND=tokens.patches_ND[rows],
        positions_N3=positions,
        model_positions_N3=model_positions(positions, clip.model_time_T, layout=clip.layout, grid=clip.grid),
        score_N=score_N[rows],
        kind_N=kind_N[rows],
        cu_seqlens=np.array([0, len(rows)], np.int32),
        clips=(clip,),
    )


def load_stored(name: object, payload: bytes) -> StoredVideo:
    """Read what :func:`store_mode` made; ``name`` is what errors call it.

    Raises:
        TokenFileError: not a stored video, or contents that contradict each other.
    """
    described, arrays = FORM.decode(name, payload)
    tokens = tokens_of(name, described, arrays)
    clip = tokens.clips[0]
    try:
        ranking = Ranking(
            num_frames=len(clip.frame_index_T),
            grid=clip.grid,
            merge=described["merge"],
            content_hw=_mask(arrays.get("content")),
            value_TU=arrays.get("value"),
            ranked_T=_mask(arrays.get("ranked")),
            starts_T=_mask(arrays.get("starts")),
        )
        config = SelectionConfig(**described["selection"])
    except (ValueError, TypeError, ArithmeticError) as error:
        raise TokenFileError(f"{name}: {error}") from error
    return StoredVideo(tokens=tokens, ranking=ranking, config=config, levels=tuple(described["levels"]))


def _mask(array: NDArray[Any] | None) -> NDArray[np.bool_] | None:
    return None if array is None else array.astype(np.bool_)
