"""Exported encoders against PyTorch on a CPU: speed as ratios within one run, and how far apart the numbers are.

    python benchmarks/bench_export.py --out benchmarks/results

float32 throughout, random weights, one clip of N tokens. Variants are called in turn, repeat by repeat; the median of
the processor time of all threads is compared, which other programs on the machine disturb less than the clock does.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnxruntime
import report
import torch

from onevision_encoder.model import OneVisionEncoderModel, export_onnx, export_program, preset_config

MODES = ("pairwise", "rotary")


def inputs(tokens: int, D: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    rows = torch.arange(tokens)
    return {
        "patches": torch.randn(tokens, D, generator=generator),
        "positions": torch.stack([rows // 256, rows % 256 // 16, rows % 16], dim=-1).float(),
        "cu_seqlens": torch.tensor([0, tokens], dtype=torch.int32),
    }


def session(path: Path, threads: int) -> Callable[[dict[str, torch.Tensor]], list[np.ndarray]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    loaded = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [i.name for i in loaded.get_inputs()]
    return lambda given: loaded.run(None, {name: given[name].numpy() for name in names})


def variants(preset: str, mode: str, folder: Path, threads: int) -> dict[str, Callable[..., object]]:
    """Name -> call that takes the inputs and returns (tokens, pooled)."""
    torch.manual_seed(0)
    models = {}
    for attention in ("eager", "sdpa"):
        model = OneVisionEncoderModel(preset_config(preset, rope_mode=mode, attn_implementation=attention)).eval()
        model.load_state_dict(models["eager"].state_dict() if models else model.state_dict())
        models[attention] = model

    def run(model: OneVisionEncoderModel) -> Callable[..., object]:
        return lambda x: model(x["patches"], patch_positions=x["positions"], return_dict=False)

    graphs = {}
    for clips in ("one", "any"):
        path = export_onnx(models["sdpa"], folder / f"{preset}-{mode}-{clips}.onnx", clips=clips, pixels="float32")
        graphs[f"onnxruntime, clips={clips}"] = session(path, threads)
    program = export_program(models["sdpa"], clips="one", pixels="float32").module()
    return {
        "PyTorch eager": run(models["eager"]),
        "PyTorch sdpa": run(models["sdpa"]),
        "torch.export, clips=one": lambda x: program(patches=x["patches"], positions=x["positions"]),
        **graphs,
    }


def measure(calls: dict[str, Callable[..., object]], given: dict[str, torch.Tensor], repeats: int) -> list[report.Row]:
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    results = {}
    for repeat in range(-1, repeats):
        for name, call in calls.items():
            start = time.process_time()
            with torch.inference_mode():
                results[name] = [np.asarray(array) for array in call(given)]
            if repeat >= 0:
                seconds[name].append(time.process_time() - start)
    base = statistics.median(seconds["PyTorch sdpa"])
    exact = results["PyTorch sdpa"]
    rows = []
    for name, times in seconds.items():
        median = statistics.median(times)
        apart = [float(np.abs(a - b).max()) for a, b in zip(results[name], exact, strict=True)]
        rows.append(
            {
                "variant": name,
                "CPU seconds": median,
                "sdpa / this": base / median,
                "tokens, largest difference": f"{apart[0]:.1e}",
                "pooled": f"{apart[1]:.1e}",
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["small", "base"])
    parser.add_argument("--tokens", nargs="+", type=int, default=[512, 2048])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    parts = {}
    with tempfile.TemporaryDirectory() as folder:
        for preset in args.presets:
            for mode in MODES if preset == args.presets[0] else MODES[:1]:
                calls = variants(preset, mode, Path(folder), args.threads)
                for tokens in args.tokens:
                    rows = measure(calls, inputs(tokens, 588), args.repeats)
                    parts[f"{preset}, {mode}, {tokens:,} tokens"] = rows
    versions = ", ".join(f"{name} {version(name)}" for name in ("onnx", "onnxruntime", "onnxscript"))
    notes = [
        f"{args.threads} threads, medians of {args.repeats} interleaved repeats, processor time of all threads",
        f"{versions}; float32, differences are to PyTorch sdpa",
    ]
    report.write(args.out, "export", "Exported encoders on a CPU", parts, notes)


if __name__ == "__main__":
    main()
