"""What a server may read for those who ask it: data: URLs; http(s) and files only where that is allowed.

Everything becomes bytes of a known container, so that neither FFmpeg nor anything else ever sees a name that a stranger
wrote, or a playlist that names other files. A host is resolved once, every address it has must be a public one, and the
connection is made to that very address; a redirect begins anew.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from onevision_encoder.errors import InvalidArgumentError, MediaError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Sequence[str]]
_REDIRECTS = 3
_CHUNK = 1 << 16
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class RefusedSourceError(MediaError):
    """A source that this server does not read."""


@dataclass(frozen=True, kw_only=True)
class Allowed:
    """What may be read.

    Attributes:
        remote: http and https URLs of public addresses. folder: files below it, as ``file://`` URLs; None = no files.
        max_bytes: of one medium. seconds: for one download, all redirects together.
        resolve: host and port to addresses. reachable: whether an address may be connected to.
    """

    remote: bool = False
    folder: Path | None = None
    max_bytes: int = 64 << 20
    seconds: float = 30.0
    resolve: Resolve | None = None
    reachable: Callable[[Address], bool] | None = None

    def __post_init__(self) -> None:
        if self.max_bytes < 1 or not self.seconds > 0:
            raise InvalidArgumentError("max_bytes, seconds", (self.max_bytes, self.seconds), "above 0")
        if self.folder is not None and not self.folder.is_dir():
            raise InvalidArgumentError("folder", str(self.folder), "a folder that exists")

    def read(self, url: str) -> bytes:
        """The bytes of a medium.

        Raises:
            RefusedSourceError: not allowed, too large, too slow, not there, or not media.
        """
        name = url if len(url) <= 80 else f"{url[:60]}..."
        scheme = url.partition(":")[0].lower()
        if scheme == "data":
            data = self._data(url, name)
        elif scheme in ("http", "https"):
            data = self._remote(url, name)
        elif scheme == "file":
            data = self._file(url, name)
        else:
            raise RefusedSourceError(name, "data: URLs are read, and http(s) or file URLs where this server allows it")
        if not is_media(data):
            raise RefusedSourceError(name, "is no picture or video of a known container (playlists are not read)")
        return data

    def _data(self, url: str, name: str) -> bytes:
        head, comma, body = url.partition(",")
        if not comma or not head.endswith(";base64"):
            raise RefusedSourceError(name, "a data: URL must be base64: data:video/mp4;base64,...")
        if len(body) // 4 * 3 > self.max_bytes + 2:
            raise RefusedSourceError(name, f"more than {self.max_bytes} bytes")
        try:
            return base64.b64decode(body, validate=True)
        except binascii.Error as error:
            raise RefusedSourceError(name, f"not base64: {error}") from error

    def _file(self, url: str, name: str) -> bytes:
        parts = urlsplit(url)
        if self.folder is None or parts.netloc not in ("", "localhost"):
            raise RefusedSourceError(name, "files are not read here")
        path = Path(unquote(parts.path)).resolve()
        if not path.is_relative_to(self.folder.resolve()) or not path.is_file():
            raise RefusedSourceError(name, "no file in the folder that may be read")
        if path.stat().st_size > self.max_bytes:
            raise RefusedSourceError(name, f"more than {self.max_bytes} bytes")
        return path.read_bytes()

    def _remote(self, url: str, name: str) -> bytes:
        if not self.remote:
            raise RefusedSourceError(name, "http and https URLs are not read here")
        until = time.monotonic() + self.seconds
        for _ in range(_REDIRECTS + 1):
            found = self._get(url, name, until)
            if isinstance(found, bytes):
                return found
            url = urljoin(url, found)
        raise RefusedSourceError(name, f"more than {_REDIRECTS} redirects")

    def _get(self, url: str, name: str, until: float) -> bytes | str:
        """The bytes, or where a redirect leads."""
        try:
            connection, target = self._connection(url, name, until)
        except OSError as error:
            raise RefusedSourceError(name, f"cannot be reached: {error.strerror or error}") from error
        watch = threading.Timer(max(0.0, until - time.monotonic()), connection.cut)
        watch.start()  # a timeout of the socket counts from byte to byte, which a slow header can spin out for ever
        try:
            connection.request("GET", target, headers={"Accept": "image/*, video/*", "User-Agent": "onevision-encoder"})
            response = connection.getresponse()
            if response.status in (301, 302, 303, 307, 308):
                return response.getheader("Location") or ""
            if response.status != 200:
                raise RefusedSourceError(name, f"answered {response.status}")
            return self._body(connection, response, name, until)
        except (OSError, http.client.HTTPException, ValueError) as error:
            late = f"more than {self.seconds} seconds" if connection.was_cut else f"cannot be read: {error}"
            raise RefusedSourceError(name, late) from error
        finally:
            watch.cancel()
            connection.close()

    def _body(self, connection: _Connection, response: http.client.HTTPResponse, name: str, until: float) -> bytes:
        data = bytearray()
        while chunk := response.read1(_CHUNK):
            data += chunk
            if len(data) > self.max_bytes:
                raise RefusedSourceError(name, f"more than {self.max_bytes} bytes")
            left = until - time.monotonic()
            if left <= 0:
                raise RefusedSourceError(name, f"more than {self.seconds} seconds")
        if connection.was_cut:
            raise RefusedSourceError(name, f"more than {self.seconds} seconds")
        if response.length:
            raise RefusedSourceError(name, f"ended {response.length} bytes early")
        return bytes(data)

    def _connection(self, url: str, name: str, until: float) -> tuple[_Connection, str]:
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError as error:
            raise RefusedSourceError(name, f"no URL: {error}") from error
        host = parts.hostname
        if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc:
            raise RefusedSourceError(name, "an http(s) URL with a host, without a user, is wanted")
        address = self._address(host, port, name)
        left = until - time.monotonic()
        if left <= 0:
            raise RefusedSourceError(name, f"more than {self.seconds} seconds")
        return _Connection(host, port, address=address, secure=parts.scheme == "https", timeout=left), _target(parts)

    def _address(self, host: str, port: int, name: str) -> str:
        """One address of the host; none of them may be an internal one."""
        try:
            found = list((self.resolve or _resolve)(host, port))
        except (OSError, UnicodeError) as error:
            raise RefusedSourceError(name, f"its host is not known: {error}") from error
        may = self.reachable or is_public
        if not found or not all(may(ipaddress.ip_address(one.partition("%")[0])) for one in found):
            raise RefusedSourceError(name, "its host is not on the public internet")
        return found[0]


def is_public(address: Address) -> bool:
    """Whether anybody may be connected to there: no private, loopback, link-local, multicast, reserved address, nor one
    of IPv6 that stands for such an address of IPv4 (mapped, 6to4, Teredo, NAT64)."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address.teredo is not None:
            return False
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast and not address.is_reserved


