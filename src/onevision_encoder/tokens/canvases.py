"""Canvases of LLaVA-OneVision-2 and Mage-VL, in and out: data prepared for one trains the other.

A canvas is a picture of S = h*w patches taken from many frames. Its slots are filled block by block (2x2 patches,
blocks in raster order), so that a block of the canvas is a block of one frame. In a folder:

``canvas_000.jpg`` ...      the pictures (``.png`` and ``.npy`` are read as well)
``src_patch_position.npy``  int32 [canvases * S, 3]: (source frame, row, column) of each slot, slots in raster order;
                            -1 in a canvas that is padding
``frame_ids.npy``           int32 [T]: the source frames that were looked at
``meta.json``               ``fps``, ``patch``, ``block_size``, ``canvas_files`` ...
``_DONE``                   the folder is complete

(codec-video-prep 0.2.5.) Its predecessor wrote positions in the order of filling, and ``patch_position.npy`` [canvas,
row, column] beside them; that is read too. Ours adds what the format has no room for: ``score.npy``, ``kind.npy`` and
a key ``onevision_encoder`` in ``meta.json``, so that tokens come back as they were.

Axes: K patches of the clip, n canvases, S slots of a canvas, T frames, D = 3*p*p, 3 = (t, h, w).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.tokens.folders import (
    OURS,
    PictureFormat,
    check_format,
    check_whole,
    is_rate,
    new_folder,
    own_words,
    write_picture,
)
from onevision_encoder.tokens.formats import single_clip
from onevision_encoder.tokens.ordering import order_permutation, reorder
from onevision_encoder.tokens.patches import unpatchify
from onevision_encoder.types import ClipInfo, Order, PatchTokens

POSITIONS, PACKED, FRAMES, META, DONE = (
    "src_patch_position.npy",
    "patch_position.npy",
    "frame_ids.npy",
    "meta.json",
    "_DONE",
)
ORDERS: Mapping[int, Order] = {1: "raster", 2: "block2", 3: "block3"}


def canvas_folder_name(video: str) -> str:
    """``<stem>__<first 8 hex digits of the path's SHA-1>``, by which evaluation code finds a video's canvases."""
    return f"{Path(video).stem}__{hashlib.sha1(video.encode(), usedforsecurity=False).hexdigest()[:8]}"


def canvas_bounds(tokens: PatchTokens, window: int = 4) -> list[int]:
    """Bounds of attention windows of ``window`` canvases: ``window_cu_seqlens`` of the encoder.

    LLaVA-OneVision-2 attends over 4 canvases of a video at a time, Mage-VL within each (``window=1``).

    Raises:
        ShapeError: the tokens are no whole canvases in block order. InvalidArgumentError: no window.
    """
    check_whole("window", window, 1, "a whole number, at least 1 canvas")
    clip, slots = single_clip(tokens), int(np.prod(tokens.clips[0].grid))
    if clip.order == "raster" or len(tokens) % slots:
        found = f"{len(tokens)} rows in {clip.order} order"
        raise ShapeError("tokens", found, f"whole canvases of {slots} patches in block order (see reorder)")
    _whole_blocks(tokens, next(block for block, order in ORDERS.items() if order == clip.order))
    if not clip.provenance.get("canvases", {}).get("in_time_order", True):
        raise ShapeError("tokens", "canvases that were not in time order", "canvases whose rows are sorted by time")
    return [*range(0, len(tokens), window * slots), len(tokens)]


def export_canvases(
    folder: str | os.PathLike[str],
    tokens: PatchTokens,
    *,
    picture_format: PictureFormat = "png",
    block: int = 2,
    canvases: int | None = None,
    fps: float | None = None,
) -> None:
    """Write the tokens of one clip as a new folder of canvases, whole or not at all.

    Args:
        tokens: whole blocks only, as many as fill whole canvases (select with ``merge=2`` and a budget that is a
            multiple of h*w).
        picture_format: ``png`` is exact; ``jpg`` is what their tools write (quality 95).
        block: patches per side of a block, 1, 2 or 3. canvases: pad to this number with empty canvases.
        fps: frames per second by which readers turn frame numbers into seconds; None = that of the source.
    Raises:
        ShapeError: several clips, a tiled layout, half blocks, a canvas that would be half full.
        InvalidArgumentError: no fps, fewer ``canvases`` than there are. WriteError: the folder exists.
    """
    check_format(picture_format)
    sides = f"one of {tuple(ORDERS)} patches per side"
    check_whole("block", block, 1, sides)
    if block not in ORDERS:
        raise InvalidArgumentError("block", block, sides)
    clip = single_clip(tokens)
    h, w = clip.grid
    rows = _whole_blocks(reorder(tokens, ORDERS[block]), block)
    count = len(rows) // (h * w)
    total = count if canvases is None else canvases
    check_whole("canvases", total, count, f"a whole number, at least {count}: so many are full")
    rate = _rate(clip, fps)

    def slots(values: NDArray[Any], padding: int) -> NDArray[Any]:
        """Rows in block order -> slots of the canvases in raster order."""
        filled = np.full((total, h * w, *values.shape[1:]), padding, dtype=values.dtype)
        filled[:count, order_permutation((1, h, w), ORDERS[block])] = values.reshape(count, h * w, *values.shape[1:])
        return filled.reshape(total * h * w, *values.shape[1:])

    source_K3 = rows.positions_N3.copy()
    source_K3[:, 0] = clip.frame_index_T[rows.positions_N3[:, 0]]
    pictures = unpatchify(slots(rows.patches_ND, 0), (total, h, w), clip.patch)
    with new_folder(folder) as part:
        files = [f"canvas_{i:03d}.{picture_format}" for i in range(total)]
        for name, picture in zip(files, pictures, strict=True):
            write_picture(part / name, picture)
        np.save(part / POSITIONS, slots(source_K3, -1).astype(np.int32))
        np.save(part / FRAMES, clip.frame_index_T.astype(np.int32))
        np.save(part / "score.npy", slots(rows.score_N, 0))
        np.save(part / "kind.npy", slots(rows.kind_N, 0))
        meta = _meta(clip, files, block, rate)
        (part / META).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
        (part / DONE).write_text("ok\n", encoding="utf-8")


def are_whole_blocks(positions_K3: NDArray[Any], block: int) -> bool:
    """Whether rows, a multiple of ``block`` squared, are block after block, each filled in raster order."""
    corner = positions_K3[:: block**2]
    inside = np.arange(block**2)
    step = np.stack([inside * 0, inside // block, inside % block], axis=1)
    filled = np.repeat(corner, block**2, axis=0) + np.tile(step, (len(corner), 1))
    return not (corner[:, 1:] % block).any() and np.array_equal(filled, positions_K3)


def _whole_blocks(tokens: PatchTokens, block: int) -> PatchTokens:
    (h, w), count = tokens.clips[0].grid, len(tokens)
    if h % block or w % block:
        raise ShapeError("grid", (h, w), f"multiples of {block} patches (read the video with merge={block})")
    if count % (h * w):
        allowed = f"a multiple of {h * w}, the patches of a canvas: padding is by whole canvases"
        raise ShapeError("tokens", count, allowed)
    if not are_whole_blocks(tokens.positions_N3, block):
        raise ShapeError("tokens", "half blocks", f"whole {block} x {block} blocks (read the video with merge={block})")
    return tokens


def _rate(clip: ClipInfo, fps: float | None) -> float:
    known = fps if fps is not None else (clip.provenance.get("source") or {}).get("fps")
    if not is_rate(known):
        raise InvalidArgumentError("fps", known, "frames per second of the source, above 0: it does not say its own")
    return float(known)


def _meta(clip: ClipInfo, files: list[str], block: int, fps: float) -> dict[str, Any]:
    (h, w), p = clip.grid, clip.patch
    return {
        "video": clip.name,
        "fps": fps,
        "patch": p,
        "block_size": block,
        "hb_wb": [h, w],
        "S_full": h * w,
        "processed_hw": [h * p, w * p],
        "sampled_frames": len(clip.frame_index_T),
        "total_images": len(files),
        "total_patches": len(files) * h * w,
        "canvas_files": files,
        "jpg_files": files,
        "src_patch_position_sorted_by_t": True,
        "canvas_pixels_sorted_by_t": True,
        OURS: own_words(clip),
    }
