"""How much a selection suffers from noise, light, camera motion, re-delivery and frame rate.

    python benchmarks/bench_robustness.py --clips FOLDER --out benchmarks/results

Part 1, synthetic scenes with a textured object that moves on its own: the share of non-anchor tokens that touch the
object, at a budget of as many tokens, anchors included, as the object has patches (the ceiling says how many there are
for each non-anchor token outside the anchor frames: above 1, every token could lie on the object). Part 2, the same
scene at several frame rates. Part 3, real clips delivered by other codecs and qualities: intersection over union of the
non-anchor tokens with those of the file as it is.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import report
from numpy.typing import NDArray

from onevision_encoder.codec import compute_signals
from onevision_encoder.selection import SelectionConfig, select
from onevision_encoder.types import FrameSequence, Kind, Selection
from onevision_encoder.video import Sampling, frames_from_array, read_video

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from scenes import faded, moving_object, noisy, texture, to_rgb, to_uint8

T, SIZE, SIDE, PATCH = 64, 224, 42, 14
RUNS = (("blockcoder", "fused"), ("blockcoder", "bits"), ("x264proxy", "fused"))
MORE = (("blockcoder", "motion"), ("blockcoder", "residual"), ("blockcoder", "frame_difference"))
"""Provider and score. MORE: for the scenes only, to tell what each part of a score is good for."""
MEAN = "mean"
DELIVERIES = {
    "H.264 crf 18": ("libx264", "mp4", {"crf": "18"}),
    "H.264 crf 28": ("libx264", "mp4", {"crf": "28"}),
    "H.264 crf 38": ("libx264", "mp4", {"crf": "38"}),
    "HEVC crf 28": ("libx265", "mp4", {"crf": "28", "x265-params": "log-level=none"}),
    "VP9 crf 35": ("libvpx-vp9", "webm", {"crf": "35", "b": "0", "deadline": "realtime", "cpu-used": "6"}),
    "AV1 crf 40": ("libsvtav1", "mkv", {"crf": "40", "preset": "10", "svtav1-params": "lp=1"}),
}

Clip = NDArray[np.uint8]
Mask = NDArray[np.bool_]


def moving(background: tuple[float, float], step: float = 2.0) -> tuple[Clip, Mask]:
    """The object crosses the picture once, whatever the background does."""
    return moving_object((step, 0.5), T, SIZE, SIZE, side=SIDE, start=(60.0, 20.0), background=background)


def shaken(amplitude: float) -> tuple[Clip, Mask]:
    """A hand-held camera: every frame displaced by a random walk that is pulled back, object and all."""
    rng = np.random.default_rng(0)
    clip, inside = moving_object((2.0, 0.5), T, SIZE + 64, SIZE + 64, side=SIDE, start=(92.0, 52.0))
    offset = np.zeros(2)
    out, where = np.empty((T, SIZE, SIZE), np.uint8), np.empty((T, SIZE, SIZE), np.bool_)
    for t in range(T):
        offset = np.clip(0.8 * offset + rng.normal(0, amplitude, 2), -30, 30)
        y, x = (32 + np.rint(offset)).astype(int)
        out[t], where[t] = clip[t, y : y + SIZE, x : x + SIZE], inside[t, y : y + SIZE, x : x + SIZE]
    return out, where


def zoomed(rate: float) -> tuple[Clip, Mask]:
    """The camera zooms in by ``rate`` a frame for 16 frames and out again, twice; the object grows with its world."""
    beat = np.arange(T) % 32
    scale_T = (1 + rate) ** np.where(beat < 16, beat, 32 - beat)
    centre = (SIZE - 1) / 2
    offset = np.arange(SIZE) - centre
    clip, inside = np.empty((T, SIZE, SIZE), np.uint8), np.empty((T, SIZE, SIZE), np.bool_)
    for t, scale in enumerate(scale_T):
        y, x = (centre + offset / scale)[:, None], (centre + offset / scale)[None, :]
        top, left = 75 + 0.3 * t, 50 + 1.2 * t
        inside[t] = (y >= top) & (y < top + SIDE) & (x >= left) & (x < left + SIDE)
        clip[t] = to_uint8(np.where(inside[t], texture(y - top, x - left, seed=1), texture(y, x)))
    return clip, inside


def scenes() -> dict[str, tuple[Clip, Mask]]:
    still, where = moving((0, 0))
    dark = to_uint8(still * 0.12)
    flicker = np.random.default_rng(0).uniform(0.9, 1.1, T)
    made = {"static camera": (still, where)}
    made |= {f"pan {v:g} px": moving((-v, 0.0)) for v in (4.0, 12.0, 24.0)}
    made["pan 17 px, aslant"] = moving((-15.0, 8.0))
    made |= {f"zoom {r:.0%} a frame": zoomed(r) for r in (0.01, 0.02, 0.05)}
    made |= {f"shake {a:g} px": shaken(a) for a in (2.0, 6.0)}
    made |= {f"noise, sigma {s}": (noisy(still, s), where) for s in (2, 5, 10)}
    made["light swings by 35 %"] = (faded(still, 1 + 0.35 * np.sin(np.arange(T) / 5)), where)
    made["light flickers by 10 %"] = (faded(still, flicker), where)
    made |= {f"dark (12 %), noise sigma {s}": (noisy(dark, s), where) for s in (2, 5, 10)}
    return made


def choose(frames: FrameSequence, provider: str, score: str, budget: int | str) -> Selection:
    signals = compute_signals(frames, provider=provider)  # type: ignore[arg-type]
    return select(frames, signals, SelectionConfig(budget=budget, score=score))  # type: ignore[arg-type]


def holds(frames: FrameSequence, where_THW: Mask) -> Mask:
    """bool [T, h, w]: patches that touch the object."""
    h, w = frames.grid
    touched_Thw: Mask = where_THW.reshape(len(where_THW), h, PATCH, w, PATCH).any(axis=(2, 4))
    return touched_Thw


def share_on_object(frames: FrameSequence, holds_Thw: Mask, provider: str, score: str) -> tuple[float, float]:
    """Of the non-anchor tokens, in frames after the first; and the object's patches for each of them."""
    budget = int(holds_Thw[1:].sum())  # anchors take a quarter of it, so the object could hold all the rest
    chosen = choose(frames, provider, score, budget)
    rows = chosen.positions_K3[chosen.kind_K != Kind.ANCHOR]
    room = np.delete(holds_Thw, chosen.provenance["anchor_frames"], axis=0).sum()
    return float(holds_Thw[tuple(rows.T)].mean()), float(room / len(rows))


