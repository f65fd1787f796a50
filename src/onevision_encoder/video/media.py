"""One reader for every source: videos, images, frames in memory."""

from __future__ import annotations

from typing import BinaryIO, cast

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.types import FrameSequence
from onevision_encoder.video.arrays import frames_in_memory, is_in_memory
from onevision_encoder.video.before import FramesBefore
from onevision_encoder.video.config import FrameObserver, OnDamage, Sampling, Sizing, Source, check_how, check_on_damage
from onevision_encoder.video.images import is_still_image, read_image
from onevision_encoder.video.index import probe
from onevision_encoder.video.reader import read_video
from onevision_encoder.video.source import OpenedSource


def read_media(
    source: Source,
    *,
    sampling: Sampling | None = None,
    sizing: Sizing | None = None,
    observer: FrameObserver | FramesBefore | None = None,
    on_damage: OnDamage = "partial",
) -> FrameSequence:
    """:func:`read_image` for a still image (told by its content), else :func:`read_video`; and frames in memory.

    In memory: a uint8 RGB array [T, H, W, 3], or a list or tuple of PIL images or uint8 [H, W, 3] arrays of one size,
    of which ``sampling.num_frames`` are taken by ``pattern``; ``frame_index_T`` counts what was given. One array
    [H, W, 3] or PIL image is a still image. Sampling and observer have no meaning for a still image and are not looked
    at. A :class:`FramesBefore` as observer is filled from frames in memory as from a video.

    Raises:
        What the two raise. ShapeError: frames in memory of another kind. InvalidArgumentError: a sampling in seconds or
        an observer for frames in memory.
    """
    check_how(sampling, sizing)
    if is_in_memory(source):
        check_on_damage(on_damage)
        before = observer if isinstance(observer, FramesBefore) else None
        frames = frames_in_memory(source, sampling=sampling, sizing=sizing, before=before)
        if observer is not before and not frames.source.is_image:
            raise InvalidArgumentError("observer", observer, "None or FramesBefore: frames in memory are not decoded")
        return frames
    if not isinstance(source, (str, bytes, bytearray, memoryview)) and hasattr(source, "read"):
        spooled = OpenedSource(source)  # kept until the end: what cannot be rewound is read from its copy
        source = cast(BinaryIO, spooled.content())
    if is_still_image(source):
        check_on_damage(on_damage)
        if isinstance(observer, FramesBefore):
            observer.clear()
        return read_image(source, sizing=sizing)
    return read_video(source, sampling=sampling, sizing=sizing, observer=observer, on_damage=on_damage)


def fingerprint(source: Source) -> str:
    """What ``FrameSequence.source.fingerprint`` of this source is, without decoding a video.

    Raises:
        MediaError: the source cannot be opened. ShapeError: frames in memory of another kind than accepted.
    """
    if is_in_memory(source):
        return frames_in_memory(source, sampling=Sampling(num_frames=1)).source.fingerprint
    if is_still_image(source):
        return read_image(source).source.fingerprint
    return probe(source).source.fingerprint
