"""Mosaics of the original's language-model training, in and out.

A clip is 8 pictures whose patches, in raster order and picture after picture, are the selected patches sorted by
(t, h, w); 36 x 36 patches of 16 pixels each in the original. In a folder:

``mosaic_000.jpg`` ... (or ``<video>_000.jpg`` ...)  the pictures
``positions_thw.npy``    int32 [K, 3] of (t, h, w), t a slot 0..63
``visible_indices.npy``  int64 [K], t*h*w + h*w + w
``frame_ids.npy``        int32, the source frame of each slot, where the clip has a frame for each
``meta.json``            not read by their training; ``valid_ranges`` where letterbox patches were left out

and a line of JSON for the training set: ``{"id", "conversations", "image": [8 paths], "positions_thw": path}``.
(The original's stage 2 tool and its offline writer.) Ours adds ``score.npy``, ``kind.npy`` and the key
``onevision_encoder`` in ``meta.json``, so that tokens come back as they were.

Axes: K patches of the clip, n mosaics, S patches of one, T frames, D = 3*p*p, 3 = (t, h, w).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import InvalidArgumentError, ShapeError, TokenFileError
from onevision_encoder.tokens.folders import (
    OURS,
    PictureFormat,
    check_format,
    check_whole,
    is_rate,
    new_folder,
    no_rate_for_ours,
    own_facts,
    own_rows,
    own_words,
    patch_side,
    read_frames,
    read_object,
    read_pictures,
    read_rows,
    whole_frames,
    write_picture,
)
from onevision_encoder.tokens.formats import single_clip, virtual_slots
from onevision_encoder.tokens.ordering import reorder
from onevision_encoder.tokens.patches import patchify, unpatchify
from onevision_encoder.tokens.positions import VIRTUAL_FRAMES, model_positions, model_time
from onevision_encoder.types import ClipInfo, PatchTokens

MOSAICS = 8
"""Pictures that the original's loader takes for a video."""
POSITIONS, INDICES, FRAMES, META = "positions_thw.npy", "visible_indices.npy", "frame_ids.npy", "meta.json"
_RANGES = ("hb_total", "valid_h_start", "valid_h_end", "valid_w_start", "valid_w_end")
MAX_PIXELS = 1 << 27
"""Of a rescaled picture; about what an imaging library opens without calling it a bomb."""
_PICTURE = re.compile(r".*_\d{3}\.(jpg|jpeg|png)")


def export_mosaics(
    folder: str | os.PathLike[str],
    tokens: PatchTokens,
    *,
    picture_format: PictureFormat = "png",
    mosaics: int = MOSAICS,
    sample_id: str | None = None,
    conversations: Sequence[Mapping[str, str]] = (),
) -> dict[str, Any]:
    """Write the tokens of one clip as a new folder of mosaics.

    Args:
        tokens: ``mosaics`` times h*w of them (a budget of 12.5 % of 64 frames), at slots: time
            ``virtual`` or ``slots``.
        picture_format: ``png`` is exact; ``jpg`` is what the original writes (quality 95).
        sample_id: of the training line, None = the clip's name. conversations: of the training line.
    Returns:
        The training line, with paths under ``folder`` as it was given.
    Raises:
        ShapeError: several clips, a tiled layout, another number of tokens, times that are no slots.
        InvalidArgumentError: ``conversations`` that are no turns, ``mosaics`` that is no number of pictures.
        WriteError: the folder exists or cannot be made.
    """
    check_format(picture_format)
    check_whole("mosaics", mosaics, 1, "a whole number of pictures")
    if not isinstance(conversations, Sequence) or not all(isinstance(turn, Mapping) for turn in conversations):
        raise InvalidArgumentError("conversations", conversations, 'turns, {"from": ..., "value": ...} each')
    clip = single_clip(tokens)
    h, w = clip.grid
    if len(tokens) != mosaics * h * w:
        raise ShapeError("tokens", len(tokens), f"{mosaics * h * w}: {mosaics} mosaics of {h} x {w} patches")
    rows = reorder(tokens, "raster")
    slots_K3 = virtual_slots(rows)
    pictures = unpatchify(rows.patches_ND, (mosaics, h, w), clip.patch)
    names = [f"mosaic_{i:03d}.{picture_format}" for i in range(mosaics)]
    with new_folder(folder) as part:
        for name, picture in zip(names, pictures, strict=True):
            write_picture(part / name, picture)
        np.save(part / POSITIONS, slots_K3)
        flat_K = np.ravel_multi_index(tuple(slots_K3.T.astype(np.int64)), (VIRTUAL_FRAMES, h, w))
        np.save(part / INDICES, flat_K.astype(np.int64))
        np.save(part / FRAMES, clip.frame_index_T.astype(np.int32))
        np.save(part / "score.npy", rows.score_N)
        np.save(part / "kind.npy", rows.kind_N)
        shape = {"seq_len_frames": len(clip.frame_index_T), "num_images": mosaics, "patch_size": clip.patch}
        meta = {"video": clip.name, "cfg": shape, "grid": [h, w], OURS: own_words(clip)}
        (part / META).write_text(json.dumps(meta, indent=2) + "\n", encoding="utf-8")
    place = Path(folder)
    return {
        "id": clip.name if sample_id is None else sample_id,
        "conversations": [dict(turn) for turn in conversations],
        "image": [(place / name).as_posix() for name in names],
        "positions_thw": (place / POSITIONS).as_posix(),
    }


