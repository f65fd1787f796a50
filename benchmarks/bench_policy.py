"""Each choice of the codec policy against its alternatives: what a selection wins and loses by it.

    python benchmarks/bench_policy.py --signals FOLDER --clips FILE ... [--out benchmarks/results]

Columns, all at the default budget of 12.5 % unless said otherwise:
on the object: share of the non-anchor tokens on an object that moves on its own, mean of the scenes of
    bench_robustness.py named below, budget = the object's patches.
worst scene: the lowest of them.
fused truth, bits truth: what x265 itself found (``score.py`` beside the truth files): energy of the selected patches
    as a share of what the best K patches of the P-frames hold; mean of the truth files. Anchors pay for themselves.
redelivery: intersection over union of the non-anchor tokens with those of the same clip as H.264 crf 28 and crf 38.
noise: share of the tokens of a still clip with sensor noise (sigma 5) that are ranked as if something happened.
fullest frame: tokens of the fullest non-anchor frame / mean tokens of a frame, mean of the clips.
idle frames: share of frames with fewer than four tokens.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import bench_robustness as scenery
import numpy as np
import report
from bench_signals import load_judge
from numpy.typing import NDArray

from onevision_encoder.codec import compute_signals
from onevision_encoder.selection import SelectionConfig, appearance, saliency, select, world
from onevision_encoder.types import CodecSignals, FrameSequence, Kind, Selection
from onevision_encoder.video import Sizing, frames_from_array, read_video

SCENES = ("static camera", "pan 4 px", "pan 12 px", "pan 24 px", "zoom 2% a frame", "shake 6 px", "noise, sigma 5")
SCENES += ("light swings by 35 %", "dark (12 %), noise sigma 2")
DELIVERIES = ("H.264 crf 28", "H.264 crf 38")
Floats = NDArray[np.float32]
Clip = tuple[FrameSequence, CodecSignals]


@contextmanager
def _as_shipped() -> Iterator[None]:
    yield


@contextmanager
def _no_floor() -> Iterator[None]:
    """Nothing is taken off but what rounding makes."""
    with (
        patch.object(saliency, "_noise", lambda values: 0.0),
        patch.object(saliency, "FLOORS", {"residual": 1e-3, "motion": 1e-3, "bits": 1e-3}),
    ):
        yield


@contextmanager
def _fixed_floor() -> Iterator[None]:
    """The absolute floor alone; the clip's own noise is not looked at."""
    with patch.object(saliency, "_noise", lambda values: 0.0):
        yield


@contextmanager
def _per_frame() -> Iterator[None]:
    """The original's scale: every frame by its own 95th percentile, clipped at it. The floor stays."""
    per_clip = saliency._graded

    def graded(raw: Floats, known: NDArray[np.bool_], floor: float) -> tuple[Floats, dict[str, float]]:
        _, facts = per_clip(raw, known, floor)
        excess = np.maximum(raw - np.float32(facts["floor"]), 0)
        top_T = np.percentile(excess.reshape(len(excess), -1), 95, axis=1)
        scale_T = np.maximum(top_T, floor).astype(np.float32)
        return np.minimum(excess / scale_T[:, None, None], 1), facts

    with patch.object(saliency, "_graded", graded):
        yield


