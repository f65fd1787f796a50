"""Conversations: from messages with images and videos to one text with a placeholder for each medium.

A message's content is a string, or a list of parts: ``{"type": "text", "text": ...}``; ``{"type": "image", ...}`` and
``{"type": "video", ...}`` with the source under the type's own name, ``path``, ``url`` or ``bytes``, and any option
of its reading beside it; ``{"type": "image_url", "image_url": {"url": ...}}`` and ``video_url`` as in OpenAI's
interface. Content becomes a string before the tokenizer's chat template sees it, so that any template will do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.hub.features import Modality
from onevision_encoder.lmm.configuration import END_TOKEN, IMAGE_TOKEN, START_TOKEN, VIDEO_TOKEN
from onevision_encoder.lmm.media import Medium

PLACEHOLDER: Mapping[Modality, str] = {"image": IMAGE_TOKEN, "video": VIDEO_TOKEN}
PLACEHOLDERS = re.compile("|".join(re.escape(token) for token in PLACEHOLDER.values()))
_SOURCES = ("path", "url", "bytes")
_PARTS = "parts with type text, image, video, image_url or video_url"

Message = Mapping[str, Any]
Edit = tuple[int, int, str]
"""Characters start..stop of a text are to become another string."""


def is_batch(conversation: Sequence[Any]) -> bool:
    """Whether these are conversations, rather than the messages of one."""
    if not isinstance(conversation, list | tuple) or not conversation:
        raise InvalidArgumentError("conversation", conversation, "a list of messages, or a list of such lists")
    return not isinstance(conversation[0], Mapping)


def plain_messages(conversation: Sequence[Message]) -> tuple[list[dict[str, Any]], list[Medium]]:
    """Messages whose content is a string, and the media in their order.

    Raises:
        InvalidArgumentError: no role, an unknown part, a medium without a source or with two, a placeholder in words.
    """
    messages, media = [], []
    for message in conversation:
        if not isinstance(message, Mapping) or "role" not in message:
            raise InvalidArgumentError("message", message, '{"role": ..., "content": ...}')
        words = []
        content = message.get("content")
        for part in [content] if isinstance(content, str) or content is None else content:
            if isinstance(part, str) or part is None:
                words.append(_own_words(part or ""))
                continue
            if part.get("type") == "text":
                words.append(_own_words(str(part["text"])))
                continue
            medium = _medium(part)
            media.append(medium)
            words.append(f"{START_TOKEN}{PLACEHOLDER[medium.modality]}{END_TOKEN}")
        messages.append({**message, "content": "".join(words)})
    return messages, media


def _own_words(text: str) -> str:
    """What a person wrote must not pass for a placeholder."""
    found = PLACEHOLDERS.search(text)
    if found:
        allowed = f"words without {found[0]}: media are parts of their own in a conversation"
        raise InvalidArgumentError("text", text[:80], allowed)
    return text


def _medium(part: Any) -> Medium:
    kind = str(part.get("type")) if isinstance(part, Mapping) else ""
    if kind in ("image_url", "video_url"):
        inner = part[kind]
        return Medium(modality=_modality(kind), source=inner["url"] if isinstance(inner, Mapping) else inner)
    if kind not in PLACEHOLDER:
        raise InvalidArgumentError("content", part, _PARTS)
    sources = [name for name in (kind, *_SOURCES) if name in part]
    if len(sources) != 1:
        raise InvalidArgumentError(f"{kind} part with", sources, f"one source: {', '.join((kind, *_SOURCES))}")
    options = {name: value for name, value in part.items() if name not in ("type", sources[0])}
    return Medium(modality=_modality(kind), source=part[sources[0]], options=options)


def _modality(kind: str) -> Modality:
    return "image" if kind.startswith("image") else "video"


def answer_spans(render: Callable[..., str], messages: Sequence[Message]) -> list[tuple[int, int]]:
    """Where the assistant's answers are in the rendered conversation: from after the prompt to its end mark.

    ``render(messages, add_generation_prompt)`` applies the template.

    Raises:
        InvalidArgumentError: a template that renders the beginning of a conversation otherwise when it goes on.
    """
    whole, spans = render(messages, False), []
    places = [i for i, message in enumerate(messages) if message["role"] == "assistant"]
    mark = ""
    for i in reversed(places):  # the last answer shows what its end mark is
        before, after = render(messages[:i], True), render(messages[: i + 1], False)
        words = str(messages[i].get("content") or "").strip()
        if after.startswith(before) and whole.startswith(after):
            answer = after[len(before) :].rstrip()
            mark = mark or (answer.rpartition(words)[2] if words else answer)
        else:  # Qwen3's template writes an empty thought before the last answer alone
            answer = words + mark
            if not (mark and words and whole.startswith(before + answer)):
                allowed = "a template that leaves earlier turns as they are; train on one answer a conversation"
                raise InvalidArgumentError(
                    "chat_template", f"turn {i} is rendered otherwise when it is not last", allowed
                )
        spans.append((len(before), len(before) + len(answer)))
    return spans[::-1]


def apply_edits(text: str, edits: Sequence[Edit], spans: Sequence[tuple[int, int]]) -> tuple[str, list[Any]]:
    """The text with edits made (in order, apart), and where ``spans`` of the old text, which cut none, are in it."""

    def moved(place: int) -> int:
        return place + sum(len(new) - (stop - start) for start, stop, new in edits if stop <= place)

    parts, reached = [], 0
    for start, stop, new in edits:
        parts += [text[reached:start], new]
        reached = stop
    return "".join([*parts, text[reached:]]), [(moved(start), moved(stop)) for start, stop in spans]
