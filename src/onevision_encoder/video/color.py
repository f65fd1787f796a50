"""Decoded pictures to sized full-range RGB, and RGB to the luma that signal providers look at.

Axes: T frames, H W pixels, 3 = RGB.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onevision_encoder.errors import ShapeError
from onevision_encoder.video.geometry import SizePlan

if TYPE_CHECKING:
    import av

# AVColorSpace tag -> swscale's matrix. A tag that is missing here (unspecified, RGB, XYZ ...) takes BT.601, which is
# swscale's default for every size and therefore what decord, OpenCV and the published encoder's training pipeline saw.
_BT709, _FCC, _BT601, _SMPTE240M, _BT2020 = 1, 4, 5, 7, 9
_MATRIX = {1: _BT709, 4: _FCC, 5: _BT601, 6: _BT601, 7: _SMPTE240M, 9: _BT2020, 10: _BT2020}
_MATRIX_NAME = {1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 9: "bt2020nc", 10: "bt2020c"}
_LIMITED, _FULL = 1, 2

# swscale flags: AREA / BICUBIC, and full chroma interpolation, accurate rounding and bit exactness on top, so that
# the result does not depend on which vector instructions the machine has.
_AREA, _BICUBIC, _EXACT = 0x20, 0x4, 0x2000 | 0x4000 | 0x40000 | 0x80000
_EXPAND = np.clip(np.round((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)
"""Limited to full range."""
_MAX_SWSCALE_RATIO = 64
"""swscale refuses filters beyond 256 taps; larger reductions go through Pillow's box filter from full resolution."""


