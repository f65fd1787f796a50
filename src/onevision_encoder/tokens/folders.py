"""Folders of pictures and .npy files, as the neighbours store their data. Axes: H W pixels, 3 = RGB."""

from __future__ import annotations

import json
import math
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError
from typing import Any, Literal, TypeGuard, get_args

import numpy as np
from numpy.typing import NDArray

from onevision_encoder import __version__
from onevision_encoder.errors import InvalidArgumentError, MediaNotFoundError, TokenFileError, WriteError
from onevision_encoder.types import ClipInfo, Kind, Order

PictureFormat = Literal["png", "jpg"]
JPEG_QUALITY = 95
"""What the neighbours write."""
OURS = "onevision_encoder"
"""Key of a ``meta.json`` under which we keep what the neighbours' formats have no room for."""


@contextmanager
def staged(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A place for a new file or folder, of its name but in a hidden folder beside it; moved if the block ends well.

    Raises:
        WriteError: ``path`` exists, or cannot be made; any OSError or WriteError in the block.
    """
    target = Path(path)
    if target.exists():
        raise WriteError(target, "it exists; name one that does not")
    part = target.parent / f".{secrets.token_hex(8)}.part"
    try:
        part.mkdir(parents=True)
        yield part / target.name
        if target.exists():  # made by somebody else meanwhile
            raise WriteError(target, "it exists; name one that does not")
        (part / target.name).rename(target)
    except WriteError as error:
        raise WriteError(target, error.cause) from error
    except OSError as error:
        if isinstance(error, MediaNotFoundError):
            raise
        raise WriteError(target, error.strerror or str(error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A folder to fill; it gets its name only if the block ends well. Raises as :func:`staged`."""
    with staged(path) as part:
        part.mkdir()
        yield part


def check_whole(name: str, value: object, low: int, allowed: str) -> None:
    """Raise InvalidArgumentError unless ``value`` is an integer of at least ``low``."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
        raise InvalidArgumentError(name, value, allowed)


def is_rate(value: object) -> TypeGuard[float]:
    """Whether this is a number of frames per second: above 0 and finite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= sys.float_info.max


def no_rate_for_ours(fps: float | None, path: Path) -> None:
    """Raise InvalidArgumentError where times are said twice."""
    if fps is not None:
        raise InvalidArgumentError("fps", fps, f"not given: {path} holds the times of the frames, as they were")


def check_format(picture_format: str) -> None:
    if picture_format not in ("png", "jpg"):
        raise InvalidArgumentError("picture_format", picture_format, "'png' (exact) or 'jpg' (quality 95, as theirs)")


def write_picture(path: Path, rgb_HW3: NDArray[np.uint8]) -> None:
    """PNG, or JPEG of quality 95 with 4:2:0 chroma, by the suffix."""
    from PIL import Image

    options: dict[str, Any] = {"quality": JPEG_QUALITY} if path.suffix == ".jpg" else {"compress_level": 3}
    Image.fromarray(np.ascontiguousarray(rgb_HW3)).save(path, **options)


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A picture or a uint8 ``.npy`` [H, W, 3], as it is.

    Raises:
        MediaNotFoundError: no such file. TokenFileError: no picture.
    """
    from PIL import Image

    if path.suffix == ".npy":
        pixels = read_array(path)
        if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
            raise TokenFileError(f"{path}: {pixels.dtype} {pixels.shape}; uint8 [H, W, 3] is wanted")
        return pixels
    if not _is_file(path):
        raise MediaNotFoundError(f"{path!s:.200}", "no such picture")
    try:
        with Image.open(path) as opened:
            return np.asarray(opened.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise TokenFileError(f"{path}: not a readable picture: {error}") from error


def read_pictures(folder: Path, names: Sequence[str]) -> NDArray[np.uint8]:
    """Pictures of one size, [n, H, W, 3]."""
    pictures = [read_picture(folder / name) for name in names]
    sizes = sorted({picture.shape[:2] for picture in pictures})
    if len(sizes) > 1:
        raise TokenFileError(f"{folder}: pictures of different sizes: {sizes}")
    return np.stack(pictures)


def read_array(path: Path) -> NDArray[Any]:
    """A ``.npy`` file without pickled objects. Raises MediaNotFoundError, TokenFileError."""
    if not _is_file(path):
        raise MediaNotFoundError(f"{path!s:.200}", "no such .npy file")
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except _NO_ARRAY as error:
        raise TokenFileError(f"{path}: not a readable .npy file: {error}") from error
    return array


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def read_frames(path: Path) -> NDArray[np.int64]:
    """Source frames [T] of a ``.npy`` file of integers."""
    listed = read_array(path)
    if listed.ndim != 1 or not np.issubdtype(listed.dtype, np.integer):
        raise TokenFileError(f"{path}: {listed.dtype} {listed.shape}; integers [T] are wanted")
    return listed.astype(np.int64)


def own_rows(path: Path, like: NDArray[Any]) -> NDArray[Any]:
    """A ``.npy`` file of ours, of the dtype and shape of ``like``."""
    stored = read_array(path)
    if stored.shape != like.shape or stored.dtype != like.dtype:
        raise TokenFileError(f"{path}: {stored.dtype} {stored.shape}; {like.dtype} {like.shape} is wanted")
    return stored


def read_rows(path: Path) -> NDArray[np.int64]:
    """Integers [K, 3] of a ``.npy`` file."""
    rows = read_array(path)
    if rows.ndim != 2 or rows.shape[1] != 3 or len(rows) == 0 or not np.issubdtype(rows.dtype, np.integer):
        raise TokenFileError(f"{path}: {rows.dtype} {rows.shape}; integers [K, 3] of (t, h, w) are wanted")
    return rows.astype(np.int64)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object. Raises MediaNotFoundError, TokenFileError."""
    if not path.is_file():
        raise MediaNotFoundError(path, "no such JSON file")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise TokenFileError(f"{path}: not readable as JSON: {error}") from error
    if not isinstance(found, dict):
        raise TokenFileError(f"{path}: holds {type(found).__name__}, not a JSON object")
    return found


def own_words(clip: ClipInfo) -> dict[str, Any]:
    """What :data:`OURS` holds."""
    return {
        "version": __version__,
        "name": clip.name,
        "order": clip.order,
        "pts_seconds": clip.pts_seconds_T.tolist(),
        "model_time": clip.model_time_T.tolist(),
        "provenance": dict(clip.provenance),
    }


def own_facts(path: Path, meta: Mapping[str, Any]) -> dict[str, Any]:
    """What we wrote under :data:`OURS`, as it was; nothing where others wrote the file. Raises TokenFileError."""
    if OURS not in meta:
        return {}
    found = meta[OURS]
    try:
        times = {name: np.asarray(found[name], dtype) for name, dtype in _TIMES.items()}
        facts = {"name": str(found["name"]), "order": found["order"], "provenance": dict(found["provenance"]), **times}
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise TokenFileError(f"{path}: what is under {OURS!r} is not ours: {error!r}") from error
    pts_T, time_T = (times[name] for name in _TIMES)
    if pts_T.ndim != 1 or pts_T.shape != time_T.shape or facts["order"] not in get_args(Order):
        raise TokenFileError(f"{path}: what is under {OURS!r} contradicts itself")
    return facts


_NO_ARRAY = (ValueError, EOFError, OSError, TypeError, KeyError, SyntaxError, MemoryError, OverflowError, TokenError)
"""What numpy lets through of a damaged header."""
_TIMES: Mapping[str, type[np.generic]] = {"pts_seconds": np.float64, "model_time": np.float32}


def whole_frames(t_K: NDArray[np.int64], patches: int) -> NDArray[np.uint8]:
    """Kinds by what is there: anchors are the patches of frames that are there with all their ``patches``."""
    whole_T = np.bincount(t_K) == patches
    return np.where(whole_T[t_K], Kind.ANCHOR, Kind.CODEC).astype(np.uint8)


def patch_side(folder: Path, height: int, width: int, patches: int) -> int:
    """Side of the patches when ``patches`` of them fill a picture exactly. Raises TokenFileError."""
    side = round(math.sqrt(height * width / patches))
    if side < 1 or side * side * patches != height * width or height % side or width % side:
        raise TokenFileError(f"{folder}: {patches} square patches do not fill a picture of {height} x {width} pixels")
    return side
