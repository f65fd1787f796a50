"""Speed, memory and exactness of the encoder on a CPU, as ratios within one run.

    python benchmarks/bench_encoder.py --out benchmarks/results

Variants are timed in turn, repeat by repeat, and medians are compared, so
that a slow minute of the machine falls on all of them. Weights are random; time does not depend on them.

Parts: ``dtype`` = eager float32 against SDPA float32 against the default dtype, 2,048 tokens; ``accuracy`` = cosine of
the default dtype to float32; ``budget`` = 2,048 selected patches against all 16,384 of a video; ``memory`` = peak
resident memory of a fresh process encoding all 16,384; ``packed`` = clips of mixed lengths against equal ones.
"""

from __future__ import annotations

import argparse
import copy
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import report
import torch
from torch.nn import functional

from onevision_encoder.model import OneVisionEncoderModel, preset_config
from onevision_encoder.model.precision import inference_dtype

PARTS = ("dtype", "accuracy", "budget", "memory", "packed")
VIDEO = (64, 224, 224)
SELECTED = 2048
PACKS = {
    "32 images": ([256] * 32, [64, 448, 128, 384, 192, 320, 256, 256] * 4),
    "8 clips": ([1024] * 8, [512, 1536, 640, 1408, 768, 1280, 896, 1152]),
}


def build(preset: str, dtype: torch.dtype, attention: str = "sdpa") -> OneVisionEncoderModel:
    torch.manual_seed(0)
    model = OneVisionEncoderModel(preset_config(preset, attn_implementation=attention)).eval()
    return model.to(dtype)


