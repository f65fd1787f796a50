"""K-means of features: quality and speed beside faiss, how the two levels compare with one, and how far it goes here.

    pip install faiss-cpu
    python benchmarks/bench_kmeans.py [--part 1] [--threads 1] [--keep FILE] [--out benchmarks/results]

Features are made: overlapping clusters of sizes that fall off as a power, around a common direction, as features of
real encoders have it. faiss gets the rows in memory and the very same first centres; ours reads a .npy, checks every
row, and takes one more look at all rows at the end, for sizes and inertia. Inertia is measured of both alike, in
float64, after the last update. Times are wall clock (and CPU time, for machines that do other things too), everything
counted.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import report
import torch
from numpy.typing import NDArray

from onevision_encoder.evaluate.distributed import Team
from onevision_encoder.pretrain import Centres, KMeansConfig, kmeans, label_features, open_features
from onevision_encoder.pretrain.feature_store import write_chunk, write_index
from onevision_encoder.pretrain.kmeans_flat import look
from onevision_encoder.pretrain.kmeans_init import first_centres
from onevision_encoder.pretrain.kmeans_nearest import Nearest
from onevision_encoder.pretrain.kmeans_rows import Rows
from onevision_encoder.pretrain.kmeans_sums import ClusterSums

Floats = NDArray[np.float32]
CHUNK = 65_536


@dataclass(frozen=True)
class Timed:
    """What a call returned, and what it took."""

    value: Any
    seconds: float
    cpu: float


def timed(call: Callable[[], Any]) -> Timed:
    wall, cpu = time.perf_counter(), time.process_time()
    value = call()
    return Timed(value, time.perf_counter() - wall, time.process_time() - cpu)


def made(rows: int, width: int, clusters: int, seed: int = 0) -> Iterator[Floats]:
    """Chunks of features."""
    rng = np.random.default_rng(seed)
    common = 2 * rng.standard_normal(width).astype(np.float32)
    middle = rng.standard_normal((clusters, width)).astype(np.float32)
    share = 1 / np.arange(1, clusters + 1) ** 0.7
    share /= share.sum()
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        own = middle[rng.choice(clusters, count, p=share)]
        yield common + own + rng.standard_normal((count, width), dtype=np.float32)


def unit(x: Floats) -> Floats:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def inertia(x: Floats, centres: Floats) -> float:
    """Sum of squared distances to the nearest centre, float64 distances of float32 choices."""
    total, c = 0.0, torch.tensor(centres)
    search = Nearest(c, spherical=False, screening=False)
    for start in range(0, len(x), 4096):
        part = torch.from_numpy(x[start : start + 4096])
        total += float((part.double() - c[search.find(part)].double()).square().sum())
    return total


def by_faiss(x: Floats, first: Floats, iterations: int, *, spherical: bool) -> Floats:
    import faiss

    k, d = first.shape
    run = faiss.Kmeans(d, k, niter=iterations, spherical=spherical, max_points_per_centroid=len(x), seed=1)
    run.cp.min_points_per_centroid = 1
    run.train(x, init_centroids=first)
    return np.array(run.centroids)


def beside_faiss(folder: Path, rows: int, width: int, k: int, iterations: int, *, spherical: bool) -> list[report.Row]:
    x = np.concatenate(list(made(rows, width, k)))
    np.save(folder / "x.npy", x)
    x = unit(x) if spherical else x
    base = {"k": k, "iterations": iterations, "spherical": spherical, "seed": 0, "memory_mb": 8192}
    first = first_centres(Rows(torch.from_numpy(x), spherical, 4096), KMeansConfig(**base)).numpy()
    reference = timed(lambda: by_faiss(x, first, iterations, spherical=spherical))
    theirs = inertia(x, reference.value)
    metric = "cosine" if spherical else "euclidean"
    said = {"rows x width, centres": f"{rows:,} x {width}, {k:,} ({metric})"}
    lines: list[report.Row] = [_line(said, "faiss", reference, theirs, theirs, reference)]
    runs = {"ours, as shipped": {}, "ours, no screening": {"screening": "none"}} if spherical else {"ours": {}}
    for name, options in runs.items():
        own = timed(lambda options=options: kmeans(folder / "x.npy", KMeansConfig(**base, **options)))
        lines.append(_line(said, name, own, inertia(x, own.value.centres_kD), theirs, reference))
    if spherical:
        for name, options in {"ours, k-means++": {"init": "k-means++"}, "ours, two levels": {"levels": 2}}.items():
            own = timed(lambda options=options: kmeans(folder / "x.npy", KMeansConfig(**base, **options)))
            lines.append(_line(said, name, own, inertia(x, own.value.centres_kD), theirs, reference))
    return lines


def _line(
    said: dict[str, str], name: str, own: Timed, reached: float, theirs: float, reference: Timed
) -> dict[str, object]:
    return {
        **said,
        "by": name,
        "inertia / faiss": f"{reached / theirs:.4f}",
        "seconds": own.seconds,
        "CPU seconds": own.cpu,
        "faiss' seconds / these": reference.seconds / own.seconds,
    }


def one_look(rows: int, width: int, k: int) -> report.Row:
    """A look at all rows with that many centres of one level; centres are rows."""
    x = unit(np.concatenate(list(made(rows, width, 4096))))
    held = Rows(torch.from_numpy(x), True, 4096)
    config = KMeansConfig(k=k)
    centres = first_centres(held, config)
    search = Nearest(centres, spherical=True, screening=True)
    for start in range(0, min(rows, 16_384), 4096):
        search.find(held.chunk(start // 4096))
    with torch.inference_mode():
        took = timed(lambda: look(held, centres, config, Team(), ClusterSums(k, width, rows, 1.0)))
    return {
        "rows": f"{rows:,}",
        "width": width,
        "centres": f"{k:,}",
        "seconds a look": took.seconds,
        "CPU seconds": took.cpu,
        "GFLOP/s": 2 * rows * width * k / took.seconds / 1e9,
        "centres left of each 1,000": 1000 * search.compared / min(rows, 16_384) / k,
        "blocks not screened": search.full,
    }


def two_levels(folder: Path, rows: int, width: int, k: int, iterations: int, near: int) -> report.Row:
    """The whole of it on two levels, from float16 on disk."""
    chunks = []
    for i, x in enumerate(made(rows, width, max(1000, k // 4))):
        ids = [str(i * CHUNK + j) for j in range(len(x))]
        write_chunk(folder / f"{i:05d}.safetensors", x.astype(np.float16), ids)
        chunks.append((f"{i:05d}.safetensors", len(x)))
    write_index(folder, chunks, width, {})
    config = KMeansConfig(k=k, iterations=iterations, levels=2, memory_mb=2048)
    marks: dict[str, float] = {}
    began = time.perf_counter()

    def tick(stage: str, inertia: float) -> None:
        marks[stage.split(" ")[0]] = time.perf_counter() - began

    took = timed(lambda: kmeans(folder, config, tick=tick))
    centres: Centres = took.value
    line: dict[str, object] = {
        "rows": f"{rows:,}",
        "width": width,
        "centres": f"{k:,}",
        "seconds": took.seconds,
        "parents": marks["parents"],
        "children": marks["children"] - marks["parents"],
        "polish": took.seconds - marks["children"],
        "empty": centres.provenance["balance"]["empty"],
        "inertia a row": centres.provenance["inertia_per_row"],
        "peak GB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
    }
    if near:
        some = open_features(folder / "00000.safetensors")
        line["recall of 10 labels"] = label_features(some, centres, top=10, near=near).provenance["recall"]["top 10"]
    return line


def expected(rate: float, flat_rate: float, rows: float, width: int, k: int) -> report.Row:
    """Hours of a bank: 21 looks of one level; of two, 20 updates of parents and of children, two of the polish, 8 near
    parents. Operations a second, of one thread, of either."""
    j = round(k**0.5)
    work = 2 * rows * width * (21 * j + 21 * k / j + 3 * (j + 8 * k / j))
    flat = 2 * rows * width * 21 * k
    return {
        "rows": f"{rows:,.0f}",
        "width": width,
        "centres": f"{k:,}",
        "hours, two levels": work / rate / 3600,
        "hours, one level": flat / flat_rate / 3600,
        "GB of centres and sums a rank": k * width * (4 + 4 + 8) / 1e9,
    }


def _fewer(k: int, rows: int, part: int) -> int:
    """Centres of a run with fewer rows: as many, but no more than one for three rows."""
    return min(k, rows // part // 3) if part > 1 else k


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", type=int, default=1, help="so many times fewer rows, to see that it runs")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--note", nargs="*", default=[], help="what else the report should say")
    parser.add_argument("--keep", type=Path, help="file of finished rows: the same command goes on where it stopped")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    options = parser.parse_args()
    import faiss

    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)
    part = options.part
    parts: dict[str, list[report.Row]] = {"Beside faiss": [], "One look at all rows, one level": []}
    for rows, width, k, spherical in (
        (200_000, 256, 1000, True),
        (100_000, 768, 4000, True),
        (200_000, 64, 1000, True),
        (200_000, 256, 1000, False),
    ):
        with tempfile.TemporaryDirectory() as folder:
            job = partial(beside_faiss, Path(folder), rows // part, width, _fewer(k, rows, part), 20)
            key = f"beside faiss {rows // part} x {width}, {k}, spherical={spherical}, threads={options.threads}"
            parts["Beside faiss"] += report.kept(options.keep, key, partial(job, spherical=spherical))
    for rows, width, k in (
        (200_000, 256, 1000),
        (200_000, 256, 16_000),
        (100_000, 1024, 16_000),
        (200_000, 256, 128_000),
    ):
        look_at = partial(one_look, rows // part, width, _fewer(k, rows, part))
        key = f"a look {rows // part} x {width}, {k}, threads={options.threads}"
        parts["One look at all rows, one level"] += report.kept(options.keep, key, lambda call=look_at: [call()])
    scale = parts["Two levels, all of it"] = []
    for rows, width, k in ((400_000, 256, 10_000), (1_000_000, 256, 100_000), (3_000_000, 256, 1_000_000)):
        with tempfile.TemporaryDirectory() as folder:
            whole = partial(two_levels, Path(folder), rows // part, width, _fewer(k, rows, part), 10, 16)
            key = f"two levels {rows // part} x {width}, {k}, threads={options.threads}"
            scale += report.kept(options.keep, key, lambda call=whole: [call()])
    last = scale[-1]
    rows, k = 3_000_000 // part, _fewer(1_000_000, 3_000_000, part)
    j = round(k**0.5)
    work = 2 * rows * 256 * (12 * j + 11 * k / j + 3 * (j + 8 * k / j))
    rate = work / float(str(last["seconds"]))
    flat_rate = 1e9 * float(str(parts["One look at all rows, one level"][-1]["GFLOP/s"]))
    parts["Extrapolated, one thread"] = [
        expected(rate, flat_rate, rows, width, k) for rows, width, k in ((10e6, 768, 400_000), (100e6, 1024, 2_000_000))
    ]
    notes = [
        f"threads: {options.threads} of ours and of faiss {faiss.__version__} ({faiss.get_compile_options().strip()})",
        "first centres are the same rows in every run but k-means++ and two levels; 20 updates",
        "two levels: 10 updates of parents and children, 2 of the polish over 8 near parents; labels look into 16",
        "extrapolated: seconds = 2 n D (21 j + 21 k / j + 3 (j + 8 k / j)) / R with j = sqrt(k) parents, and of one "
        f"level 2 n D 21 k / F; R = {rate:.3g} FLOP/s, of the last run of two levels with 12 j + 11 k / j + "
        f"3 (j + 8 k / j); F = {flat_rate:.3g}, of the last look",
        *options.note,
    ]
    report.write(options.out, "kmeans", "K-means of features", parts, notes)


if __name__ == "__main__":
    main()
