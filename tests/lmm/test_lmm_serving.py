"""The endpoint over a real socket, with the tiny model behind it."""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from speaking_parts import media_folder, speaking_model

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.lmm.allowed_sources import Allowed
from onevision_encoder.lmm.answering import Writing, answer

pytest.importorskip("fastapi", reason='needs the extra: pip install "onevision-encoder[serve]"')
uvicorn = pytest.importorskip("uvicorn", reason='needs the extra: pip install "onevision-encoder[serve]"')

from onevision_encoder.lmm.serving import Limits, make_app  # noqa: E402

LIMITS = Limits(
    body_bytes=200_000, body_seconds=1.0, media=2, prompt_tokens=100, answer_tokens=5000, answer_seconds=60, waiting=1
)


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    return speaking_model()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return media_folder(tmp_path_factory.mktemp("served"))


class Running:
    """A server on a port of its own."""

    def __init__(self, model: Any, processor: Any, **options: Any) -> None:
        options = {"allowed": Allowed(), "limits": LIMITS, "name": "tiny", **options}
        self.app = make_app(model, processor, **options)
        config = uvicorn.Config(self.app, port=0, log_level="error", timeout_graceful_shutdown=3)
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.01)
        self.port = self.server.servers[0].sockets[0].getsockname()[1]

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive()

    def ask(self, body: Any, **headers: str) -> tuple[int, Any]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", "/v1/chat/completions", data, headers)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response.status, json.loads(text) if response.getheader("Content-Type") == "application/json" else text


@pytest.fixture(scope="module")
def server(parts: tuple[Any, Any]) -> Iterator[Running]:
    running = Running(*parts)
    yield running
    running.stop()


def data_url(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def words(text: str = "which way", **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], "max_tokens": 6, **more}


def test_an_answer_about_a_video_and_a_picture(server: Running, parts: tuple[Any, Any], folder: Path) -> None:
    content = [
        {"type": "video_url", "video_url": {"url": data_url(folder / "clip.mp4", "video/mp4")}},
        {"type": "image_url", "image_url": {"url": data_url(folder / "still.png", "image/png")}},
        {"type": "text", "text": "which way"},
    ]
    body = {"model": "tiny", "messages": [{"role": "user", "content": content}], "max_tokens": 6, "budget": 20}
    status, found = server.ask(body)
    assert status == 200, found
    ours = [{"type": "video", "path": str(folder / "clip.mp4")}, {"type": "image", "path": str(folder / "still.png")}]
    messages = [{"role": "user", "content": [*ours, content[2]]}]
    truth = answer(*parts, messages, writing=Writing(max_new_tokens=6), budget=20)
    assert found["choices"][0]["message"] == {"role": "assistant", "content": truth.text}
    assert truth.text
    assert found["usage"]["prompt_tokens"] == truth.prompt_tokens
    assert found["usage"]["completion_tokens"] == truth.answer_tokens
    assert [medium["path"] for medium in found["onevision"]["media"]] == ["codec", "image"]
    assert found["onevision"]["media"][0]["tokens"] == 20

    status, text = server.ask({**body, "stream": True, "stream_options": {"include_usage": True}})
    events = [line[6:] for line in text.decode().split("\n") if line.startswith("data: ")]
    assert (status, events[-1]) == (200, "[DONE]")
    chunks = [json.loads(event) for event in events[:-1]]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == truth.text
    assert len(chunks) > 3  # piece by piece
    assert chunks[-1]["usage"] == found["usage"]
    status, text = server.ask({**body, "stream": True})
    last = json.loads([line[6:] for line in text.decode().split("\n") if line.startswith("data: ")][-2])
    assert "usage" not in last
    assert last["onevision"]["media"] == found["onevision"]["media"]
    assert chunks[-1]["choices"][0]["finish_reason"] in ("stop", "length")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"{not json", "JSON"),
        (b"[" * 5000, "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"[]", "messages"),
        (b"", "JSON"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": [{"type": "audio"}]}]}, "image_url"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "image_url"),
        (words(tools=[{}]), "tools"),
        (words(frequency_penalty=0.5), "frequency_penalty"),
        (words(budget=12.5), "budget"),
        (words(budget={}), "budget"),
        (words(timestamps="no"), "timestamps"),
        (words(num_frames=10**7), "at most 512"),
        (words("which way " * 500), "tokens.*at most 100"),
        (words(n=2), "n=2"),
        (words(max_tokens=10**9), "at most 5000"),
        (words(max_tokens="many"), "max_tokens"),
        (words(temperature=-1), "temperature"),
        (words(stop=[1]), "stop"),
        (words(seed=True), "seed"),
        (words(stream="yes"), "stream"),
        (words("<|video_pad|>"), "placeholder|video_pad"),
    ],
)
def test_requests_that_are_wrong_are_told_so(server: Running, body: Any, why: str) -> None:
    status, found = server.ask(body)
    assert status == 400, found
    assert re.search(why, found["error"]["message"])
    assert found["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x.png",
        "https://example.org/x.png",
        "file:///etc/passwd",
        "/etc/passwd",
        "data:image/png;base64,AAAA",
    ],
)
def test_media_from_elsewhere_are_refused(server: Running, url: str) -> None:
    for stream in (False, True):
        body = {
            "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}],
            "stream": stream,
        }
        status, found = server.ask(body)
        assert (status, found["error"]["code"]) == (400, "media_refused")