def make_pack(lengths: list[int]) -> dict[str, torch.Tensor]:
    """A pack of clips whose patches lie in order on 16 x 16 grids."""
    generator = torch.Generator().manual_seed(1)
    rows = torch.cat([torch.arange(n) for n in lengths])
    return {
        "pixel_values": torch.randn(sum(lengths), 588, generator=generator),
        "patch_positions": torch.stack([rows // 256, rows % 256 // 16, rows % 16], dim=-1),
        "cu_seqlens": torch.tensor([0, *lengths]).cumsum(0),
    }


def make_video() -> torch.Tensor:
    """[1, 3, T, H, W] with structure at all scales and values like normalised pixels."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randn(1, 3, 8, 9, 9, generator=generator)
    smooth = functional.interpolate(coarse, size=VIDEO, mode="trilinear")
    return smooth + 0.3 * torch.randn(smooth.shape, generator=generator)


def interleaved(variants: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call, after one call of each that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for repeat in range(-1, repeats):
        for name, call in variants.items():
            start = time.perf_counter()
            with torch.inference_mode():
                call()
            if repeat >= 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def timed(seconds: dict[str, list[float]], against: str) -> dict[str, dict[str, object]]:
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        name: {"seconds": times, "median seconds": medians[name], f"{against} / this": medians[against] / medians[name]}
        for name, times in seconds.items()
    }


def bench_dtype(preset: str, repeats: int) -> dict[str, object]:
    dtype = inference_dtype("cpu").dtype
    pack = make_pack([SELECTED])
    exact = build(preset, torch.float32)
    default = copy.deepcopy(exact).to(dtype)

    def run_exact(attention: str) -> None:
        exact.set_attn_implementation(attention)
        exact(**pack)

    variants = {
        "eager float32": lambda: run_exact("eager"),
        "sdpa float32": lambda: run_exact("sdpa"),
        f"default (sdpa {str(dtype).removeprefix('torch.')})": lambda: default(**pack),
    }
    return {"tokens": SELECTED, "variants": timed(interleaved(variants, repeats), "eager float32")}


def scale_like_trained(model: OneVisionEncoderModel) -> None:
    """Wider weights, uneven norms and two channels of massive activations.

    At initialisation attention is nearly uniform (logits with a standard deviation of 0.4) and errors average out.
    Here it is 2.6 to 4, which is what trained layers have, and the residual stream grows through depth.
    """
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "q_proj.weight" in name or "k_proj.weight" in name:
                parameter.mul_(2.5)
            elif "norm" in name and name.endswith("weight"):
                parameter.copy_(torch.exp(0.5 * noise))
            elif name.endswith("bias"):
                parameter.copy_(0.1 * noise)
            elif "patch_embedding" not in name:
                parameter.mul_(1.5)
        model.encoder.layers[3].mlp.fc2.bias[[5, 77]] = 60.0


def bench_accuracy(preset: str) -> dict[str, object]:
    dtype = inference_dtype("cpu").dtype
    clip = make_video()[:, :, :8]
    result: dict[str, object] = {}
    for weights in ("initial", "scaled like trained ones"):
        exact = build(preset, torch.float32)
        if weights != "initial":
            scale_like_trained(exact)
        rounded = copy.deepcopy(exact).to(dtype)
        with torch.inference_mode():
            wanted, got = exact(clip), rounded(clip)
        cosine = {
            name: functional.cosine_similarity(getattr(got, name).double(), getattr(wanted, name).double(), dim=-1)
            for name in ("last_hidden_state", "pooler_output")
        }
        result[weights] = {
            "tokens, lowest": cosine["last_hidden_state"].min().item(),
            "tokens, mean": cosine["last_hidden_state"].mean().item(),
            "pooled, lowest": cosine["pooler_output"].min().item(),
        }
    return {"dtype": str(dtype).removeprefix("torch."), "cosine to float32": result}


def bench_budget(preset: str, repeats: int) -> dict[str, object]:
    model = build(preset, inference_dtype("cpu").dtype)
    video = make_video()
    total = VIDEO[0] * (VIDEO[1] // 14) * (VIDEO[2] // 14)
    chosen = torch.randperm(total, generator=torch.Generator().manual_seed(2))[:SELECTED].sort().values[None]
    whole, part = f"all {total:,}", f"{SELECTED:,} selected"
    variants = {part: lambda: model(video, visible_indices=chosen), whole: lambda: model(video)}
    return {"variants": timed(interleaved(variants, repeats), whole)}


def bench_memory(preset: str, threads: int) -> dict[str, object]:
    """Peak resident memory of a process that imports, builds the model, makes the video and encodes all of it."""
    peaks = {}
    dtype = str(inference_dtype("cpu").dtype).removeprefix("torch.")
    command = [sys.executable, __file__, "--preset", preset, "--threads", str(threads), "--memory-child", dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    peaks[dtype] = json.loads(done.stdout.splitlines()[-1])
    return {"peak resident GB": peaks}


def memory_child(preset: str, dtype: str) -> None:
    model = build(preset, getattr(torch, dtype))
    with torch.inference_mode():
        model(make_video())
    print(peak_bytes() / 1e9)


def peak_bytes() -> int:
    """Peak resident memory of this process. Linux's ru_maxrss would include its parent's, from before exec."""
    status = Path("/proc/self/status")
    if status.is_file():
        return 1024 * int(status.read_text(encoding="utf-8").split("VmHWM:")[1].split()[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def bench_packed(preset: str, repeats: int) -> dict[str, object]:
    model = build(preset, inference_dtype("cpu").dtype)
    result: dict[str, object] = {}
    for name, (equal, mixed) in PACKS.items():
        assert sum(equal) == sum(mixed)
        packs = {"equal": make_pack(equal), "mixed": make_pack(mixed)}
        seconds = interleaved({kind: lambda p=pack: model(**p) for kind, pack in packs.items()}, repeats)
        medians = {kind: statistics.median(times) for kind, times in seconds.items()}
        result[name] = {
            "tokens": sum(equal),
            "mixed lengths": mixed,
            "seconds": seconds,
            "mixed / equal": medians["mixed"] / medians["equal"],
            "mixed / equal, products of attention": sum(n * n for n in mixed) / sum(n * n for n in equal),
        }
    return result


def tables(results: dict[str, dict[str, object]]) -> dict[str, list[dict[str, object]]]:
    """What was measured as rows for people."""
    parts: dict[str, list[dict[str, object]]] = {}
    for part, title in (("dtype", "Attention and dtype, 2,048 tokens"), ("budget", "Selected patches against all")):
        if part in results:
            parts[title] = [
                {"variant": name} | {key: value for key, value in row.items() if key != "seconds"}
                for name, row in results[part]["variants"].items()
            ]
    if "accuracy" in results:
        title = f"Cosine of {results['accuracy']['dtype']} to float32"
        parts[title] = [
            {"weights": kind} | {name: f"{value:.6f}" for name, value in row.items()}
            for kind, row in results["accuracy"]["cosine to float32"].items()
        ]
    if "memory" in results:
        peaks = results["memory"]["peak resident GB"]
        title = "Memory of a fresh process that encodes all 16,384 tokens"
        parts[title] = [{"dtype": dtype, "peak resident GB": peak} for dtype, peak in peaks.items()]
    if "packed" in results:
        parts["Packed clips of mixed lengths against equal ones, the same tokens in all"] = [
            {"pack": name} | {key: value for key, value in row.items() if key not in ("seconds", "mixed lengths")}
            for name, row in results["packed"].items()
        ]
    return parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--preset", default="large")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--repeats", type=int, default=5, help="counted calls of each variant (the budget part: one fewer)"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    parser.add_argument("--memory-child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory_child:
        memory_child(args.preset, args.memory_child)
        return
    benches: dict[str, Callable[[], dict[str, object]]] = {
        "dtype": lambda: bench_dtype(args.preset, args.repeats),
        "accuracy": lambda: bench_accuracy(args.preset),
        "budget": lambda: bench_budget(args.preset, max(1, args.repeats - 1)),
        "memory": lambda: bench_memory(args.preset, args.threads),
        "packed": lambda: bench_packed(args.preset, args.repeats),
    }
    results: dict[str, dict[str, object]] = {}
    for part in args.parts:
        print(f"{part} ...", file=sys.stderr, flush=True)
        results[part] = benches[part]()
    choice = inference_dtype("cpu")
    notes = [
        f"preset {args.preset}, {args.threads} threads, medians of {args.repeats} interleaved repeats, "
        "one fewer for all 16,384",
        f"default dtype here: {str(choice.dtype).removeprefix('torch.')}, because {choice.reason}",
        "scaled like trained ones: attention logits with a standard deviation of 2.6 to 4, uneven norms, two channels "
        "of massive activations; the weights themselves are random",
    ]
    report.write(args.out, "encoder", "Encoder on a CPU", tables(results), notes)


if __name__ == "__main__":
    main()
