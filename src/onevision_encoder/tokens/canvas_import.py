"""Reading canvases back: :mod:`onevision_encoder.tokens.canvases` describes the folder.

Axes: K patches of the clip, n canvases, S slots of a canvas, T frames, D = 3*p*p, 3 = (t, h, w).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import InvalidArgumentError, TokenFileError
from onevision_encoder.tokens.canvases import FRAMES, META, ORDERS, PACKED, POSITIONS, are_whole_blocks
from onevision_encoder.tokens.folders import (
    is_rate,
    no_rate_for_ours,
    own_facts,
    own_rows,
    patch_side,
    read_frames,
    read_object,
    read_pictures,
    read_rows,
    whole_frames,
)
from onevision_encoder.tokens.ordering import order_permutation, reorder
from onevision_encoder.tokens.patches import patchify
from onevision_encoder.tokens.positions import model_positions, model_time
from onevision_encoder.types import ClipInfo, Order, PatchTokens, order_rank

FileTime = Literal["file", "virtual", "index", "seconds"]


def import_canvases(
    folder: str | os.PathLike[str], *, time: FileTime = "file", fps: float | None = None
) -> PatchTokens:
    """Read a folder of canvases as the tokens of one clip.

    Padding canvases are dropped. Rows come in block order, sorted by time (our own come as they were exported).
    ``Kind.ANCHOR`` are the patches of frames that are there whole. The provenance says what was in between: JPEG
    is not what the encoder of the pixels saw.

    Args:
        time: what RoPE sees: ``file`` = the source frame's number, as these models are trained (ours: the time the
            tokens had); ``virtual`` = 0..63, as the original's weights are; ``index``; ``seconds``.
        fps: of the source, where ``meta.json`` does not say it; not for folders of ours, which hold the times.
    Raises:
        MediaNotFoundError: a file is missing. TokenFileError: files that contradict each other, a half-padded
            canvas, slots that do not hold whole blocks, repeated patches. InvalidArgumentError: fps is unknown.
    """
    place = Path(folder)
    meta = read_object(place / META)
    ours = own_facts(place / META, meta)
    if ours:
        no_rate_for_ours(fps, place / META)
    files = _files(place, meta)
    pictures = read_pictures(place, files)
    source_nS3 = _positions(place, len(files))
    kept_n = _kept(place, source_nS3)
    patch, block = _units(place, meta, pictures.shape[1:3], source_nS3.shape[1])
    grid = (pictures.shape[1] // patch, pictures.shape[2] // patch)
    order = ORDERS[block]
    fill_S = order_permutation((1, *grid), order)  # slots in the order they were filled
    source_K3 = source_nS3[kept_n][:, fill_S].reshape(-1, 3)
    _check_places(place, source_K3, grid, block)
    frames_T = _frames(place, source_K3[:, 0])
    t_K = np.searchsorted(frames_T, source_K3[:, 0])
    positions_K3 = np.stack([t_K, source_K3[:, 1], source_K3[:, 2]], axis=1).astype(np.int32)
    rank_K = order_rank(positions_K3, (len(frames_T), *grid), order)
    score_K, kind_K = np.zeros(len(source_K3), np.float32), whole_frames(t_K, len(fill_S))
    if ours:
        score_K = _slots(place / "score.npy", kept_n, fill_S, score_K.dtype)
        kind_K = _slots(place / "kind.npy", kept_n, fill_S, kind_K.dtype)
    facts = _facts(place, files, kept_n, rank_K)
    clip = _clip(place, meta, ours, frames_T, patch=patch, grid=grid, order=order, time=time, fps=fps)
    patches_nSD = patchify(pictures[kept_n], patch).reshape(-1, len(fill_S), 3 * patch**2)[:, fill_S]
    tokens = PatchTokens(
        patches_ND=patches_nSD.reshape(len(source_K3), -1),
        positions_N3=positions_K3,
        model_positions_N3=model_positions(positions_K3, clip.model_time_T, grid=grid),
        score_N=score_K,
        kind_N=kind_K,
        cu_seqlens=np.array([0, len(source_K3)], dtype=np.int32),
        clips=(replace(clip, provenance={**clip.provenance, "canvases": facts}),),
    )
    return reorder(tokens, ours.get("order", order))


def _slots(path: Path, kept_n: NDArray[np.bool_], fill_S: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values of the slots of a file of ours, in the order of filling, without those of padding."""
    stored = own_rows(path, np.empty(len(kept_n) * len(fill_S), dtype))
    values: NDArray[Any] = stored.reshape(len(kept_n), -1)[kept_n][:, fill_S].ravel()
    return values


def _facts(place: Path, files: list[str], kept_n: NDArray[np.bool_], rank_K: NDArray[Any]) -> dict[str, Any]:
    kept = int(kept_n.sum())
    return {
        "folder": place.name,
        "pictures": Path(files[0]).suffix.removeprefix("."),
        "canvases": kept,
        "padding": len(kept_n) - kept,
        "in_time_order": bool((np.diff(rank_K) > 0).all()),
    }


