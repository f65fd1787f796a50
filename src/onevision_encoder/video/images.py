"""Still images and arrays to :class:`FrameSequence`, and telling a still image from a video by its content.

Axes: T frames, H W pixels, 3 = RGB.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from onevision_encoder.errors import InvalidArgumentError, ShapeError, UnreadableMediaError
from onevision_encoder.types import FrameSequence, SourceInfo
from onevision_encoder.video.color import luma_from_rgb, place, resize_rgb
from onevision_encoder.video.config import FrameObserver, OnDamage, Sampling, Sizing, Source
from onevision_encoder.video.geometry import content_mask, plan_size
from onevision_encoder.video.reader import library_versions, read_video
from onevision_encoder.video.source import OpenedSource

_MAGIC = {
    b"\xff\xd8\xff": "jpeg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"GIF87a": "gif",
    b"GIF89a": "gif",
    b"BM": "bmp",
    b"II*\x00": "tiff",
    b"MM\x00*": "tiff",
    b"P5": "ppm",
    b"P6": "ppm",
}
_STILL_BRANDS = (b"avif", b"heic", b"heix", b"mif1")


def is_still_image(source: Source) -> bool:
    """Whether the content (never the name) is a still image that Pillow reads; animations count as videos."""
    opened = OpenedSource(source)
    head = opened.head(16)
    riff_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    still_brand = head[4:8] == b"ftyp" and head[8:12] in _STILL_BRANDS
    if not (riff_webp or still_brand or head.startswith(tuple(_MAGIC))):
        return False
    try:
        with Image.open(opened.content()) as image:
            return getattr(image, "n_frames", 1) == 1 or image.format not in ("GIF", "PNG", "WEBP", "AVIF")
    except (UnidentifiedImageError, OSError, ValueError):
        return False


def read_image(source: Source, *, sizing: Sizing | None = None) -> FrameSequence:
    """A still image as a sequence of one frame.

    EXIF orientation is applied. An alpha channel is dropped, not composed onto a colour (what ``convert("RGB")`` does,
    and with it transformers' image processors); palettes are resolved. Resized with Pillow: bicubic for ``crop224``
    and ``image448``, antialiased box filter (area) otherwise.

    Raises:
        MediaNotFoundError, UnreadableMediaError: missing, empty, no image, truncated, or too large for Pillow.
    """
    sizing, opened = sizing or Sizing(), OpenedSource(source)
    try:
        with Image.open(opened.content()) as image:
            kind = image.format or "image"
            upright = ImageOps.exif_transpose(image)
            rgb_HW3 = np.asarray(upright.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableMediaError(opened.name, f"Pillow cannot read it as an image: {error}") from error
    info = SourceInfo(
        name=opened.name,
        fingerprint=_fingerprint(rgb_HW3),
        codec=kind.lower(),
        width=rgb_HW3.shape[1],
        height=rgb_HW3.shape[0],
        num_frames=1,
        duration_seconds=0.0,
        pixel_format="rgb24",
        color_space="rgb",
        color_range="full",
        is_image=True,
        timestamps="none",
    )
    return _size_all(rgb_HW3[None], np.zeros(1), info, sizing)


def frames_from_array(
    rgb_THW3: NDArray[np.uint8], *, fps: float | None = None, sizing: Sizing | None = None, name: str = "array"
) -> FrameSequence:
    """RGB frames that are already in memory, sized like a video's.

    Args:
        rgb_THW3: uint8 full-range RGB, T >= 1.
        fps: makes the timestamps; None = 1 frame a second, recorded as ``source.timestamps="none"``.
    Raises:
        ShapeError: not uint8 [T, H, W, 3] with T, H, W >= 1. InvalidArgumentError: fps <= 0.
    """
    array = np.asarray(rgb_THW3)
    if array.ndim != 4 or array.shape[3] != 3 or array.dtype != np.uint8 or 0 in array.shape:
        raise ShapeError("rgb_THW3", (array.shape, str(array.dtype)), "uint8 [T, H, W, 3], no empty axis")
    if fps is not None and not (np.isfinite(fps) and fps > 0):
        raise InvalidArgumentError("fps", fps, "a finite number > 0 or None")
    T, H, W, _ = array.shape
    info = SourceInfo(
        name=name,
        fingerprint=_fingerprint(array),
        codec="array",
        width=W,
        height=H,
        num_frames=T,
        fps=fps,
        duration_seconds=T / (fps or 1.0),
        pixel_format="rgb24",
        color_space="rgb",
        color_range="full",
        timestamps="none" if fps is None else "frame_rate",
    )
    return _size_all(array, np.arange(T) / (fps or 1.0), info, sizing or Sizing())


def _fingerprint(array: NDArray[np.uint8]) -> str:
    digest = hashlib.blake2b(str(array.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(array).data)
    return "blake2b:" + digest.hexdigest()


def _size_all(
    rgb_THW3: NDArray[np.uint8], seconds_T: NDArray[np.float64], info: SourceInfo, sizing: Sizing
) -> FrameSequence:
    plan = plan_size(info.height, info.width, sizing)
    filter = Image.Resampling.BICUBIC if plan.bicubic else Image.Resampling.BOX
    sized = np.stack([place(resize_rgb(np.ascontiguousarray(rgb), *plan.resized, filter), plan) for rgb in rgb_THW3])
    return FrameSequence(
        rgb_THW3=sized,
        luma_THW=luma_from_rgb(sized),
        frame_index_T=np.arange(len(sized), dtype=np.int64),
        pts_seconds_T=seconds_T.astype(np.float64),
        keyframe_T=np.ones(len(sized), np.bool_),
        patch=sizing.patch,
        merge=sizing.merge,
        content_hw=content_mask(plan, sizing.patch),
        source=info,
        provenance={
            "sizing": asdict(sizing),
            "resize": f"pillow {filter.name.lower()} from full resolution",
            "resized_hw": plan.resized,
            "offset_tl": plan.offset,
            "versions": library_versions(),
        },
    )


def read_media(
    source: Source,
    *,
    sampling: Sampling | None = None,
    sizing: Sizing | None = None,
    observer: FrameObserver | None = None,
    on_damage: OnDamage = "partial",
) -> FrameSequence:
    """:func:`read_image` for a still image (told by its content), else :func:`read_video`.

    Sampling and observer have no meaning for a still image and are not looked at.

    Raises:
        What the two raise.
    """
    if not isinstance(source, (str, bytes, bytearray, memoryview)) and hasattr(source, "read"):
        spooled = OpenedSource(source)  # kept until the end: what cannot be rewound is read from its copy
        source = cast(BinaryIO, spooled.content())
    if is_still_image(source):
        return read_image(source, sizing=sizing)
    return read_video(source, sampling=sampling, sizing=sizing, observer=observer, on_damage=on_damage)
