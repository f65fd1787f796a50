"""What pretraining without labels teaches a tiny encoder: pictures, motion, real clips.

    python benchmarks/bench_learning.py --work FOLDER --fashion FOLDER [--fight FOLDER] [--out benchmarks/results]

Media: the training pictures of Fashion-MNIST (its labels stay outside), procedural clips. The
pipeline of ``--recipe tiny-cpu`` makes corpora and banks of them, of hand-made features; stage 1 learns pictures, stage
2 goes on from it with pictures and clips. Its arms differ in what they read of a clip: codec (patches that the codec
policy chose), frames (whole frames), recipe (codec, frames and tiles mixed), each 128 of 1,024 patches.

Probes of frozen encoders, on data of other seeds: Fashion-MNIST (nearest neighbours and a linear head on the pooled
embedding, --labels of its training pictures), the motion suite and fight_256 (attentive head on 128 tokens, read as the
arm reads; five folds). random: the same encoder untrained. Baselines: pixels, histograms of oriented gradients with
normalised blocks, and for clips the very features that the bank was made of.

Finished parts lie in the work folder: the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import report
import torch
from baselines import Hog, Pixels
from numpy.typing import NDArray
from PIL import Image

from onevision_encoder.evaluate import (
    DataSet,
    Example,
    FeatureReader,
    MotionSuite,
    ProbeConfig,
    TokenSet,
    load_dataset,
    make_suite,
    make_token_set,
    run_probe,
)
from onevision_encoder.evaluate.backbone import Clip, Features
from onevision_encoder.model import LoadedEncoder, embed_tokens, load_encoder
from onevision_encoder.pretrain import PretrainConfig, pretrain
from onevision_encoder.pretrain.handmade import EdgesAndColours, MotionHistograms
from onevision_encoder.pretrain.idx_archive import read_idx
from onevision_encoder.pretrain.pipeline import TinyData, TinyPlan, prepare_tiny, tiny_stages
from onevision_encoder.pretrain.train_state import first_encoder
from onevision_encoder.tokens import TokenizeConfig

SIDE, BUDGET = 56, 128
"""Pixels of a picture; tokens of a clip."""
ARMS: Mapping[str, Mapping[str, float]] = {
    "codec": {"codec": 1.0},
    "frames": {"frames": 1.0},
    "recipe": {"codec": 0.5, "frames": 0.375, "tiled": 0.125},
}
READS = {"codec": "codec", "frames": "uniform"}
"""Input of a probe -> policy."""
SETTINGS = (
    "stage1.steps=4000",
    "stage1.data.batch_size=128",
    f'stage1.data.image_sizes={{"0": {SIDE}}}',
    "stage1.checkpoint.every=500",
    "stage1.parallel.precision=bfloat16",
    "stage2.steps=2000",
    "stage2.data.batch_size=32",
    f'stage2.data.image_sizes={{"0": {SIDE}}}',
    'stage2.data.budget="12.5%"',
    "stage2.checkpoint.every=500",
    "stage2.parallel.precision=bfloat16",
)
PLAN = TinyPlan(most_groups=(500, 128))
HEADS = {"knn": ProbeConfig(head="knn", seeds=1), "linear": ProbeConfig(head="linear", seeds=1, epochs=20)}
ATTENTIVE = ProbeConfig(head="attentive", seeds=1, epochs=30, lrs=(3e-4, 1e-3, 3e-3))
GROUP = 16_384


@dataclass
class Held(FeatureReader):
    """Features that are all there."""

    features: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def read(self, examples: Sequence[Example]) -> dict[str, NDArray[np.float32]]:
        return {e.id: self.features[e.id] for e in examples}


@dataclass(frozen=True, kw_only=True)
class _Named:
    """What a report wants to know of an encoder."""

    name: str
    width: int

    def describe(self) -> dict[str, Any]:
        return {"family": "onevision_encoder", "name": self.name}

    def encode(self, clips: Sequence[Clip]) -> Features:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Task:
    """Labelled data, how it is read, and which heads judge it. ``pooled``: by the pooled embedding."""

    name: str
    data: DataSet
    heads: Mapping[str, ProbeConfig]
    pooled: bool
    reading: Mapping[str, TokenizeConfig]


class Book:
    """Finished rows in a file of JSON lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text().splitlines() if path.is_file() else []
        self.rows: list[dict[str, Any]] = [json.loads(line) for line in lines]

    def has(self, **key: object) -> bool:
        return any(all(row[name] == value for name, value in key.items()) for row in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row, flush=True)


