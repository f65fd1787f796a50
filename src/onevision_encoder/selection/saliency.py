"""Saliency: raw codec signals, freed of the camera's motion and of noise, on one scale for the whole clip.

Axes: T frames, y x cells of 8x8 pixels, h w units (patches, or 2x2 blocks of them), 2 = (dx, dy).

0. **Light.** Where a gain and an offset of the whole frame explain it better than the coder did, a cell stands still
   and its residual is what they leave (:mod:`onevision_encoder.selection.lighting`; not for ``bits``).
1. **Camera.** The fitted camera motion is subtracted from every cell's motion. What is left counts only along the
   structure that makes it visible: the vector of a flat or one-directional cell is a guess of the coder (the
   aperture problem), so each component is weighted by the slope of the picture in its direction.
2. **What the camera explains of the residual.** While the camera moves, interpolation, aliasing and blur leave a
   residual in proportion to the slope of the picture. Cells that move with the camera tell how much that is in their
   frame (upper quartile of residual / slope); the expectation for each cell is taken off.
3. **Noise.** A floor in absolute units (grey levels, pixels, bits), raised to what the clip's own still cells show and,
   for residuals, to the sensor's noise, is taken off. A still clip with a noisy sensor ends at zero everywhere rather
   than as amplified noise.
4. **Scale.** x / (x + s) with s = the 95th percentile of the clip's rankable cells (never below the floor): bounded
   like the original's clipped percentile, but without ties above it, and one scale for all frames instead of one per
   frame, so that a quiet frame stays quiet. ``fused`` is the mean of motion and residual on that scale.
5. **Intra cells** inside an inter frame. Their motion is unknown; the residual stands for it, at half its weight,
   because what an intra cell leaves is texture for the larger part.
6. **What appears and stays** (:mod:`onevision_encoder.selection.appearance`) counts by its change of level, at that
   half weight too: a coder draws a flat window or a title with next to no bits. Not in frames whose light changes.
7. **No event.** A small part of the weight remains for cells whose content came in over the border with the camera, and
   for cells that show what the same place in the world showed before (:mod:`onevision_encoder.selection.world`):
   the camera explains the first, the world's own past the second. Where nothing else happens they are still read.
   The same goes for the mixtures of a dissolve, which its two ends explain
   (:mod:`onevision_encoder.selection.dissolve`); the frame at its end starts a scene.

Frames that start a scene and frames without signals are not ranked: all that is intra there is new, and none of it is
a surprise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.codec import ScoreName, cells_to_patches, frame_difference
from onevision_encoder.codec.noise import clip_noise
from onevision_encoder.errors import InvalidArgumentError, SignalUnavailableError
from onevision_encoder.selection.appearance import appeared
from onevision_encoder.selection.camera import CameraMotion, fit_camera
from onevision_encoder.selection.config import Camera
from onevision_encoder.selection.dissolve import find_dissolves
from onevision_encoder.selection.lighting import fit_light, left_after_light
from onevision_encoder.selection.texture import gradients
from onevision_encoder.selection.world import came_in, seen_before
from onevision_encoder.types import CELL, CodecSignals, FrameSequence

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

FLOORS = {"residual": 1.0, "motion": 0.5, "bits": 4.0}
"""Grey levels, pixels (twice the quarter-pel step), bits per cell (1/16 bit per pixel)."""
NO_EVENT_WEIGHT = 0.15
"""Low enough that an object over a fast pan outranks, by any score, the border that comes in and the world that it
uncovers (bits over a pan of 12 px: 0.80 of the tokens with 0.25, 0.87 with 0.15, 0.86 with 0.1); high enough that they
are what is read where nothing else happens."""
UNKNOWN_WEIGHT = 0.5
"""Tried 0.1 to 1 on pans over texture and on a static street scene: 0.35 to 0.5 is a flat optimum."""
APPEARED_SCALE = 10.0
"""Grey levels; for scores that grade no residual."""
FLAT_SLOPE = 1.0
"""Slope in grey levels per pixel that sensor noise alone makes; half of a vector counts at three times that."""
LEAST_TRUST = 0.1
MOST_SAMPLES = 16384
"""Percentiles of a clip are taken from at most this many cells, one from each of as many equal stretches."""
_GOLDEN = (5**0.5 - 1) / 2
SIGNIFICANT = 0.01
"""Below this the saliency of a unit is rounding, not an event: 0."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Saliency:
    """Attributes:
    value_Thw: float32 0..1 per unit; 0 = nothing that stands out of the noise.
    ranked_T: False for frames that cannot be ranked (scene starts, frames without signals).
    starts_T: frames that start a scene: after a cut, or at the end of a dissolve.
    facts: JSON-able account (floors, scales, camera) for provenance.
    """

    value_Thw: Floats
    ranked_T: Mask
    starts_T: Mask
    facts: dict[str, Any]


