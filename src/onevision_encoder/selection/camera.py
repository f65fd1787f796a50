"""The camera's own motion, fitted to the motion of a frame's cells and taken off it.

Axes: T frames, y x cells of 8x8 pixels, N = y*x cells in a row, 2 = (dx, dy), 4 = (tx, ty, zoom, turn).

Per frame three models of growing freedom compete for the motion field: ``static`` (none), ``translation`` and
``similarity`` (zoom + rotation + translation, in pixels around the frame's centre, the same scale for x and y):

    dx = tx + zoom * x - turn * y        dy = ty + turn * x + zoom * y

Every inter cell has a say, also those that stand still: they are what tells a static camera with a moving object
from a moving camera. A model's cost is the mean of the bounded Geman-McClure loss r^2 / (r^2 + c^2) with c = 1 px, so
an object costs the same however fast it is; a richer model is accepted only where it lowers the cost clearly. The fits
are iteratively reweighted least squares with a shrinking c (graduated non-convexity, Black & Rangarajan 1996; Holland &
Welsch 1977), started from the median motion; no random numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.types import CELL

Floats = NDArray[np.float32]

SCALE = 1.0
"""c of the loss in pixels: quarter- and half-pel rounding lies well inside."""
MIN_GAIN = 0.04
MIN_RATIO = 0.85
"""A richer model must cost less than MIN_RATIO of the simpler one's and at least MIN_GAIN less (mean loss per cell)."""
WORTH_FITTING = 0.08
"""Loss per cell of a field that is right to a quarter of a pixel: no richer model is tried below it."""
MIN_CELLS = 12
"""Fewer known cells than this say nothing about a camera: the frame is left as it is (``unknown``)."""
MODELS = ("static", "translation", "similarity", "unknown")


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraMotion:
    """How the camera moved the picture between a frame and its reference.

    Attributes:
        flow_Tyx2: float32 pixels, the motion that each cell would have if it stood still in the world.
        model_T: index into :data:`MODELS`. params_T4: (tx, ty) in pixels at the frame's centre, zoom and turn as
            ratios (0.02 = 2 %, radians).
        agree_T: share of the known cells within 1 px of the model, 0..1.
    """

    flow_Tyx2: Floats
    model_T: NDArray[np.int64]
    params_T4: NDArray[np.float64]
    agree_T: NDArray[np.float64]

    def summary(self) -> dict[str, Any]:
        """JSON-able account per frame, for provenance."""
        return {
            "model": [MODELS[m] for m in self.model_T],
            "translation_px": np.round(self.params_T4[:, :2], 2).tolist(),
            "zoom": np.round(self.params_T4[:, 2], 4).tolist(),
            "turn": np.round(self.params_T4[:, 3], 4).tolist(),
            "agree": np.round(self.agree_T, 3).tolist(),
        }


def fit_camera(
    motion_Tyx2: Floats, known_Tyx: NDArray[np.bool_], *, frame_size: tuple[int, int], trust_Tyx: Floats | None = None
) -> CameraMotion:
    """Fit the camera's motion frame by frame.

    Args:
        motion_Tyx2: pixels, how the content of each cell moved.
        known_Tyx: cells whose motion was measured (inter cells of valid frames), zeros included.
        frame_size: (H, W) in pixels.
        trust_Tyx: weight of each cell's say, > 0; None = all alike.
    """
    T, rows, cols, _ = motion_Tyx2.shape
    weight_TN = known_Tyx.reshape(T, -1).astype(np.float32)
    if trust_Tyx is not None:
        weight_TN *= trust_Tyx.reshape(T, -1)
    params_T4 = np.zeros((T, 4))
    model_T = np.full(T, MODELS.index("unknown"))
    agree_T = np.zeros(T)
    enough_T = known_Tyx.reshape(T, -1).sum(1) >= MIN_CELLS
    x_N, y_N, radius = _coordinates(rows, cols, frame_size)
    if enough_T.any():
        fit = _Fit(motion_Tyx2.reshape(T, -1, 2)[enough_T], weight_TN[enough_T], x_N, y_N)
        params_T4[enough_T], model_T[enough_T], agree_T[enough_T] = fit.best()
    params_T4[:, 2:] /= radius
    x_N, y_N = x_N * np.float32(radius), y_N * np.float32(radius)
    flow_Tyx2 = _flow(params_T4, x_N, y_N).reshape(T, rows, cols, 2)
    return CameraMotion(flow_Tyx2=flow_Tyx2, model_T=model_T, params_T4=params_T4, agree_T=agree_T)


def _coordinates(rows: int, cols: int, frame_size: tuple[int, int]) -> tuple[Floats, Floats, float]:
    """Cell centres around the frame's centre, both axes in units of half the diagonal, and that unit in pixels."""
    H, W = frame_size
    radius = float(np.hypot(H, W)) / 2
    y = ((np.arange(rows) + 0.5) * CELL - H / 2) / radius
    x = ((np.arange(cols) + 0.5) * CELL - W / 2) / radius
    grid_y, grid_x = np.meshgrid(y.astype(np.float32), x.astype(np.float32), indexing="ij")
    return grid_x.ravel(), grid_y.ravel(), radius


def _flow(params_T4: NDArray[np.float64], x_N: Floats, y_N: Floats) -> Floats:
    tx, ty, zoom, turn = (p[:, None] for p in params_T4.T.astype(np.float32))
    flow: Floats = np.stack((tx + zoom * x_N - turn * y_N, ty + turn * x_N + zoom * y_N), -1)
    return flow


