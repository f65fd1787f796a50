"""What a corpus is built from: local files and folders become items, each with a name of its own, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from onevision_encoder.errors import InvalidArgumentError, MediaNotFoundError
from onevision_encoder.pretrain.idx_archive import is_idx
from onevision_encoder.pretrain.shards import digest_of
from onevision_encoder.video.suffixes import is_picture_name, is_video_name


@dataclass(frozen=True, kw_only=True)
class Item:
    """One source: ``id`` is unique, the name of its folder and its path in it where a folder was searched; ``path`` a
    video, a picture, an IDX archive or one picture of it, or a folder of frames."""

    id: str
    path: Path


def find_items(sources: Sequence[str | Path]) -> list[Item]:
    """Files as they are named; folders searched for videos, IDX archives and everything Pillow reads, sorted.

    A file that is named is tried whatever its suffix; a missing one is left to the build to list.

    Raises:
        InvalidArgumentError: nothing given, a folder that holds no media, two items of one name.
    """
    if not sources:
        raise InvalidArgumentError("media", [], "at least one file or folder")
    items: dict[str, Item] = {}
    for source in sources:
        for item in _found(Path(source)):
            known = items.setdefault(item.id, item)
            if known.path.resolve() != item.path.resolve():
                allowed = f"folders of different names: {known.path} and {item.path} would both be called {item.id!r}"
                raise InvalidArgumentError("media", str(source), allowed)
    return list(items.values())


def _found(place: Path) -> Iterator[Item]:
    if not place.is_dir():
        yield Item(id=place.name, path=place)
        return
    paths = [p for p in place.rglob("*") if _wanted(p) and p.is_file()]
    name = place.resolve().name
    found = [Item(id=str(PurePosixPath(name, *p.relative_to(place).parts)), path=p) for p in paths]
    if not found:
        raise InvalidArgumentError("media", str(place), "a folder that holds videos, pictures or IDX archives")
    yield from sorted(found, key=lambda item: item.id)


def _wanted(path: Path) -> bool:
    return is_video_name(path) or is_picture_name(path) or is_idx(path)


def content_digest(path: Path) -> str:
    """blake2b of a file's bytes, 16 bytes in hex. Raises MediaNotFoundError."""
    try:
        return digest_of(path)
    except OSError as error:
        raise MediaNotFoundError(path, error.strerror or str(error)) from error
