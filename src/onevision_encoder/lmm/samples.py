"""Files of conversations to train on: LLaVA's and ShareGPT's form, and the chat form of transformers and ms-swift.

A line (or an entry of a ``.json`` list) is an object with

- ``conversations``: ``{"from": "human" | "gpt" | "system", "value": ...}``, or ``messages``: ``{"role": "user" |
  "assistant" | "system", "content": ...}``, the content a string or a list of parts (see :mod:`..conversation`);
- ``image`` or ``images``, ``video`` or ``videos``: a path, or ``{"path": ..., option: ...}``, or a list of them.

Each ``<image>`` and ``<video>`` in a string, and each image or video part without a source, takes the next path of its
kind. ``<image>`` means a video where a line names videos only and has no ``<video>``, as in LLaVA-Video-178K. Paths
are relative to the media root. Empty lines are skipped; other fields are not read, but for ``id``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onevision_encoder.errors import ConversationFileError, InvalidArgumentError, MediaNotFoundError
from onevision_encoder.lmm.conversation import plain_messages

TAG = re.compile(r"<(image|video)>")
ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}
_KINDS = ("image", "video")


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One conversation. ``line`` is where it stands, from 1 (of a ``.json`` list: its place); ``id`` its own or ""."""

    line: int
    id: str
    messages: tuple[Mapping[str, Any], ...]


class _MalformedError(Exception):
    """What is wrong with a line."""


def read_samples(path: str | Path, media_root: str | Path | None = None) -> list[Sample]:
    """All conversations of a file; media are named, not opened.

    Args:
        path: ``.jsonl``, or ``.json`` holding a list. media_root: None = the file's own folder.
    Raises:
        MediaNotFoundError: no such file. ConversationFileError: naming every line that cannot be used, and why;
            or a file without any conversation.
    """
    path = Path(path)
    if not path.is_file():
        raise MediaNotFoundError(path, "no such file of conversations")
    root = path.parent if media_root is None else Path(media_root)
    samples: list[Sample] = []
    problems: list[tuple[int, str]] = []
    for line, entry in _entries(path):
        try:
            samples.append(_sample(line, entry, root))
        except (_MalformedError, InvalidArgumentError) as error:
            problems.append((line, str(error)))
    if problems or not samples:
        raise ConversationFileError(
            path, problems or [(1, "no conversation in the file")], len(samples) + len(problems)
        )
    return samples


def _entries(path: Path) -> Iterator[tuple[int, Any]]:
    """(line, object, or what is wrong as a :class:`_MalformedError`)."""
    raw = path.read_bytes()
    if path.suffix == ".json":
        try:
            listed = json.loads(raw)
        except ValueError as error:
            raise ConversationFileError(path, [(getattr(error, "lineno", 1), f"not JSON: {error}")], 1) from error
        if not isinstance(listed, list):
            raise ConversationFileError(path, [(1, "a .json file must hold a list; else .jsonl, one object a line")], 1)
        yield from enumerate(listed, start=1)
        return
    for line, words in enumerate(raw.split(b"\n"), start=1):
        if not words.strip():
            continue
        try:
            yield line, json.loads(words)
        except ValueError as error:  # UnicodeDecodeError is one
            yield line, _MalformedError(f"not JSON: {error}")


def _sample(line: int, entry: Any, root: Path) -> Sample:
    if isinstance(entry, _MalformedError):
        raise entry
    if not isinstance(entry, dict):
        raise _MalformedError(f"{type(entry).__name__} where an object is wanted")
    turns = _turns(entry)
    media = {kind: [_source(kind, one, root) for one in _listed(entry, kind)] for kind in _KINDS}
    alias = _alias(turns, media)
    waiting = {kind: iter(parts) for kind, parts in media.items()}
    messages = [{"role": role, "content": _content(role, content, waiting, root, alias)} for role, content in turns]
    for kind, rest in waiting.items():
        left = len(list(rest))
        if left:
            raise _MalformedError(f"{left} of {len(media[kind])} {kind}s have no <{kind}> in the text")
    plain_messages(messages)  # refuses words that pass for a placeholder, and parts it does not know
    return Sample(line=line, id=str(entry.get("id", "")), messages=tuple(messages))


