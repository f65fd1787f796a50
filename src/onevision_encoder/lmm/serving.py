"""An OpenAI-compatible endpoint: one generation at a time, a queue with an end, limits on everything.

The server of transformers (5.23, ``cli/serving``) refuses classes that are not in its own table of models, and hands
whatever URL or path a request names to the processor; so a thin one stands here.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from onevision_encoder.errors import InvalidArgumentError, OneVisionError
from onevision_encoder.lmm.allowed_sources import Allowed, RefusedSourceError
from onevision_encoder.lmm.answering import Answer, answer
from onevision_encoder.lmm.openai_form import ChatRequest, chat_request, chunk, completion, failure, told, with_media


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a request may cost.

    Attributes:
        body_bytes: of a request. body_seconds: until all of it is here. media: pictures and videos of a request.
        frames: read of a video. prompt_tokens: of a conversation, visual ones included; None = as many as the language
            model has positions. answer_tokens: of an answer. answer_seconds: of writing it. waiting: requests that wait
            for their turn; one more is answered 503 at once.
    Raises:
        InvalidArgumentError: a limit that lets nothing through.
    """

    body_bytes: int = 100 << 20
    body_seconds: float = 60.0
    media: int = 8
    frames: int = 512
    prompt_tokens: int | None = None
    answer_tokens: int = 1024
    answer_seconds: float = 120.0
    waiting: int = 8

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is not None and value < (0 if name in ("media", "waiting") else 1e-9):
                raise InvalidArgumentError(name, value, "above 0")


BUSY = "busy: try again later"


class _RefusedRequestError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass
class Desk:
    """One model, and those who wait for it."""

    model: Any
    processor: Any
    name: str
    allowed: Allowed
    limits: Limits
    reading: Mapping[str, Any]
    closing: Event = field(default_factory=Event)
    busy: int = 0
    worker: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "answers"))

    @property
    def full(self) -> bool:
        return self.busy > self.limits.waiting or self.closing.is_set()

    @property
    def most_prompt(self) -> int | None:
        positions: int | None = getattr(self.model.config.text_config, "max_position_embeddings", None)
        return self.limits.prompt_tokens or positions

    def submit(self, request: ChatRequest, tell: Callable[[str], object], gone: Event) -> asyncio.Future[Answer]:
        """The answer, when its turn has come. Raises _RefusedRequestError where too many wait."""
        if self.full:
            raise _RefusedRequestError(503, BUSY)
        self.busy += 1
        future = asyncio.get_running_loop().run_in_executor(self.worker, self._answer, request, tell, gone)
        future.add_done_callback(self._done)
        return future

    def _done(self, future: asyncio.Future[Answer]) -> None:
        self.busy -= 1
        if not future.cancelled():
            future.exception()  # a client that has gone asks no more

    def _answer(self, request: ChatRequest, tell: Callable[[str], object], gone: Event) -> Answer:
        def over() -> bool:
            return gone.is_set() or self.closing.is_set()

        if over():
            raise _RefusedRequestError(503, "cancelled while it waited")
        reading = {**self.reading, **request.reading}
        if reading.get("num_frames", 0) > self.limits.frames:
            raise InvalidArgumentError("num_frames", reading["num_frames"], f"at most {self.limits.frames} here")

        def read(url: str) -> bytes:
            if over():
                raise _RefusedRequestError(503, "cancelled while its media were read")
            return self.allowed.read(url)

        messages = with_media(request, read, self.limits.media)
        return answer(
            self.model,
            self.processor,
            messages,
            writing=request.writing,
            tell=tell,
            cancelled=over,
            most_prompt=self.most_prompt,
            **reading,
        )


