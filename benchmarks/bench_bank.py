"""A training step of a concept bank: time against the matrix products in it, memory against bank and gradient.

    python benchmarks/bench_bank.py --out benchmarks/results

Every row is a fresh process. Parts: ``step`` = forward, backward and optimiser of a bank of ``--classes`` rows;
``dense`` = the same loss written with all cosines at once, which autograd keeps, at ``--dense-classes`` rows, a size
where that fits. Labels are random, 10 of a sample; time does not depend on them.

``products alone``: the four products of samples, sampled rows and width that any exact method needs without keeping
cosines (one forward; one again and two backward), timed in the same process on chunks of 4,096 rows.
``bank + gradient``: bytes of the rows and of the gradient of those that are touched.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import report
import torch
from torch import Tensor
from torch.nn import functional

from onevision_encoder.pretrain import BankConfig, ConceptBank, RowAdamW
from onevision_encoder.pretrain.products import plain_products, product

LABELS = 10


def resident(peak: bool = False) -> int:
    """Bytes that this process holds, or the most it has held (Linux)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return 1024 * int(status.split("VmHWM:" if peak else "VmRSS:")[1].split()[0])


def clock(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def make_batch(samples: int, classes: int, width: int, number: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(number)
    embeddings_BD = torch.randn(samples, width, generator=generator)
    return embeddings_BD.requires_grad_(), torch.randint(0, classes, (samples, LABELS), generator=generator)


def dense_loss(bank: ConceptBank, embeddings_BD: Tensor, labels_BP: Tensor, step: int) -> Tensor:
    """The formula with all cosines in one matrix, as one would first write it. Labels of a sample must differ."""
    config, chosen = bank.config, bank.sampled(step)
    unit_BD, unit_CD = functional.normalize(embeddings_BD, dim=1), functional.normalize(bank.rows, dim=1)
    cos_BC = unit_BD @ unit_CD.T
    negative_BC = torch.ones_like(cos_BC, dtype=torch.bool)
    if chosen is not None:
        negative_BC[:] = False
        negative_BC[:, chosen] = True
    negative_BC.scatter_(1, labels_BP, False)
    total_B1 = (config.scale * cos_BC).masked_fill(~negative_BC, -torch.inf).logsumexp(1, keepdim=True)
    return functional.softplus(total_B1 - config.scale * (cos_BC.gather(1, labels_BP) - config.margin)).mean()


def products_alone(samples: int, rows: int, width: int, precision: str) -> float:
    """Seconds of the four products, from those of one chunk."""
    a_ND, b_KD, h_NK = torch.randn(samples, width), torch.randn(4096, width), torch.randn(samples, 4096)
    out_KD = torch.empty(4096, width)

    def four() -> None:
        for _ in range(2):
            product(a_ND, b_KD.T, precision)
        product(h_NK, b_KD, precision)
        product(h_NK.T, a_ND, precision, out=out_KD)

    with plain_products(torch.device("cpu"), precision):
        four()
        return statistics.median(clock(four) for _ in range(9)) * rows / 4096


def measure(a: argparse.Namespace) -> dict[str, object]:
    """One row of a table: steps of one bank in this process."""

    def config(classes: int) -> BankConfig:
        return BankConfig(classes=classes, sample_rate=a.rate, precision=a.precision)

    def loss_of(bank: ConceptBank, step: int) -> Tensor:
        batch = make_batch(a.samples, bank.config.classes, a.width, step)
        return dense_loss(bank, *batch, step) if a.how == "dense" else bank(*batch, step=step).loss

    small = ConceptBank("small", config(5000), a.width)  # so that what torch loads and sets up is not counted
    loss_of(small, 0).backward()
    RowAdamW([small]).step()
    alone = products_alone(a.samples, round(a.rate * a.classes), a.width, a.precision)
    del small
    before = resident()
    bank = ConceptBank("object", config(a.classes), a.width)
    optimizer = RowAdamW([bank])
    seconds: dict[str, list[float]] = {"forward": [], "backward": [], "optimiser": []}
    gradient = after_loss = 0
    for step in range(a.repeats + 1):
        optimizer.zero_grad()
        start = time.perf_counter()
        loss = loss_of(bank, step)
        seconds["forward"].append(time.perf_counter() - start)
        seconds["backward"].append(clock(loss.backward))
        if step == 0:
            after_loss = resident(peak=True) - before
        grad = bank.rows.grad
        gradient = max(gradient, grad._values().numel() * 4 if grad.is_sparse else grad.numel() * 4)
        seconds["optimiser"].append(clock(optimizer.step))
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    ideal = bank.rows.numel() * 4 + gradient
    loss_seconds = medians["forward"] + medians["backward"]
    return {
        "how": a.how, "rows": a.classes, "rate": a.rate, "batch": a.samples, "precision": a.precision,
        **{f"{name}, s": value for name, value in medians.items()},
        "products alone, s": alone, "loss / products": loss_seconds / alone,
        "peak of loss, GB": after_loss / 1e9, "bank + gradient, GB": ideal / 1e9, "ratio": after_loss / ideal,
        "peak with optimiser, GB": (resident(peak=True) - before) / 1e9,
        "a matrix samples x sampled, GB": a.samples * a.rate * a.classes * 4 / 1e9,
    }  # fmt: skip


def child(a: argparse.Namespace, **options: object) -> report.Row:
    """A row measured in a fresh process, or by an earlier call that kept it."""
    words = [f"--{name}={value}" for name, value in (vars(a) | options).items() if name in CHILD]

    def measured() -> list[report.Row]:
        command = [sys.executable, __file__, "--measure", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr)
        return [json.loads(done.stdout.splitlines()[-1])]

    return report.kept(a.keep, " ".join(words), measured)[0]


CHILD = ("how", "classes", "width", "samples", "rate", "precision", "repeats", "threads")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=("step", "dense"), default=["step", "dense"])
    parser.add_argument("--classes", type=int, default=1_000_000)
    parser.add_argument("--dense-classes", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=1024)
    parser.add_argument("--batches", nargs="+", type=int, default=[64, 256])
    parser.add_argument("--rates", nargs="+", type=float, default=[0.1, 1.0])
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--repeats", type=int, default=3, help="counted steps, after one that is not")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--keep", type=Path, help="file of finished rows: the same command goes on where it stopped")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    for name, kind in (("how", str), ("samples", int), ("rate", float), ("precision", str)):
        parser.add_argument(f"--{name}", type=kind, help=argparse.SUPPRESS)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    if a.measure:
        print(json.dumps(measure(a)))
        return
    parts: dict[str, list[report.Row]] = {}
    if "step" in a.parts:
        grid = itertools.product(a.rates, a.batches, a.precisions)
        parts[f"A training step of {a.classes:,} x {a.width}"] = [
            child(a, how="chunks", samples=batch, rate=rate, precision=precision) for rate, batch, precision in grid
        ]
    if "dense" in a.parts:
        parts[f"Against all cosines at once, {a.dense_classes:,} x {a.width}"] = [
            child(a, how=how, classes=a.dense_classes, samples=max(a.batches), rate=rate, precision="float32")
            for rate in a.rates
            for how in ("chunks", "dense")
        ]
    notes = [
        f"{a.threads} threads; medians of {a.repeats} steps after one that is not counted; {LABELS} labels a sample; "
        "embeddings are given, no encoder runs",
        "memory: the process's peak (VmHWM) less what it held (VmRSS) just before the bank was made; the peak of the "
        "loss is that of the first forward and backward, before the optimiser has state",
        "optimiser state is another two times the rows: 8.2 GB at a million rows of 1,024",
        "dense: the gradient of the rows is dense at every rate",
    ]
    report.write(a.out, "bank", "A step of the concept bank", parts, notes)


if __name__ == "__main__":
    main()
