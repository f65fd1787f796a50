"""`ove inspect FILE`: what the stream is, what its signals say, and where the tokens would go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from onevision_encoder.checks import counted
from onevision_encoder.cli.batch import Input, complain, run_batch
from onevision_encoder.cli.options import ReadingOptions
from onevision_encoder.tokens.pipeline import ClipReading, read_clip
from onevision_encoder.types import CodecSignals, Kind


@dataclass(frozen=True, kw_only=True)
class Inspect(ReadingOptions):
    """Show stream facts, signal statistics and tokens per frame of a video or image."""

    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """Video, image or URL."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        item = Input(path=self.file, name=Path(self.file).name)
        report = run_batch([item], lambda _: summarise(read_clip(self.file, self.how)), label="inspect", quiet=True)
        for facts in report.done:
            print(json.dumps(facts, indent=2) if self.json else _text(facts))
        complain(report)
        return report.exit_code


def summarise(reading: ClipReading) -> dict[str, Any]:
    """Facts of a reading as JSON-able values."""
    frames, selection = reading.frames, reading.selection
    return {
        "stream": asdict(frames.source),
        "sampled": {
            "frames": frames.num_frames,
            "height": int(frames.rgb_THW3.shape[1]),
            "width": int(frames.rgb_THW3.shape[2]),
            "grid": list(frames.grid),
            "patch": frames.patch,
            "frame_index": frames.frame_index_T.tolist(),
            "pts_seconds": np.round(frames.pts_seconds_T, 6).tolist(),
            "sampling": frames.provenance.get("sampling"),
            "model_time": None if selection.layout == "tiled" else reading.model_time_T.tolist(),
            "keyframes": np.flatnonzero(frames.keyframe_T).tolist(),
        },
        "signals": None if reading.signals is None else _signals(reading.signals, frames.pts_seconds_T),
        "selection": {
            "tokens": len(selection),
            "layout": selection.layout,
            "of": selection.provenance["available"],
            "tokens_per_frame": selection.tokens_per_frame_T.tolist(),
            "kinds": {kind.name.lower(): int((selection.kind_K == kind).sum()) for kind in Kind},
            "provenance": dict(selection.provenance),
        },
    }


def _signals(signals: CodecSignals, pts_seconds_T: NDArray[np.float64]) -> dict[str, Any]:
    inter = signals.valid_T[:, None, None] & ~signals.intra_Tyx
    speed = np.hypot(signals.motion_Tyx2[..., 0], signals.motion_Tyx2[..., 1])[inter]
    residual = signals.residual_Tyx[inter]
    return {
        "provider": signals.provenance.get("provider"),
        "interval": signals.interval,
        "motion_pixels": _spread(speed),
        "residual_levels": _spread(residual),
        "bits_per_cell": None if signals.bits_Tyx is None else _spread(signals.bits_Tyx[inter]),
        "moving_share": float((speed > 0.5).mean()) if speed.size else None,
        "cuts_seconds": np.round(pts_seconds_T[signals.cut_T], 3).tolist(),
        "frames_without_signal": np.flatnonzero(~signals.valid_T).tolist(),
    }


def _spread(values: NDArray[Any]) -> dict[str, float] | None:
    """Mean, median and 95th percentile over predicted cells; None where no cell was predicted."""
    if not values.size:
        return None
    return {"mean": float(values.mean()), "median": float(np.median(values)), "p95": float(np.percentile(values, 95))}


