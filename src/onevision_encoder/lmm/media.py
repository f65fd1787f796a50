"""Images and videos of a conversation: what was handed over, opened as patch tokens.

A video may be anything that :func:`onevision_encoder.read_media` opens, tokens made beforehand or their file
(``.safetensors``), a folder of canvases (LLaVA-OneVision-2, Mage-VL) or of mosaics (the original's training data), or
a ``data:`` URL.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onevision_encoder.errors import InvalidArgumentError, TokenFileError, UnreadableMediaError
from onevision_encoder.hub.features import Modality
from onevision_encoder.hub.processor import OneVisionEncoderProcessor
from onevision_encoder.tokens import canvases, mosaics
from onevision_encoder.tokens.canvas_import import import_canvases
from onevision_encoder.tokens.mosaics import import_mosaics
from onevision_encoder.tokens.store import load_tokens
from onevision_encoder.types import PatchTokens

IMPORT_OPTIONS = ("fps", "time")
"""Options that say something of a folder made elsewhere: its rate, and what RoPE sees."""

_BACKEND = {"codec": "codec", "dense": "frames", "uniform": "frames", "tiled": "tiled"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Medium:
    """An image or a video, as it was handed over.

    ``options``: of its reading alone, over those of the call: ``budget`` (tokens), ``video_backend``, ``num_frames``,
    ``start_seconds``, ``max_patches`` ...
    """

    modality: Modality
    source: Any
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_made(self) -> bool:
        """Whether its tokens are there already, so that no budget can be asked of it."""
        return isinstance(self.source, PatchTokens) or _made_kind(self.source) is not None


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenedMedium:
    """The patches of a medium, and the words for how they came about."""

    tokens: PatchTokens
    path: str


def open_image(reader: OneVisionEncoderProcessor, source: Any, options: Mapping[str, Any]) -> OpenedMedium:
    """Every patch of one picture. Raises what the image processor raises, or InvalidArgumentError for several."""
    if isinstance(source, PatchTokens):
        return OpenedMedium(tokens=_one_clip(source), path=_given(source))
    parts = reader.image_processor.tokens(_bytes_of(source), **options)
    if len(parts) != 1:
        raise InvalidArgumentError("image", f"{len(parts)} pictures", "one picture a placeholder")
    return OpenedMedium(tokens=parts[0], path="image")


def open_video(reader: OneVisionEncoderProcessor, source: Any, options: Mapping[str, Any]) -> OpenedMedium:
    """The chosen patches of one video, in the order that the options say.

    Raises:
        MediaError, BudgetError, InvalidArgumentError: as the processor of the encoder. TokenFileError: a folder that
            holds no canvases or mosaics, or holds them damaged.
    """
    if isinstance(source, PatchTokens):
        return OpenedMedium(tokens=_one_clip(source), path=_given(source))
    kind = _made_kind(source)
    if kind is not None:
        return _import(Path(source), kind, options, reader.image_processor.patch_size)
    tokens = _one_clip(reader.video_tokens(_bytes_of(source), **options))
    policy = _policy(tokens)
    return OpenedMedium(tokens=tokens, path=_BACKEND.get(policy, policy))


def _import(place: Path, kind: str, options: Mapping[str, Any], patch: int) -> OpenedMedium:
    if kind == "canvases":
        return OpenedMedium(tokens=import_canvases(place, **options), path="imported canvases")
    late = [name for name in options if kind == "tokens" or name != "fps"]
    if late:
        raise InvalidArgumentError(late[0], options[late[0]], f"left out for {kind} made elsewhere: {place.name}")
    if kind == "tokens":
        tokens = load_tokens(place)
        return OpenedMedium(tokens=tokens, path=_given(tokens))
    return OpenedMedium(tokens=import_mosaics(place, patch=patch, **options), path="imported mosaics")


def _made_kind(source: Any) -> str | None:
    """``tokens``, ``canvases`` or ``mosaics``; None where the source is none of them."""
    if not isinstance(source, str | os.PathLike) or "://" in str(source) or str(source).startswith("data:"):
        return None
    folder = Path(source)
    if folder.suffix == ".safetensors":
        return "tokens"
    if not folder.is_dir():
        return None
    for kind, name in (("canvases", canvases.POSITIONS), ("mosaics", mosaics.POSITIONS)):
        if (folder / name).is_file():
            return kind
    raise TokenFileError(
        f"{folder}: a folder without {canvases.POSITIONS} (canvases) and {mosaics.POSITIONS} (mosaics)"
    )


def _bytes_of(source: Any) -> Any:
    """The bytes of a ``data:`` URL; anything else is itself."""
    if not isinstance(source, str) or not source.startswith("data:"):
        return source
    head, comma, body = source.partition(",")
    if not comma or not head.endswith(";base64"):
        raise UnreadableMediaError(f"{source[:40]}...", "a data: URL must be base64: data:video/mp4;base64,...")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise UnreadableMediaError(f"{head},...", f"not base64: {error}") from error


def _one_clip(tokens: PatchTokens) -> PatchTokens:
    if len(tokens.clips) != 1:
        raise InvalidArgumentError("video", f"{len(tokens.clips)} clips", "one clip a placeholder (see unpack)")
    return tokens


def _given(tokens: PatchTokens) -> str:
    return "imported canvases" if "canvases" in tokens.clips[0].provenance else f"given tokens ({_policy(tokens)})"


def _policy(tokens: PatchTokens) -> str:
    """By what rule the patches were chosen, as their provenance has it."""
    config = (tokens.clips[0].provenance.get("selection") or {}).get("config") or {}
    return str(config.get("policy", "unknown rule"))
