"""IDX archives of labelled pictures (the files of MNIST and Fashion-MNIST), plain or gzipped.

One of the pictures is called ``ARCHIVE#NUMBER``, the number with as many digits as the last one's.

Format: two zero bytes, a type code (0x08 = uint8), the number of axes, one big-endian uint32 a length, then the values
(http://yann.lecun.com/exdb/mnist). Labels lie beside the pictures, ``-labels-idx1-`` for ``-images-idx3-``.

Axes: n pictures, H W pixels.
"""

from __future__ import annotations

import functools
import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import MediaNotFoundError, UnreadableMediaError

_IMAGES, _LABELS, _NUMBER = "-images-idx3-", "-labels-idx1-", "#"


def is_idx(path: Path) -> bool:
    """Whether a name is that of an archive of pictures."""
    return _IMAGES in path.name


def read_idx(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """(pictures uint8 [n, H, W], class of each uint8 [n] or None where no labels lie beside them).

    Raises:
        MediaNotFoundError, UnreadableMediaError: missing, cut short, of another type, labels of another count.
    """
    pictures_nHW = _array(path, 3)
    beside = path.with_name(path.name.replace(_IMAGES, _LABELS))
    if not beside.is_file():
        return pictures_nHW, None
    labels_n = _array(beside, 1)
    if len(labels_n) != len(pictures_nHW):
        raise UnreadableMediaError(beside, f"{len(labels_n)} labels for {len(pictures_nHW)} pictures of {path.name}")
    return pictures_nHW, labels_n


def numbered(count: int) -> list[str]:
    """What is put behind the name of an archive of ``count`` pictures to name each of them."""
    digits = len(str(count - 1))
    return [f"{_NUMBER}{n:0{digits}d}" for n in range(count)]


def picture_numbers(archive: Path) -> list[str]:
    """:func:`numbered` of an archive.

    Raises:
        MediaNotFoundError, UnreadableMediaError: as :func:`read_idx`.
    """
    return numbered(len(_pictures(archive)))


def is_picture(path: Path) -> bool:
    """Whether a path is ``ARCHIVE#NUMBER``."""
    archive, _, number = path.name.rpartition(_NUMBER)
    return is_idx(Path(archive)) and number.isdecimal()


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Grey uint8 [H, W] of ``ARCHIVE#NUMBER``.

    Raises:
        MediaNotFoundError, UnreadableMediaError: as :func:`read_idx`, or no picture of that number.
    """
    archive, _, number = str(path).rpartition(_NUMBER)
    pictures_nHW = _pictures(Path(archive))
    if int(number) >= len(pictures_nHW):
        raise MediaNotFoundError(path, f"{archive} holds {len(pictures_nHW)} pictures")
    picture: NDArray[np.uint8] = pictures_nHW[int(number)]
    return picture


@functools.lru_cache(maxsize=2)
def _pictures(archive: Path) -> NDArray[np.uint8]:
    return read_idx(archive)[0]


def _array(path: Path, axes: int) -> NDArray[np.uint8]:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except FileNotFoundError as error:
        raise MediaNotFoundError(path, "no such IDX archive") from error
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableMediaError(path, f"cannot be unpacked: {error}") from error
    if data[:4] != bytes([0, 0, 8, axes]) or len(data) < 4 + 4 * axes:
        raise UnreadableMediaError(path, f"not an IDX archive of uint8 with {axes} axes: it begins {data[:4].hex()}")
    shape = np.frombuffer(data, ">u4", axes, 4).astype(np.int64)
    values = np.frombuffer(data, np.uint8, offset=4 + 4 * axes)
    if len(values) != shape.prod():
        raise UnreadableMediaError(path, f"is cut short: {len(values)} values for the shape {shape.tolist()}")
    return values.reshape(shape)
