"""Frames that were sampled and sized before: nothing may be asked of them that comes too late."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.types import FrameSequence

if TYPE_CHECKING:
    from onevision_encoder.video import Sampling, Sizing

_UNKNOWN = object()
_LEFT_OUT = "these frames were sampled and sized when they were made: leave it out, or give what they were made from"


def check_frames_as_asked(
    frames: FrameSequence, sampling: Sampling | None, sizing: Sizing | None, *, named: Collection[str] = ()
) -> None:
    """What is asked of frames must be how they were read, as ``frames.provenance`` and the frames themselves tell.

    An option at its default asks for nothing, unless it is among ``named``, those that the caller wrote out. Of a still
    image no sampling is looked at.

    Raises:
        InvalidArgumentError: an option says something else, or the frames do not tell.
    """
    parts: list[tuple[Sampling | Sizing | None, dict[str, Any]]] = [(sizing, made_with(frames, "sizing"))]
    if not frames.source.is_image:
        parts.append((sampling, made_with(frames, "sampling")))
    for config, made in parts:
        for option in () if config is None else fields(config):
            asked, had = getattr(config, option.name), made.get(option.name, _UNKNOWN)
            if asked == had or (asked == option.default and option.name not in named):
                continue
            known = "" if had is _UNKNOWN else f"{had!r}, with which they were read; "
            raise InvalidArgumentError(option.name, asked, known + _LEFT_OUT)


def made_with(frames: FrameSequence, part: Literal["sampling", "sizing"]) -> dict[str, Any]:
    """The options that frames were read with, as far as they tell; ``patch`` and ``merge`` are known of any frames."""
    recorded = frames.provenance.get(part)
    made = dict(recorded) if isinstance(recorded, Mapping) else {}  # who makes frames by hand may write what they like
    if part == "sizing":
        made |= {"patch": frames.patch, "merge": frames.merge}
    return made
