"""OpenAI's chat completions: what a request may hold, and the form of what comes back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.lmm.answering import Answer, Writing

# Understood; the rest of OpenAI's is refused by name where it would change the answer, and ignored where it would not.
_KNOWN = (
    *("model", "messages", "stream", "max_tokens", "max_completion_tokens", "temperature", "top_p", "seed", "stop"),
    *("stream_options", "n", "budget", "request_budget", "video_backend", "num_frames", "short", "timestamps"),
)
_IGNORED = ("user", "metadata", "store", "service_tier", "parallel_tool_calls", "safety_identifier")
_NEUTRAL: Mapping[str, Any] = {
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logprobs": False,
    "logit_bias": {},
    "tools": [],
    "response_format": {"type": "text"},
}
"""Understood as long as they change nothing, as some clients always send them."""
_KINDS = {"image_url": "image", "video_url": "video"}


@dataclass(frozen=True, kw_only=True)
class ChatRequest:
    """A request that was understood: its messages hold URLs still."""

    messages: tuple[Mapping[str, Any], ...]
    writing: Writing
    reading: Mapping[str, Any]
    model: str | None
    stream: bool
    usage_in_stream: bool


def chat_request(body: bytes, *, most_tokens: int, seconds: float) -> ChatRequest:
    """The request in a body.

    Args:
        most_tokens: that an answer may have, and has where the request says nothing. seconds: of writing.
    Raises:
        InvalidArgumentError: no JSON object, a field that is not understood or out of range.
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidArgumentError("body", _beginning(body), f"JSON ({error})") from error
    if not isinstance(found, dict) or not isinstance(found.get("messages"), list) or not found["messages"]:
        raise InvalidArgumentError("body", _beginning(body), 'a JSON object with "messages", a list that is not empty')
    said = {name: value for name, value in found.items() if value is not None and value != _NEUTRAL.get(name)}
    unknown = sorted(name for name in said if name not in (*_KNOWN, *_IGNORED))
    if unknown:
        raise InvalidArgumentError(", ".join(unknown), found[unknown[0]], f"left out; understood: {', '.join(_KNOWN)}")
    if found.get("n") not in (None, 1):
        raise InvalidArgumentError("n", found["n"], "1")
    stream_options = found.get("stream_options") or {}
    if not isinstance(stream_options, dict):
        raise InvalidArgumentError("stream_options", stream_options, "an object")
    return ChatRequest(
        messages=tuple(_message(message) for message in found["messages"]),
        writing=_writing(found, most_tokens, seconds),
        reading=_reading(found),
        model=_kind(found, "model", str, None),
        stream=_kind(found, "stream", bool, False),
        usage_in_stream=bool(stream_options.get("include_usage")),
    )


def _beginning(body: bytes) -> str:
    return body[:40].decode(errors="replace") + "..." * (len(body) > 40)


def _reading(found: Mapping[str, Any]) -> dict[str, Any]:
    kinds = {"request_budget": int, "video_backend": str, "num_frames": int, "short": str, "timestamps": bool}
    values = {name: _kind(found, name, kind, None) for name, kind in kinds.items()}
    budget = found.get("budget")
    values["budget"] = budget if isinstance(budget, str) else _kind(found, "budget", int, None)
    return {name: value for name, value in values.items() if value is not None}


def _kind(found: Mapping[str, Any], name: str, kind: type, default: Any) -> Any:
    value = found.get(name)
    if value is None:
        return default
    fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise InvalidArgumentError(name, value, f"a {'number' if kind is float else kind.__name__}")
    return value


