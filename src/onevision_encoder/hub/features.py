"""Model inputs: normalised floats from uint8 tokens or pictures, and what a person may want to know of them.

Axes: N tokens of the pack, S segments (images, then videos), D = 3*p*p, B batch, T frames, H W pixels, L = T*h*w.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import BatchFeature

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.hub.options import brief
from onevision_encoder.model.embed import CLIP_MEAN, CLIP_STD, normalize_patches
from onevision_encoder.tokens.packing import pack, unpack
from onevision_encoder.tokens.patches import unpatchify
from onevision_encoder.types import ClipInfo, PatchTokens

Modality = Literal["image", "video"]
Parts = Sequence[tuple[Modality, PatchTokens]]
"""Tokens of one or several clips each, and what they are of."""


@dataclass(frozen=True, kw_only=True, eq=False)
class InputMetadata:
    """What the inputs are of, segment by segment.

    Attributes:
        modalities: ``image`` or ``video``. clips: name, grid, frame indices, seconds, provenance of each segment.
        positions_N3: int32 (t, h, w) addresses of the tokens, t a row of the clip's ``frame_index_T``; None for
            dense input, which holds every patch. kind_N: uint8 of :class:`onevision_encoder.types.Kind`, or None.
        image_grid_thw, video_grid_thw: int64 [n, 3] of (frames, rows, columns), None unless there are segments of
            that modality and all of them are whole frames.
    """

    modalities: tuple[Modality, ...]
    clips: tuple[ClipInfo, ...]
    positions_N3: NDArray[np.int32] | None
    kind_N: NDArray[np.uint8] | None
    image_grid_thw: NDArray[np.int64] | None
    video_grid_thw: NDArray[np.int64] | None


class EncoderInputs(BatchFeature):
    """What a processor returns: ``model(**inputs)`` takes all of it.

    Packed: ``pixel_values`` float32 [N, D], ``patch_positions`` float32 [N, 3], ``cu_seqlens`` int32 [S + 1].
    Dense: ``pixel_values`` [B, 3, H, W]; of videos [B, 3, T, H, W] with ``patch_positions`` [B, L, 3].
    """

    def __init__(
        self, data: Mapping[str, Any] | None = None, tensor_type: Any = None, metadata: InputMetadata | None = None
    ) -> None:
        self._metadata = metadata
        super().__init__(None if data is None else dict(data), tensor_type=tensor_type)

    @property
    def metadata(self) -> InputMetadata:
        """Frames, times and grids of the inputs; no model input. Raises InvalidArgumentError if not asked for."""
        if self._metadata is None:
            raise InvalidArgumentError("return_metadata", False, "True, when the processor is called")
        return self._metadata

    def to(self, *args: Any, **kwargs: Any) -> EncoderInputs:
        """As in transformers, but positions stay float32: in half precision they would stand for other places."""
        exact = self.data.get("patch_positions")
        super().to(*args, **kwargs)
        if isinstance(exact, Tensor):
            self.data["patch_positions"] = exact.to(self.data["patch_positions"].device)
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {"data": self.data, "metadata": self._metadata}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.data, self._metadata = state["data"], state["metadata"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Normalization:
    """(x / 255 - mean) / std for each of R, G, B.

    Raises InvalidArgumentError unless each is a list, tuple or array of 3 finite numbers, those of std above 0.
    """

    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            values = getattr(self, name)
            three = _three_numbers(values)
            if three is None or (name == "std" and min(three) <= 0):
                allowed = "three finite numbers, for R, G, B" + (", above 0" if name == "std" else "")
                raise InvalidArgumentError(f"image_{name}", brief(values), allowed)
            object.__setattr__(self, name, three)

    def __call__(self, patches_ND: NDArray[np.uint8]) -> Tensor:
        """uint8 [N, D] in (channel, y, x) order -> float32. CLIP's numbers take the path of ``embed_tokens``."""
        x_ND = torch.tensor(patches_ND)  # copies: tokens are read-only, and torch has no such thing
        if (self.mean, self.std) == (CLIP_MEAN, CLIP_STD):
            return normalize_patches(x_ND)
        x_N3P = torch.unflatten(x_ND.to(torch.float32), 1, (3, -1)) / 255.0
        mean, std = torch.tensor(self.mean)[:, None], torch.tensor(self.std)[:, None]
        return ((x_N3P - mean) / std).flatten(1)


