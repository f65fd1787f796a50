"""Selected patches of clips of any size and length, end to end in one array. No padding.

Axes: K patches of one clip, N patches of a pack, S clips, D = 3*p*p, T frames.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from onevision_encoder import __version__
from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.tokens.patches import gather
from onevision_encoder.tokens.positions import TimeMode, model_positions, model_time
from onevision_encoder.types import ClipInfo, CodecSignals, FrameSequence, PatchTokens, Selection


def make_tokens(
    frames: FrameSequence,
    selection: Selection,
    *,
    signals: CodecSignals | None = None,
    time: TimeMode = "virtual",
    ticks_per_second: float = 1.0,
    request: Mapping[str, Any] | None = None,
) -> PatchTokens:
    """The tokens of one clip: pixels, addresses and RoPE positions taken from the same frames and selection.

    ``signals`` and ``request`` only add to the provenance: who computed them and how, what was asked for.
    """
    time_T = model_time(frames.pts_seconds_T, time, ticks_per_second=ticks_per_second, slot_T=frames.slot_T)
    clip = ClipInfo(
        name=frames.source.name,
        patch=frames.patch,
        grid=frames.grid,
        frame_index_T=frames.frame_index_T,
        pts_seconds_T=frames.pts_seconds_T,
        model_time_T=time_T,
        layout=selection.layout,
        order=selection.order,
        provenance={
            "version": __version__,
            "request": None if request is None else dict(request),
            "source": asdict(frames.source),
            "frames": dict(frames.provenance),
            "signals": None if signals is None else dict(signals.provenance),
            "selection": dict(selection.provenance),
            "time": {"mode": time, "ticks_per_second": ticks_per_second},
        },
    )
    return PatchTokens(
        patches_ND=gather(frames, selection),
        positions_N3=selection.positions_K3,
        model_positions_N3=model_positions(selection.positions_K3, time_T, layout=selection.layout, grid=frames.grid),
        score_N=selection.score_K,
        kind_N=selection.kind_K,
        cu_seqlens=np.array([0, len(selection)], dtype=np.int32),
        clips=(clip,),
    )


def pack(parts: Sequence[PatchTokens]) -> PatchTokens:
    """Packs end to end, in order. Clips stay apart through ``cu_seqlens``.

    Raises:
        InvalidArgumentError: nothing to pack. ShapeError: patch sizes differ.
    """
    if not parts:
        raise InvalidArgumentError("parts", [], "at least one clip's tokens")
    if len({part.patch for part in parts}) > 1:
        raise ShapeError("patch", [part.patch for part in parts], "one patch size in a pack")
    lengths = np.concatenate([np.diff(part.cu_seqlens) for part in parts])
    return PatchTokens(
        patches_ND=np.concatenate([part.patches_ND for part in parts]),
        positions_N3=np.concatenate([part.positions_N3 for part in parts]),
        model_positions_N3=np.concatenate([part.model_positions_N3 for part in parts]),
        score_N=np.concatenate([part.score_N for part in parts]),
        kind_N=np.concatenate([part.kind_N for part in parts]),
        cu_seqlens=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32),
        clips=tuple(clip for part in parts for clip in part.clips),
    )


def unpack(tokens: PatchTokens) -> Iterator[PatchTokens]:
    """The clips of a pack, one by one: the inverse of :func:`pack`."""
    for s, clip in enumerate(tokens.clips):
        rows = slice(int(tokens.cu_seqlens[s]), int(tokens.cu_seqlens[s + 1]))
        yield PatchTokens(
            patches_ND=tokens.patches_ND[rows],
            positions_N3=tokens.positions_N3[rows],
            model_positions_N3=tokens.model_positions_N3[rows],
            score_N=tokens.score_N[rows],
            kind_N=tokens.kind_N[rows],
            cu_seqlens=np.array([0, rows.stop - rows.start], dtype=np.int32),
            clips=(clip,),
        )