def row_of(name: dict[str, object], clip: Clip, where: Mask, fps: float, runs: Sequence[tuple[str, str]]) -> report.Row:
    frames = frames_from_array(to_rgb(clip), fps=fps)
    holds_Thw = holds(frames, where)
    shares, ceiling = {}, 0.0
    for provider, score in runs:
        shares[f"{provider} {score}"], ceiling = share_on_object(frames, holds_Thw, provider, score)
    return name | {"ceiling": ceiling} | shares


def synthetic() -> list[report.Row]:
    return [row_of({"scene": name}, clip, where, 25, RUNS + MORE) for name, (clip, where) in scenes().items()]


def frame_rates() -> list[report.Row]:
    """One scene of 2.56 s, filmed at several rates and read with 64 frames at most."""
    rows = []
    for fps in (12, 25, 30, 60):
        n = round(2.56 * fps)
        step = 50.0 / fps
        clip, where = moving_object((step, step / 4), n, SIZE, SIZE, side=SIDE, start=(60.0, 20.0))
        keep = np.trunc(np.linspace(0, n - 1, min(T, n))).astype(int)
        rows.append(row_of({"frames a second": fps, "frames": len(keep)}, clip[keep], where[keep], fps, RUNS))
    return rows


def redeliver(frames: FrameSequence, path: Path, codec: str, options: dict[str, str]) -> FrameSequence:
    """The sampled frames coded again by another codec, and read back at their own size."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25, options=dict(options))
        stream.height, stream.width = frames.rgb_THW3.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for i, rgb in enumerate(frames.rgb_THW3):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            picture.pts = i
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return read_video(path, sampling=Sampling(num_frames=None))


def delivered(clips: list[Path]) -> list[report.Row]:
    """A row per clip and run, and their means."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for clip in clips:
            frames = read_video(clip)
            copies = {
                name: redeliver(frames, Path(folder) / f"copy.{suffix}", codec, options)
                for name, (codec, suffix, options) in DELIVERIES.items()
            }
            for provider, score in RUNS:
                plain = picked(choose(frames, provider, score, "12.5%"))
                row: dict[str, object] = {"clip": clip.name, "score": f"{provider} {score}"}
                for name, copy in copies.items():
                    again = picked(choose(copy, provider, score, "12.5%"))
                    row[name] = len(plain & again) / len(plain | again)
                rows.append(row)
    runs = [f"{provider} {score}" for provider, score in RUNS]
    for run in runs:
        of_run = [row for row in rows if row["score"] == run and row["clip"] != MEAN]
        means = {name: float(np.mean([row[name] for row in of_run])) for name in DELIVERIES}
        rows.append({"clip": MEAN, "score": run, **means})
    return rows


def picked(selection: Selection) -> set[tuple[int, ...]]:
    rows = selection.positions_K3[selection.kind_K != Kind.ANCHOR]
    return {tuple(row) for row in rows.tolist()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, nargs="*", default=[], help="real clips, or a folder of them")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    clips = [f for c in arguments.clips for f in (sorted(c.iterdir()) if c.is_dir() else [c])]
    parts = {
        "Share of non-anchor tokens on the object": synthetic(),
        "The same scene at several frame rates": frame_rates(),
    }
    if clips:
        parts["Intersection over union with the selection from the file itself"] = delivered(clips)
    report.write(arguments.out, "robustness", "Robustness of the codec selection", parts)


if __name__ == "__main__":
    main()
