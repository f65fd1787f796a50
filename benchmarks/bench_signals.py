"""How much of what a real x265 encoder found do our patch scores find, and what do they cost?

Reads a folder of truth files (``NAME_SIZE.npz``: luma, residual, motion, bits of an instrumented x265 decoder) with the
``score.py`` beside them, and judges every score by its functions: capture@q = share of the true energy in our best q of
the patches, keyframes left out. One thread; ms per frame is the best of ``--repeat`` runs, everything included.

    python benchmarks/bench_signals.py --signals FOLDER [--out benchmarks/results/signals]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import av  # noqa: E402
import numpy as np  # noqa: E402

from onevision_encoder import __version__  # noqa: E402
from onevision_encoder.codec import blockcoder_signals, patch_scores, raw_scores  # noqa: E402
from onevision_encoder.codec.proxy import QUANTISER, proxy_signals  # noqa: E402

Scorer = Callable[[np.ndarray, int], np.ndarray]


def random_scores(luma_THW: np.ndarray, patch: int) -> np.ndarray:
    T, H, W = luma_THW.shape
    return np.random.default_rng(0).random((T, H // patch, W // patch), np.float32)


def scorer(score: str, provider: str = "x264proxy") -> Scorer:
    return lambda luma_THW, patch: patch_scores(luma_THW, patch=patch, provider=provider, score=score)


ROWS: dict[str, Scorer] = {
    "blockcoder fused": scorer("fused", "blockcoder"),
    "blockcoder bits": scorer("bits", "blockcoder"),
    "blockcoder residual": scorer("residual", "blockcoder"),
    "blockcoder motion": scorer("motion", "blockcoder"),
    "x264proxy fused": scorer("fused"),
    "x264proxy residual": scorer("residual"),
    "x264proxy motion": scorer("motion"),
    "frame_difference": scorer("frame_difference"),
    "random": random_scores,
}


def variant(quantiser: int = QUANTISER, **x264: str) -> Scorer:
    """x264proxy's fused score with other encoder settings."""
    settings = {name.replace("_", "-"): value for name, value in x264.items()}
    return lambda luma_THW, patch: raw_scores(proxy_signals(luma_THW, quantiser=quantiser, x264=settings), patch=patch)


SWEEP: dict[str, Scorer] = {
    "as shipped: qp 22, subme 2, hex": variant(),
    "qp 18": variant(18),
    "qp 20": variant(20),
    "qp 24": variant(24),
    "qp 26": variant(26),
    "subme 1": variant(subme="1"),
    "subme 4": variant(subme="4"),
    "me dia": variant(me="dia"),
    "me umh": variant(me="umh"),
    "16x16 blocks only": variant(partitions="none"),
    "no intra 4x4 and 8x8": variant(partitions="p8x8"),
    "trellis 1": variant(trellis="1"),
    "no early skip": variant(no_fast_pskip="1"),
    "no coefficient decimation": variant(no_dct_decimate="1"),
    "keyframe every 16": variant(keyint="16", min_keyint="16"),
    "deblocking": variant(no_deblock="0"),
}


def coder(score: str, **constants: int) -> Scorer:
    """blockcoder with other constants."""
    return lambda luma_THW, patch: raw_scores(
        blockcoder_signals(luma_THW, constants=constants), patch=patch, score=score
    )


CODER_SWEEP: dict[str, dict[str, int]] = {
    "as shipped": {},
    **{f"QP {q / 8:g}, intra {q / 8 - 2:g}": {"qp_inter": q, "qp_intra": q - 16} for q in (160, 176, 192, 208, 224)},
    **{f"lambda {v}": {"lambda": v} for v in (94, 200, 300, 600)},
    **{f"lambda_search {v}": {"lambda_search": v} for v in (94, 300, 450, 900)},
    **{f"lambda_rate {v}": {"lambda_rate": v} for v in (12, 18, 34, 60)},
    **{f"round_inter {v}": {"round_inter": v} for v in (30, 64)},
    **{f"merges {v}": {"merges": v} for v in (1, 2, 4, 5)},
    **{f"still_from {v}": {"still_from": v} for v in (0, 150, 600)},
    **{f"split_from {v}": {"split_from": v} for v in (400, 800, 2000)},
    "16 x 16 vectors only": {"split_from": 65535},
    **{f"gain {v}": {"gain": v} for v in (0, 3, 9, 12)},
    **{f"intra_from {v}": {"intra_from": v} for v in (64, 256, 512)},
    "whole pixels only": {"between": 0},
    **{f"between {v}": {"between": v} for v in (2, 3)},
    **{f"rate {v}": {"rate": v} for v in (4, 6)},
}


