"""One clip of the motion suite as a plan of numbers, and the drawing of any of its frames.

A clip is a function of its seed and its label alone: its draws come from separate streams of random numbers, and only
the stream ``motion`` knows the label. A path then only adds to a pose that was drawn evenly on circles, which leaves
it evenly drawn (see :mod:`motion_objects`). So what a single frame shows is independent of the class by construction,
and every frame can be drawn without the ones before it.

Two objects, a large and a small one, lie over a background. One of them is the *actor*, the other stays where it is
in the scene; the small one is always in front. The camera moves over the scene, whose left edge continues at the
right. "Which of the two moved" is asked as large or small, not left or right: under a panning camera, left and right
change within a clip.

Axes: T frames, S = scenes (2 where there is a cut), O = 2 objects (large, small), 2 = (y, x) in shares of the side,
H W pixels, 3 = RGB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.evaluate.motion_codecs import CodecName, Coding
from onevision_encoder.evaluate.motion_families import Family, MotionPath, actor_path, slot_edges
from onevision_encoder.evaluate.motion_objects import MovingObject
from onevision_encoder.evaluate.motion_textures import Picture, crop_wrapped, mean_colors

Nuisance = Literal["pan", "shake", "noise", "cut"]

_STREAMS = {"appearance": 1, "nuisance": 2, "coding": 3, "motion": 4, "grain": 5, "pose": 6}
_LARGE, _SMALL = (0.15, 0.18), (0.08, 0.10)  # radii in shares of the side; no swelling makes a small one a large one


@dataclass(frozen=True, kw_only=True, eq=False)
class ClipPlan:
    """All that decides the pixels and the bytes of one clip.

    Attributes:
        seed: 64 bits that all draws come from. label: name of the class. frames: how many. actor: 0 the large object,
            1 the small one. cut: first frame of the second scene, or None. camera_T2: where it looks, relative to
            its start. sigma: standard deviation of sensor noise in grey levels.
    """

    family: Family
    label: str
    seed: int
    size: int
    frames: int
    actor: int
    cut: int | None
    camera_T2: NDArray[np.float64]
    pan_2: tuple[float, float]
    shake: float
    sigma: float
    path: MotionPath
    coding: Coding

    def rng(self, stream: str) -> np.random.Generator:
        return random_stream(self.seed, stream)

    @cached_property
    def scene_T(self) -> NDArray[np.int64]:
        """Which scene each frame shows."""
        return (np.arange(self.frames) >= (self.frames if self.cut is None else self.cut)).astype(np.int64)

    @property
    def nuisances(self) -> dict[str, Any]:
        """As they are written down beside the clip; lengths in shares of the side, per frame."""
        pan = [round(v, 5) + 0.0 for v in self.pan_2]  # no negative zeros
        return {"pan": pan, "shake": round(self.shake, 5), "noise": round(self.sigma, 3), "cut": self.cut}


@dataclass(frozen=True, kw_only=True, eq=False)
class Poses:
    """Where the two objects are in every frame. Attributes: at_TO2 in shares of the side, 0-1, on the screen;
    angle_TO radians clockwise; swell_TO logarithm of the size, see :class:`MovingObject`."""

    at_TO2: NDArray[np.float64]
    angle_TO: NDArray[np.float64]
    swell_TO: NDArray[np.float64]


def random_stream(seed: int, stream: str) -> np.random.Generator:
    """Independent random numbers for one purpose."""
    return np.random.default_rng(np.random.SeedSequence([seed, _STREAMS[stream]]))


def plan_clip(
    family: Family,
    label: str,
    seed: int,
    *,
    size: int,
    frames: tuple[int, int],
    nuisances: Sequence[Nuisance],
    codecs: tuple[CodecName, ...],
) -> ClipPlan:
    """Draw a clip. Two calls that differ in ``label`` alone differ in the actor's path alone (and, where the label
    says which object moves, in the actor)."""
    rng = random_stream(seed, "nuisance")
    # Every number is drawn whether it is used or not, so that switching a nuisance off leaves the others as they are.
    T, actor = int(rng.integers(frames[0], frames[1] + 1)), int(rng.integers(2))
    angle, speed, shake, sigma = rng.uniform(0, 2 * np.pi), rng.uniform(*family.pan), *rng.uniform(0, 1, 2)
    chance_4, cut_slot = rng.uniform(0, 1, 4), int(rng.integers(2, 4))
    jitter_T2 = rng.standard_normal((frames[1], 2))[:T]
    pan_2 = speed * np.array([np.sin(angle), np.cos(angle)]) * ("pan" in nuisances and chance_4[0] < 0.5)
    shake = (0.003 + 0.006 * shake) * ("shake" in nuisances and chance_4[1] < 0.5)
    sigma = (1 + 6 * sigma) * ("noise" in nuisances and chance_4[2] < 0.5)
    cut = slot_edges(T)[cut_slot] if "cut" in nuisances and chance_4[3] < 0.25 else None
    if label.startswith("which_"):
        actor = ("which_large", "which_small").index(label)
    return ClipPlan(
        family=family,
        label=label,
        seed=seed,
        size=size,
        frames=T,
        actor=actor,
        cut=cut,
        camera_T2=np.arange(T)[:, None] * pan_2 + shake * _smoothed(jitter_T2),
        pan_2=(float(pan_2[0]), float(pan_2[1])),
        shake=float(shake),
        sigma=float(sigma),
        path=actor_path(family, label, T, random_stream(seed, "motion")),
        coding=Coding.draw(random_stream(seed, "coding"), codecs),
    )


def _smoothed(noise_T2: NDArray[np.float64]) -> NDArray[np.float64]:
    """A hand's tremble: half of each position is kept for the next, variance 1 throughout."""
    out_T2 = noise_T2.copy()
    for t in range(1, len(out_T2)):
        out_T2[t] = 0.5 * out_T2[t - 1] + np.sqrt(0.75) * noise_T2[t]
    return out_T2


