"""One medium becomes one sample (an IDX archive: one a picture): its members in a shard, and facts for the index.

Facts of every sample: ``id``, ``kind`` (``image`` or ``video``), ``width``, ``height`` (of the picture upright, before
any shrinking), ``digest`` (blake2b of the file), ``source``, ``origin``, ``licence``, ``schema``, and ``class`` where
the source states one. Of images ``stored_width``, ``stored_height``, ``suffix``. Of videos ``frames``, ``frame_index``,
``pts_seconds``, damage, and ``modes``: mode -> ``available`` patches, ``unit``, ``stored`` patches, ``member``.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onevision_encoder.errors import UnreadableMediaError
from onevision_encoder.pretrain.corpus_config import CorpusConfig
from onevision_encoder.pretrain.corpus_sources import Item, content_digest
from onevision_encoder.pretrain.idx_archive import is_idx, numbered, read_idx
from onevision_encoder.pretrain.stored_video import POLICY, store_mode
from onevision_encoder.tokens.pipeline import read_clip
from onevision_encoder.video import is_still_image
from onevision_encoder.video.images import PILLOW_ERRORS
from onevision_encoder.video.modes import pillow_rgb

SCHEMA = 1
_SUFFIX = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
_FORMAT = {suffix: kind for kind, suffix in _SUFFIX.items()}
_QUALITY: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95, "subsampling": 0}, "WEBP": {"lossless": True}, "PNG": {}}

Made = tuple[dict[str, bytes], dict[str, Any]]
"""Members by suffix without the json, and the facts that go into it."""


def make_samples(item: Item, config: CorpusConfig, *, licence: str, origin: str) -> Iterator[Made]:
    """The samples of one file.

    Raises:
        MediaError: it cannot be read whole. BudgetError: a clip too short for a level.
    """
    told = {"digest": content_digest(item.path), "source": item.id, "origin": origin, "licence": licence}
    if is_idx(item.path):
        yield from _of_archive(item, config, told)
    elif is_still_image(item.path):
        yield _of_image(item, config, told)
    else:
        yield _of_video(item, config, told)


def _of_archive(item: Item, config: CorpusConfig, told: dict[str, Any]) -> Iterator[Made]:
    pictures_nHW, labels_n = read_idx(item.path)
    for n, (grey_HW, number) in enumerate(zip(pictures_nHW, numbered(len(pictures_nHW)), strict=True)):
        stated = {} if labels_n is None else {"class": int(labels_n[n])}
        members, size = _stored(Image.fromarray(grey_HW), None, config)
        yield members, _facts(item.id + number, "image", grey_HW.shape[::-1], told | stated) | size


def _of_image(item: Item, config: CorpusConfig, told: dict[str, Any]) -> Made:
    payload = item.path.read_bytes()
    rgb_HW3, kind = decode_image(item.path, payload)
    as_it_is = payload if kind in _SUFFIX else None
    members, size = _stored(Image.fromarray(rgb_HW3), (kind, as_it_is) if as_it_is else None, config)
    return members, _facts(item.id, "image", rgb_HW3.shape[1::-1], told) | size


def decode_image(name: object, payload: bytes) -> tuple[NDArray[np.uint8], str]:
    """(upright uint8 RGB [H, W, 3], Pillow's name of the format). Raises UnreadableMediaError."""
    try:
        with Image.open(io.BytesIO(payload)) as image:
            return pillow_rgb(image)[0], image.format or "image"
    except PILLOW_ERRORS as error:
        raise UnreadableMediaError(name, f"Pillow cannot read it as an image: {error}") from error


def _stored(
    image: Image.Image, original: tuple[str, bytes] | None, config: CorpusConfig
) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The picture as it is kept, and its size."""
    side, short = config.image_side, min(image.size)
    if side is not None and short > side:
        size = (max(side, round(image.width * side / short)), max(side, round(image.height * side / short)))
        image, original = image.resize(size, Image.Resampling.BICUBIC), None
    kind = original[0] if original and config.recode == "keep" else _FORMAT.get(config.recode, "PNG")
    facts = {"stored_width": image.width, "stored_height": image.height, "suffix": _SUFFIX[kind]}
    if original and kind == original[0]:
        return {_SUFFIX[kind]: original[1]}, facts
    buffer = io.BytesIO()
    image.save(buffer, kind, **_QUALITY[kind])
    return {_SUFFIX[kind]: buffer.getvalue()}, facts


def _of_video(item: Item, config: CorpusConfig, told: dict[str, Any]) -> Made:
    """Decoded once, whatever the modes."""
    reading = config.reading
    how = {mode: replace(reading.selection, policy=POLICY[mode]) for mode in config.modes}
    first = how["codec" if "codec" in how else config.modes[0]]
    clip = read_clip(item.path, replace(reading, selection=first).as_read())
    members: dict[str, bytes] = {}
    modes: dict[str, Any] = {}
    for mode in sorted(config.modes):
        if mode == "tiled" and "frames" in modes:
            modes[mode] = modes["frames"]
            continue
        payload, facts = store_mode(
            clip.frames,
            clip.signals,
            how[mode],
            levels=config.levels(mode),
            times=reading.times,
            request=reading.as_dict(),
        )
        member = f"{mode}.safetensors"
        members[member], modes[mode] = payload, {**facts, "member": member}
    source, frames = clip.frames.source, clip.frames
    facts = _facts(item.id, "video", (source.width, source.height), told)
    facts |= {"frames": frames.num_frames, "grid": list(frames.grid), "patch": frames.patch, "modes": modes}
    facts |= {"frames_lost": source.frames_lost, "frames_corrupt": source.frames_corrupt}
    facts |= {"frame_index": frames.frame_index_T.tolist(), "pts_seconds": frames.pts_seconds_T.tolist()}
    return members, facts


def _facts(name: str, kind: str, size: Any, told: dict[str, Any]) -> dict[str, Any]:
    width, height = (int(side) for side in size)
    return {"schema": SCHEMA, "id": name, "kind": kind, "width": width, "height": height, **told}
