"""What bench_learning.py asks of an encoder: labelled data, how it is read, frozen probes, and the rows they give."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from baselines import Hog, Pixels
from learning_media import seen_half
from PIL import Image

from onevision_encoder.evaluate import (
    DataSet,
    FeatureReader,
    MotionSuite,
    ProbeConfig,
    embed_sets,
    load_dataset,
    make_suite,
    make_token_set,
    run_probe,
)
from onevision_encoder.evaluate.embedded_sets import Form
from onevision_encoder.evaluate.sweep_ledger import Ledger, digest_of
from onevision_encoder.model import LoadedEncoder
from onevision_encoder.pretrain.handmade import EdgesAndColours, MotionHistograms
from onevision_encoder.pretrain.idx_archive import read_idx
from onevision_encoder.tokens import TokenizeConfig

SIDE, BUDGET = 56, 128
"""Pixels of a picture; tokens of a clip."""
READS = {"codec": "codec", "frames": "uniform"}
"""Input of a probe -> policy."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """What is trained on features, and on which: the pooled embedding, every token, or all tokens in one row."""

    probe: ProbeConfig
    form: Form = "pooled"


@dataclass(frozen=True, kw_only=True)
class Task:
    """Labelled data, how it is read, and the heads that judge it."""

    name: str
    data: DataSet
    heads: Mapping[str, Head]
    reading: Mapping[str, TokenizeConfig]
    seen: frozenset[str] = frozenset()
    """Names of examples that were among the media, without their class."""

    @property
    def pictures(self) -> bool:
        return "picture" in self.reading


LINEAR = ProbeConfig(head="linear", seeds=1, epochs=20)
OF_PICTURES = {
    "knn": Head(probe=ProbeConfig(head="knn", seeds=1)),
    "linear": Head(probe=LINEAR),
    "linear, every place": Head(probe=LINEAR, form="places"),
}
ATTENTIVE = ProbeConfig(head="attentive", seeds=1, epochs=20, lrs=(3e-3,))
OF_FIGHTS: Mapping[str, tuple[ProbeConfig, Form]] = {
    "attentive": (ProbeConfig(head="attentive", seeds=1, epochs=30), "tokens"),
    "linear, mean of tokens": (LINEAR, "tokens"),
    "knn": (ProbeConfig(head="knn", seeds=1), "pooled"),
}
"""Head -> what it is and what it reads. The paper's rate for the attentive one: few clips make a fast one forget
what the encoder says."""


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
    picture = {"picture": TokenizeConfig.of(policy="dense", num_frames=1, recipe="letterbox", side=SIDE)}
    suite = args.work / "suite"
    if not (suite / "suite.json").is_file():
        make_suite(suite, MotionSuite(clips_per_class=(args.suite[0], 0, args.suite[1])), quiet=False)
    found = [
        Task(
            name=f"Fashion-MNIST, {count:,} labels",
            data=fashion_set(args.work, args.fashion, count, args.tests),
            heads=OF_PICTURES,
            reading=picture,
        )
        for count in args.labels
    ]
    found.append(
        Task(
            name="motion suite",
            data=load_dataset(suite),
            heads={"attentive": Head(probe=ATTENTIVE, form="tokens"), "knn": OF_PICTURES["knn"]},
            reading=clips,
        )
    )
    if args.media:
        found.append(_fights(args.media / "labelled/fight_256", clips))
    return found


def _fights(folder: Path, clips: Mapping[str, TokenizeConfig]) -> Task:
    data, learnt = load_dataset(folder), {path.resolve() for path in seen_half(folder)}
    heads = {name: Head(probe=replace(probe, folds=5), form=form) for name, (probe, form) in OF_FIGHTS.items()}
    seen = frozenset(e.video for e in data.examples if e.path.resolve() in learnt)
    return Task(name="fight_256", data=data, heads=heads, reading=clips, seen=seen)


def judge(
    ledger: Ledger, task: Task, encoder: LoadedEncoder, key: Mapping[str, Any], inputs: Iterable[str], work: Path
) -> None:
    """``key``: name and seed of the encoder."""
    for name in inputs:
        rows = [
            row for head in task.heads if (row := _asked(task, head, {**key, "input": name}))["digest"] not in ledger
        ]
        if not rows:
            continue
        everything = make_token_set(
            task.data.examples, task.reading[name], data=task.data.name, cache=work / "tokens", workers=2
        )
        forms = tuple(dict.fromkeys(task.heads[row["head"]].form for row in rows))
        readers = embed_sets(str(key["encoder"]), encoder, everything, forms)
        for row in rows:
            _probe(ledger, task, row, readers[task.heads[row["head"]].form])


def _asked(task: Task, head: str, key: Mapping[str, Any]) -> dict[str, Any]:
    row = {"task": task.name, "clips": len(task.data.examples), "head": head, **key}
    reading = task.reading.get(str(key["input"])) or next(iter(task.reading.values()))
    made = {"probe": asdict(task.heads[head].probe), "reading": reading.as_dict()}
    return {**row, "digest": digest_of({**row, **made})}


def _probe(ledger: Ledger, task: Task, row: Mapping[str, Any], reader: FeatureReader) -> None:
    found = run_probe(task.data, reader, task.heads[row["head"]].probe)
    top1 = found.report["results"]["top1"]
    answers = {"top1": top1["mean"], "interval": top1.get("interval"), "broken": len(found.report["broken"])}
    if task.seen:
        answers["halves"] = _halves(found.predictions, task.seen)
    print({**row, **answers}, flush=True)
    ledger.add({**row, **answers})


def _halves(predictions: Sequence[Mapping[str, Any]], seen: frozenset[str]) -> list[float]:
    """Accuracy on the clips that were among the media, and on the others."""
    right: dict[bool, list[bool]] = {True: [], False: []}
    for row in predictions:
        (truth,) = row["classes"]
        right[row["id"] in seen] += [int(np.argmax(logits)) == truth for logits in row["logits"]]
    return [float(np.mean(right[half])) for half in (True, False)]


def baselines(ledger: Ledger, tasks: Sequence[Task]) -> None:
    """Their features keep the places as they are: a head "every place" would be the plain one again."""
    for task in tasks:
        name = next(iter(task.reading))
        kinds: list[Any] = [Pixels(28), Hog(), EdgesAndColours()] if task.pictures else [Pixels(14), MotionHistograms()]
        for kind in kinds:
            for head in (name for name, head in task.heads.items() if head.form != "places"):
                row = _asked(task, head, {"encoder": kind.name, "seed": 0, "input": "-"})
                if row["digest"] not in ledger:
                    reader = FeatureReader(
                        backbone=kind, reading=task.reading[name], pool=task.heads[head].form != "tokens", workers=2
                    )
                    _probe(ledger, task, row, reader)