def test_broken_media_and_too_many_are_told(server: Running) -> None:
    broken = "data:image/png;base64," + base64.b64encode(b"\x89PNG" + bytes(99)).decode()
    part = {"type": "image_url", "image_url": {"url": broken}}
    status, found = server.ask({"messages": [{"role": "user", "content": [part]}]})
    assert status == 400, found
    status, found = server.ask({"messages": [{"role": "user", "content": [part] * 3}]})
    assert status == 400
    assert "at most 2" in found["error"]["message"]


def test_what_is_not_here_is_not_replaced(server: Running) -> None:
    status, found = server.ask({**words(), "model": "gpt-4"})
    assert (status, found["error"]["message"]) == (404, "there is no model 'gpt-4' here, only 'tiny'")
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    connection.request("GET", "/v1/chat")
    assert json.loads(connection.getresponse().read())["error"]["type"] == "invalid_request_error"
    connection.close()


def test_bodies_that_are_too_large_or_never_end(server: Running) -> None:
    status, found = server.ask(b"x" * 200_001)
    assert (status, found["error"]["type"]) == (413, "invalid_request_error")
    with socket.create_connection(("127.0.0.1", server.port), 30) as one:  # no length is said
        one.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"ffff\r\n" + b"y" * 0xFFFF + b"\r\n"
        try:
            for _ in range(5):
                one.sendall(piece)
        except OSError:
            pass
        assert b" 413 " in one.recv(200)
    with socket.create_connection(("127.0.0.1", server.port), 30) as one:  # 9 bytes are promised, 1 comes
        one.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        assert b" 408 " in one.recv(200)


def test_one_at_a_time_and_a_queue_with_an_end(parts: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from onevision_encoder.lmm import serving

    within, most, release = [0], [0], threading.Event()
    real = serving.answer

    def slow(*args: Any, **options: Any) -> Any:
        within[0] += 1
        most[0] = max(most[0], within[0])
        assert release.wait(30)
        found = real(*args, **options)
        within[0] -= 1
        return found

    monkeypatch.setattr(serving, "answer", slow)
    running = Running(*parts)
    codes: list[int] = []
    threads = [threading.Thread(target=lambda: codes.append(running.ask(words())[0])) for _ in range(2)]
    for thread in threads:
        thread.start()
    desk = running.app.state.desk
    until = time.monotonic() + 20
    while desk.busy < 2 and time.monotonic() < until:
        time.sleep(0.01)
    status, found = running.ask(words())  # one is answered, one waits: a third is too many
    assert (status, found["error"]["type"]) == (503, "server_error")
    with socket.create_connection(("127.0.0.1", running.port), 30) as one:  # and is told so before its body has come
        one.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n{")
        assert b" 503 " in one.recv(200)
    release.set()
    for thread in threads:
        thread.join(30)
    assert (codes, most) == ([200, 200], [1])
    running.stop()


def test_a_client_that_goes_and_a_server_that_stops_end_the_writing(parts: tuple[Any, Any]) -> None:
    model, processor = parts
    running = Running(model, processor)
    desk = running.app.state.desk
    body = json.dumps(words(max_tokens=5000, temperature=100.0, stream=True)).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for leave in (True, False):
        one = socket.create_connection(("127.0.0.1", running.port), 30)
        one.sendall(head + body)
        assert b"200 OK" in one.recv(500)
        if leave:
            one.close()
            until = time.monotonic() + 20
            while desk.busy and time.monotonic() < until:
                time.sleep(0.01)
            assert desk.busy == 0
        else:
            started = time.monotonic()
            running.stop()
            assert time.monotonic() - started < 15
            one.close()


def test_a_client_that_goes_before_the_first_word(parts: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from onevision_encoder.lmm import serving

    told = threading.Event()

    def slow(*_: Any, cancelled: Callable[[], bool], **options: Any) -> Any:
        until = time.monotonic() + 30
        while not cancelled() and time.monotonic() < until:
            time.sleep(0.01)
        if cancelled():
            told.set()
        raise InvalidArgumentError("messages", "none", "one that is still wanted")

    monkeypatch.setattr(serving, "answer", slow)
    running = Running(*parts)
    body = json.dumps(words(stream=True)).encode()
    with socket.create_connection(("127.0.0.1", running.port), 30) as one:
        one.sendall(f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        one.sendall(body)
        time.sleep(0.1)
    assert told.wait(20)
    running.stop()


def test_what_changes_nothing_is_no_mistake(server: Running) -> None:
    more = {"frequency_penalty": 0, "presence_penalty": 0.0, "tools": [], "response_format": {"type": "text"}}
    status, found = server.ask(words(max_tokens=1, logprobs=False, logit_bias={}, **more))
    assert status == 200, found


def test_files_and_the_public_web_where_allowed(parts: tuple[Any, Any], folder: Path) -> None:
    running = Running(*parts, allowed=Allowed(folder=folder))
    for name, expected in (("still.png", 200), ("none.png", 400)):
        part = {"type": "image_url", "image_url": {"url": (folder / name).as_uri()}}
        assert running.ask({"messages": [{"role": "user", "content": [part]}], "max_tokens": 2})[0] == expected
    running.stop()