def luma_from_rgb(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Full-range BT.601 luma of RGB [..., 3], uint8 [...].

    ``(19595 R + 38470 G + 7471 B + 32768) >> 16``: 0.299, 0.587, 0.114 in 1/65536, rounded half up. Grey stays as it
    is. The same integers as Pillow's conversion to ``L``.

    Raises:
        ShapeError: not uint8, or the last axis is not 3.
    """
    if rgb.dtype != np.uint8 or rgb.ndim < 1 or rgb.shape[-1] != 3:
        raise ShapeError("rgb", (rgb.shape, str(rgb.dtype)), "uint8 [..., 3]")
    luma = np.empty(rgb.shape[:-1], np.uint8)
    flat_rgb, flat = rgb.reshape(-1, 3), luma.reshape(-1)
    for start in range(0, len(flat), 1 << 16):  # slices that stay in the cache
        part = flat_rgb[start : start + (1 << 16)].astype(np.uint32)
        flat[start : start + (1 << 16)] = (part[:, 0] * 19595 + part[:, 1] * 38470 + part[:, 2] * 7471 + 32768) >> 16
    return luma


def color_tags(frame: av.VideoFrame) -> tuple[str, str]:
    """(matrix, range) as tagged, ``unspecified (...)`` with the rule that is applied where there is no tag."""
    space = _MATRIX_NAME.get(frame.colorspace, "unspecified (read as bt601)")
    if _is_rgb(frame):
        return "rgb", "full"
    if _full_range(frame):
        return space, "full"
    if frame.color_range == _LIMITED:
        return space, "limited"
    return space, f"unspecified (read as {'full' if _is_grey(frame) else 'limited'})"


def _is_rgb(frame: av.VideoFrame) -> bool:
    name = frame.format.name
    return frame.format.is_rgb or name.startswith(("gbr", "pal8"))


def _is_grey(frame: av.VideoFrame) -> bool:
    """Grey formats, which swscale reads as full range whatever it is told."""
    return frame.format.name.startswith(("gray", "ya8", "ya16", "mono"))


def _full_range(frame: av.VideoFrame) -> bool:
    return frame.color_range == _FULL or frame.format.name.startswith("yuvj")


class RgbConverter:
    """Turns decoded frames into sized RGB, one at a time and each on its own, with one thread.

    Matrix and range are taken from each frame's own tags; no tag means BT.601 and limited range (RGB, grey and
    ``yuvj`` formats: full range). Transfer functions are left alone (HDR is not tone mapped), interlaced frames are not
    deinterlaced, an alpha channel is dropped.
    """

    def __init__(self) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        self.ran: set[str] = set()
        """What has resized frames so far, in words."""
        self._reformatter = VideoReformatter()
        # Older PyAV has no such argument and never uses threads here.
        self._threads: dict[str, Any] = {"threads": 1} if _takes_threads(av) else {}

    def full(self, frame: av.VideoFrame) -> NDArray[np.uint8]:
        """RGB of the frame at its own size, uint8 [H, W, 3], chroma interpolated bicubically."""
        return self._scale(frame, frame.height, frame.width, _BICUBIC)

    def sized(self, frame: av.VideoFrame, plan: SizePlan, turns: int = 0, mirror: bool = False) -> NDArray[np.uint8]:
        """RGB uint8 [H, W, 3] of ``plan.out``, upright: mirrored left to right if so, then turned counter-clockwise."""
        rows, cols = plan.resized if turns % 2 == 0 else plan.resized[::-1]
        ratio = max(frame.height / rows, frame.width / cols)
        if plan.bicubic or ratio > _MAX_SWSCALE_RATIO:
            filter = Image.Resampling.BICUBIC if plan.bicubic else Image.Resampling.BOX
            picture = resize_rgb(self.full(frame), rows, cols, filter)
            self.ran.add(f"pillow {filter.name.lower()} from full resolution")
        else:
            picture = self._scale(frame, rows, cols, _AREA)
            self.ran.add("swscale area")
        return place(upright(picture, turns, mirror), plan)

    def _scale(self, frame: av.VideoFrame, rows: int, cols: int, method: int) -> NDArray[np.uint8]:
        matrix = _MATRIX.get(frame.colorspace, _BT601)
        scaled = self._reformatter.reformat(
            frame,
            width=cols,
            height=rows,
            format="rgb24",
            src_colorspace=matrix,
            # RGB has no matrix; naming another one makes every PyAV version set swscale's colour details.
            dst_colorspace=_BT601 if matrix != _BT601 else _BT709,
            interpolation=method | _EXACT,
            src_color_range=_FULL if _full_range(frame) or _is_rgb(frame) else _LIMITED,
            dst_color_range=_FULL,
            **self._threads,
        )
        rgb = np.asarray(scaled.to_ndarray(), dtype=np.uint8)
        return _EXPAND[rgb] if _is_grey(frame) and frame.color_range == _LIMITED else rgb


def _takes_threads(av_module: Any) -> bool:
    return "threads" in (av_module.VideoFrame.reformat.__doc__ or "")


def resize_rgb(rgb_HW3: NDArray[np.uint8], rows: int, cols: int, filter: Image.Resampling) -> NDArray[np.uint8]:
    """Antialiased resize with Pillow."""
    if rgb_HW3.shape[:2] == (rows, cols):
        return rgb_HW3
    return np.asarray(Image.fromarray(rgb_HW3).resize((cols, rows), resample=filter))


def upright(rgb_HW3: NDArray[np.uint8], turns: int, mirror: bool) -> NDArray[np.uint8]:
    picture = rgb_HW3[:, ::-1] if mirror else rgb_HW3
    return np.rot90(picture, turns) if turns % 4 else picture


def place(rgb_HW3: NDArray[np.uint8], plan: SizePlan) -> NDArray[np.uint8]:
    """Crop or pad a resized picture to ``plan.out``; padding is black."""
    if rgb_HW3.shape[:2] == plan.out:
        return np.ascontiguousarray(rgb_HW3)
    (top, left), (H, W) = plan.offset, plan.out
    cut = rgb_HW3[max(-top, 0) : max(-top, 0) + H, max(-left, 0) : max(-left, 0) + W]
    out = np.zeros((H, W, 3), np.uint8)
    y, x = max(top, 0), max(left, 0)
    out[y : y + cut.shape[0], x : x + cut.shape[1]] = cut
    return out


def orientation(matrix: bytes | None) -> tuple[int, bool]:
    """(counter-clockwise quarter turns, mirrored) of a display matrix (nine int32), (0, False) where there is none.

    FFmpeg's matrix maps a point (x, y) to (a x + c y, b x + d y) with a, b, c, d at 0, 1, 3, 4 in 16.16; y points
    down. Angles are rounded to the nearest quarter turn; a degenerate matrix counts as none.
    """
    if matrix is None or len(matrix) < 36:
        return 0, False
    m = np.frombuffer(matrix[:36], np.int32).astype(np.float64)
    a, b, c, d = m[0], m[1], m[3], m[4]
    determinant = a * d - b * c
    if determinant == 0:
        return 0, False
    mirror = determinant < 0
    if mirror:  # mirrored first, then turned: the matrix of the turn alone
        a, b = -a, -b
    return round(-math.degrees(math.atan2(b, a)) / 90) % 4, bool(mirror)
