"""Tokens of media on disk, found again by what they were made of.

The name of an entry is a digest of everything that decides its tokens: the content of the file, how the processor
reads, the options of this medium, and this version. With a budget for a whole request the other media of the request
decide as well. Beside an entry stands a digest of its bytes; one that is cut short or altered is made again, counted.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onevision_encoder import __version__
from onevision_encoder.errors import TokenFileError
from onevision_encoder.lmm.media import Medium
from onevision_encoder.lmm.processing import OneVisionVLProcessor
from onevision_encoder.lmm.reading import RequestReader
from onevision_encoder.tokens.files import write_atomically
from onevision_encoder.tokens.keyed_folder import KeyedFolder
from onevision_encoder.tokens.store import load_tokens, save_tokens
from onevision_encoder.types import PatchTokens

_ALONE = ("timestamps", "group_frames")  # settings of the text, not of the tokens


class TokenCache(KeyedFolder):
    """A folder of entries."""

    def get(self, key: Mapping[str, Any]) -> PatchTokens | None:
        """The tokens, or None: not there, or unusable (then noted in ``corrupt``)."""
        path = self.path(key)
        mark = path.with_suffix(".digest")
        if not (path.is_file() and mark.is_file()):
            return None
        try:
            if mark.read_text(encoding="ascii", errors="replace") != _digest_of(path):
                raise TokenFileError(f"{path}: not the bytes that were stored")
            tokens = load_tokens(path)
        except TokenFileError as error:
            self.corrupt.append(str(error))
            return None
        self.found += 1
        return tokens

    def put(self, key: Mapping[str, Any], tokens: PatchTokens) -> None:
        """Store an entry, whole or not at all. Raises WriteError."""
        path = self.path(key)
        save_tokens(path, tokens)
        write_atomically(path.with_suffix(".digest"), _digest_of(path).encode())
        self.stored += 1


@dataclass(eq=False)
class MediaReader:
    """Reads the media of conversations as a processor would, through a cache.

    Attributes:
        cache: None = everything is read anew each time.
    """

    processor: OneVisionVLProcessor
    cache: TokenCache | None = None
    _content: dict[tuple[str, int, int], str] = field(default_factory=dict)

    def read(self, media: Sequence[Medium]) -> list[PatchTokens]:
        """The tokens of one request, in order. Raises what reading raises."""
        if self.cache is None or any(medium.is_made for medium in media):
            return [reading.tokens for reading in self._reader().read(media)]
        if self.processor.request_budget is not None:
            return self._together(self.cache, media)
        return [self._alone(self.cache, medium) for medium in media]

    def _alone(self, cache: TokenCache, medium: Medium) -> PatchTokens:
        key = {**self._settings(), "medium": self._key(medium)}
        tokens = cache.get(key)
        if tokens is None:
            tokens = self._reader().read([medium])[0].tokens
            cache.put(key, tokens)
        return tokens

    def _together(self, cache: TokenCache, media: Sequence[Medium]) -> list[PatchTokens]:
        request = {**self._settings(), "request": [self._key(medium) for medium in media]}
        keys = [{**request, "index": i} for i in range(len(media))]
        found = [cache.get(key) for key in keys]
        whole = [tokens for tokens in found if tokens is not None]
        if len(whole) == len(media):
            return whole
        made = [reading.tokens for reading in self._reader().read(media)]
        for key, tokens in zip(keys, made, strict=True):
            cache.put(key, tokens)
        return made

    def _reader(self) -> RequestReader:
        own = self.processor
        return RequestReader(
            reader=own.media,
            merging=own.merging,
            options={},
            budget=own.budget,
            request_budget=own.request_budget,
            timestamps=own.timestamps,
            group_frames=own.group_frames,
        )

    def _settings(self) -> dict[str, Any]:
        settings = self.processor.to_dict()
        language = {name: value for name, value in settings["language"].items() if name not in _ALONE}
        return {"version": __version__, "processor": {**settings, "language": language}}

    def _key(self, medium: Medium) -> dict[str, Any]:
        return {
            "modality": medium.modality,
            "content": self._digest(str(medium.source)),
            "options": dict(medium.options),
        }

    def _digest(self, path: str) -> str:
        """Of a file's content, read again only when its size or time of change is another."""
        stat = os.stat(path) if os.path.isfile(path) else None  # noqa: PTH113, PTH116  (the path may be no path at all)
        if stat is None:
            return f"unreadable {path}"  # reading it raises the right error; nothing is stored under this key
        mark = (path, stat.st_size, stat.st_mtime_ns)
        if mark not in self._content:
            self._content[mark] = _digest_of(Path(path))
        return self._content[mark]


def _digest_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=20)).hexdigest()
