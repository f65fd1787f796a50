"""Opening: any source to an FFmpeg container and its video stream, every failure as a typed error."""

from __future__ import annotations

import io
import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from onevision_encoder.errors import (
    InvalidArgumentError,
    MediaError,
    MediaNotFoundError,
    NoVideoStreamError,
    UnreadableMediaError,
    UnsupportedCodecError,
)
from onevision_encoder.video.config import Source
from onevision_encoder.video.gif import with_controls

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_URL = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.-]+://")
_SPOOL_BYTES = 64 << 20
_MAX_SAFETENSORS_HEADER = 100_000_000
ACCEPTED = (
    "a path, a URL, bytes, or a binary file object; read_media also takes a uint8 numpy array [T, H, W, 3] or "
    "[H, W, 3], a PIL image, or a list of PIL images or [H, W, 3] arrays"
)
_TIMEOUT = 30.0  # seconds without an answer from a network source
# Demuxers that make "video" out of what is none: text as a terminal's screen, other files than the one named.
_NOT_VIDEO = {"tty": "a text file", "image2": "a pattern of numbered files", "concat": "a list of files"}


class OpenedSource:
    """A source that can be opened any number of times: its name for messages, and what FFmpeg is to open.

    Raises:
        MediaNotFoundError, UnreadableMediaError: missing path, folder, empty file, no permission.
        InvalidArgumentError: not a source at all.
    """

    def __init__(self, source: Source) -> None:
        self.path: str | None = None
        self.gif_note: str | None = None
        self._gif: bytes | None = None
        self._file: BinaryIO | None = None
        if isinstance(source, (bytes, bytearray, memoryview)):
            self.name = f"<{len(source)} bytes>"
            self._file = io.BytesIO(source)
            if not len(source):
                raise UnreadableMediaError(self.name, "is empty (0 bytes)")
        elif isinstance(source, (str, os.PathLike)):
            self.name = os.fspath(source)
            if not isinstance(self.name, str):
                raise InvalidArgumentError("source", source, "a str path, not a bytes path")
            if not self.name:
                raise InvalidArgumentError("source", source, "the path of a file, not an empty string")
            self.path = self.name if _URL.match(self.name) else _checked_path(self.name)
        elif hasattr(source, "read"):
            self.name = str(getattr(source, "name", f"<{type(source).__name__}>"))
            self._file = _seekable(source, self.name)
            if self._file is not source:
                weakref.finalize(self, self._file.close)
        else:
            raise InvalidArgumentError("source", type(source).__name__, ACCEPTED)

    @property
    def is_url(self) -> bool:
        return self.path is not None and _URL.match(self.path) is not None

    def head(self, size: int) -> bytes:
        """The first bytes (-1 = all), for telling what a file is; nothing of a URL or a pipe."""
        if self._file is not None:
            self._file.seek(0)
            return self._file.read(size)
        if self.path is None or self.is_url or not Path(self.path).is_file():  # a pipe would lose what is read here
            return b""
        with Path(self.path).open("rb") as file:
            return file.read(size)

    def _is_safetensors(self) -> bool:
        """Its form: the length of a JSON header in eight bytes, then the header."""
        head = self.head(10)
        return head[8:10] == b'{"' and 2 <= int.from_bytes(head[:8], "little") <= _MAX_SAFETENSORS_HEADER

    def _look_at_gif(self) -> None:
        """Make the frames of a GIF without delays separable, and say which times were made up."""
        if self.gif_note is not None or self.head(4) != b"GIF8":
            return
        data, added, undelayed = with_controls(self.head(-1))
        self._gif = data if added else None
        self.gif_note = f"{undelayed} frames of the GIF state no delay and last 0.1 s each" if undelayed else ""

    def content(self) -> str | BinaryIO:
        """A path, or the file object rewound."""
        if self._file is not None:
            self._file.seek(0)
            return self._file
        assert self.path is not None
        return self.path

    @contextmanager
    def open(self) -> Iterator[tuple[InputContainer, VideoStream]]:
        """The container and its video stream.

        Raises:
            UnreadableMediaError, NoVideoStreamError, UnsupportedCodecError, MediaNotFoundError
        """
        import av

        self._look_at_gif()
        if self._is_safetensors():
            raise UnreadableMediaError(self.name, "is a safetensors file, not media; `ove encode` takes token files")
        # By its name, FFmpeg takes a file of several JPEGs for a pattern of numbered files.
        form = "jpeg_pipe" if self.head(3) == b"\xff\xd8\xff" else None
        content: str | BinaryIO = self.content() if self._gif is None else io.BytesIO(self._gif)
        if isinstance(content, str) and not self.is_url:
            # A name such as "a:b.mp4" would be taken for a protocol.
            content = f"file:{content}"
        timeout = _TIMEOUT if self.is_url else None
        try:
            container = av.open(content, "r", form, metadata_errors="ignore", timeout=timeout)
        except (av.FFmpegError, OSError, ValueError, UnicodeError) as error:
            raise self._open_error(error) from error
        with container:
            yield container, self._video_stream(container)

    def _open_error(self, error: Exception) -> MediaError:
        reason = getattr(error, "strerror", None) or str(error)
        if isinstance(error, FileNotFoundError) or "404" in reason:
            return MediaNotFoundError(self.name, "does not exist")
        return UnreadableMediaError(self.name, f"FFmpeg cannot open it as media: {reason}")

    @staticmethod
    def video_streams(container: InputContainer) -> list[VideoStream]:
        """Those that are no cover pictures."""
        from av.stream import Disposition

        return [s for s in container.streams.video if not (s.disposition & Disposition.attached_pic)]

    def _video_stream(self, container: InputContainer) -> VideoStream:
        from av.stream import Disposition

        if container.format.name in _NOT_VIDEO:
            raise UnreadableMediaError(self.name, f"is {_NOT_VIDEO[container.format.name]}, not a video")
        streams = self.video_streams(container)
        if not streams:
            held = sorted({str(s.type) for s in container.streams} - {"video"})
            cover = " and a cover picture" if container.streams.video else ""
            kinds = ", ".join(held) if held else "no stream at all"
            raise NoVideoStreamError(self.name, f"holds no video stream, only {kinds}{cover}")
        candidates = [s for s in streams if s.disposition & Disposition.default] or streams[:1]
        chosen = candidates[0]
        if chosen.frames == 1:  # an animated AVIF marks both its still picture and its sequence as default
            chosen = max(candidates, key=lambda s: s.frames)
        # PyAV's annotation does not say so, but a stream without a decoder has no codec context.
        context: Any = chosen.codec_context
        if context is None:
            raise UnsupportedCodecError(self.name, "no decoder in this build of FFmpeg for its video codec")
        return chosen


