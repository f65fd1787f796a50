"""From whatever the caller has to the packed core: patches, positions, segments.

Axes: B batch, T frames, H W pixels, p patch side, h w rows and columns of patches, L = T*h*w patches of an item,
K patches looked at, N tokens of the pack, S segments, D = 3*p*p, 3 = (t, h, w).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.model.configuration import OneVisionEncoderConfig
from onevision_encoder.model.marked import MarkedSegments, segments_of
from onevision_encoder.model.segments import Segments
from onevision_encoder.model.windows import Windows, bounded_windows, dense_windows, frame_windows

_MEANT = (
    "a torch tensor of normalised floats; for a file or a uint8 array say model.encode_video(...) or "
    "model.encode_image(...), for tokens embed_tokens(model, tokens), or make tensors with the processor: "
    "model(**processor(videos=...))"
)


@dataclass(frozen=True, kw_only=True)
class PackedInput:
    """What the core encodes. ``segments`` are the clips, ``windows`` where attention happens (the clips, mostly).

    ``batch`` is (B, K) for dense input and None for packed input.
    """

    patches_ND: Tensor
    positions_N3: Tensor
    segments: Segments | MarkedSegments
    windows: Windows
    batch: tuple[int, int] | None = None


def build_input(
    pixel_values: Tensor,
    *,
    config: OneVisionEncoderConfig,
    visible_indices: Tensor | None = None,
    patch_positions: Tensor | None = None,
    cu_seqlens: Tensor | Sequence[int] | None = None,
    window_cu_seqlens: Tensor | Sequence[int] | None = None,
) -> PackedInput:
    """Tell the layouts apart by rank; arguments as in :meth:`OneVisionEncoderModel.forward`.

    Raises:
        ShapeError: sizes that do not fit each other or the patch.
        InvalidArgumentError: pixels that are no floats, indices out of range, arguments that exclude each other.
    """
    if not isinstance(pixel_values, Tensor):
        raise InvalidArgumentError("pixel_values", _kind(pixel_values), _MEANT)
    if not pixel_values.is_floating_point():
        raise InvalidArgumentError(
            "pixel_values.dtype", str(pixel_values.dtype), "floats, already normalised (see embed_tokens)"
        )
    if pixel_values.numel() == 0:
        raise ShapeError("pixel_values", tuple(pixel_values.shape), "at least one patch")
    if pixel_values.ndim == 2:
        if visible_indices is not None:
            raise InvalidArgumentError(
                "visible_indices", tuple(visible_indices.shape), "None for packed [N, D] input: say patch_positions"
            )
        return _packed(pixel_values, patch_positions, cu_seqlens, window_cu_seqlens, config)
    if pixel_values.ndim not in (4, 5):
        raise ShapeError(
            "pixel_values", tuple(pixel_values.shape), "[N, D] packed patches, [B, 3, H, W] or [B, 3, T, H, W]"
        )
    for name, bounds in (("cu_seqlens", cu_seqlens), ("window_cu_seqlens", window_cu_seqlens)):
        if bounds is not None:
            raise InvalidArgumentError(name, "given", "None for dense input: every item is a segment of its own")
    return _dense(pixel_values, visible_indices, patch_positions, config)


def _packed(
    patches_ND: Tensor,
    patch_positions: Tensor | None,
    cu_seqlens: Tensor | Sequence[int] | None,
    window_cu_seqlens: Tensor | Sequence[int] | None,
    config: OneVisionEncoderConfig,
) -> PackedInput:
    N, D = patches_ND.shape
    p = config.patch_size
    if 3 * p * p != D:
        raise ShapeError("pixel_values", (N, D), f"[N, {3 * p * p}] = 3 * patch_size^2 with patch_size = {p}")
    if patch_positions is None:
        raise InvalidArgumentError("patch_positions", None, "[N, 3] with packed [N, D] input")
    positions_N3 = _numbers(patch_positions)
    if tuple(positions_N3.shape) != (N, 3):
        raise ShapeError("patch_positions", tuple(positions_N3.shape), f"{(N, 3)}: one (t, h, w) for each patch")
    device = patches_ND.device
    segments = segments_of(cu_seqlens, N, device)
    if window_cu_seqlens is not None:
        windows = bounded_windows(segments_of(window_cu_seqlens, N, device, "window_cu_seqlens"), segments)
    elif config.window_frames is not None:
        windows = frame_windows(positions_N3[:, 0], segments, config.window_frames)
    else:
        windows = Windows(segments=segments)
    return PackedInput(
        patches_ND=patches_ND, positions_N3=positions_N3.to(patches_ND.device), segments=segments, windows=windows
    )


def _dense(
    pixels: Tensor, visible_indices: Tensor | None, patch_positions: Tensor | None, config: OneVisionEncoderConfig
) -> PackedInput:
    pixels_B3THW = pixels if pixels.ndim == 5 else pixels.unsqueeze(2)
    B, channels, T, H, W = pixels_B3THW.shape
    p = config.patch_size
    if channels != 3:
        raise ShapeError("pixel_values", tuple(pixels.shape), "3 channels (RGB) on axis 1")
    if H % p or W % p:
        raise ShapeError(
            "pixel_values", tuple(pixels.shape), f"height and width that are multiples of patch_size = {p}"
        )
    grid = (T, H // p, W // p)
    L = T * grid[1] * grid[2]
    # [B, T, h, w, 3, p, p] as a view: no pixel moves before it is known which patches are wanted.
    patches = torch.unflatten(torch.unflatten(pixels_B3THW, 4, (-1, p)), 3, (-1, p)).permute(0, 2, 3, 5, 1, 4, 6)
    address_BK3, chooses = None, False
    if visible_indices is not None:
        frames = T if pixels.ndim == 4 or config.rope_temporal_size is None else max(T, config.rope_temporal_size)
        chooses = visible_indices.ndim == 2 and visible_indices.shape[1] != L
        index_BK = _checked_indices(visible_indices, B, L if chooses else frames * grid[1] * grid[2])
        address_BK3 = _unravel(index_BK.to(pixels.device), grid)
        if chooses:
            batch_B1 = torch.arange(B, device=pixels.device)[:, None]
            patches = patches[batch_B1, address_BK3[..., 0], address_BK3[..., 1], address_BK3[..., 2]]
    K = L if address_BK3 is None else address_BK3.shape[1]
    if patch_positions is not None:
        positions_BK3 = _dense_positions(patch_positions, B, K).to(pixels.device)
    elif address_BK3 is not None:
        positions_BK3 = address_BK3
    else:
        positions_BK3 = _unravel(torch.arange(L, device=pixels.device), grid).expand(B, L, 3)
    segments = Segments.dense(B, K)
    if config.window_frames is None:
        windows = Windows(segments=segments)
    elif address_BK3 is not None and chooses:
        windows = frame_windows(address_BK3[..., 0].flatten(), segments, config.window_frames)
    else:
        windows = dense_windows(B, T, grid[1] * grid[2], config.window_frames)
    return PackedInput(
        patches_ND=patches.reshape(B * K, 3 * p * p),
        positions_N3=positions_BK3.reshape(B * K, 3),
        segments=segments,
        windows=windows,
        batch=(B, K),
    )


def _unravel(index: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """(t, h, w) of flat indices, on a new last axis; t may lie beyond the grid's frames."""
    _, h, w = grid
    return torch.stack([index // (h * w), index % (h * w) // w, index % w], dim=-1)


def _checked_indices(indices: Tensor, batch: int, limit: int) -> Tensor:
    if indices.ndim != 2 or indices.shape[0] != batch or indices.shape[1] < 1:
        raise ShapeError("visible_indices", tuple(indices.shape), f"[{batch}, K] with K >= 1")
    if indices.is_floating_point() or indices.dtype == torch.bool:
        raise InvalidArgumentError("visible_indices.dtype", str(indices.dtype), "an integer dtype")
    if not (torch.compiler.is_compiling() or indices.is_meta):  # reading values would break the graph
        low, high = (int(bound) for bound in indices.aminmax())
        if low < 0 or high >= limit:
            raise InvalidArgumentError("visible_indices", f"{low}..{high}", f"0..{limit - 1}")
    return indices.long()  # int16, as data loaders store them, cannot index


def _dense_positions(patch_positions: Tensor, batch: int, count: int) -> Tensor:
    positions = _numbers(patch_positions)
    if positions.ndim != 3 or positions.shape[0] not in (1, batch) or tuple(positions.shape[1:]) != (count, 3):
        raise ShapeError(
            "patch_positions",
            tuple(positions.shape),
            " or ".join(f"[{items}, {count}, 3]" for items in sorted({batch, 1}, reverse=True))
            + f": one (t, h, w) for each of the {count} patches",
        )
    return positions.expand(batch, count, 3)


def _kind(value: Any) -> object:
    """What to show of something that is no tensor: a short string as it is, an array by shape and dtype."""
    if isinstance(value, str):
        return value if len(value) <= 80 else f"{value[:77]}..."
    shape = getattr(value, "shape", None)
    return type(value).__name__ if shape is None else (type(value).__name__, tuple(shape), str(value.dtype))


def _numbers(positions: Tensor) -> Tensor:
    if positions.is_complex() or positions.dtype == torch.bool:
        raise InvalidArgumentError("patch_positions.dtype", str(positions.dtype), "integers or floats")
    if positions.is_floating_point() and not (torch.compiler.is_compiling() or positions.is_meta):
        bad = int((~positions.isfinite()).sum())
        if bad:
            raise InvalidArgumentError("patch_positions", f"{bad} numbers that are not finite", "finite numbers")
    return positions
