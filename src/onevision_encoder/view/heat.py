"""Codec signals as heat: what the codec could not predict, cell by cell. Axes: T frames, y x cells or units, H W
pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import InvalidArgumentError, SignalUnavailableError
from onevision_encoder.selection import clip_saliency
from onevision_encoder.types import CELL, CodecSignals, FrameSequence, Kind, Selection
from onevision_encoder.view.style import DARK, Style

HeatName = Literal["saliency", "bits", "residual", "motion"]

_UNIT = {"saliency": "", "bits": "bits a cell", "residual": "grey levels", "motion": "pixels"}
# A still clip must look still: below these the scale does not shrink to the noise.
_LEAST_TOP = {"saliency": 0.25, "bits": 8.0, "residual": 4.0, "motion": 1.0}
# Ten points of the "inferno" map (van der Walt and Smith, 2015, CC0): even lightness steps, colour-blind safe.
_INFERNO = "000004 1b0c41 4a0c6b 781c6d a52c60 cf4446 ed6925 fb9b06 f7d13d fcffa4"


@dataclass(frozen=True, kw_only=True, eq=False)
class Heat:
    """One signal of a clip, ready to draw.

    Attributes:
        values_Tyx: float32, 0 and above. cell: side of a value in pixels of the sized frame.
        known_Tyx: bool, False where there is nothing to show: a frame without signals or that starts a scene (nothing
            to predict from), and for motion every intra cell.
        top: value at the hot end of the scale: 99th percentile of the known cells, at least a small fixed value.
    """

    name: HeatName
    values_Tyx: NDArray[np.float32]
    known_Tyx: NDArray[np.bool_]
    top: float
    cell: int = CELL

    @property
    def unit(self) -> str:
        return _UNIT[self.name]


def default_heat(selection: Selection, signals: CodecSignals) -> HeatName:
    """What ranked the patches, where something did; else bits, else residual."""
    if (selection.kind_K == Kind.CODEC).any() and isinstance(selection.provenance.get("config"), Mapping):
        return "saliency"
    return "residual" if signals.bits_Tyx is None else "bits"


def heat_of(frames: FrameSequence, selection: Selection, signals: CodecSignals, name: HeatName) -> Heat:
    """The raw signal ``name``, or ``saliency``: what the selection ranked by, made again from its own settings.

    Raises:
        InvalidArgumentError: unknown name, or ``saliency`` of a selection that does not carry its settings.
        SignalUnavailableError: the provider gave no bits.
    """
    if name not in get_args(HeatName):
        raise InvalidArgumentError("heat", name, " | ".join(get_args(HeatName)))
    if name == "saliency":
        return _saliency(frames, selection, signals)
    values_Tyx = {
        "bits": signals.bits_Tyx,
        "residual": signals.residual_Tyx,
        "motion": np.hypot(signals.motion_Tyx2[..., 0], signals.motion_Tyx2[..., 1]),
    }[name]
    if values_Tyx is None:
        provider = str(signals.provenance.get("provider", "unnamed"))
        raise SignalUnavailableError(provider, "bits", "its signals carry none", ("heat='residual'", "heat='motion'"))
    known_Tyx = np.broadcast_to((signals.valid_T & ~signals.cut_T)[:, None, None], values_Tyx.shape)
    if name == "motion":
        known_Tyx = known_Tyx & ~signals.intra_Tyx
    return Heat(name=name, values_Tyx=values_Tyx, known_Tyx=known_Tyx, top=top_of(name, values_Tyx[known_Tyx]))


def _saliency(frames: FrameSequence, selection: Selection, signals: CodecSignals) -> Heat:
    config = selection.provenance.get("config")
    if not isinstance(config, Mapping) or not {"score", "camera"} <= set(config):
        raise InvalidArgumentError("heat", "saliency", "bits | residual | motion: the selection's settings are unknown")
    made = clip_saliency(frames, signals, score=config["score"], camera=config["camera"])
    known_Tyx = np.broadcast_to(made.ranked_T[:, None, None], made.value_Thw.shape)
    top = top_of("saliency", made.value_Thw[known_Tyx])
    cell = frames.patch * frames.merge
    return Heat(name="saliency", values_Tyx=made.value_Thw, known_Tyx=known_Tyx, top=top, cell=cell)


def top_of(name: str, seen: NDArray[np.floating]) -> float:
    """Hot end of the scale of signal ``name``, given the values known of it."""
    return max(_LEAST_TOP[name], float(np.percentile(seen, 99)) if seen.size else 0.0)


def colors(level: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Levels 0..1 [...] -> RGB [..., 3]."""
    points = np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in _INFERNO.split()], np.float64)
    at = np.linspace(0, 1, len(points))
    return np.stack([np.round(np.interp(level, at, points[:, c])).astype(np.uint8) for c in range(3)], -1)


def render_heat(
    heat: Heat, t: int, frame_size: tuple[int, int], size: tuple[int, int], style: Style = DARK
) -> NDArray[np.uint8]:
    """Frame ``t`` at ``size`` = (H', W'), cells as flat squares, hatched where nothing is known: uint8 [H', W', 3]."""
    rows, cols = (
        (2 * np.arange(n) + 1) * full // (2 * n) // heat.cell for n, full in zip(size, frame_size, strict=True)
    )
    out_HW3 = colors(np.clip(heat.values_Tyx[t] / heat.top, 0, 1).astype(np.float64))[np.ix_(rows, cols)]
    unknown_HW = ~heat.known_Tyx[t][np.ix_(rows, cols)]
    pitch = max(6, max(size) // 24)
    stripe_HW = np.add.outer(np.arange(size[0]), np.arange(size[1])) % pitch < max(1, pitch // 8)
    out_HW3[unknown_HW] = style.surface
    out_HW3[unknown_HW & stripe_HW] = style.rule
    return out_HW3