def _files(place: Path, meta: Mapping[str, Any]) -> list[str]:
    """Names of the pictures in the order of the position table."""
    files = meta.get("canvas_files")
    if not files:
        kinds = (sorted(p.name for p in place.glob(f"canvas_*.{kind}")) for kind in ("npy", "jpg", "png"))
        files = next((found for found in kinds if found), None)
    if not isinstance(files, list) or not files or any(Path(str(name)).name != name for name in files):
        raise TokenFileError(f"{place}: no canvas_*.jpg, .png or .npy, and none named in {META}")
    if not all(isinstance(name, str) for name in files) or len(set(files)) < len(files):
        raise TokenFileError(f"{place / META}: canvas_files {files[:4]!r:.200}: names, each once, are wanted")
    return files


def _units(place: Path, meta: Mapping[str, Any], size: tuple[int, ...], slots: int) -> tuple[int, int]:
    """Side of a patch in pixels, side of a block in patches."""
    patch = patch_side(place, size[0], size[1], slots)
    if meta.get("patch", patch) != patch:
        raise TokenFileError(
            f"{place / META}: patch={meta['patch']!r}, but the pictures have patches of {patch} pixels"
        )
    block = meta.get("block_size", 2)
    if type(block) is not int or block not in ORDERS or size[0] % (patch * block) or size[1] % (patch * block):
        allowed = f"one of {tuple(ORDERS)} that divides the canvas"
        raise TokenFileError(f"{place / META}: block_size={block!r}; {allowed} is wanted")
    return patch, block


def _positions(place: Path, count: int) -> NDArray[np.int64]:
    """Positions of the slots in raster order [n, S, 3]."""
    rows = read_rows(place / POSITIONS)
    if len(rows) % count:
        raise TokenFileError(f"{place / POSITIONS}: {len(rows)} rows for {count} canvases of one size")
    if not (place / PACKED).is_file():
        return rows.reshape(count, -1, 3)
    slots_K3 = read_rows(place / PACKED)
    canvas, held = np.unique(slots_K3[:, 0], return_counts=True)
    if not np.array_equal(canvas, np.arange(count)) or (held != len(rows) // count).any():
        raise TokenFileError(f"{place / PACKED}: does not fit the {len(rows)} rows of {POSITIONS}")
    return rows[np.lexsort(slots_K3.T[::-1])].reshape(count, -1, 3)


def _kept(place: Path, source_nS3: NDArray[np.int64]) -> NDArray[np.bool_]:
    there_nS: NDArray[np.bool_] = np.all(source_nS3 >= 0, axis=-1)
    kept_n: NDArray[np.bool_] = np.all(there_nS, axis=1)
    half = np.flatnonzero(np.any(there_nS, axis=1) & ~kept_n)
    if len(half):
        raise TokenFileError(f"{place / POSITIONS}: canvas {half[0]} is half padding; padding is by whole canvases")
    if not kept_n.any():
        raise TokenFileError(f"{place / POSITIONS}: every canvas is padding")
    return kept_n


def _check_places(place: Path, source_K3: NDArray[np.int64], grid: tuple[int, int], block: int) -> None:
    """Rows in the order of filling: whole blocks of frames of the canvas's own size, each once."""
    most = source_K3[:, 1:].max(0)
    if (most >= grid).any():
        raise TokenFileError(f"{place / POSITIONS}: a patch at {most.tolist()} lies outside the grid {grid}")
    repeated = len(source_K3) - len(np.unique(source_K3, axis=0))
    if repeated:
        raise TokenFileError(f"{place / POSITIONS}: {repeated} patches are there more than once")
    if not are_whole_blocks(source_K3, block):
        cause = f"slots do not hold whole {block} x {block} blocks in raster order (and there is no {PACKED})"
        raise TokenFileError(f"{place / POSITIONS}: {cause}")


def _frames(place: Path, source_K: NDArray[np.int64]) -> NDArray[np.int64]:
    """Source frames that were looked at, each once, in order."""
    used = np.unique(source_K)
    if not (place / FRAMES).is_file():
        return used
    listed = read_frames(place / FRAMES)
    unknown = sorted(set(used.tolist()) - set(listed.tolist()))
    if unknown:
        raise TokenFileError(f"{place / FRAMES}: lacks frames {unknown[:8]} of {POSITIONS}")
    return np.unique(listed)


def _clip(
    place: Path,
    meta: Mapping[str, Any],
    ours: Mapping[str, Any],
    frames_T: NDArray[np.int64],
    *,
    patch: int,
    grid: tuple[int, int],
    order: Order,
    time: FileTime,
    fps: float | None,
) -> ClipInfo:
    stated = fps if fps is not None else meta.get("fps")
    if ours:
        pts_T = ours["pts_seconds"]
    elif is_rate(stated):
        pts_T = frames_T / float(stated)
    else:
        raise InvalidArgumentError("fps", stated, f"frames per second, above 0: {place / META} does not say them")
    if time != "file":
        time_T = model_time(pts_T, time)
    else:
        time_T = ours["model_time"] if ours else frames_T.astype(np.float32)
    name = str(ours.get("name", meta.get("video", place.name)))
    if ours and len(pts_T) != len(frames_T):
        raise TokenFileError(f"{place / META}: {len(pts_T)} times for {len(frames_T)} frames of {FRAMES}")
    return ClipInfo(
        name=name,
        patch=patch,
        grid=grid,
        frame_index_T=frames_T,
        pts_seconds_T=pts_T,
        model_time_T=time_T,
        order=order,
        provenance=ours.get("provenance", {"source": {"name": name, "fps": stated}}),
    )