def _turns(entry: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """(role, content) of each message: a system's at most, then questions and answers in turn."""
    named = [name for name in ("conversations", "messages") if name in entry]
    if len(named) != 1:
        raise _MalformedError(f"{' and '.join(named) or 'neither'} given: conversations or messages is wanted")
    who, what = ("from", "value") if named == ["conversations"] else ("role", "content")
    turns = []
    listed = entry[named[0]]
    if not isinstance(listed, list) or not listed:
        raise _MalformedError(f"{named[0]} must be a list of messages")
    for i, message in enumerate(listed):
        if not isinstance(message, dict) or who not in message or what not in message:
            raise _MalformedError(f"{named[0]}[{i}] must be an object with {who!r} and {what!r}")
        role = ROLES.get(str(message[who]))
        if role is None:
            raise _MalformedError(f"{named[0]}[{i}] is {who} {message[who]!r}: one of {', '.join(ROLES)} is wanted")
        turns.append((role, message[what]))
    talk = [role for role, _ in turns if role != "system"]
    if talk != ["user", "assistant"] * (len(talk) // 2) or not talk or "system" in [role for role, _ in turns[1:]]:
        found = ", ".join(role for role, _ in turns)
        raise _MalformedError(f"questions and answers must take turns and end with an answer, found: {found}")
    return turns


def _listed(entry: Mapping[str, Any], kind: str) -> Sequence[Any]:
    named = [name for name in (kind, f"{kind}s") if entry.get(name) not in (None, "", [])]
    if len(named) > 1:
        raise _MalformedError(f"{kind} and {kind}s given: one of them is wanted")
    value = entry[named[0]] if named else []
    return value if isinstance(value, list) else [value]


def _source(kind: str, given: Any, root: Path) -> dict[str, Any]:
    """A part of a message: the path under the root, and options beside it."""
    named = [name for name in (kind, "path") if isinstance(given, dict) and name in given]
    if isinstance(given, dict) and len(named) != 1:
        raise _MalformedError(f"{kind} {given!r}: one path is wanted")
    path = given[named[0]] if named else given
    if not isinstance(path, str) or not path:
        raise _MalformedError(f"{kind} {path!r}: a path is wanted")
    if "://" in path or path.startswith("data:"):
        raise _MalformedError(f"{kind} {path[:60]!r}: a file is wanted, under the media root")
    options = {k: v for k, v in given.items() if k not in ("type", named[0])} if named else {}
    return {"type": kind, "path": str(root / path), **options}


def _alias(turns: Sequence[tuple[str, Any]], media: Mapping[str, Sequence[Any]]) -> Mapping[str, str]:
    """What the tags mean."""
    tags = {match[1] for _, content in turns if isinstance(content, str) for match in TAG.finditer(content)}
    return {"image": "video"} if media["video"] and not media["image"] and tags == {"image"} else {}


def _content(
    role: str, content: Any, waiting: Mapping[str, Iterator[Any]], root: Path, alias: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Parts of one message."""
    parts = []
    if isinstance(content, str):
        reached = 0
        for match in TAG.finditer(content):
            parts += [*_text(content[reached : match.start()]), _next(alias.get(match[1], match[1]), waiting)]
            reached = match.end()
        parts += _text(content[reached:])
    elif isinstance(content, list):
        for part in content:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind == "text" and isinstance(part.get("text"), str):
                parts += _text(part["text"])
            elif kind in _KINDS:
                own = any(name in part for name in (kind, "path"))
                parts.append(_source(kind, part, root) if own else {**part, **_next(kind, waiting)})
            else:
                raise _MalformedError(f"part {part!r}: text, image or video is wanted")
    else:
        raise _MalformedError(f"content {content!r}: words or a list of parts are wanted")
    if role != "user" and any(part["type"] != "text" for part in parts):
        raise _MalformedError(f"an image or video in the words of the {role}")
    if not "".join(part.get("text", "x") for part in parts).strip():
        raise _MalformedError(f"the {role} says nothing")
    return parts


def _text(words: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": words}] if words else []


def _next(kind: str, waiting: Mapping[str, Iterator[Any]]) -> dict[str, Any]:
    part: dict[str, Any] | None = next(waiting[kind], None)
    if part is None:
        raise _MalformedError(f"<{kind}> in the text, and no {kind} is named for it")
    return part