def media_of(work: Path, fashion: Path, clips: int) -> Path:
    """A folder of what is learnt from. The archive is linked without its labels."""
    place = work / "media"
    source = next(fashion.glob("train-images-idx3-*"))
    target = place / source.name
    if not target.is_file():
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    if not (place / "clips/suite.json").is_file():
        suite = MotionSuite(seed=100, clips_per_class=(clips, 0, 0), frames=(32, 40), codecs=("h264",))
        make_suite(place / "clips", suite, quiet=False)
    return place


def fashion_set(work: Path, fashion: Path, labels: int, tests: int) -> DataSet:
    """The first training and test pictures as PNG files."""
    folder, rows = work / f"fashion-{labels}-{tests}", []
    if not (folder / "labels.jsonl").is_file():
        for split, name, count in (("train", "train", labels), ("test", "t10k", tests)):
            pictures_nHW, class_n = read_idx(next(fashion.glob(f"{name}-images-idx3-*")))
            assert class_n is not None
            (folder / split).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                rows.append({"file": f"{split}/{i:05d}.png", "label": f"class {class_n[i]}", "split": split})
                Image.fromarray(pictures_nHW[i]).save(folder / str(rows[-1]["file"]))
        (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return replace(load_dataset(folder), name="Fashion-MNIST")


def tasks_of(args: argparse.Namespace) -> list[Task]:
    clips = {
        name: TokenizeConfig.of(policy=policy, budget=BUDGET, num_frames=16, max_patches=64)
        for name, policy in READS.items()
    }
    picture = {"picture": TokenizeConfig.of(policy="dense", num_frames=1, max_patches=(SIDE // 14) ** 2)}
    suite = args.work / "suite"
    if not (suite / "suite.json").is_file():
        make_suite(suite, MotionSuite(clips_per_class=(args.suite[0], 0, args.suite[1])), quiet=False)
    found = [
        Task(
            name="Fashion-MNIST",
            data=fashion_set(args.work, args.fashion, args.labels, args.tests),
            heads=HEADS,
            pooled=True,
            reading=picture,
        ),
        Task(
            name="motion suite", data=load_dataset(suite), heads={"attentive": ATTENTIVE}, pooled=False, reading=clips
        ),
    ]
    if args.fight:
        folds = {"attentive": replace(ATTENTIVE, folds=5)}
        found.append(Task(name="fight_256", data=load_dataset(args.fight), heads=folds, pooled=False, reading=clips))
    return found


def embedded(loaded: LoadedEncoder, tokens: TokenSet, *, pooled: bool) -> dict[str, NDArray[np.float32]]:
    """Features by id: the pooled embedding [1, C] or all tokens [L, C]."""
    out: dict[str, NDArray[np.float32]] = {}
    step = max(1, GROUP // int(tokens.lengths_S.max()))
    for start in range(0, len(tokens), step):
        which = range(start, min(start + step, len(tokens)))
        made = embed_tokens(loaded, tokens.batch(which), return_tokens=True)
        for i, one in zip(which, made.unpack(), strict=True):
            found = one.pooled_SC if pooled else one.tokens_NC
            assert found is not None
            out[tokens.ids[i]] = found.astype(np.float32)
    return out


def judge(
    book: Book, task: Task, encoder: LoadedEncoder, key: Mapping[str, Any], inputs: Iterable[str], work: Path
) -> None:
    for name in inputs:
        missing = [h for h in task.heads if not book.has(task=task.name, head=h, input=name, **key)]
        if not missing:
            continue
        everything = make_token_set(
            task.data.examples, task.reading[name], data=task.data.name, cache=work / "tokens", workers=2
        )
        features = embedded(encoder, everything, pooled=task.pooled)
        backbone = _Named(name=str(key["encoder"]), width=encoder.model.config.hidden_size)
        for head in missing:
            reader = Held(backbone=backbone, reading=task.reading[name], pool=task.pooled, features=features)
            _probe(book, task, head, reader, {**key, "input": name})


def _probe(book: Book, task: Task, head: str, reader: FeatureReader, key: Mapping[str, Any]) -> None:
    """The seed of the probe is the encoder's."""
    found = run_probe(task.data, reader, task.heads[head])
    top1 = found.report["results"]["top1"]
    book.add(
        {
            "task": task.name,
            "head": head,
            **key,
            "top1": top1["mean"],
            "interval": top1.get("interval"),
            "broken": len(found.report["broken"]),
        }
    )


def baselines(book: Book, tasks: Sequence[Task]) -> None:
    for task in tasks:
        name = next(iter(task.reading))
        kinds: list[Any] = [Pixels(28 if task.pooled else 14), Hog()]
        kinds += [EdgesAndColours()] if task.pooled else [MotionHistograms()]
        for kind in kinds:
            for head in task.heads:
                key = {"encoder": kind.name, "seed": 0, "input": "-"}
                if not book.has(task=task.name, head=head, **key):
                    reader = FeatureReader(backbone=kind, reading=task.reading[name], pool=task.pooled, workers=2)
                    _probe(book, task, head, reader, key)


def stages_of(
    data: TinyData, work: Path, seed: int, settings: Sequence[str]
) -> tuple[PretrainConfig, dict[str, PretrainConfig]]:
    """Stage 1 of a seed, and stage 2 of each arm."""
    first, second = tiny_stages(data, work / f"stage1-{seed}", settings)
    arms = {name: replace(second, data=replace(second.data, modes=modes), seed=seed) for name, modes in ARMS.items()}
    return replace(first, seed=seed), arms


def run_seed(seed: int, data: TinyData, tasks: Sequence[Task], book: Book, args: argparse.Namespace) -> None:
    first, arms = stages_of(data, args.work, seed, (*SETTINGS, *args.set))
    untrained = first_encoder(first).eval()
    both = tuple(READS)
    parts: list[tuple[str, Any, tuple[str, ...]]] = [("random", untrained, both)]
    began = time.process_time()
    before = pretrain(first, args.work / f"stage1-{seed}", device="cpu")
    parts.append(("stage 1", before.encoder, both))
    for arm in args.arms:
        after = pretrain(arms[arm], args.work / f"stage2-{arm}-{seed}", device="cpu")
        parts.append((f"stage 2, {arm}", after.encoder, both if arm == "recipe" else (arm,)))
    print(f"seed {seed}: {time.process_time() - began:.0f} CPU s of training in this call", file=sys.stderr)
    for name, encoder, inputs in parts:
        for task in tasks:
            loaded = _loaded(encoder)
            judge(
                book, task, loaded, {"encoder": name, "seed": seed}, ("picture",) if task.pooled else inputs, args.work
            )


def _loaded(encoder: Any) -> LoadedEncoder:
    if isinstance(encoder, Path):
        return load_encoder(encoder, dtype=torch.float32, device="cpu")
    return LoadedEncoder(model=encoder, weights="random", pretrained=True, provenance={})


def tables(book: Book) -> dict[str, list[report.Row]]:
    """A table a task: mean and standard deviation over seeds, in points."""
    out: dict[str, list[report.Row]] = {}
    for row in book.rows:
        out.setdefault(f"{row['task']}, {row['head']}", [])
    for heading, lines in out.items():
        mine = [row for row in book.rows if f"{row['task']}, {row['head']}" == heading]
        for encoder, read in dict.fromkeys((row["encoder"], row["input"]) for row in mine):
            found = [100 * row["top1"] for row in mine if (row["encoder"], row["input"]) == (encoder, read)]
            spread = f"{statistics.stdev(found):.1f}" if len(found) > 1 else "-"
            lines.append(
                {
                    "encoder": encoder,
                    "reads": read,
                    "accuracy, %": f"{statistics.fmean(found):.1f}",
                    "+-": spread,
                    "seeds": len(found),
                }
            )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--fashion", type=Path, required=True, help="folder of the IDX archives of Fashion-MNIST")
    parser.add_argument("--fight", type=Path, help="folder fight_256")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--clips", type=int, default=200, help="procedural clips of each class to learn from")
    parser.add_argument("--suite", type=int, nargs=2, default=(100, 50), help="clips of each class to probe with")
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--labels", type=int, default=6000, help="labelled pictures that probes see")
    parser.add_argument("--tests", type=int, default=4000)
    parser.add_argument("--set", nargs="*", default=[], help="stage1.NAME=VALUE, stage2.NAME=VALUE")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    data = prepare_tiny(args.work / "data", media_of(args.work, args.fashion, args.clips), PLAN)
    tasks, book = tasks_of(args), Book(args.work / "rows.jsonl")
    baselines(book, tasks)
    for seed in range(args.seeds):
        run_seed(seed, data, tasks, book, args)
    notes = [
        f"media: {data.pictures:,} pictures, {data.clips:,} clips; groups {dict(data.groups)}",
        f"settings: {' '.join((*SETTINGS, *args.set))}",
        f"Fashion-MNIST: {args.labels} labelled pictures, {args.tests} test pictures; accuracy is top-1; +- over seeds",
    ]
    report.write(args.out, "learning", "What pretraining without labels teaches", tables(book), notes)


if __name__ == "__main__":
    main()
