"""Augmentation: crops of stored pictures, and changes of packed patches. Every choice is a function of a position.

A picture is cropped at random as in the published recipe (area 0.7 to 1 of it, aspect 0.8 to 1.25), a tall or wide crop
being stretched to the square. Patches, of a picture or of a video, can be mirrored with their positions, changed in
light and colour, and dropped. A video is never cropped: which patches it gives was decided by its whole frames.

Axes: K patches of a clip, D = 3*p*p in (channel, y, x) order, H W pixels, 3 = (t, h, w) or RGB.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.pretrain.counter_random import permutation, uniform
from onevision_encoder.pretrain.vocabulary import Box
from onevision_encoder.tokens import model_positions
from onevision_encoder.types import PatchTokens, order_rank

Crop = Literal["random", "center"]
_TRIES = 10
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_BLOCK = {"raster": 1, "block2": 2, "block3": 3}


@dataclass(frozen=True, kw_only=True)
class AugmentConfig:
    """What is changed at random. The defaults are the published recipe's: crops and mirrored pictures, no more.

    Raises:
        InvalidArgumentError: a value outside its range.
    """

    crop: Crop = "random"
    """random: of min_area to max_area of a picture, stretched to the square. center: the largest square."""
    min_area: float = 0.7
    max_area: float = 1.0
    min_aspect: float = 0.8
    max_aspect: float = 1.25
    """Width over height of a crop, drawn evenly on a logarithmic scale."""
    flip_images: float = 0.5
    """Chance that a picture is mirrored. One that gives labels of text never is: it could not be read."""
    flip_videos: float = 0.0
    """Chance that a video is mirrored. Left and right of its motion change places: not for classes of direction."""
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    """Light and colour are multiplied by 1 - x to 1 + x, all patches of a clip alike."""
    drop: float = 0.0
    """Share of the patches of each sample that is left out at random (whole blocks, where the order is by blocks)."""

    def __post_init__(self) -> None:
        if self.crop not in ("random", "center"):
            raise InvalidArgumentError("crop", self.crop, "random or center")
        if not 0 < self.min_area <= self.max_area <= 1:
            raise InvalidArgumentError("min_area, max_area", (self.min_area, self.max_area), "0 < min <= max <= 1")
        if not 0 < self.min_aspect <= self.max_aspect:
            found = (self.min_aspect, self.max_aspect)
            raise InvalidArgumentError("min_aspect, max_aspect", found, "0 < min <= max")
        for name, below in (("flip_images", 1.0), ("flip_videos", 1.0), ("brightness", 1), ("contrast", 1)):
            _within(name, getattr(self, name), below)
        _within("saturation", self.saturation, 1)
        if not 0 <= self.drop < 1:
            raise InvalidArgumentError("drop", self.drop, "0 up to, but not, 1")

    def kept(self, patches: int, unit: int = 1) -> int:
        """How many of ``patches`` are left after dropping: whole units, one at least."""
        units = patches // unit
        return max(1, units - math.floor(self.drop * units)) * unit


def _within(name: str, value: float, most: float) -> None:
    if not 0 <= value <= most:
        raise InvalidArgumentError(name, value, f"a number from 0 to {most:g}")


def crop_box(width: int, height: int, config: AugmentConfig, seed: int, position: int) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) in pixels of the part of a picture that is seen.

    Random: an area and an aspect are drawn until the box fits, ten times at most; then the largest centred box whose
    aspect is allowed.
    """
    if config.crop == "center":
        side = min(width, height)
        return _centred(width, height, side, side)
    draws = uniform(seed, "crop", position, 4 * _TRIES).reshape(_TRIES, 4)
    low, high = math.log(config.min_aspect), math.log(config.max_aspect)
    for area, aspect, x, y in draws.tolist():
        pixels = width * height * (config.min_area + area * (config.max_area - config.min_area))
        ratio = math.exp(low + aspect * (high - low))
        w, h = max(1, round(math.sqrt(pixels * ratio))), max(1, round(math.sqrt(pixels / ratio)))
        if w <= width and h <= height:
            left, top = int(x * (width - w + 1)), int(y * (height - h + 1))
            return left, top, left + w, top + h
    ratio = min(max(width / height, config.min_aspect), config.max_aspect)
    return _centred(width, height, min(width, round(height * ratio)), min(height, round(width / ratio)))


def _centred(width: int, height: int, w: int, h: int) -> tuple[int, int, int, int]:
    w, h = max(1, w), max(1, h)
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


