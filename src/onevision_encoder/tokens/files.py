"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from onevision_encoder.errors import OneVisionError, WriteError


def write_atomically(path: str | os.PathLike[str], payload: bytes) -> None:
    """Write beside ``path`` and rename, so that a reader never sees half a file. Missing folders are made.

    Raises:
        WriteError: the folder cannot be made or written, ``path`` is a folder, the disk is full ...
    """
    with atomic_path(path) as part:
        part.write_bytes(payload)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A new empty file beside ``path`` to write to; it takes the place of ``path`` only if the block ends well.

    For writers that want a name: it ends in the suffix of ``path``. Its permissions are those of any new file.

    Raises:
        WriteError: as :func:`write_atomically`; any OSError in the block counts as a failure to write.
    """
    target = Path(path)
    # not made of the target's name, which may be as long as names can be
    part = target.parent / (f".{secrets.token_hex(8)}.part{target.suffix[:16]}")
    try:
        if not target.name or target.is_dir():
            raise WriteError(target, "it is a folder")
        if target.exists() and not target.is_file():
            raise WriteError(target, "it is no regular file")
        target.parent.mkdir(parents=True, exist_ok=True)
        part.open("xb").close()  # unlike a temporary file's, its mode follows the umask
        yield part
        part.replace(target)
    except OSError as error:
        if isinstance(error, OneVisionError):  # a missing source, say: it has its own words
            raise
        raise WriteError(target, error.strerror or str(error)) from error
    finally:
        _discard(part)


def _discard(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:  # the folder is none or is closed to us: then there is no part either
        return