def poses(plan: ClipPlan) -> Poses:
    """Where the objects of a clip are: evenly drawn on circles, then moved by the actor's path and the camera."""
    rng, period = plan.rng("pose"), plan.family.swell_period
    at_SO2, angle_SO, swell_SO = (rng.uniform(0, top, shape) for top, shape in _circles(period))
    at_TO2, angle_TO, swell_TO = at_SO2[plan.scene_T], angle_SO[plan.scene_T], swell_SO[plan.scene_T]
    at_TO2[:, plan.actor] += plan.path.shift_T2
    angle_TO[:, plan.actor] += plan.path.turn_T
    swell_TO[:, plan.actor] += plan.path.swell_T
    return Poses(
        at_TO2=(at_TO2 - plan.camera_T2[:, None]) % 1, angle_TO=angle_TO % (2 * np.pi), swell_TO=swell_TO % period
    )


def _circles(swell_period: float) -> tuple[tuple[float, tuple[int, ...]], ...]:
    """Circumference and shape of each part of a pose."""
    return (1.0, (2, 2, 2)), (2 * np.pi, (2, 2)), (swell_period, (2, 2))


class Scene:
    """A planned clip that can be looked at. Making it draws the textures; frames are drawn on demand."""

    def __init__(self, plan: ClipPlan) -> None:
        self.plan, self.poses = plan, poses(plan)
        family, rng = plan.family, plan.rng("appearance")
        self._backgrounds_S: list[Picture] = []
        self._things_SO: list[list[MovingObject]] = []
        corner_S2 = []
        for _ in range(1 if plan.cut is None else 2):
            colors = mean_colors(rng, 3)
            corner_S2.append(rng.uniform(0, 2, 2))
            self._backgrounds_S.append(family.background(rng, plan.size, colors[0]))
            radii = [plan.size * rng.uniform(*span) for span in (_LARGE, _SMALL)]
            self._things_SO.append([family.thing(rng, r, c) for r, c in zip(radii, colors[1:], strict=True)])
        self._corner_T2 = np.array(corner_S2)[plan.scene_T] + plan.camera_T2

    def frame(self, t: int) -> NDArray[np.uint8]:
        """Frame t, uint8 RGB [size, size, 3]."""
        plan, side = self.plan, self.plan.size
        top, left = self._corner_T2[t] * side
        picture = crop_wrapped(self._backgrounds_S[plan.scene_T[t]], top, left, side)
        for o in (0, 1):
            where, rgba = self._drawn(t, o)
            picture[where] += (rgba[..., :3] - picture[where]) * rgba[..., 3:]
        if plan.sigma:
            grain = np.random.default_rng(np.random.SeedSequence([plan.seed, _STREAMS["grain"], t]))
            picture += np.float32(plan.sigma) * grain.standard_normal(picture.shape, np.float32)
        rgb_HW3: NDArray[np.uint8] = np.clip(picture + np.float32(0.5), 0, 255).astype(np.uint8)
        return rgb_HW3

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """All frames in order."""
        return (self.frame(t) for t in range(self.plan.frames))

    def mask(self, t: int, which: int) -> NDArray[np.float32]:
        """Opacity [size, size] of object ``which`` (0 large, 1 small) in frame t; the small one may cover the large."""
        mask = np.zeros((self.plan.size, self.plan.size), np.float32)
        where, rgba = self._drawn(t, which)
        mask[where] = rgba[..., 3]
        return mask

    def _drawn(self, t: int, which: int) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], Picture]:
        """Rows and columns (an open grid, wrapped at the edges) and the object's RGB and opacity there."""
        side, poses = self.plan.size, self.poses
        thing = self._things_SO[self.plan.scene_T[t]][which]
        cy, cx = poses.at_TO2[t, which] * side
        reach = min(int(thing.reach) + 1, (side - 1) // 2)
        y, x = (np.arange(int(c) - reach, int(c) + reach + 1) for c in (cy, cx))
        rgba = thing.rgba(
            (y - cy)[:, None],
            (x - cx)[None, :],
            angle=float(poses.angle_TO[t, which]),
            swell=float(poses.swell_TO[t, which]),
        )
        return (y[:, None] % side, x[None, :] % side), rgba
