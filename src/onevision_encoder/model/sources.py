"""From files, bytes or arrays straight to embeddings: what ``model.encode_video`` and ``model.encode_image`` do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.model.embed import Embeddings, embed_tokens
from onevision_encoder.tokens import pack, read_clip
from onevision_encoder.types import PatchTokens

if TYPE_CHECKING:
    from onevision_encoder.model.encoder import OneVisionEncoderModel

_FILES = (str, bytes, bytearray, memoryview, PathLike)


def encode_videos(
    model: OneVisionEncoderModel, source: Any, *, return_tokens: bool, options: dict[str, Any]
) -> Embeddings:
    """One video, or a list of files or of [T, H, W, 3] arrays, each a clip. See ``OneVisionEncoderModel.encode_video``.

    A list of pictures ([H, W, 3] arrays, PIL images) is the frames of one video.
    """
    several = isinstance(source, (list, tuple)) and len(source) > 0 and all(_is_whole_video(item) for item in source)
    return _encode(model, list(source) if several else [source], return_tokens, options, still=False)


def encode_images(
    model: OneVisionEncoderModel, source: Any, *, return_tokens: bool, options: dict[str, Any]
) -> Embeddings:
    """One still image or a list of them, each a clip of one frame. See ``OneVisionEncoderModel.encode_image``."""
    sources = list(source) if isinstance(source, (list, tuple)) else [source]
    if not sources:
        raise InvalidArgumentError("source", source, "at least one image")
    return _encode(model, sources, return_tokens, options, still=True)


def _is_whole_video(item: object) -> bool:
    return isinstance(item, _FILES) or hasattr(item, "read") or getattr(item, "ndim", 0) == 4


def _encode(
    model: OneVisionEncoderModel,
    sources: Sequence[Any],
    return_tokens: bool,
    options: dict[str, Any],
    still: bool,
) -> Embeddings:
    options = {"patch": model.config.patch_size, **options}
    return embed_tokens(model, pack(list(_tokens(sources, options, still))), return_tokens=return_tokens)


def _tokens(sources: Iterable[Any], options: dict[str, Any], still: bool) -> Iterable[PatchTokens]:
    for source in sources:
        clip = read_clip(source, **options)
        if still and not clip.frames.source.is_image:
            name = clip.frames.source.name
            raise InvalidArgumentError("source", name, f"a still image; for its frames say encode_video({name!r})")
        yield clip.tokens()