@contextmanager
def _constant(module: object, name: str, value: object) -> Iterator[None]:
    with patch.object(module, name, value):
        yield


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One way to do it: options of the policy, or a change inside it."""

    name: str
    options: dict[str, object]
    inside: Callable[[], object] = _as_shipped


def _choice(name: str, inside: Callable[[], object] = _as_shipped, **options: object) -> Choice:
    return Choice(name=name, options=options, inside=inside)


QUESTIONS: dict[str, list[Choice]] = {
    "Score": [_choice(s, score=s) for s in ("fused", "bits", "motion", "residual", "frame_difference")],
    "Camera motion": [
        *(_choice(f"{s}, camera {c}", score=s, camera=c) for s in ("fused", "bits") for c in ("auto", "none")),
    ],
    "Memory of the world and weight of what is no event": [
        _choice("as shipped (6 frames, 0.15)"),
        *(_choice(f"{n} frames", lambda n=n: _constant(world, "MEMORY", n)) for n in (2, 4, 8)),
        *(
            _choice(f"weight {w}", lambda w=w: _constant(saliency, "NO_EVENT_WEIGHT", w))
            for w in (0.05, 0.25, 0.5, 1.0)
        ),
    ],
    "What appears and stays: least change of level": [
        _choice("48 grey levels (as shipped)"),
        *(_choice(f"{n}", lambda n=n: _constant(appearance, "LEAST_STEP", n)) for n in (16.0, 32.0)),
        _choice("not counted", lambda: _constant(appearance, "LEAST_STEP", 256.0)),
    ],
    "Noise floor": [
        _choice("absolute, raised to the clip's noise (as shipped)"),
        _choice("without the sensor's noise", lambda: _constant(saliency, "clip_noise", lambda luma_THW: 0.0)),
        _choice("absolute only", _fixed_floor),
        _choice("none", _no_floor),
    ],
    "Scale": [_choice("per clip (as shipped)"), _choice("per frame (the original's)", _per_frame)],
    "Anchors": [_choice(f"{n} anchors" if n is not None else "1 per 32 frames", anchors=n) for n in (None, 0, 1, 4, 8)],
    "Share of anchors, with 4 wanted": [
        _choice(f"{s:.1%}", anchors=4, anchor_share=s) for s in (0.25, 0.125, 0.375, 0.5)
    ],
    "Least per frame": [_choice(str(n), min_per_frame=n) for n in (1, 0, 2, 4, 8)],
    "Scope": [_choice(s, scope=s) for s in ("global", "chunk")],
}


class Material:
    """Everything that is judged, with its signals, made once."""

    def __init__(self, signals: Path, clips: list[Path]) -> None:
        made = scenery.scenes()
        self.scenes: list[tuple[FrameSequence, CodecSignals, NDArray[np.bool_]]] = []
        for name in SCENES:
            frames, coded = _of_luma(made[name][0])
            self.scenes.append((frames, coded, scenery.holds(frames, made[name][1])))
        judge = load_judge(signals)
        self.truth = [
            (*_of_luma(np.load(file)["luma_THW"]), *judge.truths(str(file), scenery.PATCH))
            for file in sorted(signals.glob("*.npz"))
        ]
        still = np.repeat(made["static camera"][0][:1], scenery.T, 0)
        self.noise = _of_luma(scenery.noisy(still, 5.0))
        self.real: list[list[Clip]] = []
        with tempfile.TemporaryDirectory() as folder:
            for clip in clips:
                looks = [read_video(clip)]
                for name in DELIVERIES:
                    codec, suffix, options = scenery.DELIVERIES[name]
                    looks.append(scenery.redeliver(looks[0], Path(folder) / f"copy.{suffix}", codec, options))
                self.real.append([(frames, compute_signals(frames)) for frames in looks])


def _of_luma(luma_THW: NDArray[np.uint8]) -> Clip:
    everything = Sizing(max_patches=luma_THW[0].size // scenery.PATCH**2)
    frames = frames_from_array(scenery.to_rgb(luma_THW), fps=25, sizing=everything)
    return frames, compute_signals(frames)


def judged(choice: Choice, material: Material) -> report.Row:
    def chosen(frames: FrameSequence, signals: CodecSignals, budget: int | str = "12.5%") -> Selection:
        return select(frames, signals, SelectionConfig(budget=budget, **choice.options))  # type: ignore[arg-type]

    with choice.inside():  # type: ignore[attr-defined]
        on = [_on_object(chosen(f, s, int(holds[1:].sum())), holds) for f, s, holds in material.scenes]
        captured = [_captured(chosen(f, s), truths, keep) for f, s, truths, keep in material.truth]
        noise = chosen(*material.noise)
        real = [[chosen(f, s) for f, s in looks] for looks in material.real]
    same = [_same(looks[0], other) for looks in real for other in looks[1:]]
    spread_C2 = np.array([_spread(looks[0]) for looks in real])
    return {
        "choice": choice.name,
        "on the object": float(np.mean(on)),
        "worst scene": float(np.min(on)),
        **{f"{name} truth": float(np.mean([c[name] for c in captured])) for name in ("fused", "bits")},
        "redelivery": float(np.mean(same)) if same else "-",
        "noise": float((noise.kind_K == Kind.CODEC).mean()),
        "fullest frame": float(spread_C2[:, 0].mean()) if same else "-",
        "idle frames": float(spread_C2[:, 1].mean()) if same else "-",
    }


def _on_object(selection: Selection, holds_Thw: NDArray[np.bool_]) -> float:
    rows = selection.positions_K3[selection.kind_K != Kind.ANCHOR]
    return float(holds_Thw[tuple(rows.T)].mean())


def _captured(
    selection: Selection, truths: dict[str, NDArray[np.float64]], keep_T: NDArray[np.bool_]
) -> dict[str, float]:
    chosen_Thw = np.zeros(selection.shape, np.bool_)
    chosen_Thw[tuple(selection.positions_K3.T)] = True
    found = {}
    for name, truth in truths.items():
        best = np.sort(truth.ravel())[::-1][: len(selection)].sum()
        found[name] = float(truth[chosen_Thw[keep_T]].sum() / best)
    return found


def _same(one: Selection, other: Selection) -> float:
    a, b = scenery.picked(one), scenery.picked(other)
    return len(a & b) / len(a | b)


def _spread(selection: Selection) -> tuple[float, float]:
    """Fullest frame / mean, share of idle frames; frames with anchors are left out of the first."""
    count_T = selection.tokens_per_frame_T
    others_T = np.delete(count_T, selection.provenance["anchor_frames"])
    return float(others_T.max() / count_T.mean()), float((count_T < 4).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signals", type=Path, required=True, help="folder of truth files and score.py")
    parser.add_argument("--clips", type=Path, nargs="*", default=[], help="real clips")
    parser.add_argument("--only", nargs="*", default=list(QUESTIONS), help="questions to ask")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    material = Material(args.signals, args.clips)
    parts = {name: [judged(choice, material) for choice in QUESTIONS[name]] for name in args.only}
    notes = [
        "provider blockcoder; scenes: " + ", ".join(SCENES),
        "clips: " + ", ".join(clip.name for clip in args.clips),
        "truth files: " + ", ".join(file.stem for file in sorted(args.signals.glob("*.npz"))),
    ]
    report.write(args.out, "policy", "Choices of the codec policy", parts, notes)


if __name__ == "__main__":
    main()
