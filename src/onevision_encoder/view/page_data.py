"""What a page needs to know of one clip: pictures, saliency of every score, heat, vectors, and how it was made.

Axes: T frames, y x cells of 8x8 pixels, h w units (patches, or 2x2 blocks of them), 2 = (dx, dy).

Saliency travels as whole steps of 1e-5, the precision it has, so that the page ranks exactly as the library does.
"""

from __future__ import annotations

import shlex
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onevision_encoder.checks import READER, counted
from onevision_encoder.codec import ProviderName, ScoreName, compute_signals, raw_scores, read_with_signals
from onevision_encoder.codec.provider import AUTO
from onevision_encoder.codec.scores import fuse
from onevision_encoder.errors import InvalidArgumentError, SignalUnavailableError
from onevision_encoder.selection import clip_saliency
from onevision_encoder.selection.board import Board
from onevision_encoder.selection.policies import random_order
from onevision_encoder.tokens.pipeline import ClipReading, TokenizeConfig
from onevision_encoder.types import CELL, CodecSignals, FrameSequence
from onevision_encoder.video import probe
from onevision_encoder.video.damage import damage_words
from onevision_encoder.view.heat import top_of

POLICIES = ("codec", "uniform", "random")
"""What a page can choose by again."""
_STEPS, _UNKNOWN, _TOP_LEVEL = 100_000, 255, 254
_VECTOR_STEP = 16
_JPEG = {"quality": 88, "subsampling": 0}
_LONGEST = 400
"""Characters of a value of the provenance table."""
_OF_CODEC = frozenset(name for name, reader in READER.items() if reader == ("policy", "codec"))
_READ_BY = {"codec": _OF_CODEC, "chunk": _OF_CODEC | {"chunk_frames"}, "uniform": frozenset(), "random": {"seed"}}
"""Options that only the page's choice of this name reads."""
_SET_IN_THE_PAGE = {"budget", "policy", "score", "scope", "provider"}


def check_policy(config: TokenizeConfig) -> None:
    """Raises InvalidArgumentError for a policy that a page cannot choose by."""
    if config.selection.policy not in POLICIES:
        raise InvalidArgumentError("policy", config.selection.policy, f"one of {', '.join(POLICIES)} for a page")


def clip_data(
    source: Any,
    reading: ClipReading,
    providers: Sequence[ProviderName] = (),
    name: str | None = None,
    *,
    strict: bool = True,
) -> dict[str, Any]:
    """JSON-ready description of one clip.

    Args:
        source: what ``reading`` was read from. providers: others whose signals the page can switch to.
        name: what to call the clip; None = its file's name.
        strict: False = leave out those of ``providers`` that cannot serve this source, and say so under "refused".
    Raises:
        SignalUnavailableError: a provider cannot serve this source; not strict, the configured one cannot.
    """
    frames, config = reading.frames, reading.config
    first = _resolved(config.signals.provider)
    own = reading.signals if reading.signals is not None else _signals_by(first, source, reading)
    signals, refused = {first: own}, {}
    for other in map(_resolved, providers):
        if other in signals:
            continue
        try:
            signals[other] = _signals_by(other, source, reading)
        except SignalUnavailableError as error:
            if strict:
                raise
            cause = error.cause.removeprefix(f"{frames.source.name}: ")  # the page has the name
            refused[other] = printable(f"no {error.signal} by {other}: {cause}")
    board = Board(frames)
    rows, cols = board.grid
    chunked = config.selection.policy == "codec" and config.selection.scope == "chunk"
    return {
        "name": name or printable(Path(frames.source.name).name or frames.source.name),
        "about": _about(frames),
        "image": frames.source.is_image,
        "refused": refused,
        "framesLost": frames.source.frames_lost,
        "framesCorrupt": frames.source.frames_corrupt,
        "frames": frames.num_frames,
        "rows": rows,
        "cols": cols,
        "width": frames.rgb_THW3.shape[2],
        "height": frames.rgb_THW3.shape[1],
        "patch": frames.patch,
        "merge": frames.merge,
        "perFrame": board.per_frame,
        "content": _packed(board.content_U, np.uint8),
        "pts": np.round(frames.pts_seconds_T, 6).tolist(),
        "frameIndex": frames.frame_index_T.tolist(),
        "keyframes": frames.keyframe_T.tolist(),
        "bytes": _bytes_between(source, frames),
        "pictures": [_jpeg(rgb_HW3) for rgb_HW3 in frames.rgb_THW3],
        "random": _packed(random_order(board, config.selection.seed), np.uint32),
        "config": _selection_config(config),
        "start": {
            "policy": "chunk" if chunked else config.selection.policy,
            "budget": len(reading.selection),
            "score": config.selection.score,
            "provider": next(iter(signals)),
        },
        "providers": {name: _signal_data(frames, found, config) for name, found in signals.items()},
        "provenance": _flat({"source": asdict(frames.source), **reading.selection.provenance, **own.provenance}),
        "command": _command(source, config) if isinstance(source, str | Path) else None,
        "policyFlags": _policy_flags(config),
    }