def crop_image(rgb_HW3: NDArray[np.uint8], box: tuple[int, int, int, int], side: int) -> NDArray[np.uint8]:
    """The part of a picture in ``box``, stretched to uint8 [side, side, 3] (Pillow's bicubic, antialiased)."""
    left, top, right, bottom = box  # cut first: Pillow's own box lets what lies beside it in
    image = Image.fromarray(np.ascontiguousarray(rgb_HW3[top:bottom, left:right]))
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))


def share_of(box: tuple[int, int, int, int], width: int, height: int) -> Box:
    """A box in pixels as shares of the picture."""
    return box[0] / width, box[1] / height, box[2] / width, box[3] / height


def augment(tokens: PatchTokens, config: AugmentConfig, *, seed: int, position: int, flip: float) -> PatchTokens:
    """Mirror (with chance ``flip``), jitter and drop patches of one clip; the same for the same seed and position."""
    draws = uniform(seed, "augment", position, 4)
    if draws[0] < flip:
        tokens = mirror(tokens)
    ranges = (config.brightness, config.contrast, config.saturation)
    if any(ranges):
        factors = [float(1 + spread * (2 * draw - 1)) for spread, draw in zip(ranges, draws[1:], strict=True)]
        tokens = replace(tokens, patches_ND=jitter(tokens.patches_ND, *factors))
    if config.drop:
        tokens = _dropped(tokens, config, seed, position)
    return tokens


def mirror(tokens: PatchTokens) -> PatchTokens:
    """The tokens of the mirrored clip: patches and columns together, rows in the clip's own order."""
    clip = tokens.clips[0]
    side, columns = clip.patch, clip.grid[1]
    patches = tokens.patches_ND.reshape(-1, 3, side, side)[:, :, :, ::-1].reshape(len(tokens), -1)
    positions = tokens.positions_N3.copy()
    positions[:, 2] = columns - 1 - positions[:, 2]
    shape = (len(clip.frame_index_T), *clip.grid)
    rows = np.argsort(order_rank(positions, shape, clip.order), kind="stable")
    return _taken(replace(tokens, patches_ND=patches, positions_N3=positions), rows)


def jitter(patches_KD: NDArray[np.uint8], brightness: float, contrast: float, saturation: float) -> NDArray[np.uint8]:
    """Patches of one clip in other light: brightness scales, contrast stretches about the clip's mean luma, saturation
    about each pixel's luma (BT.601); rounded and clipped once, at the end."""
    rgb = patches_KD.reshape(len(patches_KD), 3, -1).astype(np.float32) * np.float32(brightness)
    luma = np.einsum("kcp,c->kp", rgb, _LUMA)[:, None]
    mean = np.float32(luma.mean(dtype=np.float64))
    rgb = (rgb - mean) * np.float32(contrast) + mean
    luma = (luma - mean) * np.float32(contrast) + mean
    rgb = (rgb - luma) * np.float32(saturation) + luma
    changed: NDArray[np.uint8] = np.rint(rgb).clip(0, 255).astype(np.uint8).reshape(patches_KD.shape)
    return changed


def _dropped(tokens: PatchTokens, config: AugmentConfig, seed: int, position: int) -> PatchTokens:
    unit = _BLOCK[tokens.clips[0].order] ** 2
    unit = unit if len(tokens) % unit == 0 else 1
    kept = config.kept(len(tokens), unit) // unit
    units = np.sort(permutation(seed, "drop", position, len(tokens) // unit)[:kept])
    return _taken(tokens, (units[:, None] * unit + np.arange(unit)).ravel())


def _taken(tokens: PatchTokens, rows: NDArray[np.int64]) -> PatchTokens:
    """Rows of the tokens of one clip, in the order given, with the RoPE positions that follow from their addresses.

    Where they are tiled, frames keep their places in the tall picture whatever is dropped of them.
    """
    clip, positions = tokens.clips[0], tokens.positions_N3[rows]
    if clip.layout == "tiled":
        model = tokens.model_positions_N3[rows]
        model[:, 2] = positions[:, 2]
    else:
        model = model_positions(positions, clip.model_time_T, layout=clip.layout, grid=clip.grid)
    return PatchTokens(
        patches_ND=tokens.patches_ND[rows],
        positions_N3=positions,
        model_positions_N3=model,
        score_N=tokens.score_N[rows],
        kind_N=tokens.kind_N[rows],
        cu_seqlens=np.array([0, len(rows)], np.int32),
        clips=tokens.clips,
    )