def _writing(found: Mapping[str, Any], most_tokens: int, seconds: float) -> Writing:
    name = "max_completion_tokens" if found.get("max_completion_tokens") is not None else "max_tokens"
    tokens = _kind(found, name, int, most_tokens)
    if tokens > most_tokens:
        raise InvalidArgumentError(name, tokens, f"at most {most_tokens} here")
    stop = [] if found.get("stop") is None else found["stop"]
    stops = (stop,) if isinstance(stop, str) else tuple(stop) if isinstance(stop, list) else (None,)
    return Writing(
        max_new_tokens=tokens,
        temperature=float(_kind(found, "temperature", float, 0.0)),
        top_p=float(_kind(found, "top_p", float, 1.0)),
        seed=_kind(found, "seed", int, 0),
        stop=stops,  # Writing refuses what is no text
        max_seconds=seconds,
    )


def _message(message: Any) -> dict[str, Any]:
    allowed = '{"role": "system", "user" or "assistant", "content": text or a list of parts}'
    if not isinstance(message, dict) or message.get("role") not in ("system", "developer", "user", "assistant"):
        raise InvalidArgumentError("message", str(message)[:80], allowed)
    content = message.get("content")
    role = "system" if message["role"] == "developer" else message["role"]
    if isinstance(content, str):
        return {"role": role, "content": content}
    if not isinstance(content, list):
        raise InvalidArgumentError("message", str(message)[:80], allowed)
    return {"role": role, "content": [_part(part) for part in content]}


def _part(part: Any) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    inner = part.get(kind) if kind in _KINDS else None
    url = inner.get("url") if isinstance(inner, dict) else inner
    if not isinstance(url, str):
        raise InvalidArgumentError(
            "content", str(part)[:80], 'parts with type text, image_url or video_url ({"url": ...})'
        )
    return {"type": kind, "url": url}


def with_media(request: ChatRequest, read: Callable[[str], bytes], most_media: int) -> list[dict[str, Any]]:
    """The messages, with the bytes of all media in the place of their URLs.

    Raises:
        InvalidArgumentError: more media than may be. What ``read`` raises.
    """
    parts = [part for message in request.messages for part in _parts(message) if part["type"] in _KINDS]
    if len(parts) > most_media:
        raise InvalidArgumentError("messages", f"{len(parts)} pictures and videos", f"at most {most_media} here")
    return [
        {
            "role": message["role"],
            "content": [
                {"type": _KINDS[part["type"]], "bytes": read(part["url"])} if part["type"] in _KINDS else part
                for part in _parts(message)
            ],
        }
        for message in request.messages
    ]


def _parts(message: Mapping[str, Any]) -> list[Any]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


_FINISH = {"stop": "stop", "length": "length", "time": "length", "cancelled": "stop"}


def completion(key: str, model: str, found: Answer) -> dict[str, Any]:
    """The whole answer; ``onevision`` tells times and paths, which OpenAI's form has no place for."""
    message = {"role": "assistant", "content": found.text}
    choice = {"index": 0, "message": message, "finish_reason": _FINISH[found.finish], "logprobs": None}
    return {**_head(key, model, "chat.completion"), "choices": [choice], **told(found)}


def chunk(key: str, model: str, delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
    """A piece of a streamed answer."""
    choice = {"index": 0, "delta": dict(delta), "finish_reason": None if finish is None else _FINISH[finish]}
    return {**_head(key, model, "chat.completion.chunk"), "choices": [choice]}


def told(found: Answer) -> dict[str, Any]:
    """``usage``, and ``onevision``."""
    total = found.prompt_tokens + found.answer_tokens
    usage = {"prompt_tokens": found.prompt_tokens, "completion_tokens": found.answer_tokens, "total_tokens": total}
    kept = ("modality", "path", "frames", "frames_lost", "frames_corrupt", "patches", "tokens")
    media = [{name: medium[name] for name in kept} for medium in found.media]
    own = {"visual_tokens": found.visual_tokens, "seconds_to_first": found.seconds_to_first, "seconds": found.seconds}
    return {"usage": usage, "onevision": {**own, "finish": found.finish, "media": media}}


def failure(message: str, kind: str, code: str | None = None) -> dict[str, Any]:
    """An error as OpenAI's clients expect it."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _head(key: str, model: str, kind: str) -> dict[str, Any]:
    return {"id": key, "object": kind, "created": int(time.time()), "model": model}