def _checked_path(path: str) -> str:
    try:
        folder, exists = Path(path).is_dir(), Path(path).exists()
    except (OSError, ValueError) as error:
        raise MediaNotFoundError(path, f"is no usable path: {error}") from error
    if folder:
        raise UnreadableMediaError(path, "is a folder, not a media file")
    if not exists:
        raise MediaNotFoundError(path, "does not exist")
    try:
        empty = Path(path).is_file() and not _first_byte(path)
    except OSError as error:
        raise UnreadableMediaError(path, f"cannot be read: {error.strerror}") from error
    if empty:
        raise UnreadableMediaError(path, "is empty (0 bytes)")
    return path


def _first_byte(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(1)


def _seekable(file: Any, name: str) -> BinaryIO:
    """The file object itself where it can be rewound; otherwise its content, spooled to disk beyond 64 MiB."""
    if hasattr(file, "seekable") and file.seekable():
        file.seek(0)
    else:
        spool = tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115  (lives as long as its source)
        shutil.copyfileobj(file, spool)
        spool.seek(0)
        file = spool
    first = file.read(1)
    if not isinstance(first, bytes):
        raise InvalidArgumentError("source", type(file).__name__, "a file object opened in binary mode")
    if not first:
        raise UnreadableMediaError(name, "is empty (0 bytes)")
    file.seek(0)
    return file  # type: ignore[no-any-return]
