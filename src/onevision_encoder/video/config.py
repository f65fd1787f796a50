"""What to read: which frames (:class:`Sampling`), at what size (:class:`Sizing`), who watches (:class:`FrameObserver`).

Nothing here imports av, so that the configuration of a command line loads fast.
"""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol, TypeAlias, get_args

from onevision_encoder.checks import refuse_unread
from onevision_encoder.errors import InvalidArgumentError

if TYPE_CHECKING:
    import av
    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

Source: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO"
    " | NDArray[np.uint8] | Image.Image | Sequence[Image.Image | NDArray[np.uint8]]"
)
"""A path, a URL (``scheme://``, handed to FFmpeg), the bytes of a file, or a binary file object.

:func:`onevision_encoder.video.read_media` also takes frames in memory: uint8 RGB [T, H, W, 3] or [H, W, 3], a PIL
image, or a list of PIL images or [H, W, 3] arrays; what needs a file refuses them.
"""

Recipe = Literal["native", "crop224", "image448", "letterbox"]
OnDamage = Literal["partial", "error"]
Pattern = Literal["uniform", "bins"]
BinFrame = Literal["first", "middle", "random"]


def _whole_number(config: object, name: str, *, none: bool = False, least: int = 1) -> None:
    """An integer >= least of any kind (numpy's, say) becomes an int."""
    value = getattr(config, name)
    if none and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise InvalidArgumentError(name, value, f"an integer >= {least}" + (" or None" if none else ""))
    object.__setattr__(config, name, int(value))


def _real_number(config: object, name: str, allowed: str, *, zero: bool) -> None:
    """A finite number >= 0 (or > 0) of any kind becomes a float; None stays."""
    value = getattr(config, name)
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise InvalidArgumentError(name, value, allowed)
    number = float(value)
    if not (math.isfinite(number) and (number > 0 or (zero and number == 0))):
        raise InvalidArgumentError(name, value, allowed)
    object.__setattr__(config, name, number)


def _one_of(config: object, name: str, choices: object) -> None:
    if getattr(config, name) not in get_args(choices):
        raise InvalidArgumentError(name, getattr(config, name), "one of " + ", ".join(get_args(choices)))


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which frames of a video, never one twice."""

    num_frames: int | None = 64
    """How many frames at most, 1 or more, chosen by pattern. None takes every frame.
    A window with fewer frames gives all of them."""

    pattern: Pattern = "uniform"
    """uniform: evenly spread from the first to the last frame of the window.
    bins: the window is cut into num_frames equal bins and gives one frame of each, see bin_frame."""

    bin_frame: BinFrame = "middle"
    """Which frame of a bin is taken: the first, the middle one, or one at random. With pattern bins only."""

    frame_seed: int = 0
    """Seed of bin_frame random, and of nothing else, 0 or more.
    The same seed takes the same places in the bins of every video."""

    fps: float | None = None
    """Frames a second, above 0: the frames nearest to a regular grid in time from the window's first frame on.
    Where that gives more than num_frames they are thinned by pattern."""

    start_seconds: float | None = None
    """Start of the window in seconds from the first frame of the video. None starts at the first frame."""

    end_seconds: float | None = None
    """End of the window in seconds from the first frame of the video. None runs to the last frame.
    A frame at that very time is left out."""

    # uniform: trunc(linspace(0, N - 1, num_frames)) over the N frames of the window, the published encoder's rule.
    # bins: frame f lies in bin f * num_frames // N. The published encoder was trained on random frames of 8 bins.
    # fps: ties go to the earlier frame, and a frame nearest to several points of the grid is taken once.

    def __post_init__(self) -> None:
        _whole_number(self, "num_frames", none=True)
        _whole_number(self, "frame_seed", least=0)
        _one_of(self, "pattern", Pattern)
        _one_of(self, "bin_frame", BinFrame)
        _real_number(self, "fps", "a finite number > 0 or None", zero=False)
        for name in ("start_seconds", "end_seconds"):
            _real_number(self, name, "a finite number of seconds >= 0 or None", zero=True)
        if self.end_seconds is not None and self.end_seconds <= (self.start_seconds or 0.0):
            raise InvalidArgumentError(
                "end_seconds", self.end_seconds, f"above start_seconds={self.start_seconds or 0.0}"
            )
        refuse_unread(self)


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """At what size frames are read. Every side is a multiple of patch times merge."""

    patch: int = 14
    """Side of a patch in pixels."""

    merge: int = 1
    """Patches a side of a selection unit: 1, or 2 where a 2x2 merge follows."""

    recipe: Recipe = "native"
    """How a picture is brought to size.
    native keeps its aspect ratio as well as the multiples allow, within max_patches, never enlarged beyond rounding.
    crop224 and image448 resize the short side to 224 or 448 (bicubic) and crop the centre square.
    letterbox fits the long side to side, on a black square."""

    max_patches: int = 256
    """Most patches a frame may have with the native recipe; other recipes do not look at it."""

    side: int | None = None
    """Side of the letterbox square in pixels, with that recipe only.
    None takes 576, rounded down to a multiple of patch times merge."""

    # crop224 is the original's evaluation loader; image448 is CLIPImageProcessor pixel for pixel; 576 is the original's
    # letterbox, whose patches are no content where they touch padding.

    def __post_init__(self) -> None:
        for name in ("patch", "merge", "max_patches"):
            _whole_number(self, name)
        _whole_number(self, "side", none=True)
        if self.merge not in (1, 2):
            raise InvalidArgumentError("merge", self.merge, "1 or 2")
        _one_of(self, "recipe", Recipe)
        if self.recipe == "native" and self.max_patches < self.merge**2:
            raise InvalidArgumentError("max_patches", self.max_patches, f"at least one unit: >= {self.merge**2}")
        if self.recipe != "native":
            side = self.square
            if side < self.unit or side % self.unit:
                allowed = f"recipe {self.recipe!r} makes {side} x {side} pixels: a patch * merge that divides {side}"
                raise InvalidArgumentError("patch * merge", self.unit, allowed)

    @property
    def unit(self) -> int:
        """Pixels that every side is a multiple of."""
        return self.patch * self.merge

    @property
    def square(self) -> int:
        """Side of the square recipes in pixels (0 for ``native``)."""
        fixed = {"native": 0, "crop224": 224, "image448": 448}
        if self.recipe in fixed:
            return fixed[self.recipe]
        return self.side if self.side is not None else 576 // self.unit * self.unit


class FrameObserver(Protocol):
    """Sees every decoded frame from the first to the last sampled one, in presentation order, in the reader's own pass.

    The frame is the decoder's (no rotation, no resizing) and is only valid during the call. With
    ``export_motion_vectors`` the decoder exports motion vectors and encoding parameters as side data where it can.
    """

    export_motion_vectors: bool

    def __call__(self, frame: av.VideoFrame, *, frame_index: int, sampled: bool) -> None: ...


def check_on_damage(value: str) -> None:
    if value not in get_args(OnDamage):
        raise InvalidArgumentError("on_damage", value, "one of " + ", ".join(get_args(OnDamage)))


def check_how(sampling: object, sizing: object) -> None:
    """Raise InvalidArgumentError unless both are None or what their names say (a dict is not)."""
    for name, value, kind in (("sampling", sampling, Sampling), ("sizing", sizing, Sizing)):
        if value is not None and not isinstance(value, kind):
            raise InvalidArgumentError(
                name, value, f"a {kind.__name__}(...) or None; {kind.__name__}(**options) of a dict"
            )
