"""Our signals against the original's recipe: code the 64 sampled frames again with x265, then decode what came out.

The recipe's encoder: libx265, yuv420p, preset fast, crf 23, a keyframe every 16 frames, no B frames, one reference. The
original reads the stream with a decoder of its own that also writes vectors and residuals down; here PyAV's decoder
reads it, which does less. Containers, files and the conversion from RGB are left out of the time: they would only slow
the recipe down. Ours reads the luma of the same frames.

    python benchmarks/bench_recipe.py CLIP... [--repeat 9] [--out benchmarks/results]

Repeats are interleaved: every contender runs once, then every contender again. On one core everything has one thread
(x265: no thread pool, one frame at a time). CPU = processor time of the whole process, all threads.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import median
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import av  # noqa: E402
import numpy as np  # noqa: E402
import report  # noqa: E402

from onevision_encoder.codec import blockcoder_signals  # noqa: E402
from onevision_encoder.codec.proxy import proxy_signals  # noqa: E402
from onevision_encoder.video import Sampling, Sizing, read_video  # noqa: E402

GOP = 16
X265 = f"keyint={GOP}:min-keyint={GOP}:scenecut=0:bframes=0:ref=1:repeat-headers=1:log-level=none"
ONE_THREAD = ":pools=none:frame-threads=1:wpp=0"
SIZES = {224: Sizing(recipe="crop224"), 448: Sizing(recipe="image448")}
Call = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Clip:
    """The same frames as each contender wants them. luma_THW: uint8."""

    name: str
    side: int
    luma_THW: np.ndarray
    pictures: list[av.VideoFrame]


def load(path: Path, side: int) -> Clip:
    frames = read_video(path, sampling=Sampling(num_frames=64), sizing=SIZES[side])
    pictures = []
    for t, rgb_HW3 in enumerate(frames.rgb_THW3):
        picture = av.VideoFrame.from_ndarray(rgb_HW3, format="rgb24").reformat(format="yuv420p")
        picture.pts, picture.time_base = t, Fraction(1, 25)
        pictures.append(picture)
    return Clip(name=path.name, side=side, luma_THW=frames.luma_THW, pictures=pictures)


def encode(clip: Clip, *, threads: bool = False) -> list[av.Packet]:
    """The recipe's stream; ``threads``: as many as x265 likes."""
    codec = av.CodecContext.create("libx265", "w")
    codec.width = codec.height = clip.side
    codec.pix_fmt, codec.time_base, codec.framerate, codec.gop_size = "yuv420p", Fraction(1, 25), Fraction(25), GOP
    codec.options = {"preset": "fast", "crf": "23", "x265-params": X265 + ("" if threads else ONE_THREAD)}
    if not threads:
        codec.thread_count = 1
    packets = [packet for picture in clip.pictures for packet in codec.encode(picture)]
    return packets + codec.encode(None)


def decode(packets: Sequence[av.Packet]) -> int:
    codec = av.CodecContext.create("hevc", "r")
    codec.thread_count = 1
    return sum(len(codec.decode(packet)) for packet in packets) + len(codec.decode(None))


def check(clip: Clip, packets: Sequence[av.Packet]) -> None:
    """Is this the stream that the recipe asks for?"""
    T = len(clip.pictures)
    keys = [i for i, packet in enumerate(packets) if packet.is_keyframe]
    if len(packets) != T or keys != list(range(0, T, GOP)) or decode(packets) != T:
        raise SystemExit(f"x265 gave {len(packets)} packets for {T} frames of {clip.name}, keyframes at {keys}")


def timed(call: Call) -> tuple[float, float]:
    """(CPU, wall) in ms."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return 1e3 * (time.process_time() - cpu), 1e3 * (time.perf_counter() - wall)


def interleaved(calls: dict[str, Call], repeat: int) -> dict[str, np.ndarray]:
    """float64 [repeat, 2] = (CPU, wall) ms by name, after one round that does not count."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for round_ in range(repeat + 1):
        for name, call in calls.items():
            measured = timed(call)
            if round_:
                times[name].append(measured)
    return {name: np.array(values) for name, values in times.items()}


