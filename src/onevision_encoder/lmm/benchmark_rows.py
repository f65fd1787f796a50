"""What the rows of all benchmarks have in common: finding media, and rows of one's own."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.lmm.questions import LETTER, LeftOut, Question, lettered
from onevision_encoder.video.suffixes import is_video_name

Row = Mapping[str, Any]
Rows = Callable[[Path, Path, Row], Iterable[Question | LeftOut]]
USUAL_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".MP4", ".mov")
"""Tried in this order where a row names a video without one."""


def video(folder: Path, names: Sequence[str], **options: Any) -> dict[str, Any]:
    """The part of a message for the first of ``names`` that is there, with any usual suffix where a name has none.

    Where none is, the first, which then cannot be read and is listed by that name."""
    options = {name: value for name, value in options.items() if value is not None}
    for name in names:
        for path in [folder / name, *(folder / f"{name}{suffix}" for suffix in USUAL_SUFFIXES)]:
            if path.is_file():
                return {"type": "video", "path": str(path), **options}
    first = names[0] if is_video_name(Path(names[0])) else f"{names[0]}.mp4"
    return {"type": "video", "path": str(folder / first), **options}


def image(folder: Path, found: Any) -> dict[str, Any]:
    """The part of a message for a picture: bytes of a table of the hub, base64 as MMBench has it, or a file's name.

    Raises:
        InvalidArgumentError: none of them.
    """
    if isinstance(found, Mapping):
        if found.get("bytes"):
            return {"type": "image", "bytes": found["bytes"]}
        found = found.get("path")
    if isinstance(found, bytes):
        return {"type": "image", "bytes": found}
    if not isinstance(found, str) or not found:
        raise InvalidArgumentError("image", type(found).__name__, "bytes, base64 or the name of a file")
    if len(found) > 1000:
        try:
            return {"type": "image", "bytes": base64.b64decode(found, validate=True)}
        except binascii.Error as error:
            raise InvalidArgumentError("image", f"{found[:20]}...", f"base64 ({error})") from error
    return {"type": "image", "path": str(folder / found)}


def listed(value: Any) -> list[str]:
    """Texts of a value that may be one of them or a list."""
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


def generic(root: Path, path: Path, row: Row) -> Iterator[Question]:
    """A row of one's own: ``question``; ``video`` or ``image``, one or a list, files beside the annotations;
    ``options`` and ``answer`` (number from 0 on, letter or text), or ``answer``, one or a list, and perhaps ``metric``
    (exact). Perhaps ``id``, ``group``, ``start_seconds``, ``end_seconds``."""
    span = {name: row.get(name) for name in ("start_seconds", "end_seconds")}
    media = [video(path.parent, [name], **span) for name in listed(row.get("video") or [])]
    media += [image(path.parent, name) for name in listed(row.get("image") or [])]
    options = tuple(listed(row.get("options") or []))
    metric = str(row.get("metric", LETTER if options else "exact"))
    answers = (lettered(options, row["answer"]),) if options and metric == LETTER else tuple(listed(row["answer"]))
    words = str(row["question"])
    yield Question(
        id=str(row.get("id", f"{words} {[one.get('path') for one in media]}")),
        text=words,
        media=tuple(media),
        options=options,
        answers=answers,
        metric=metric,
        group=str(row.get("group", "")),
    )