def _three_numbers(values: Any) -> tuple[float, ...] | None:
    """As floats, or None where they are anything but three finite numbers in an order."""
    given = list(values) if isinstance(values, list | tuple) or (isinstance(values, np.ndarray) and values.ndim) else []
    if len(given) != 3:
        return None
    if not all(isinstance(value, numbers.Real) and not isinstance(value, bool) for value in given):
        return None  # no bool of numpy is a Real
    found = tuple(float(value) for value in given)
    return found if all(map(math.isfinite, found)) else None


def packed_inputs(parts: Parts, normalize: Normalization, *, return_tensors: str, metadata: bool) -> EncoderInputs:
    """Segments of any size and length end to end."""
    tokens = pack([part for _, part in parts])
    data = {
        "pixel_values": normalize(tokens.patches_ND),
        "patch_positions": torch.tensor(tokens.model_positions_N3),
        "cu_seqlens": torch.tensor(tokens.cu_seqlens),
    }
    return _returned(data, return_tensors, _metadata(parts, dense=False) if metadata else None)


def dense_inputs(parts: Parts, normalize: Normalization, *, return_tensors: str, metadata: bool) -> EncoderInputs:
    """Whole frames, all items of one modality and one size.

    Raises:
        InvalidArgumentError: images and videos together, or tokens that are not all patches of their frames.
        ShapeError: sizes or lengths differ.
    """
    items = _items(parts)
    modalities, clips = {modality for modality, _ in items}, [clip for _, clip in items]
    if len(modalities) > 1:
        raise InvalidArgumentError("layout", "dense", "'packed' for images and videos together")
    if not all(_whole(clip) and clip.clips[0].order == "raster" for clip in clips):
        raise InvalidArgumentError(
            "layout", "dense", "'packed' for chosen patches: dense holds whole frames, in raster order"
        )
    shapes = [_shape(clip) for clip in clips]
    if len(set(shapes)) > 1:
        raise ShapeError("layout='dense', (frames, rows, columns)", shapes, "one size and length; else layout='packed'")
    patch = clips[0].patch
    T, H, W = shapes[0][0], shapes[0][1] * patch, shapes[0][2] * patch
    rgb = np.stack([unpatchify(clip.patches_ND, shapes[0], patch) for clip in clips])
    pixels = normalize(rgb.transpose(0, 4, 1, 2, 3).reshape(len(clips), -1)).reshape(len(clips), 3, T, H, W)
    data = {"pixel_values": pixels}
    if modalities == {"image"}:
        data["pixel_values"] = pixels[:, :, 0]
    else:
        data["patch_positions"] = torch.tensor(np.stack([clip.model_positions_N3 for clip in clips]))
    return _returned(data, return_tensors, _metadata(parts, dense=True) if metadata else None)


def _shape(tokens: PatchTokens) -> tuple[int, int, int]:
    """(frames, rows, columns) that one clip's tokens are chosen from."""
    clip = tokens.clips[0]
    return (len(clip.frame_index_T), *clip.grid)


def _whole(tokens: PatchTokens) -> bool:
    """Whether one clip's tokens are all patches of its frames, each frame at its own time."""
    return tokens.clips[0].layout == "frames" and len(tokens) == math.prod(_shape(tokens))


def _metadata(parts: Parts, *, dense: bool) -> InputMetadata:
    items = _items(parts)

    def grids(wanted: Modality) -> NDArray[np.int64] | None:
        chosen = [clip for modality, clip in items if modality == wanted]
        whole = bool(chosen) and all(_whole(clip) for clip in chosen)
        return np.array([_shape(clip) for clip in chosen], dtype=np.int64) if whole else None

    return InputMetadata(
        modalities=tuple(modality for modality, _ in items),
        clips=tuple(clip.clips[0] for _, clip in items),
        positions_N3=None if dense else np.concatenate([clip.positions_N3 for _, clip in items]),
        kind_N=None if dense else np.concatenate([clip.kind_N for _, clip in items]),
        image_grid_thw=grids("image"),
        video_grid_thw=grids("video"),
    )


def _items(parts: Parts) -> list[tuple[Modality, PatchTokens]]:
    return [(modality, clip) for modality, part in parts for clip in unpack(part)]


def _returned(data: dict[str, Tensor], return_tensors: str, metadata: InputMetadata | None) -> EncoderInputs:
    kept = data if return_tensors == "pt" else {name: value.numpy() for name, value in data.items()}
    return EncoderInputs(kept, metadata=metadata)