def import_mosaics(
    folder: str | os.PathLike[str],
    *,
    patch: int | None = None,
    fps: float | None = None,
    meta: str | os.PathLike[str] | None = None,
) -> PatchTokens:
    """Read a folder of mosaics as the tokens of one clip, in raster order.

    Args:
        patch: side of the patches the encoder wants, where it is another than the file's. The pictures are then
            rescaled whole (bicubic), as the original does from 16 to 14: neighbours in a mosaic, which are none in
            the video, mix at their borders. The provenance says so.
        fps: of the source. Without it, and without a frame for each slot, times are slot numbers; recorded too.
            Not for folders of ours, which hold the times.
        meta: a ``meta.json`` elsewhere; needed where letterbox patches were left out (``valid_ranges``).
    Raises:
        MediaNotFoundError: a file is missing.
        TokenFileError: files that contradict each other; repeated rows, with which the original fills up clips.
    """
    if patch is not None:
        check_whole("patch", patch, 1, "a whole number, at least 1 pixel")
    place = Path(folder)
    names = sorted(file.name for file in place.glob("*") if _PICTURE.fullmatch(file.name.lower()))
    if not names:
        raise TokenFileError(f"{place}: no pictures named ..._000.jpg or ..._000.png")
    path = place / META if meta is None else Path(meta)
    said = read_object(path) if meta is not None or path.is_file() else {}
    ours = own_facts(path, said)
    if ours:
        no_rate_for_ours(fps, path)
    slots_K3 = read_rows(place / POSITIONS)
    if len(slots_K3) % len(names):
        raise TokenFileError(f"{place / POSITIONS}: {len(slots_K3)} rows do not fill {len(names)} mosaics")
    filled = len(slots_K3) // len(names)
    pictures = read_pictures(place, names)
    stored, (top, bottom, left, right) = _geometry(place, said, pictures.shape[1:3], filled)
    wanted = stored if patch is None else int(patch)
    pictures = _rescaled(pictures, stored, wanted)
    grid = (pictures.shape[1] // wanted, pictures.shape[2] // wanted)
    valid = pictures[:, top * wanted : bottom * wanted, left * wanted : right * wanted]
    clip = _clip(place, ours, wanted, grid, fps)
    clip = replace(clip, provenance={**clip.provenance, "mosaics": _facts(place, names, stored, wanted)})
    positions_K3 = _addresses(place, slots_K3, clip)
    score_K = np.zeros(len(slots_K3), np.float32)
    kind_K = whole_frames(positions_K3[:, 0].astype(np.int64), filled)
    if ours:
        score_K, kind_K = own_rows(place / "score.npy", score_K), own_rows(place / "kind.npy", kind_K)
    tokens = PatchTokens(
        patches_ND=patchify(np.ascontiguousarray(valid), wanted),
        positions_N3=positions_K3,
        model_positions_N3=model_positions(positions_K3, clip.model_time_T, grid=grid),
        score_N=score_K,
        kind_N=kind_K,
        cu_seqlens=np.array([0, len(slots_K3)], dtype=np.int32),
        clips=(clip,),
    )
    return reorder(tokens, ours.get("order", "raster"))


def _facts(place: Path, names: list[str], stored: int, wanted: int) -> dict[str, Any]:
    facts = {"folder": place.name, "pictures": Path(names[0]).suffix.removeprefix("."), "mosaics": len(names)}
    if wanted != stored:
        facts["rescaled"] = f"{stored} -> {wanted} pixels a patch, bicubic, each mosaic as a whole"
    return facts


def _geometry(
    place: Path, said: Mapping[str, Any], size: tuple[int, ...], filled: int
) -> tuple[int, tuple[int, int, int, int]]:
    """Side of a patch, and the rectangle of patches that is filled: (top, bottom, left, right), ends exclusive."""
    ranges = said.get("valid_ranges")
    if ranges is None:
        side = patch_side(place, size[0], size[1], filled)
        return side, (0, size[0] // side, 0, size[1] // side)
    try:
        rows, *corners = (ranges[name] for name in _RANGES)
        if any(type(value) is not int for value in (rows, *corners)) or not 1 <= rows <= size[0]:
            raise ValueError(f"{rows!r:.40} rows of patches, {corners!r:.80}, in {size[0]} rows of pixels")
        side = size[0] // rows
    except (KeyError, TypeError, ValueError) as error:
        raise TokenFileError(f"{place}: valid_ranges are not as the original writes them: {error!r}") from error
    for last in (0, 1):  # the file does not say whether ends are inside; the number of patches does
        top, bottom, left, right = corners[0], corners[1] + last, corners[2], corners[3] + last
        inside = 0 <= top < bottom <= size[0] // side and 0 <= left < right <= size[1] // side
        if inside and (bottom - top) * (right - left) == filled:
            return side, (top, bottom, left, right)
    raise TokenFileError(f"{place}: valid_ranges {corners} do not hold {filled} patches of {side} pixels")


def _rescaled(pictures_nHW3: NDArray[np.uint8], stored: int, wanted: int) -> NDArray[np.uint8]:
    if wanted == stored:
        return pictures_nHW3
    from PIL import Image

    height, width = (side // stored * wanted for side in pictures_nHW3.shape[1:3])
    if height * width > MAX_PIXELS:
        raise InvalidArgumentError("patch", wanted, f"a size with which a mosaic has at most {MAX_PIXELS} pixels")
    resized = [Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC) for picture in pictures_nHW3]
    return np.stack([np.asarray(picture) for picture in resized])


def _clip(place: Path, ours: Mapping[str, Any], patch: int, grid: tuple[int, int], fps: float | None) -> ClipInfo:
    """Frames of the clip: ours as they were, others' 64 slots with their source frames where the file tells them."""
    if ours:
        slots = ours["model_time"]
        if not np.array_equal(slots, np.unique(np.clip(np.trunc(slots), 0, VIRTUAL_FRAMES - 1))):
            raise TokenFileError(f"{place / META}: model_time {slots.tolist()} are no slots 0..{VIRTUAL_FRAMES - 1}")
        frames_T = read_frames(place / FRAMES)
        if frames_T.shape != ours["pts_seconds"].shape:
            raise TokenFileError(f"{place / FRAMES}: {frames_T.shape} frames for {ours['pts_seconds'].shape} times")
        return ClipInfo(
            name=ours["name"],
            patch=patch,
            grid=grid,
            frame_index_T=frames_T,
            pts_seconds_T=ours["pts_seconds"],
            model_time_T=ours["model_time"],
            provenance=ours["provenance"],
        )
    slots_T = np.arange(VIRTUAL_FRAMES)
    listed = read_frames(place / FRAMES) if (place / FRAMES).is_file() else slots_T[:0]
    known = listed.shape == slots_T.shape and bool((np.diff(listed, prepend=-1) > 0).all())
    frames_T = listed if known else slots_T
    if fps is not None and not is_rate(fps):
        raise InvalidArgumentError("fps", fps, "frames per second, above 0")
    timed = known and fps is not None
    return ClipInfo(
        name=place.name,
        patch=patch,
        grid=grid,
        frame_index_T=frames_T,
        pts_seconds_T=frames_T / fps if timed and fps is not None else slots_T.astype(np.float64),
        model_time_T=model_time(slots_T.astype(np.float64)),
        provenance={
            "source": {"name": place.name, "fps": fps},
            "frame_index": "source frames" if known else "slots 0..63: the files do not tell the source frames",
            "pts_seconds": "seconds" if timed else "slots 0..63: the files do not tell times",
        },
    )


def _addresses(place: Path, slots_K3: NDArray[np.int64], clip: ClipInfo) -> NDArray[np.int32]:
    """(row of the clip's frames, h, w) of each slot position."""
    repeated = len(slots_K3) - len(np.unique(slots_K3, axis=0))
    if repeated:
        raise TokenFileError(f"{place / POSITIONS}: {repeated} rows are there more than once")
    low, high = slots_K3.min(0), slots_K3.max(0)
    if low.min() < 0 or (high >= (VIRTUAL_FRAMES, *clip.grid)).any():
        found = f"{low.tolist()}..{high.tolist()}"
        raise TokenFileError(f"{place / POSITIONS}: {found} is not inside {(VIRTUAL_FRAMES, *clip.grid)}")
    row_of_slot = np.full(VIRTUAL_FRAMES, -1)
    row_of_slot[clip.model_time_T.astype(np.int64)] = np.arange(len(clip.model_time_T))
    t_K = row_of_slot[slots_K3[:, 0]]
    if (t_K < 0).any():
        raise TokenFileError(f"{place / POSITIONS}: slots that no frame of {META} has")
    return np.stack([t_K, slots_K3[:, 1], slots_K3[:, 2]], axis=1).astype(np.int32)
