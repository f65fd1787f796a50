"""Things that move in a scene: each is drawn for a pose (angle, swell) around its own centre.

A *pose* lies on a circle in every coordinate, so that any constant speed leaves an evenly drawn pose evenly drawn:
that is why no single frame can tell how an object moves. Growing without end is made periodic in two ways: a
:class:`Blob` grows within a range and starts again small; inside a :class:`Wheel` a pattern that is periodic in the
logarithm of the radius flows outwards through a rim that stays (Shepard's tone, for the eye).

Axes: N N a square of pixels, 4 = RGB and opacity (0-1), 3 = RGB grey levels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.evaluate.motion_textures import Picture, clouds, mosaic, sample_wrapped

Coordinates = NDArray[np.float64]


class MovingObject(Protocol):
    """Something that can be drawn for a pose."""

    @property
    def reach(self) -> float:
        """Farthest pixel from the centre that may be covered, whatever the pose."""

    def rgba(self, y: Coordinates, x: Coordinates, *, angle: float, swell: float) -> Picture:
        """float32 [..., 4] at pixels (y, x) from the centre, y down, x right.

        Args:
            angle: radians, growing clockwise as seen. swell: natural logarithm of the size; periodic, see above.
        """


@dataclass(frozen=True, kw_only=True, eq=False)
class Blob:
    """A soft-edged, irregular patch with a cloudy texture; ``swell`` runs over ``swell_range`` and starts again."""

    rgba_NN4: Picture
    radius: float
    swell_range: float
    MARGIN = 1.5  # the picture spans this many radii to each side

    @classmethod
    def draw(cls, rng: np.random.Generator, *, radius: float, mean_3: NDArray[np.float64], swell_range: float) -> Blob:
        N = 72
        axis = (np.arange(N) + 0.5 - N / 2) / (N / 2) * cls.MARGIN
        y, x = axis[:, None], axis[None, :]
        theta, r = np.arctan2(y, x), np.hypot(y, x)
        edge = np.ones((N, N))
        amplitude_K = rng.uniform(0.05, 0.16, 4)
        for k, amplitude in enumerate(amplitude_K, start=2):
            edge += amplitude * np.cos(k * theta + rng.uniform(0, 2 * np.pi)) / math.sqrt(k - 1)
        opacity = np.clip((edge - r) * N / (2 * cls.MARGIN) / 2 + 0.5, 0, 1)
        color = clouds(rng, N, mean_3=mean_3, contrast=rng.uniform(22, 45))
        return cls(rgba_NN4=np.dstack([color, opacity]).astype(np.float32), radius=radius, swell_range=swell_range)

    @property
    def reach(self) -> float:
        return self.radius * self.MARGIN * math.exp(self.swell_range / 2)

    def rgba(self, y: Coordinates, x: Coordinates, *, angle: float, swell: float) -> Picture:
        N = len(self.rgba_NN4)
        within = (swell / self.swell_range) % 1.0 - 0.5
        pixel = N / (2 * self.MARGIN * self.radius * math.exp(within * self.swell_range))
        c, s = math.cos(angle) * pixel, math.sin(angle) * pixel
        v, u = c * y - s * x + (N - 1) / 2, s * y + c * x + (N - 1) / 2
        out = sample_wrapped(self.rgba_NN4, np.clip(v, 0, N - 1), np.clip(u, 0, N - 1))
        out[(v < 0) | (v > N - 1) | (u < 0) | (u > N - 1), 3] = 0
        return out


@dataclass(frozen=True, kw_only=True, eq=False)
class Wheel:
    """A polygon, star or gear with a hub; its pattern turns with it and flows through it when it swells."""

    pattern_HW3: Picture  # rows: logarithm of the radius, PERIOD in all; columns: angle
    hub_3: NDArray[np.float64]
    corners: int
    kind: str
    radius: float
    PERIOD = math.pi
    HUB = 0.3
    KINDS = ("polygon", "star", "gear")

    @classmethod
    def draw(cls, rng: np.random.Generator, *, radius: float, mean_3: NDArray[np.float64]) -> Wheel:
        pattern = mosaic(rng, (64, 128), mean_3=mean_3, contrast=rng.uniform(40, 70), cells=int(rng.integers(28, 50)))
        return cls(
            pattern_HW3=pattern,
            hub_3=rng.uniform(20, 235, 3),
            corners=int(rng.integers(3, 8)),
            kind=str(rng.choice(cls.KINDS)),
            radius=radius,
        )

    @property
    def reach(self) -> float:
        return self.radius * 1.3

    def _edge(self, theta: Coordinates) -> Coordinates:
        """Radius of the outline, 1 on average or so."""
        if self.kind == "polygon":
            part = 2 * np.pi / self.corners
            edge: Coordinates = 1.2 * math.cos(part / 2) / np.cos(theta % part - part / 2)
        elif self.kind == "star":
            edge = 1 + 0.25 * np.cos(self.corners * theta)
        else:
            edge = 1 + 0.15 * np.tanh(4 * np.cos((self.corners + 2) * theta))
        return edge

    def rgba(self, y: Coordinates, x: Coordinates, *, angle: float, swell: float) -> Picture:
        H, W = self.pattern_HW3.shape[:2]
        theta, rho = np.arctan2(y, x) - angle, np.hypot(y, x) / self.radius
        depth = np.log(np.maximum(rho, self.HUB)) - swell
        color = sample_wrapped(self.pattern_HW3, depth * (H / self.PERIOD), theta * (W / (2 * np.pi)))
        hub = np.clip((self.HUB - rho) * self.radius + 0.5, 0, 1)[..., None]
        opacity = np.clip((self._edge(theta) - rho) * self.radius / 1.3 + 0.5, 0, 1)[..., None]
        out: Picture = np.concatenate([color * (1 - hub) + self.hub_3 * hub, opacity], -1).astype(np.float32)
        return out
