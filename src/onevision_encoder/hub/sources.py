"""What callers hand over, as a list of images or of videos that :func:`read_media` opens.

Arrays are uint8 RGB: channels last ([H, W, 3]), or first ([3, H, W]) as torch has them; a side of 3 on both ends is
read the way its library writes it. Axes: H W pixels, T frames, 3 = RGB.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.hub.options import brief
from onevision_encoder.types import FrameSequence, PatchTokens
from onevision_encoder.video.arrays import is_tensor

IMAGES = "a path, bytes, a binary file, a PIL image, a uint8 array [H, W, 3] or [3, H, W], or a list of those"
VIDEOS = (
    "a path, URL, bytes or binary file of a video, a uint8 array [T, H, W, 3] or [T, 3, H, W], a list of frames (one "
    "video), the result of read_media(), tokenize() or load_tokens(), or a list of such videos"
)


def image_list(images: Any) -> list[Any]:
    """Images one by one; nested lists are flattened, an array with one more axis is a batch.

    Raises:
        InvalidArgumentError: anything else, arrays that are not uint8 RGB, or no image at all.
    """
    if isinstance(images, list | tuple):
        found = [image for item in images for image in image_list(item)]
        if not found:
            raise InvalidArgumentError("images", images, f"at least one image: {IMAGES}")
        return found
    if _is_array(images):
        array = _rgb(images, "images", (3, 4), IMAGES)
        return list(array) if array.ndim == 4 else [array]
    if isinstance(images, Image.Image) or _is_file(images):
        return [images]
    if isinstance(images, FrameSequence | PatchTokens):
        raise InvalidArgumentError("images", type(images).__name__, f"videos={type(images).__name__}; images: {IMAGES}")
    raise InvalidArgumentError("images", brief(images), IMAGES)


def video_list(videos: Any) -> list[Any]:
    """Videos one by one. A list of frames (PIL images, or arrays of three axes) is one video.

    Raises:
        InvalidArgumentError: anything else, a still image, frames beside videos, or no video at all.
    """
    if isinstance(videos, list | tuple):
        frames = [_is_frame(item) for item in videos]
        if not frames:
            raise InvalidArgumentError("videos", videos, f"at least one video: {VIDEOS}")
        if all(frames):
            return [[_frame(item) for item in videos]]
        if any(frames):
            raise InvalidArgumentError("videos", "frames and videos in one list", f"one or the other: {VIDEOS}")
        return [video for item in videos for video in video_list(item)]
    if _is_array(videos):
        array = _rgb(videos, "videos", (4, 5), VIDEOS + "; for one picture write images=")
        return list(array) if array.ndim == 5 else [array]
    if isinstance(videos, Image.Image):
        raise InvalidArgumentError("videos", "a PIL image", "images=..., or videos=[...] with the frames of a video")
    if _is_file(videos) or isinstance(videos, FrameSequence | PatchTokens):
        return [videos]
    raise InvalidArgumentError("videos", brief(videos), VIDEOS)


def _is_file(value: object) -> bool:
    return isinstance(value, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(value, "read")


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray) or is_tensor(value)


def _is_frame(value: Any) -> bool:
    return isinstance(value, Image.Image) or (_is_array(value) and value.ndim == 3)


def _frame(value: Any) -> Any:
    return value if isinstance(value, Image.Image) else _rgb(value, "videos", (3,), VIDEOS)


def _rgb(value: Any, name: str, axes: tuple[int, ...], allowed: str) -> NDArray[np.uint8]:
    """Channels last. Raises InvalidArgumentError unless uint8 with 3 channels and one of these numbers of axes."""
    if str(value.dtype).removeprefix("torch.") != "uint8":
        scale = "; floats 0..1 become that by (x * 255).round() and a cast" if "float" in str(value.dtype) else ""
        raise InvalidArgumentError(name, brief(value), f"uint8 pixels, 0..255{scale}")
    array = value.detach().cpu().numpy() if is_tensor(value) else value
    if array.ndim not in axes or array.size == 0:
        raise InvalidArgumentError(name, brief(value), allowed)
    last, first = array.shape[-1] == 3, array.shape[-3] == 3
    if not (last or first):
        raise InvalidArgumentError(name, brief(value), f"3 channels, RGB: {allowed}")
    if first and (is_tensor(value) or not last):
        array = np.moveaxis(array, -3, -1)
    return np.ascontiguousarray(array)