def clip_saliency(
    frames: FrameSequence, signals: CodecSignals | None, *, score: ScoreName = "fused", camera: Camera = "auto"
) -> Saliency:
    """Saliency of every unit (patch, or 2x2 block where ``frames.merge`` is 2) of a clip.

    Raises:
        InvalidArgumentError: the score needs signals and there are none.
        SignalUnavailableError: ``bits`` of a provider that cannot tell them.
    """
    starts_T = np.zeros(frames.num_frames, np.bool_)
    if signals is not None:
        starts_T |= signals.cut_T
    ranked_T = ~starts_T if signals is None else signals.valid_T & ~starts_T
    ranked_T[0] = False
    if score == "frame_difference":
        change_Thw = frame_difference(frames, patch=frames.patch * frames.merge)
        known_Thw = np.broadcast_to(ranked_T[:, None, None], change_Thw.shape)
        value_Thw, facts = _graded(change_Thw, known_Thw, FLOORS["residual"])
        account = {"score": score, "residual": facts, "cuts": "unknown" if signals is None else "signals"}
        return _finish(value_Thw, ranked_T, starts_T, account)
    if signals is None:
        raise InvalidArgumentError("signals", None, f"CodecSignals, which score={score!r} ranks by")
    if score == "bits" and signals.bits_Tyx is None:
        name = str(signals.provenance.get("provider", "unnamed"))
        raise SignalUnavailableError(name, "bits", "it does not estimate bits", ("fused", "motion", "residual"))
    content_yx = _content(frames, signals)
    dissolves = find_dissolves(frames.luma_THW, content_yx, ranked_T) if signals.interval == "sample" else []
    ends = [new for _, new in dissolves]
    starts_T[ends], ranked_T[ends] = True, False
    cells_Tyx, facts = _cells(frames, signals, ranked_T, content_yx, score, camera)
    for old, new in dissolves:
        cells_Tyx[old + 1 : new] *= np.float32(NO_EVENT_WEIGHT)
    unit = frames.patch * frames.merge
    units_Thw: Floats = cells_to_patches(cells_Tyx, frame_size=signals.frame_size, patch=unit)
    return _finish(units_Thw, ranked_T, starts_T, {"score": score, "dissolves": [list(d) for d in dissolves], **facts})


def _finish(value_Thw: Floats, ranked_T: Mask, starts_T: Mask, facts: dict[str, Any]) -> Saliency:
    value_Thw = value_Thw.round(5)  # sums differ in the last bits between machines
    value_Thw[value_Thw < SIGNIFICANT] = 0
    value_Thw[~ranked_T] = 0
    quiet_T = ranked_T & ~value_Thw.any((1, 2))
    facts["quiet_frames"] = np.flatnonzero(quiet_T).tolist()
    return Saliency(value_Thw=value_Thw, ranked_T=ranked_T, starts_T=starts_T, facts=facts)