def load_judge(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("score", folder / "score.py")
    if spec is None or spec.loader is None or not (folder / "score.py").is_file():
        raise SystemExit(f"{folder / 'score.py'} does not exist")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure(
    judge: ModuleType, file: Path, scorers: dict[str, Scorer], patch: int, repeat: int, noise: float
) -> list[dict[str, Any]]:
    luma_THW = np.load(file)["luma_THW"]
    if noise:
        grain_THW = np.random.default_rng(0).normal(0, noise, luma_THW.shape)
        luma_THW = np.clip(np.rint(luma_THW + grain_THW), 0, 255).astype(np.uint8)
    truths, keep = judge.truths(str(file), patch)
    rows = []
    for name, make in scorers.items():
        seconds = []
        for _ in range(repeat):
            start = time.perf_counter()
            scores = make(luma_THW, patch)
            seconds.append(time.perf_counter() - start)
        judged = {truth: judge.compare(scores[keep], values) for truth, values in truths.items()}
        rows.append({"clip": file.stem, "score": name, "ms_per_frame": 1e3 * min(seconds) / len(luma_THW), **judged})
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Mean over the 224-pixel clips, then every clip."""
    lines = []
    groups = {"mean of 224": [r for r in rows if r["clip"].endswith("_224")]}
    groups |= {clip: [r for r in rows if r["clip"] == clip] for clip in sorted({r["clip"] for r in rows})}
    columns = ("fused capture@0.125", "fused iou@0.1", "fused rho/frame", "residual capture@0.125")
    columns += ("bits capture@0.125", "bits iou@0.1", "bits rho/frame")
    for title, group in groups.items():
        if not group:
            continue
        lines += [f"### {title}", "", "| score | " + " | ".join(columns) + " | ms per frame |"]
        lines.append("|---" * (len(columns) + 2) + "|")
        for name in dict.fromkeys(r["score"] for r in group):
            mine = [r for r in group if r["score"] == name]
            values = [np.mean([r[c.split()[0]][c.split()[1]] for r in mine]) for c in columns]
            ms = np.mean([r["ms_per_frame"] for r in mine])
            lines.append(f"| {name} | " + " | ".join(f"{v:.3f}" for v in values) + f" | {ms:.2f} |")
        lines.append("")
    return "\n".join(lines)


def speed_ratio(rows: list[dict[str, Any]]) -> str:
    """blockcoder's time over x264proxy's in this run, per clip."""
    ms = {(r["clip"], r["score"]): r["ms_per_frame"] for r in rows}
    clips = sorted({clip for clip, score in ms if score == "x264proxy fused"})
    ratios = [f"{clip} {ms[clip, 'blockcoder fused'] / ms[clip, 'x264proxy fused']:.2f}" for clip in clips]
    return "blockcoder / x264proxy: " + (", ".join(ratios) or "not measured in this run")


def processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signals", type=Path, required=True, help="folder of truth files and score.py")
    parser.add_argument("--patch", type=int, default=14)
    parser.add_argument("--repeat", type=int, default=3, help="timed runs; the best counts")
    parser.add_argument("--sweep", choices=("x264proxy", "blockcoder"), help="compare settings of this provider")
    parser.add_argument("--noise", type=float, default=0, help="sigma of sensor noise on the input, grey levels")
    parser.add_argument("--out", type=Path, help="write OUT.json and OUT.md")
    args = parser.parse_args()
    files = sorted(args.signals.glob("*.npz"))
    if not files:
        raise SystemExit(f"no truth files (*.npz) in {args.signals}")
    judge = load_judge(args.signals)
    scorers = {None: ROWS, "x264proxy": SWEEP, "blockcoder": {}}[args.sweep]
    if args.sweep == "blockcoder":
        scorers = {f"{name}: {s}": coder(s, **given) for name, given in CODER_SWEEP.items() for s in ("fused", "bits")}
    rows = [row for file in files for row in measure(judge, file, scorers, args.patch, args.repeat, args.noise)]
    facts = {
        "command": f"python benchmarks/bench_signals.py --signals {args.signals.name} --patch {args.patch} "
        f"--repeat {args.repeat}"
        + (f" --sweep {args.sweep}" if args.sweep else "")
        + (f" --noise {args.noise:g}" if args.noise else ""),
        "onevision_encoder": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "av": av.__version__,
        "libavcodec": ".".join(map(str, av.library_versions["libavcodec"])),
        "processor": processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "threads": 1,
        "x264_qp": QUANTISER,
        "blockcoder": json.dumps(blockcoder_signals(np.zeros((1, 8, 8), np.uint8)).provenance["constants"]),
        "speed": speed_ratio(rows),
    }
    notes = "\n".join(f"- {key}: {value}" for key, value in facts.items())
    text = f"# Patch scores against x265's own signals\n\n{table(rows)}\n{notes}\n"
    sys.stdout.write(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.with_suffix(".json").write_text(json.dumps({"facts": facts, "rows": rows}, indent=1) + "\n")
        args.out.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