def _text(facts: Mapping[str, Any]) -> str:
    source, sampled, signals, chosen = (facts[k] for k in ("stream", "sampled", "signals", "selection"))
    rate = f", {source['fps']:.3g} fps" if source["fps"] else ""
    length = f", {source['duration_seconds']:.2f} s" if source["duration_seconds"] else ""
    colour = ", ".join(str(source[k]) for k in ("pixel_format", "color_space", "color_range") if source[k])
    chosen_share = f"{100 * chosen['tokens'] / chosen['of']:.3g} %"
    kinds = ", ".join(f"{n} {kind}" for kind, n in chosen["kinds"].items() if n)
    lines = [
        f"source     {source['name']}",
        f"stream     {source['codec']}, {source['width']}x{source['height']}{rate}, "
        f"{counted(source['num_frames'], 'frame')}{length}",
        f"pixels     {colour or 'unstated'}, rotation {source['rotation']}",
        f"damage     {counted(source['frames_lost'], 'frame')} lost, {source['frames_corrupt']} flagged corrupt",
        f"sampled    {counted(sampled['frames'], 'frame')} at {sampled['width']}x{sampled['height']}, "
        f"{sampled['pts_seconds'][0]:.2f} s to {sampled['pts_seconds'][-1]:.2f} s: "
        f"{sampled['grid'][0]}x{sampled['grid'][1]} patches of {sampled['patch']}",
        *([] if sampled["sampling"] is None else [f"pattern    {_pattern(sampled['sampling'])}"]),
        f"time       {_times(sampled['model_time'], chosen)}",
    ]
    if signals is not None and sampled["frames"] > 1:
        scenes = ", ".join(f"{t:.2f}" for t in signals["cuts_seconds"])
        lines += [
            f"signals    {signals['provider']}, interval {signals['interval']}, scenes start at {scenes} s",
            f"  motion   {_words(signals['motion_pixels'], 'pixels')}",
            f"  residual {_words(signals['residual_levels'], 'grey levels')}",
            f"  bits     {_words(signals['bits_per_cell'], 'a cell')}",
        ]
    lines += [
        f"tokens     {chosen['tokens']} of {chosen['of']} ({chosen_share}): {kinds}",
        f"per frame  {_ranges(chosen['tokens_per_frame'])}",
        *(f"           {_sparkline(part, chosen['tokens_per_frame'])}" for part in _lines(chosen["tokens_per_frame"])),
    ]
    return "\n".join(lines)


def _pattern(sampling: Mapping[str, Any]) -> str:
    """How frames were chosen, in words."""
    on_grid = f" on a grid of {sampling['fps']:g} frames a second" if sampling["fps"] else ""
    if sampling["num_frames"] is None:
        return f"every frame{on_grid}"
    if sampling["pattern"] == "uniform":
        return f"at most {counted(sampling['num_frames'], 'frame')}, evenly spread{on_grid}"
    seed = f", seed {sampling['frame_seed']}" if sampling["bin_frame"] == "random" else ""
    return f"one frame ({sampling['bin_frame']}{seed}) of each of {counted(sampling['num_frames'], 'bin')}{on_grid}"


def _times(model_time: list[float] | None, chosen: Mapping[str, Any]) -> str:
    """What the encoder sees as the time of the frames."""
    if model_time is None:
        tiles = sum(n > 0 for n in chosen["tokens_per_frame"])
        return f"0: {counted(tiles, 'tile')} in one tall picture"
    shown = " ".join(f"{t:.4g}" for t in model_time[:16])
    return f"{shown} ... {model_time[-1]:.4g}" if len(model_time) > 16 else shown


def _words(spread: Mapping[str, float] | None, unit: str) -> str:
    if spread is None:
        return "not given"
    figures = f"mean {spread['mean']:.2f}, median {spread['median']:.2f}, 95th percentile {spread['p95']:.2f}"
    return f"{figures} {unit}"


def _lines(counts: list[int]) -> list[list[int]]:
    return [counts[i : i + 64] for i in range(0, len(counts), 64)]


def _sparkline(part: list[int], counts: list[int]) -> str:
    top = max(counts)
    return "".join(" ▁▂▃▄▅▆▇█"[-(-8 * n // top)] for n in part)


def _ranges(counts: list[int]) -> str:
    return f"{min(counts)} to {max(counts)} tokens, median {int(np.median(counts))}"