class _Fit:
    """The competition for the frames at hand; cells lie flat, coordinates are in units of half the diagonal."""

    def __init__(self, motion_TN2: Floats, weight_TN: Floats, x_N: Floats, y_N: Floats) -> None:
        self.dx_TN = np.ascontiguousarray(motion_TN2[..., 0])
        self.dy_TN = np.ascontiguousarray(motion_TN2[..., 1])
        self.weight_TN = weight_TN / weight_TN.sum(1, keepdims=True)
        self.x_N, self.y_N = x_N, y_N
        self.basis_N4 = np.stack((np.ones_like(x_N), x_N, y_N, x_N**2 + y_N**2), 1)

    def best(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """Parameters, model and share of agreeing cells of every frame."""
        T = len(self.dx_TN)
        params_T4, model_T = np.zeros((T, 4)), np.zeros(T, np.int64)
        shift_T4 = params_T4
        cost_T = self.cost(params_T4)
        for model in (1, 2):
            # A fit is only worth its time where the simpler model leaves something to explain.
            open_T = np.flatnonzero(cost_T > WORTH_FITTING)
            if not len(open_T):
                break
            sub = self.frames(open_T)
            if model == 1:
                start = np.zeros((len(open_T), 4))
                start[:, 0], start[:, 1] = sub.median(sub.dx_TN), sub.median(sub.dy_TN)
                fitted = sub.descend(start, (3.0, 1.0, 1.0), rich=False)
                shift_T4 = np.zeros((T, 4))
                shift_T4[open_T] = fitted
            else:
                fitted = sub.descend(shift_T4[open_T], (16.0, 6.0, 2.0, 1.0, 1.0), rich=True)
            cost = sub.cost(fitted)
            better = (cost < MIN_RATIO * cost_T[open_T]) & (cost < cost_T[open_T] - MIN_GAIN)
            won = open_T[better]
            params_T4[won], model_T[won], cost_T[won] = fitted[better], model, cost[better]
        near_TN = self.square(params_T4) <= 1.0
        return params_T4, model_T, (near_TN * self.weight_TN).sum(1).astype(np.float64)

    def frames(self, keep_T: NDArray[np.int64]) -> _Fit:
        if len(keep_T) == len(self.dx_TN):
            return self
        motion = np.stack((self.dx_TN[keep_T], self.dy_TN[keep_T]), -1)
        return _Fit(motion, self.weight_TN[keep_T], self.x_N, self.y_N)

    def median(self, values_TN: Floats) -> Floats:
        """Median over the known cells of each frame (lower of the two middle ones)."""
        known_TN = self.weight_TN > 0
        ordered = np.sort(np.where(known_TN, values_TN, np.float32(np.inf)), axis=1)
        middle: Floats = np.take_along_axis(ordered, (known_TN.sum(1, keepdims=True) - 1) // 2, 1)[:, 0]
        return middle

    def square(self, params_T4: NDArray[np.float64]) -> Floats:
        """Squared distance of every cell's motion from the model, pixels^2."""
        tx, ty, zoom, turn = (p[:, None] for p in params_T4.T.astype(np.float32))
        ex: Floats = self.dx_TN - (tx + zoom * self.x_N - turn * self.y_N)
        ey = self.dy_TN - (ty + turn * self.x_N + zoom * self.y_N)
        ex *= ex
        ey *= ey
        ex += ey
        return ex

    def cost(self, params_T4: NDArray[np.float64]) -> NDArray[np.float64]:
        e_TN = self.square(params_T4)
        loss_TN = self.weight_TN * (e_TN / (e_TN + np.float32(SCALE**2)))
        loss_T: NDArray[np.float64] = loss_TN.sum(1, dtype=np.float64)
        return loss_T

    def descend(self, params_T4: NDArray[np.float64], scales: tuple[float, ...], *, rich: bool) -> NDArray[np.float64]:
        for scale in scales:
            shrink = np.float32(scale**2) / (self.square(params_T4) + np.float32(scale**2))
            params_T4 = self.solve(self.weight_TN * shrink * shrink, rich=rich)
        return params_T4

    def solve(self, weight_TN: Floats, *, rich: bool) -> NDArray[np.float64]:
        """Weighted least squares in closed form (translation, or similarity)."""
        wx_TN, wy_TN = weight_TN * self.dx_TN, weight_TN * self.dy_TN
        s1, sx, sy, srr = (weight_TN @ self.basis_N4).astype(np.float64).T
        dx, dx_x, dx_y, _ = (wx_TN @ self.basis_N4).astype(np.float64).T
        dy, dy_x, dy_y, _ = (wy_TN @ self.basis_N4).astype(np.float64).T
        s1 = np.maximum(s1, 1e-12)
        if not rich:
            zero = np.zeros_like(s1)
            return np.stack((dx / s1, dy / s1, zero, zero), 1)
        spread = np.maximum(srr - (sx**2 + sy**2) / s1, 1e-9)
        zoom = (dx_x + dy_y - (sx * dx + sy * dy) / s1) / spread
        turn = (dy_x - dx_y - (sx * dy - sy * dx) / s1) / spread
        tx, ty = (dx - zoom * sx + turn * sy) / s1, (dy - turn * sx - zoom * sy) / s1
        return np.stack((tx, ty, zoom, turn), 1).astype(np.float64, copy=False)
