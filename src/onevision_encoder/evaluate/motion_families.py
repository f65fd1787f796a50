"""The two families of the motion suite: other shapes, other textures, other speeds, other paths.

``development`` is for building methods, ``held_out`` for the one final report. Each names its classes, says how the
actor moves in each of them (:func:`actor_path`) and how things look.

Lengths are shares of the picture's side, rates are per frame, angles are radians clockwise as seen. Axes: T frames,
2 = (y, x), y down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.evaluate.motion_objects import Blob, MovingObject, Wheel
from onevision_encoder.evaluate.motion_textures import Picture, clouds, mosaic

FamilyName = Literal["development", "held_out"]
Range = tuple[float, float]

SLOTS = 5
"""Parts of a clip. An event lies in one part, and a cut between two of them."""

_UP, _DOWN, _LEFT, _RIGHT = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]]) * 1.0
_AXES = {"left": _LEFT, "right": _RIGHT, "up": _UP, "down": _DOWN}
_DIAGONALS = {
    "up_left": (_UP + _LEFT) / np.sqrt(2),
    "up_right": (_UP + _RIGHT) / np.sqrt(2),
    "down_left": (_DOWN + _LEFT) / np.sqrt(2),
    "down_right": (_DOWN + _RIGHT) / np.sqrt(2),
}


@dataclass(frozen=True, kw_only=True)
class Family:
    """How things look and move. ``code`` goes into seeds."""

    name: FamilyName
    code: int
    directions: tuple[str, ...]
    slow: Range
    fast: Range
    spin: Range
    growth: Range
    events: tuple[str, str]  # of the two classes "order"
    event_frames: int
    dash: float  # length of the event "dash"
    jumps: tuple[int, ...]
    sway: Range  # radius or reach of the path of classes "which"
    sway_frames: Range
    sway_kind: Literal["orbit", "shuttle"]
    pan: Range

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes; a label's id is its place here."""
        first, second = self.events
        return (
            *(f"move_{d}_{speed}" for d in self.directions for speed in ("slow", "fast")),
            *("rotate_clockwise", "rotate_anticlockwise", "zoom_in", "zoom_out"),
            *(f"order_{first}_{second}", f"order_{second}_{first}"),
            *(f"jumps_{n}" for n in self.jumps),
            *("which_large", "which_small", "static"),
        )

    def background(self, rng: np.random.Generator, side: int, mean_3: NDArray[np.float64]) -> Picture:
        """A periodic picture of twice the side, float32 [2 side, 2 side, 3]."""
        contrast = rng.uniform(14, 32)
        if self.name == "development":
            return clouds(rng, 2 * side, mean_3=mean_3, contrast=contrast)
        shape, cells = (2 * side, 2 * side), int(rng.integers(40, 110))
        return mosaic(rng, shape, mean_3=mean_3, contrast=contrast, cells=cells, step=2)

    def thing(self, rng: np.random.Generator, radius: float, mean_3: NDArray[np.float64]) -> MovingObject:
        """A new object; ``radius`` in pixels."""
        if self.name == "development":
            return Blob.draw(rng, radius=radius, mean_3=mean_3, swell_range=BLOB_SWELL)
        return Wheel.draw(rng, radius=radius, mean_3=mean_3)

    @property
    def swell_period(self) -> float:
        """After which ``swell`` looks the same again."""
        return BLOB_SWELL if self.name == "development" else Wheel.PERIOD


BLOB_SWELL = float(np.log(1.4))