def one_core(clip: Clip, repeat: int) -> tuple[list[dict[str, Any]], float]:
    """(rows, CPU time of the re-encode / blockcoder's)."""
    packets = encode(clip)
    check(clip, packets)
    calls: dict[str, Call] = {
        "blockcoder": lambda: blockcoder_signals(clip.luma_THW),
        "x264proxy": lambda: proxy_signals(clip.luma_THW),
        "x265 re-encode": lambda: encode(clip),
        "x265 decode": lambda: decode(packets),
    }
    times = interleaved(calls, repeat)
    times["x265 re-encode + decode"] = times["x265 re-encode"] + times["x265 decode"]
    T, ours = len(clip.luma_THW), times["blockcoder"]
    rows: list[dict[str, Any]] = []
    for name, values in times.items():
        cpu, wall = values[:, 0] / T, values[:, 1] / T
        rows.append(
            {
                "clip": clip.name,
                "signals by": name,
                "CPU ms a frame": median(cpu),
                "least": float(cpu.min()),
                "most": float(cpu.max()),
                "wall ms a frame": median(wall),
                "CPU / blockcoder's": median(values[:, 0] / ours[:, 0]),
                "wall / blockcoder's": median(values[:, 1] / ours[:, 1]),
            }
        )
    return rows, next(row["CPU / blockcoder's"] for row in rows if row["signals by"] == "x265 re-encode")


def over_clips(clip: Clip, threads: int, count: int) -> None:
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(blockcoder_signals, [clip.luma_THW] * count))


def all_cores(clip: Clip, cores: int, repeat: int) -> list[dict[str, Any]]:
    """x265 with the threads it likes, clip after clip, against blockcoder with a clip a thread."""
    count = 4 * cores
    ours, theirs = f"blockcoder, {cores} clips at a time", "x265 re-encode, its own threads"
    calls: dict[str, Call] = {
        ours: lambda: over_clips(clip, cores, count),
        theirs: lambda: [encode(clip, threads=True) for _ in range(2)],
    }
    times = interleaved(calls, repeat)
    times[ours] /= count
    times[theirs] /= 2
    return [
        {
            "clip": clip.name,
            "size": clip.side,
            "signals by": name,
            "clips a second": 1e3 / median(values[:, 1]),
            "CPU ms a clip": median(values[:, 0]),
            "wall / blockcoder's": median(values[:, 1] / times[ours][:, 1]),
            "CPU / blockcoder's": median(values[:, 0] / times[ours][:, 0]),
        }
        for name, values in times.items()
    ]


def scaling(clip: Clip, cores: int, repeat: int) -> list[dict[str, Any]]:
    """Clips a second with 1, 2, 4 ... threads of one process."""
    counts = sorted({2**i for i in range(cores.bit_length()) if 2**i <= cores} | {cores})
    clips = 8 * cores
    calls: dict[str, Call] = {str(n): lambda n=n: over_clips(clip, n, clips) for n in counts}  # type: ignore[misc]
    times = interleaved(calls, repeat)
    alone = times["1"]
    return [
        {
            "size": clip.side,
            "threads": n,
            "clips a second": 1e3 * clips / median(values[:, 1]),
            "as fast as one thread": median(alone[:, 1] / values[:, 1]),
            "CPU ms a clip": median(values[:, 0]) / clips,
        }
        for n, values in times.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", nargs="+", type=Path)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of the result")
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parts: dict[str, list[dict[str, Any]]] = {}
    together: list[dict[str, Any]] = []
    scales: list[dict[str, Any]] = []
    ratios = []
    for side in SIZES:
        key = f"One core, 64 frames of {side} x {side}"
        for path in args.clips:
            clip = load(path, side)
            rows, ratio = one_core(clip, args.repeat)
            parts.setdefault(key, []).extend(rows)
            ratios.append((ratio, f"{path.name} {side}: {ratio:.2f}"))
            together += all_cores(clip, cores, args.repeat)
        scales += scaling(clip, cores, args.repeat)
    parts[f"All {cores} cores: clips of 64 frames"] = together
    parts[f"Threads over clips (GIL released), {args.clips[-1].name}"] = scales
    notes = [
        f"medians of {args.repeat} interleaved repeats after one that does not count; least and most are the spread of "
        "the CPU time; ratios are medians of paired ratios",
        f"x265: {X265}, preset fast, crf 23; one core adds {ONE_THREAD[1:]}",
        "x265's share leaves out containers, files, process starts and the conversion to yuv420p; the decoder is "
        "PyAV's, which writes no vectors or residuals down",
        f"CPU time of the x265 re-encode / blockcoder, least {min(ratios)[0]:.2f}: " + ", ".join(r[1] for r in ratios),
    ]
    report.write(args.out, "recipe", "Our signals against a re-encode with x265", parts, notes)


if __name__ == "__main__":
    main()
