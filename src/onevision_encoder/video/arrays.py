"""Frames in memory to :class:`FrameSequence`. Axes: T frames, H W pixels, 3 = RGB."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from os import PathLike
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.types import FrameSequence, SourceInfo
from onevision_encoder.video.before import FramesBefore
from onevision_encoder.video.color import luma_from_rgb, place, resize_rgb
from onevision_encoder.video.config import Sampling, Sizing
from onevision_encoder.video.geometry import content_mask, plan_size
from onevision_encoder.video.modes import pillow_rgb
from onevision_encoder.video.sampling import pattern_indices, slot_numbers
from onevision_encoder.video.versions import library_versions

_ACCEPTED = (
    "a uint8 RGB array [T, H, W, 3] or [H, W, 3], a PIL image, or a list of PIL images or of uint8 [H, W, 3] arrays, "
    "all of one size"
)
_CONVERT = f"{_ACCEPTED}: convert to uint8 numpy arrays first"
InMemory = NDArray[np.uint8] | Image.Image | Sequence[Image.Image | NDArray[np.uint8]]


def is_in_memory(source: object) -> TypeGuard[InMemory]:
    """Whether a source is frames in memory rather than a file: an array, a tensor, a PIL image, a list or a tuple."""
    return isinstance(source, np.ndarray | Image.Image | list | tuple) or is_tensor(source)


def frames_in_memory(
    source: InMemory,
    *,
    sampling: Sampling | None = None,
    sizing: Sizing | None = None,
    before: FramesBefore | None = None,
) -> FrameSequence:
    """What :func:`onevision_encoder.video.read_media` makes of frames in memory.

    ``num_frames`` and ``pattern`` sample them; ``frame_index_T`` counts what was given, and ``pts_seconds_T`` is that
    index (``source.timestamps="none"``). PIL images are treated as image files are. One [H, W, 3] array or PIL image is
    an image.

    Raises:
        ShapeError: anything but uint8 RGB frames of one size; a PIL image whose black and white nothing tells.
        InvalidArgumentError: a sampling in seconds.
    """
    sampling, sizing = sampling or Sampling(), sizing or Sizing()
    if before is not None:
        before.clear()
    if isinstance(source, Image.Image) or (isinstance(source, np.ndarray) and source.ndim == 3):
        return _read([source], np.zeros(1, np.int64), sizing, is_image=True, sampling=sampling)
    for name in ("fps", "start_seconds", "end_seconds"):
        if getattr(sampling, name) is not None:
            allowed = "None: frames in memory carry no times: sample them before, or give a file"
            raise InvalidArgumentError(name, getattr(sampling, name), allowed)
    if is_tensor(source):
        raise ShapeError("source", _describe(source), _CONVERT)
    if isinstance(source, np.ndarray) and source.ndim != 4:
        raise ShapeError("source", _describe(source), _ACCEPTED)
    if isinstance(source, list | tuple) and source and all(isinstance(item, str | PathLike) for item in source):
        allowed = "one file, or pictures that are the frames of one clip. For a list of files: one call per file"
        raise InvalidArgumentError(
            "source", [str(item) for item in source[:2]], f"{allowed}, then pack() joins the tokens (make_page(*files))"
        )
    if not len(source):
        raise ShapeError("source", f"an empty {type(source).__name__}", _ACCEPTED)
    chosen = pattern_indices(len(source), sampling)
    return _read(source, chosen, sizing, is_image=False, sampling=sampling, before=before)


def _read(
    frames: Sequence[Any] | NDArray[np.uint8],
    index_T: NDArray[np.int64],
    sizing: Sizing,
    *,
    is_image: bool,
    sampling: Sampling,
    before: FramesBefore | None = None,
) -> FrameSequence:
    """Convert one frame after the other, so that no more than the sampled ones, sized, are held."""
    chosen, sized, modes = set(index_T.tolist()), [], dict[str, None]()
    preceding = set() if before is None else set(before.of(index_T))
    alpha, count = False, len(frames)
    for index, frame in enumerate(frames):
        rgb_HW3, mode, has_alpha = _rgb_of(frame)
        modes[mode], alpha = None, alpha or has_alpha
        if index == 0:
            H, W, _ = rgb_HW3.shape
            digest = _digest((H, W, 3) if is_image else (count, H, W, 3))
        if rgb_HW3.shape != (H, W, 3):
            raise ShapeError(f"source[{index}]", rgb_HW3.shape, f"frames of one size, {(H, W, 3)} as the first")
        digest.update(np.ascontiguousarray(rgb_HW3).data)
        if index in chosen:
            sized.append(size_rgb(rgb_HW3, sizing))
        elif before is not None and index in preceding:
            before.keep(index, size_rgb(rgb_HW3, sizing))
    info = SourceInfo(
        name="image in memory" if is_image else f"{count} frames in memory",
        fingerprint="blake2b:" + digest.hexdigest(),
        codec="memory",
        width=W,
        height=H,
        num_frames=count,
        duration_seconds=0.0 if is_image else float(count),
        pixel_format=", ".join(modes),
        color_space="rgb",
        color_range="full",
        is_image=is_image,
        timestamps="none",
    )
    notes: dict[str, Any] = {"alpha": "dropped"} if alpha else {}
    if not is_image:
        notes = {"sampling": asdict(sampling), **notes}
    made = sequence(np.stack(sized), index_T, index_T.astype(np.float64), info, sizing, notes)
    return replace(made, slot_T=slot_numbers(index_T, count, sampling.pattern))


def _rgb_of(frame: Any) -> tuple[NDArray[np.uint8], str, bool]:
    """(uint8 [H, W, 3], the frame's own mode, whether an alpha channel was dropped)."""
    if isinstance(frame, Image.Image):
        return pillow_rgb(frame)
    fits = isinstance(frame, np.ndarray) and frame.ndim == 3 and frame.shape[2] == 3 and 0 not in frame.shape
    if not fits or frame.dtype != np.uint8:
        wrong_type = is_tensor(frame) or getattr(frame, "dtype", np.uint8) != np.uint8
        raise ShapeError("source", _describe(frame), _CONVERT if wrong_type else _ACCEPTED)
    return frame, "rgb24", False


def is_tensor(value: object) -> bool:
    """Whether a value is torch's, told without importing torch."""
    return type(value).__module__.partition(".")[0] == "torch"


def _describe(value: Any) -> object:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    return type(value).__name__ if shape is None else (type(value).__name__, tuple(shape), str(dtype))


def frames_from_array(
    rgb_THW3: NDArray[np.uint8], *, fps: float | None = None, sizing: Sizing | None = None, name: str = "array"
) -> FrameSequence:
    """RGB frames that are already in memory, every one of them, sized like a video's.

    Args:
        rgb_THW3: uint8 full-range RGB, T >= 1.
        fps: makes the timestamps; None = 1 frame a second, recorded as ``source.timestamps="none"``.
    Raises:
        ShapeError: not uint8 [T, H, W, 3] with T, H, W >= 1. InvalidArgumentError: fps <= 0.
    """
    array, sizing = np.asarray(rgb_THW3), sizing or Sizing()
    if array.ndim != 4 or array.shape[3] != 3 or array.dtype != np.uint8 or 0 in array.shape:
        raise ShapeError("rgb_THW3", (array.shape, str(array.dtype)), "uint8 [T, H, W, 3], no empty axis")
    if fps is not None and not (np.isfinite(fps) and fps > 0):
        raise InvalidArgumentError("fps", fps, "a finite number > 0 or None")
    T, H, W, _ = array.shape
    info = SourceInfo(
        name=name,
        fingerprint=fingerprint_rgb(array),
        codec="array",
        width=W,
        height=H,
        num_frames=T,
        fps=fps,
        duration_seconds=T / (fps or 1.0),
        pixel_format="rgb24",
        color_space="rgb",
        color_range="full",
        timestamps="none" if fps is None else "frame_rate",
    )
    sized = np.stack([size_rgb(rgb_HW3, sizing) for rgb_HW3 in array])
    return sequence(sized, np.arange(T, dtype=np.int64), np.arange(T) / (fps or 1.0), info, sizing, {})


def fingerprint_rgb(array: NDArray[np.uint8]) -> str:
    """Of RGB [..., H, W, 3]: its shape and its content."""
    digest = _digest(array.shape)
    digest.update(np.ascontiguousarray(array).data)
    return "blake2b:" + digest.hexdigest()


def _digest(shape: tuple[int, ...]) -> hashlib.blake2b:
    return hashlib.blake2b(str(shape).encode(), digest_size=16)


def size_rgb(rgb_HW3: NDArray[np.uint8], sizing: Sizing) -> NDArray[np.uint8]:
    """One picture at the recipe's size: Pillow's bicubic or box filter from full resolution."""
    plan = plan_size(rgb_HW3.shape[0], rgb_HW3.shape[1], sizing)
    filter = Image.Resampling.BICUBIC if plan.bicubic else Image.Resampling.BOX
    return place(resize_rgb(np.ascontiguousarray(rgb_HW3), *plan.resized, filter), plan)


def sequence(
    sized_THW3: NDArray[np.uint8],
    index_T: NDArray[np.int64],
    seconds_T: NDArray[np.float64],
    info: SourceInfo,
    sizing: Sizing,
    notes: Mapping[str, Any],
) -> FrameSequence:
    """Pictures that :func:`size_rgb` sized, and how. ``slot_T`` is that of a clip of exactly these frames."""
    plan = plan_size(info.height, info.width, sizing)
    return FrameSequence(
        rgb_THW3=sized_THW3,
        luma_THW=luma_from_rgb(sized_THW3),
        frame_index_T=index_T,
        pts_seconds_T=seconds_T.astype(np.float64),
        keyframe_T=np.ones(len(sized_THW3), np.bool_),
        patch=sizing.patch,
        merge=sizing.merge,
        content_hw=content_mask(plan, sizing.patch),
        slot_T=slot_numbers(np.arange(len(index_T)), len(index_T), "uniform"),
        source=info,
        provenance={
            "sizing": asdict(sizing),
            "resize": f"pillow {'bicubic' if plan.bicubic else 'box'} from full resolution",
            "resized_hw": plan.resized,
            "offset_tl": plan.offset,
            "versions": library_versions(),
            **notes,
        },
    )
