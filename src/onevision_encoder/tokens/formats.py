"""The original's index files, in and out, so that data prepared for one can be used by the other.

``positions_thw.npy``   int32 [K, 3] of (t, h, w), sorted by (t, h, w).
``*.visidx_thw.npy``    int32 [K, 3] of (t, h, w), best first: whole frames that must be kept, then by score.
``*.visidx.npy``        int32 [K] ascending, t * h_max * w_max + h * w_max + w (16 x 16 patches in the original).
(Original: tools for stage 1 and 2, the offline asset writer, and the pretraining index step.)

In all three t counts on the 64-slot time axis of the published weights, whatever the clip's length; here t is a row of
the clip's frames. Frames stand at the slots of ``model_time(..., "virtual")``, where that map is one to one; what is
written may also have time ``slots``, each frame at its own place among the 64. Nothing in a file tells which: read back
with ``num_frames=64``, either gives the slots as rows.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import ShapeError, TokenFileError
from onevision_encoder.tokens.files import write_atomically
from onevision_encoder.tokens.folders import read_array
from onevision_encoder.tokens.positions import VIRTUAL_FRAMES, model_time
from onevision_encoder.types import ClipInfo, Kind, PatchTokens, Selection


def export_positions_thw(path: str | os.PathLike[str], tokens: PatchTokens) -> None:
    """Write ``positions_thw.npy`` for the tokens of one clip. Raises ShapeError where t is not the slot
    0..63 of its frame, WriteError where the file cannot be written."""
    slots_K3 = virtual_slots(tokens)
    _write(path, slots_K3[np.lexsort(slots_K3.T[::-1])])


def export_visidx_thw(path: str | os.PathLike[str], tokens: PatchTokens) -> None:
    """Write ``visidx_thw.npy``: anchors first, then by falling score, ties by (t, h, w)."""
    slots_K3 = virtual_slots(tokens)
    t, h, w = slots_K3.T
    _write(path, slots_K3[np.lexsort((w, h, t, -tokens.score_N, tokens.kind_N != Kind.ANCHOR))])


def export_visidx(path: str | os.PathLike[str], tokens: PatchTokens) -> None:
    """Write ``.visidx.npy``: flat indices on the 64 x h x w grid, ascending."""
    slots_K3 = virtual_slots(tokens)
    shape = (VIRTUAL_FRAMES, *tokens.clips[0].grid)
    _write(path, np.sort(np.ravel_multi_index(tuple(slots_K3.T), shape)).astype(np.int32))


def import_positions_thw(path: str | os.PathLike[str], *, num_frames: int, grid: tuple[int, int]) -> Selection:
    """Read ``positions_thw.npy`` as a selection on the ``num_frames`` x ``grid`` patches of a clip.

    The file tells nothing of scores and anchors: every patch becomes ``Kind.CODEC`` with score 0.

    Raises:
        MediaNotFoundError, TokenFileError: no such file; not an int array [K, 3].
        ShapeError: a row is repeated (the original pads short clips so), lies outside the grid, or names a slot that
            no frame of a clip of ``num_frames`` has.
    """
    slots_K3 = _read(path, columns=3)
    return _selection(slots_K3, np.zeros(len(slots_K3), np.float32), num_frames, grid, path)


def import_visidx_thw(path: str | os.PathLike[str], *, num_frames: int, grid: tuple[int, int]) -> Selection:
    """Read ``visidx_thw.npy``. The order in the file becomes the score, K for the first row down to 1 for the last."""
    slots_K3 = _read(path, columns=3)
    return _selection(slots_K3, np.arange(len(slots_K3), 0, -1, dtype=np.float32), num_frames, grid, path)


def import_visidx(path: str | os.PathLike[str], *, num_frames: int, grid: tuple[int, int]) -> Selection:
    """Read ``.visidx.npy``, flat indices on the 64 x ``grid`` patches."""
    flat_K = _read(path, columns=None)
    most = VIRTUAL_FRAMES * grid[0] * grid[1] - 1
    if len(flat_K) and not (flat_K.min() >= 0 and flat_K.max() <= most):
        raise ShapeError(
            "index", (int(flat_K.min()), int(flat_K.max())), f"0..{most} on the {VIRTUAL_FRAMES} x {grid} grid"
        )
    slots_K3 = np.stack(np.unravel_index(flat_K, (VIRTUAL_FRAMES, *grid)), axis=1)
    return _selection(slots_K3, np.zeros(len(flat_K), np.float32), num_frames, grid, path)


def single_clip(tokens: PatchTokens) -> ClipInfo:
    """Facts of the one clip there is; raises ShapeError where there are several, or a tiled one."""
    if len(tokens.clips) != 1:
        raise ShapeError("tokens", f"{len(tokens.clips)} clips", "the tokens of one clip; unpack() splits a pack")
    clip = tokens.clips[0]
    if clip.layout != "frames":
        raise ShapeError("layout", clip.layout, "'frames': these files have no room for tiled pictures")
    return clip


def virtual_slots(tokens: PatchTokens) -> NDArray[np.int32]:
    """(t, h, w) of one clip's patches on the 64-slot axis, int32 [K, 3]; time is ``virtual`` or ``slots``.

    Raises:
        ShapeError: several clips, a tiled layout, or times that are no slots.
    """
    clip = single_clip(tokens)
    if not _are_slots(clip):
        raise ShapeError(
            "model_time",
            clip.model_time_T.tolist(),
            f"one whole slot 0..{VIRTUAL_FRAMES - 1} a frame (time='virtual' or 'slots', at most 64 frames)",
        )
    slots_T = clip.model_time_T.astype(np.int64)
    positions = tokens.positions_N3.astype(np.int64)
    return np.stack([slots_T[positions[:, 0]], positions[:, 1], positions[:, 2]], axis=1).astype(np.int32)


def _are_slots(clip: ClipInfo) -> bool:
    """Other times may be whole numbers, too (``index``, say), but would be read back as other frames."""
    time_T = clip.model_time_T
    time = clip.provenance.get("time")
    if isinstance(time, Mapping) and time.get("mode") == "slots":
        whole = bool((time_T == np.trunc(time_T)).all() and (np.diff(time_T) > 0).all())
        return whole and time_T[0] >= 0 and time_T[-1] < VIRTUAL_FRAMES
    return len(time_T) <= VIRTUAL_FRAMES and np.array_equal(time_T, model_time(clip.pts_seconds_T, "virtual"))


def _selection(
    slots_K3: NDArray[Any],
    score_K: NDArray[np.float32],
    num_frames: int,
    grid: tuple[int, int],
    path: str | os.PathLike[str],
) -> Selection:
    if not 1 <= num_frames <= VIRTUAL_FRAMES:
        raise ShapeError("num_frames", num_frames, f"1..{VIRTUAL_FRAMES}: longer clips have no one-to-one slots")
    slots_T = model_time(np.arange(num_frames, dtype=np.float64)).astype(np.int64)
    row_of_slot = np.full(VIRTUAL_FRAMES, -1)
    row_of_slot[slots_T] = np.arange(num_frames)
    t = slots_K3[:, 0]
    unknown = [int(s) for s in np.unique(t) if not 0 <= s < VIRTUAL_FRAMES or row_of_slot[s] < 0]
    if unknown:
        raise ShapeError("t", unknown, f"slots of {num_frames} frames: {slots_T.tolist()}")
    positions = np.stack([row_of_slot[t], slots_K3[:, 1], slots_K3[:, 2]], axis=1).astype(np.int32)
    order = np.lexsort(positions.T[::-1])
    return Selection(
        positions_K3=positions[order],
        score_K=score_K[order],
        kind_K=np.full(len(positions), Kind.CODEC, np.uint8),
        shape=(num_frames, *grid),
        provenance={"imported": Path(path).name},
    )


def _read(path: str | os.PathLike[str], *, columns: int | None) -> NDArray[np.int64]:
    array = read_array(Path(path))
    wanted = "[K]" if columns is None else f"[K, {columns}]"
    fits = array.ndim == 1 if columns is None else array.ndim == 2 and array.shape[1] == columns
    if not fits or not np.issubdtype(array.dtype, np.integer):
        raise TokenFileError(f"{path}: {array.dtype} {array.shape}; an integer array {wanted} is wanted")
    indices: NDArray[np.int64] = array.astype(np.int64)
    return indices


def _write(path: str | os.PathLike[str], array: NDArray[np.int32]) -> None:
    buffer = BytesIO()
    np.save(buffer, array.astype(np.int32))
    write_atomically(path, buffer.getvalue())
