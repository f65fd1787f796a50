"""What a server may read: attempts to reach inside, over real sockets."""

from __future__ import annotations

import base64
import ipaddress
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.lmm.allowed_sources import Allowed, RefusedSourceError, is_media, is_public

PNG = b"\x89PNG" + bytes(60)


class _Pages(BaseHTTPRequestHandler):
    asked: tuple[str, ...] = ()

    def do_GET(self) -> None:
        type(self).asked += (self.path,)
        if self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            for _ in range(600):  # 30 s
                self.wfile.write(b"\x89PNG")
                self.wfile.flush()
                time.sleep(0.05)
            return
        if self.path == "/drip":  # one byte of a header after the other
            for _ in range(600):
                self.wfile.write(b"H")
                self.wfile.flush()
                time.sleep(0.05)
            return
        if self.path == "/short":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(PNG)
            return
        moved = {"/moved": "/png", "/inside": "http://inside.test/png", "/loop": "/loop", "/disk": "file:///etc/passwd"}
        self.send_response(302 if self.path in moved else 404 if self.path == "/none" else 200)
        if self.path in moved:
            self.send_header("Location", moved[self.path])
        self.end_headers()
        body = {"/large": PNG + bytes(5000), "/list": b"#EXTM3U\nfile:///etc/passwd"}.get(self.path, PNG)
        self.wfile.write(b"" if self.path in moved else body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def site() -> Iterator[str]:
    """Where the pages are; the name is given an address by the resolver of the test."""
    _Pages.asked = ()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Pages)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://public.test:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def names(host: str, _: int) -> list[str]:
    """A DNS of our own: one name of the test's server, which passes for public here, and one of inside."""
    return {"public.test": ["127.0.0.1"], "inside.test": ["10.0.0.7"], "both.test": ["127.0.0.1", "192.168.1.1"]}[host]


def here(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    return str(address) == "127.0.0.1"


OPEN = Allowed(remote=True, max_bytes=4000, seconds=5, resolve=names, reachable=here)


def test_a_public_page_is_read_and_redirects_are_followed(site: str) -> None:
    assert OPEN.read(f"{site}/png") == PNG
    assert OPEN.read(f"{site}/moved") == PNG
    assert _Pages.asked == ("/png", "/moved", "/png")


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("/inside", "public internet"),
        ("/loop", "redirects"),
        ("/disk", r"http\(s\) URL"),
        ("/none", "answered 404"),
        ("/short", "ended 936 bytes early"),
        ("/large", "more than 4000 bytes"),
        ("/list", "known container"),
    ],
)
def test_what_a_page_may_not_do(site: str, page: str, why: str) -> None:
    with pytest.raises(RefusedSourceError, match=why):
        OPEN.read(site + page)


@pytest.mark.parametrize("page", ["/slow", "/drip"])
def test_a_slow_page_is_left(site: str, page: str) -> None:
    started = time.monotonic()
    with pytest.raises(RefusedSourceError, match=r"more than 0\.2 seconds"):
        Allowed(remote=True, seconds=0.2, resolve=names, reachable=here).read(site + page)
    assert time.monotonic() - started < 15


def test_one_internal_address_of_a_host_is_enough(site: str) -> None:
    with pytest.raises(RefusedSourceError, match="public internet"):
        OPEN.read(site.replace("public.test", "both.test") + "/png")
    assert _Pages.asked == ()


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "[::1]", "[::]"),
        *(
            "[::ffff:127.0.0.1]",
            "[::ffff:7f00:1]",
            "[2002:7f00:1::]",
            "[64:ff9b::7f00:1]",
            "[fe80::1%25lo]",
            "[fc00::1]",
        ),
        *("10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255"),
    ],
)
def test_internal_addresses_are_never_asked(site: str, host: str) -> None:
    """With the system's own resolver, in every way to write them."""
    with pytest.raises(RefusedSourceError):
        Allowed(remote=True, seconds=2).read(f"http://{host}:{site.rpartition(':')[2]}/png")
    assert _Pages.asked == ()


def test_public_addresses_are_public() -> None:
    for text in ("8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"):
        assert is_public(ipaddress.ip_address(text)), text


def test_a_name_is_resolved_once(site: str) -> None:
    """An answer that changes between the look and the connection (rebinding) changes nothing."""
    answers = iter([["127.0.0.1"], ["10.0.0.7"]])
    allowed = Allowed(remote=True, resolve=lambda *_: next(answers), reachable=here)
    assert allowed.read(f"{site}/png") == PNG
    assert next(answers) == ["10.0.0.7"]


@pytest.mark.parametrize(
    "url",
    [
        *("http://user:pass@public.test/png", "http:///png", "http://public.test:99999/png", "ftp://public.test/png"),
        *(
            "/etc/passwd",
            "concat:/etc/passwd",
            "gopher://public.test",
            "http://public.test:1/%0d%0aX: y",
            "file:///etc/passwd",
        ),
    ],
)
def test_urls_of_other_kinds_are_refused(url: str) -> None:
    with pytest.raises(RefusedSourceError):
        OPEN.read(url)


def test_nothing_but_data_unless_allowed(site: str, tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(PNG)
    for url in (f"{site}/png", (tmp_path / "x.png").as_uri()):
        with pytest.raises(RefusedSourceError, match="not read here"):
            Allowed().read(url)
    assert _Pages.asked == ()


def test_data_urls() -> None:
    def url(data: bytes) -> str:
        return f"data:image/png;base64,{base64.b64encode(data).decode()}"

    assert Allowed().read(url(PNG)) == PNG
    with pytest.raises(RefusedSourceError, match="more than 32"):
        Allowed(max_bytes=32).read(url(PNG))
    for wrong in (
        "data:image/png,abc",
        "data:image/png;base64,%%%%",
        "data:",
        url(b"#EXTM3U"),
        url(b"ffconcat version 1.0"),
    ):
        with pytest.raises(RefusedSourceError):
            Allowed().read(wrong)
    assert not is_media(b"")


def test_files_of_the_folder_and_no_others(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    (folder / "a b.png").write_bytes(PNG)
    (tmp_path / "secret.png").write_bytes(PNG)
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    allowed = Allowed(folder=folder)
    assert allowed.read((folder / "a b.png").as_uri()) == PNG
    for url in (
        (tmp_path / "secret.png").as_uri(),
        (folder / "link.png").as_uri(),
        f"file://{folder}/../secret.png",
        f"file://{folder}/%2e%2e/secret.png",
        f"file://other.host{folder}/a%20b.png",
        folder.as_uri(),
    ):
        with pytest.raises(RefusedSourceError):
            allowed.read(url)
    with pytest.raises(InvalidArgumentError, match="folder"):
        Allowed(folder=tmp_path / "none")