def _cells(
    frames: FrameSequence,
    signals: CodecSignals,
    ranked_T: Mask,
    content_yx: Mask,
    score: ScoreName,
    camera: Camera,
) -> tuple[Floats, dict[str, Any]]:
    """Saliency per cell, and how it came about."""
    # Motion since the frame before in the source is not measured from the frames that the light is fitted to.
    light = fit_light(frames.luma_THW, content_yx, ranked_T) if signals.interval == "sample" else {}
    lit_Tyx = left_after_light(frames.luma_THW, light)
    same_Tyx = lit_Tyx < signals.residual_Tyx
    residual_Tyx = np.where(same_Tyx, lit_Tyx, signals.residual_Tyx)
    inter_Tyx = (~signals.intra_Tyx | same_Tyx) & ranked_T[:, None, None] & content_yx
    across_Tyx, down_Tyx = gradients(frames.luma_THW)
    slope_Tyx = np.sqrt(np.square(across_Tyx) + np.square(down_Tyx))
    structure_Tyx = np.maximum(slope_Tyx - np.float32(FLAT_SLOPE), 0)
    trust_Tyx = np.maximum(structure_Tyx / (structure_Tyx + np.float32(2 * FLAT_SLOPE)), np.float32(LEAST_TRUST))
    motion_Tyx2 = np.where(same_Tyx[..., None], np.float32(0), signals.motion_Tyx2)
    facts: dict[str, Any] = {"intra_cells": "residual", "camera": "none", "light_changes": sorted(light)}
    moved: CameraMotion | None = None
    entered_Tyx = with_it_Tyx = np.zeros_like(inter_Tyx)
    if camera == "auto":
        moved = fit_camera(
            motion_Tyx2, inter_Tyx, frame_size=signals.frame_size, trust_Tyx=np.float32(0.5) * (1 + trust_Tyx)
        )
        motion_Tyx2 = motion_Tyx2 - moved.flow_Tyx2
        facts["camera"] = moved.summary()
        entered_Tyx = came_in(moved, signals.frame_size)
        with_it_Tyx = inter_Tyx & (np.square(motion_Tyx2).sum(-1) <= 1) & ~entered_Tyx

    def graded(name: str, raw_Tyx: Floats) -> Floats:
        if moved is not None:
            raw_Tyx = raw_Tyx - _expected(raw_Tyx, slope_Tyx, with_it_Tyx, moved)
        floor = max(FLOORS[name], clip_noise(frames.luma_THW)) if name == "residual" else FLOORS[name]
        value_Tyx, facts[name] = _graded(raw_Tyx, inter_Tyx, floor)
        return value_Tyx

    if score == "bits":
        assert signals.bits_Tyx is not None
        value_Tyx = graded("bits", signals.bits_Tyx)
    else:
        value_Tyx = graded("residual", residual_Tyx)
        value_Tyx = np.where(inter_Tyx, value_Tyx, value_Tyx * np.float32(UNKNOWN_WEIGHT))
    if score in ("motion", "fused"):
        visible_Tyx = _visible(motion_Tyx2, across_Tyx, down_Tyx, slope_Tyx) * trust_Tyx
        motion_Tyx, facts["motion"] = _graded(visible_Tyx, inter_Tyx, FLOORS["motion"])
        mixed_Tyx = motion_Tyx if score == "motion" else (motion_Tyx + value_Tyx) / 2
        value_Tyx = np.where(inter_Tyx, mixed_Tyx, value_Tyx)
    steady_Tyx = ranked_T[:, None, None] & content_yx
    steady_Tyx[list(light)] = False
    value_Tyx = np.maximum(value_Tyx, _new_and_still(frames, signals, steady_Tyx, facts))
    known_Tyx = entered_Tyx | seen_before(frames, signals, slope_Tyx, moved, value_Tyx > SIGNIFICANT)
    return np.where(known_Tyx, value_Tyx * np.float32(NO_EVENT_WEIGHT), value_Tyx), facts


def _new_and_still(frames: FrameSequence, signals: CodecSignals, steady_Tyx: Mask, facts: dict[str, Any]) -> Floats:
    """What appeared and stays, on the scale of residuals, at the weight of cells whose motion is unknown."""
    if signals.interval != "sample":  # it is found between samples
        return np.zeros_like(signals.residual_Tyx)
    step_Tyx = appeared(frames.luma_THW) * steady_Tyx
    scale = np.float32(facts.get("residual", {"scale": APPEARED_SCALE})["scale"])
    return step_Tyx / (step_Tyx + scale) * np.float32(UNKNOWN_WEIGHT)