FAMILIES: dict[FamilyName, Family] = {
    "development": Family(
        name="development",
        code=1,
        directions=tuple(_AXES),
        slow=(0.008, 0.011),
        fast=(0.024, 0.032),
        spin=(0.09, 0.16),
        growth=(0.010, 0.014),
        events=("dash", "turn"),
        event_frames=3,
        dash=0.22,
        jumps=(1, 2, 3),
        sway=(0.05, 0.07),
        sway_frames=(10, 16),
        sway_kind="orbit",
        pan=(0.004, 0.012),
    ),
    "held_out": Family(
        name="held_out",
        code=2,
        directions=tuple(_DIAGONALS),
        slow=(0.012, 0.015),
        fast=(0.034, 0.044),
        spin=(0.05, 0.08),
        growth=(0.045, 0.065),
        events=("swell", "turn"),
        event_frames=4,
        dash=0.16,
        jumps=(2, 3, 4),
        sway=(0.08, 0.11),
        sway_frames=(14, 20),
        sway_kind="shuttle",
        pan=(0.006, 0.016),
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class MotionPath:
    """How far the actor is from where it began, relative to the scene: float64.

    ``events`` holds (name, first frame, last frame) of what happens between two frames.
    """

    shift_T2: NDArray[np.float64]
    turn_T: NDArray[np.float64]
    swell_T: NDArray[np.float64]
    events: tuple[tuple[str, int, int], ...] = ()


def slot_edges(frames: int) -> list[int]:
    """Frames at which the parts of a clip begin, and the end."""
    return [round(k * frames / SLOTS) for k in range(SLOTS + 1)]


def actor_path(family: Family, label: str, frames: int, rng: np.random.Generator) -> MotionPath:
    """The path that makes a clip's class. Draws only from ``rng``."""
    kind, _, rest = label.partition("_")
    if kind == "move":
        return _moved(family, rest, frames, rng)
    if kind in ("order", "jumps"):
        return _eventful(family, kind, rest, frames, rng)
    t = np.arange(frames, dtype=np.float64)
    shift_T2, turn_T, swell_T = np.zeros((frames, 2)), np.zeros(frames), np.zeros(frames)
    if kind == "rotate":
        turn_T = t * rng.uniform(*family.spin) * (1 if rest == "clockwise" else -1)
    elif kind == "zoom":
        swell_T = t * rng.uniform(*family.growth) * (1 if rest == "in" else -1)
    elif kind == "which":
        shift_T2 = _sway(family, t, rng)
    return MotionPath(shift_T2=shift_T2, turn_T=turn_T, swell_T=swell_T)


def _moved(family: Family, rest: str, frames: int, rng: np.random.Generator) -> MotionPath:
    direction, _, pace = rest.rpartition("_")
    step_2 = {**_AXES, **_DIAGONALS}[direction] * rng.uniform(*(family.slow if pace == "slow" else family.fast))
    zero = np.zeros(frames)
    return MotionPath(shift_T2=np.arange(frames)[:, None] * step_2, turn_T=zero, swell_T=zero)


def _sway(family: Family, t: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Round a circle, or to and fro on a line: no net motion."""
    reach, first = rng.uniform(*family.sway), rng.uniform(0, 2 * np.pi)
    phase = first + rng.choice([-1, 1]) * 2 * np.pi * t / rng.uniform(*family.sway_frames)
    if family.sway_kind == "orbit":
        along_T2 = np.stack([np.sin(phase), np.cos(phase)], -1)
    else:
        angle = rng.uniform(0, 2 * np.pi)
        along_T2 = np.cos(phase)[:, None] * np.array([np.sin(angle), np.cos(angle)])
    path_T2: NDArray[np.float64] = reach * along_T2
    return path_T2


def _eventful(family: Family, kind: str, rest: str, frames: int, rng: np.random.Generator) -> MotionPath:
    """Short events, each in the middle of a part of the clip of its own.

    The rest between two is at least a sixteenth of the clip, so that 16 evenly spread frames still tell them apart.
    """
    names = rest.split("_") if kind == "order" else ["dash"] * int(rest)
    edges, length = slot_edges(frames), family.event_frames
    shift_T2, turn_T, swell_T = np.zeros((frames, 2)), np.zeros(frames), np.zeros(frames)
    events = []
    for name, slot in zip(names, np.sort(rng.choice(SLOTS, len(names), replace=False)), strict=True):
        free = edges[slot + 1] - edges[slot] - 1 - length
        start = edges[slot] + int(rng.integers(-(-free // 4), free - free // 4 + 1))
        done_T = np.clip((np.arange(frames) - start) / length, 0, 1)
        angle, sign = rng.uniform(0, 2 * np.pi), rng.choice([-1, 1])
        if name == "dash":
            shift_T2 += family.dash * done_T[:, None] * np.array([np.sin(angle), np.cos(angle)])
        elif name == "turn":
            turn_T += sign * np.pi / 2 * done_T
        else:
            swell_T += sign * 0.55 * done_T
        events.append((name, start, start + length))
    return MotionPath(shift_T2=shift_T2, turn_T=turn_T, swell_T=swell_T, events=tuple(events))
