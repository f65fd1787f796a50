"""What to read: which frames (:class:`Sampling`), at what size (:class:`Sizing`), who watches (:class:`FrameObserver`).

Nothing here imports av, so that the configuration of a command line loads fast.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Literal, Protocol, TypeAlias, get_args

from onevision_encoder.errors import InvalidArgumentError

if TYPE_CHECKING:
    import av

Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO
"""A path, a URL (``scheme://``, handed to FFmpeg), the bytes of a file, or a binary file object."""

Recipe = Literal["native", "crop224", "image448", "letterbox"]
OnDamage = Literal["partial", "error"]


def _positive_int(name: str, value: object, *, none: bool = False) -> None:
    if none and value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidArgumentError(name, value, "an integer >= 1" + (" or None" if none else ""))


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which frames of a video.

    ``fps=None``: ``trunc(linspace(0, N - 1, num_frames))`` over the N frames of the window (the published encoder's
    rule). N < ``num_frames`` gives all N, never a duplicate; ``num_frames=None`` takes every frame.

    ``fps`` given: the frames nearest to the grid t0, t0 + 1/fps, t0 + 2/fps ... where t0 is the time of the window's
    first frame; ties go to the earlier frame, a frame nearest to several grid points is taken once. ``num_frames`` is
    then a cap (None = no cap): a longer list is thinned by the linspace rule.

    Args:
        num_frames: count of frames, >= 1, or None.
        fps: frames a second, > 0.
        start_seconds, end_seconds: the window [start, end), relative to the first frame of the stream.
    Raises:
        InvalidArgumentError: a value outside its range.
    """

    num_frames: int | None = 64
    fps: float | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None

    def __post_init__(self) -> None:
        _positive_int("num_frames", self.num_frames, none=True)
        if self.fps is not None and not (math.isfinite(self.fps) and self.fps > 0):
            raise InvalidArgumentError("fps", self.fps, "a finite number > 0 or None")
        for name in ("start_seconds", "end_seconds"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise InvalidArgumentError(name, value, "a finite number of seconds >= 0 or None")
        if self.end_seconds is not None and self.end_seconds <= (self.start_seconds or 0.0):
            raise InvalidArgumentError(
                "end_seconds", self.end_seconds, f"above start_seconds={self.start_seconds or 0.0}"
            )


@dataclass(frozen=True, kw_only=True)
class Sizing:
    """At what size. Every side is a multiple of ``patch * merge``.

    Recipes:
        ``native``: the picture's own aspect ratio as well as the multiples allow, at most ``max_patches`` patches a
            frame, never enlarged beyond rounding to the nearest multiple, at least one unit a side.
        ``crop224``: short side to 224 (bicubic), centre crop 224 x 224: the original's evaluation loader.
        ``image448``: ``CLIPImageProcessor`` with shortest edge 448, bicubic, centre crop 448 x 448, pixel for pixel.
        ``letterbox``: long side to ``side``, centred on a black square; patches that touch padding are no content.

    Args:
        patch: side of a patch in pixels. merge: 1 or 2 patches a side of a selection unit.
        max_patches: budget of ``native``, >= merge * merge.
        side: square side of ``letterbox``; None = 576 rounded down to the multiple (576 is the original's).
    Raises:
        InvalidArgumentError: a value outside its range, or a recipe whose size is no multiple of patch * merge.
    """

    patch: int = 14
    merge: int = 1
    recipe: Recipe = "native"
    max_patches: int = 256
    side: int | None = None

    def __post_init__(self) -> None:
        for name in ("patch", "merge", "max_patches"):
            _positive_int(name, getattr(self, name))
        _positive_int("side", self.side, none=True)
        if self.merge not in (1, 2):
            raise InvalidArgumentError("merge", self.merge, "1 or 2")
        if self.recipe not in get_args(Recipe):
            raise InvalidArgumentError("recipe", self.recipe, "one of " + ", ".join(get_args(Recipe)))
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