def make_app(
    model: Any,
    processor: Any,
    *,
    name: str,
    allowed: Allowed,
    limits: Limits,
    reading: Mapping[str, Any] | None = None,
) -> FastAPI:
    """The application: ``POST /v1/chat/completions``, ``GET /v1/models``, ``GET /health``.

    ``reading``: options of the processor's call where a request says nothing.
    """
    desk = Desk(model=model, processor=processor, name=name, allowed=allowed, limits=limits, reading=reading or {})

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        desk.closing.set()
        await asyncio.to_thread(desk.worker.shutdown, wait=True, cancel_futures=True)

    app = FastAPI(title="onevision-encoder", lifespan=life, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.desk = desk

    async def models() -> Response:
        return JSONResponse({"object": "list", "data": [{"id": name, "object": "model", "owned_by": "local"}]})

    async def health() -> Response:
        return JSONResponse({"status": "ok", "busy": desk.busy})

    async def chat(request: Request) -> Response:
        return await _chat(desk, request)

    async def elsewhere(_: Request, error: Exception) -> Response:
        found: Any = error
        return JSONResponse(failure(found.detail, "invalid_request_error"), found.status_code, found.headers)

    app.add_exception_handler(StarletteHTTPException, elsewhere)
    app.add_api_route("/v1/chat/completions", chat, methods=["POST"], response_model=None)
    app.add_api_route("/v1/models", models, methods=["GET"], response_model=None)
    app.add_api_route("/health", health, methods=["GET"], response_model=None)
    return app


async def _chat(desk: Desk, request: Request) -> Response:
    key, gone = f"chatcmpl-{uuid.uuid4().hex}", Event()
    try:
        if desk.full:  # before megabytes are taken in
            raise _RefusedRequestError(503, BUSY)
        body = await _body(request, desk.limits)
        asked = chat_request(body, most_tokens=desk.limits.answer_tokens, seconds=desk.limits.answer_seconds)
        if asked.model not in (None, desk.name):
            raise _RefusedRequestError(404, f"there is no model {asked.model!r} here, only {desk.name!r}")
        if asked.stream:
            return await _stream(desk, request, asked, key, gone)
        future = desk.submit(asked, _nobody, gone)
        return JSONResponse(completion(key, desk.name, await _while_there(request, future, gone)))
    except Exception as error:
        return _failed(error)


async def _body(request: Request, limits: Limits) -> bytes:
    """All of a request, of which no more than the limit is ever kept."""
    said = request.headers.get("content-length", "0")
    too_large = _RefusedRequestError(413, f"a request body of more than {limits.body_bytes} bytes")
    if said.isdecimal() and int(said) > limits.body_bytes:
        raise too_large
    data = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for part in request.stream():
                data += part
                if len(data) > limits.body_bytes:
                    raise too_large
    except TimeoutError as error:
        raise _RefusedRequestError(408, f"the request was not complete in {limits.body_seconds} seconds") from error
    return bytes(data)


async def _while_there(request: Request, future: asyncio.Future[Any], gone: Event) -> Any:
    """What is waited for; the answer's writing ends when the client has gone."""
    while not (await asyncio.wait([future], timeout=0.5))[0]:
        if await request.is_disconnected():
            gone.set()
    return future.result()


async def _stream(desk: Desk, request: Request, asked: ChatRequest, key: str, gone: Event) -> Response:
    """Server-sent events. What goes wrong before the first word is an ordinary error."""
    loop, pieces = asyncio.get_running_loop(), asyncio.Queue[str | None]()

    def tell(text: str | None) -> None:
        loop.call_soon_threadsafe(pieces.put_nowait, text)

    future = desk.submit(asked, tell, gone)
    future.add_done_callback(lambda _: pieces.put_nowait(None))
    first = await _while_there(request, asyncio.ensure_future(pieces.get()), gone)
    if first is None:
        future.result()

    async def events() -> AsyncIterator[str]:
        try:
            yield _event(chunk(key, desk.name, {"role": "assistant", "content": ""}))
            piece = first
            while piece is not None:
                yield _event(chunk(key, desk.name, {"content": piece}))
                piece = await pieces.get()
            try:
                found = future.result()
            except Exception as error:
                yield _event(json.loads(bytes(_failed(error).body)))
                return
            last = chunk(key, desk.name, {}, found.finish)
            costs = told(found)
            if not asked.usage_in_stream:
                del costs["usage"]
            yield _event({**last, **costs})
            yield "data: [DONE]\n\n"
        finally:
            gone.set()

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _event(found: Any) -> str:
    return f"data: {json.dumps(found)}\n\n"


def _failed(error: Exception) -> JSONResponse:
    """What a client is told: its own mistakes in words, ours without."""
    if isinstance(error, _RefusedRequestError):
        headers = {"Retry-After": "1"} if error.status == 503 else None
        kind = "server_error" if error.status == 503 else "invalid_request_error"
        return JSONResponse(failure(error.message, kind), error.status, headers)
    if isinstance(error, RefusedSourceError):
        return JSONResponse(failure(str(error), "invalid_request_error", "media_refused"), 400)
    if isinstance(error, OneVisionError):
        return JSONResponse(failure(str(error), "invalid_request_error"), 400)
    logging.getLogger(__name__).error("a request failed", exc_info=error)
    return JSONResponse(failure("the server failed; its log says why", "server_error"), 500)


def _nobody(_: str) -> None:
    return None