def thumbnail(data: Mapping[str, Any]) -> str:
    """The picture that stands for a clip in a gallery: the frame in its middle."""
    return str(data["pictures"][data["frames"] // 2])


def _resolved(name: ProviderName) -> ProviderName:
    return AUTO if name == "auto" else name


def _signals_by(name: ProviderName, source: Any, reading: ClipReading) -> CodecSignals:
    config = reading.config
    if name != "native" and config.signals.interval == "sample":
        return compute_signals(reading.frames, provider=name)
    return read_with_signals(
        source,
        sampling=config.sampling,
        sizing=config.sizing,
        provider=name,
        interval=config.signals.interval,
        on_damage=config.signals.on_damage,
    )[1]


def _signal_data(frames: FrameSequence, signals: CodecSignals, config: TokenizeConfig) -> dict[str, Any]:
    scores = [name for name in get_args(ScoreName) if name != "bits" or signals.bits_Tyx is not None]
    known_T = signals.valid_T & ~signals.cut_T
    unit = frames.patch * frames.merge
    rows, cols = signals.intra_Tyx.shape[1:]
    return {
        "cuts": signals.cut_T.tolist(),
        "scores": {name: _score(frames, signals, name, config) for name in scores},
        "heat": _heat(signals, known_T),
        "motion": {
            "rows": rows,
            "cols": cols,
            "cell": CELL,
            "vectors": _packed(np.round(np.clip(signals.motion_Tyx2, -2047, 2047) * _VECTOR_STEP), np.int16),
        },
        "energy": {
            name: _packed(raw_scores(signals, patch=unit, score=name) * known_T[:, None, None], np.float32)
            for name in ("motion", "residual")
        },
    }


def _score(frames: FrameSequence, signals: CodecSignals, name: ScoreName, config: TokenizeConfig) -> dict[str, Any]:
    found = clip_saliency(frames, signals, score=name, camera=config.selection.camera)
    steps = np.round(found.value_Thw.astype(np.float64) * _STEPS)
    return {"value": _packed(steps, np.uint32), "ranked": found.ranked_T.tolist(), "starts": found.starts_T.tolist()}


def _heat(signals: CodecSignals, known_T: NDArray[np.bool_]) -> dict[str, Any]:
    known_Tyx = np.broadcast_to(known_T[:, None, None], signals.intra_Tyx.shape)
    inter_Tyx = known_Tyx & ~signals.intra_Tyx
    maps: dict[str, tuple[NDArray[Any] | None, NDArray[np.bool_], str]] = {
        "fused": (fuse(signals.motion_Tyx2, signals.residual_Tyx), known_Tyx, "of the frame's 95th percentile"),
        "motion": (np.hypot(signals.motion_Tyx2[..., 0], signals.motion_Tyx2[..., 1]), inter_Tyx, "pixels"),
        "residual": (signals.residual_Tyx, known_Tyx, "grey levels"),
        "bits": (signals.bits_Tyx, known_Tyx, "bits a cell"),
    }
    return {name: _level(name, v, known, unit) for name, (v, known, unit) in maps.items() if v is not None}


def _level(name: str, values_Tyx: NDArray[Any], known_Tyx: NDArray[np.bool_], unit: str) -> dict[str, Any]:
    top = 1.0 if name == "fused" else top_of(name, values_Tyx[known_Tyx])
    level_Tyx = np.where(known_Tyx, np.round(np.clip(values_Tyx / top, 0, 1) * _TOP_LEVEL), _UNKNOWN)
    _, rows, cols = values_Tyx.shape
    packed = _packed(level_Tyx, np.uint8)
    return {"rows": rows, "cols": cols, "cell": CELL, "top": float(f"{top:.3g}"), "unit": unit, "level": packed}


def _selection_config(config: TokenizeConfig) -> dict[str, Any]:
    share = Fraction(str(config.selection.anchor_share))
    wanted = ("anchors", "min_per_frame", "chunk_frames")
    return {
        **{name: getattr(config.selection, name) for name in wanted},
        "anchor_share": [share.numerator, share.denominator],
    }


def _bytes_between(source: Any, frames: FrameSequence) -> list[int] | None:
    """Bytes that the file spends from just after the sampled frame before up to each one; None where there is none."""
    if not isinstance(source, str | Path | bytes) or frames.source.is_image:
        return None
    total_N = np.concatenate([[0], np.cumsum(probe(source).size_bytes_N)])
    after = frames.frame_index_T + 1
    before = np.concatenate([frames.frame_index_T[:1], after[:-1]])
    spent: list[int] = (total_N[after] - total_N[before]).tolist()
    return spent


def _command(source: str | Path, config: TokenizeConfig) -> list[str]:
    """``ove tokens`` with the options that the page's controls do not set and every policy reads, ready for a shell."""
    own = {name for names in _READ_BY.values() for name in names}
    return ["ove", "tokens", shlex.quote(printable(str(source))), *_flags(config, lambda name: name not in own)]


def _policy_flags(config: TokenizeConfig) -> dict[str, list[str]]:
    """Further words of the command where the page chooses by a policy."""
    return {policy: _flags(config, names.__contains__) for policy, names in _READ_BY.items()}


def _flags(config: TokenizeConfig, wanted: Callable[[str], bool]) -> list[str]:
    words: list[str] = []
    given, usual = config.as_dict(), TokenizeConfig().as_dict()
    for part, options in given.items():
        for name, value in options.items():
            if name in _SET_IN_THE_PAGE or value == usual[part][name] or not wanted(name):
                continue
            flag = name.replace("_", "-")
            words += (
                [f"--{flag}" if value else f"--no-{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
            )
    return words


def _about(frames: FrameSequence) -> str:
    source, (rows, cols) = frames.source, frames.grid
    T, H, W, _ = frames.rgb_THW3.shape
    rate = f", {source.fps:.4g} fps" if source.fps else ""
    length = f", {source.duration_seconds:.2f} s" if source.duration_seconds else ""
    sampled = f"{counted(T, 'frame')} of {W}×{H}: {rows}×{cols} patches of {frames.patch}"
    damage = ", ".join(damage_words(source.frames_lost, source.frames_corrupt))
    about = f"{source.codec}, {source.width}×{source.height}{rate}{length} · read as {sampled}"
    return f"{about} · {damage}" if damage else about


def _flat(value: Mapping[str, Any], before: str = "") -> list[list[str]]:
    rows: list[list[str]] = []
    for name, inner in value.items():
        if isinstance(inner, Mapping):
            rows += _flat(inner, f"{before}{name}.")
        elif inner is not None:
            text = printable(str(inner))
            rows.append([f"{before}{name}", text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."])
    return rows


def printable(text: str) -> str:
    """A file's name may hold bytes that are no characters; a page holds characters only."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _packed(values: NDArray[Any], dtype: Any) -> str:
    little = np.ascontiguousarray(values).astype(np.dtype(dtype).newbyteorder("<"))
    return b64encode(little.tobytes()).decode("ascii")


def _jpeg(rgb_HW3: NDArray[np.uint8]) -> str:
    held = BytesIO()
    Image.fromarray(rgb_HW3).save(held, format="JPEG", **_JPEG)
    return "data:image/jpeg;base64," + b64encode(held.getvalue()).decode("ascii")