def _content(frames: FrameSequence, signals: CodecSignals) -> Mask:
    """bool [y, x]: cells whose centre is picture. Letterbox stands still and would pass for a static camera."""
    rows, cols = signals.intra_Tyx.shape[1:]
    if frames.content_hw is None:
        return np.ones((rows, cols), np.bool_)
    H, W = signals.frame_size
    y = np.minimum(np.arange(rows) * CELL + CELL // 2, H - 1) // frames.patch
    x = np.minimum(np.arange(cols) * CELL + CELL // 2, W - 1) // frames.patch
    content: Mask = frames.content_hw[y[:, None], x[None, :]]
    return content


def _visible(motion_Tyx2: Floats, across_Tyx: Floats, down_Tyx: Floats, slope_Tyx: Floats) -> Floats:
    """Length of each vector, counting each component by the slope across which it moves, pixels."""
    dx_Tyx, dy_Tyx = motion_Tyx2[..., 0], motion_Tyx2[..., 1]
    seen = np.square(dx_Tyx * across_Tyx) + np.square(dy_Tyx * down_Tyx)
    seen *= 2 / np.maximum(np.square(slope_Tyx), np.float32(1e-6))
    length: Floats = np.sqrt(np.minimum(seen, np.square(dx_Tyx) + np.square(dy_Tyx)))
    return length


def _expected(raw_Tyx: Floats, slope_Tyx: Floats, with_it_Tyx: Mask, moved: CameraMotion) -> Floats:
    """What the camera's motion alone leaves in each cell: (upper quartile of signal / slope) * slope, per frame.
    The quartile is that of the cells ``with_it_Tyx``, which move with the camera.

    Grows from 0 to its full size while the camera's motion at the cell grows from 0 to half a pixel.
    """
    pace_Tyx = np.minimum(np.hypot(moved.flow_Tyx2[..., 0], moved.flow_Tyx2[..., 1]) * 2, 1)
    base_Tyx = slope_Tyx + np.float32(FLAT_SLOPE)
    expected_Tyx = np.zeros_like(raw_Tyx)
    moving_T = np.flatnonzero(pace_Tyx.any((1, 2)) & with_it_Tyx.any((1, 2)))
    if len(moving_T):
        with_it_TN = with_it_Tyx[moving_T].reshape(len(moving_T), -1)
        ratio_TN = (raw_Tyx[moving_T] / base_Tyx[moving_T]).reshape(with_it_TN.shape)
        ordered_TN = np.sort(np.where(with_it_TN, ratio_TN, np.float32(np.inf)), axis=1)
        quartile_T1 = np.take_along_axis(ordered_TN, (with_it_TN.sum(1, keepdims=True) - 1) * 3 // 4, 1)
        expected_Tyx[moving_T] = quartile_T1[:, :, None] * base_Tyx[moving_T] * pace_Tyx[moving_T]
    return expected_Tyx


def _graded(raw: Floats, known: Mask, floor: float) -> tuple[Floats, dict[str, float]]:
    """Steps 3 and 4 of the module: noise taken off, then x / (x + s). ``known`` = what the statistics look at."""
    values = raw[known]
    values = _sample(values)
    if not len(values):
        return np.zeros_like(raw), {"floor": floor, "scale": floor}
    floor = max(floor, _noise(values))
    excess: Floats = np.maximum(raw - np.float32(floor), 0)
    scale = max(_percentile(np.maximum(values - np.float32(floor), 0), 0.95), floor)
    excess /= excess + np.float32(scale)
    return excess, {"floor": round(floor, 4), "scale": round(scale, 4)}


def _sample(values: Floats) -> Floats:
    """At most MOST_SAMPLES of a long list: one of each of as many equal stretches, at a place that moves by the golden
    ratio from stretch to stretch. Even steps would meet the width of the grid and see some of its columns only."""
    if len(values) <= MOST_SAMPLES:
        return values
    stretch = np.arange(MOST_SAMPLES)
    place = (stretch + stretch * _GOLDEN % 1) * (len(values) / MOST_SAMPLES)
    return values[place.astype(np.int64)]


def _noise(values: Floats) -> float:
    """Upper end of the clip's own noise: median + 5 sigma, sigma from the spread below the median, which events do not
    touch, and at most 1.6 medians: noise averaged over a cell is narrow, so anything wider is activity."""
    middle = _percentile(values, 0.5)
    sigma = (middle - _percentile(values, 0.25)) / 0.6745  # quartile of a normal distribution
    return min(middle + 5 * sigma, 1.6 * middle)


def _percentile(values: Floats, share: float) -> float:
    at = min(len(values) - 1, int(share * len(values)))
    return float(np.partition(values, at)[at])
