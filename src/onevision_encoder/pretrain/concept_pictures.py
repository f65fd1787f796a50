"""Small pictures of rows for the page of concepts: a frame of the row's media, or of an array of pictures.

Axes: n rows, H W pixels, 3 = RGB.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onevision_encoder.errors import InvalidArgumentError, MediaNotFoundError
from onevision_encoder.pretrain.feature_extract import medium_of
from onevision_encoder.pretrain.feature_store import FeatureStore
from onevision_encoder.video import Sampling, read_media

SIDE = 120
"""Longer side of a picture, pixels."""

Draw = Callable[[int], str]
"""Row -> data URI; raises OneVisionError where there is no picture of it."""


def pictures_of(store: FeatureStore, images: str | Path | None) -> Draw | None:
    """How to draw a row: from ``images``, a .npy of uint8 [n, H, W] or [n, H, W, 3]; else from the sources that the
    features were made of; None where neither is known.

    Raises:
        MediaNotFoundError: no such file. InvalidArgumentError: an array of another kind.
    """
    if images is None:
        sources = store.sources()
        return None if sources is None else lambda row: _data_uri(_middle_frame(Path(sources[row])))
    if not Path(images).is_file():
        raise MediaNotFoundError(images, "no such file of pictures")
    try:
        array = np.load(images, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise InvalidArgumentError("images", str(images), f"a .npy file ({error})") from error
    fits = array.dtype == np.uint8 and array.ndim in (3, 4) and array.shape[3:] in ((), (3,))
    if not fits or len(array) != store.rows:
        found = f"{array.dtype} {list(array.shape)} in {images}"
        raise InvalidArgumentError("images", found, f"uint8 [{store.rows}, H, W] or [{store.rows}, H, W, 3]")
    return lambda row: _data_uri(np.array(array[row]))


def _middle_frame(path: Path) -> NDArray[np.uint8]:
    frames = read_media(medium_of(path), sampling=Sampling(num_frames=3))
    middle: NDArray[np.uint8] = frames.rgb_THW3[frames.num_frames // 2]
    return middle


def _data_uri(pixels: NDArray[np.uint8]) -> str:
    picture = Image.fromarray(pixels).convert("RGB")
    scale = SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    held = BytesIO()
    picture.resize(size, Image.Resampling.BICUBIC).save(held, format="JPEG", quality=80)
    return "data:image/jpeg;base64," + b64encode(held.getvalue()).decode("ascii")