def is_media(data: bytes) -> bool:
    """Whether data begin as a picture or a video of a known container does. Text formats never do."""
    starts = (
        *(b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*"),
        *(b"\x1aE\xdf\xa3", b"FLV\x01", b"OggS", b"0&\xb2u", b"\x00\x00\x01", b"\x00\x00\x00\x01"),
    )
    if data.startswith(starts) or (data[:4] == b"RIFF" and data[8:12] in (b"AVI ", b"WEBP")):
        return True
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip"):
        return True
    return len(data) > 188 and data[0] == data[188] == 0x47  # MPEG-TS


def _resolve(host: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


class _Connection(http.client.HTTPConnection):
    """To an address that was looked at; the host is for the header and the certificate."""

    def __init__(self, host: str, port: int, *, address: str, secure: bool, timeout: float) -> None:
        super().__init__(host, port, timeout=timeout)
        self.address, self.secure, self.was_cut = address, secure, False

    def connect(self) -> None:
        self.sock = socket.create_connection((self.address, self.port), self.timeout)
        if self.secure:
            context = ssl.create_default_context()
            self.sock = context.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
            self.sock.do_handshake()  # by now ``cut`` has the socket that it waits on

    def cut(self) -> None:
        """From another thread: whoever waits for the other end waits no more."""
        self.was_cut = True
        if self.sock is not None:
            with contextlib.suppress(OSError):  # it is closed already
                socket.socket.shutdown(self.sock, socket.SHUT_RDWR)
