"""What pretraining without labels teaches a tiny encoder: pictures, motion, real clips.

    python benchmarks/bench_learning.py --work FOLDER --fashion FOLDER [--media FOLDER] [--out benchmarks/results]

Media: the training pictures of Fashion-MNIST (its labels stay outside), procedural clips. The pipeline of ``--recipe
tiny-cpu`` makes corpora and banks of them, of hand-made features; stage 1 learns pictures, stage 2 goes on from it with
pictures and clips. Its arms differ in what they read of a clip: codec (patches that the codec policy chose) or frames
(whole frames), each 128 of 1,024 patches.

Where there are real media (--media, the folder that holds clips/ and labelled/fight_256/) a second chain goes further:
stage 1, long, learns two finer banks of the pictures in more steps; stage 2, real clips, goes on from it with pictures
and codec patches of procedural and real clips, which are windows of other videos and of every other clip of fight_256,
without its class.

Probes of frozen encoders, on data of other seeds: Fashion-MNIST (nearest neighbours and a linear head on the pooled
embedding, a linear head on all tokens in a row; --labels of its training pictures); the motion suite (attentive head on
128 tokens, read as the arm reads, and neighbours by the pooled embedding); fight_256 (the paper's attentive head, a
linear head on the mean token, neighbours; five folds; also apart for the clips that were among the media). random: the
same encoder untrained. Baselines: pixels; of pictures histograms of oriented gradients with normalised blocks; and the
very features that the banks were made of.

Finished parts lie in the work folder: the same command goes on where it stopped. ``--ship SEED`` writes the last
encoder of the second chain, in float16, and its card to the folder of the package's default weights.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import report
import torch
from learning_card import ship
from learning_media import FINE, FINE_GROUPS, REAL, REAL_GROUPS, fine_banks, real_corpus
from learning_tasks import READS, SIDE, Task, baselines, judge, tasks_of

from onevision_encoder.evaluate.sweep_ledger import Ledger
from onevision_encoder.model import LoadedEncoder, load_encoder
from onevision_encoder.pretrain import Corpus, PretrainConfig, pretrain
from onevision_encoder.pretrain.pipeline import TinyData, TinyPlan, prepare_tiny, tiny_reading, tiny_stages
from onevision_encoder.pretrain.run_folder import BANKS
from onevision_encoder.pretrain.tiny_media import procedural_clips
from onevision_encoder.pretrain.train_state import first_encoder

HALVES = ("clips seen, %", "clips not seen, %")
LAST = "stage 2, real clips"
SHARES = (1.0, 0.5, 0.5)
"""Pictures, procedural clips and real clips in the second chain."""
SETTINGS = (
    "stage1.steps=3000",
    "stage1.data.batch_size=128",
    f'stage1.data.image_sizes={{"0": {SIDE}}}',
    "stage1.checkpoint.every=500",
    "stage1.parallel.precision=bfloat16",
    "stage2.steps=800",
    "stage2.data.batch_size=64",
    "stage2.data.window=8",
    "stage2.optimizer.lr=1e-3",
    f'stage2.data.image_sizes={{"0": {SIDE}}}',
    'stage2.data.budget="12.5%"',
    "stage2.checkpoint.every=500",
    "stage2.parallel.precision=bfloat16",
)
LONG = ("stage1.steps=4500", "stage2.steps=700")
PLAN = TinyPlan(most_groups=(500, 128))


@dataclass(frozen=True, kw_only=True)
class Run:
    """A stage of a chain, its folder (to which the seed is added), and how what it makes reads clips."""

    name: str
    folder: str
    config: PretrainConfig
    reads: str = "codec"


def media_of(work: Path, fashion: Path, clips: int) -> Path:
    """A folder of what is learnt from. The archive is copied without its labels."""
    place = work / "media"
    source = next(fashion.glob("train-images-idx3-*"))
    target = place / source.name
    if not target.is_file():
        place.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    procedural_clips(place / "clips", seed=100, counts=(clips, 0, 0), workers=2, say=PLAN.say)
    return place


def runs_of(data: TinyData, real: Path | None, work: Path, seed: int, settings: Sequence[str]) -> list[Run]:
    """The stages of both chains in their order; ``real``: the corpus of real clips."""
    first, second = tiny_stages(data, work / f"stage1-{seed}", (*SETTINGS, *settings))
    runs = [Run(name="stage 1", folder="stage1", config=first)]
    sources = tuple(replace(of, weight=1) for of in second.data.sources)
    for reads in READS:
        config = replace(second, data=replace(second.data, modes={reads: 1.0}, sources=sources))
        runs.append(Run(name=f"stage 2, {reads}", folder=f"stage2-{reads}", config=config, reads=reads))
    if real is not None:
        runs += _longer(data, real, work / f"long1-{seed}", settings)
    return [replace(run, config=replace(run.config, seed=seed)) for run in runs]


def _longer(data: TinyData, real: Path, stage1: Path, settings: Sequence[str]) -> list[Run]:
    first, second = tiny_stages(data, stage1, (*SETTINGS, *LONG, *settings))
    fine = {name: replace(first.banks["object"], classes=FINE_GROUPS) for name in FINE}
    motion = second.banks["motion"]
    pictures, clips = second.data.sources
    of_real = replace(clips, path=str(real))
    sources = tuple(replace(of, weight=w) for of, w in zip((pictures, clips, of_real), SHARES, strict=True))
    second = replace(
        second,
        banks={**fine, "motion": motion, REAL: replace(motion, classes=REAL_GROUPS)},
        bank_init={name: str(stage1 / BANKS / f"{name}.safetensors") for name in fine},
        data=replace(second.data, modes={"codec": 1.0}, sources=sources),
    )
    return [
        Run(name="stage 1, long", folder="long1", config=replace(first, banks=fine)),
        Run(name=LAST, folder="long2", config=second),
    ]


def run_seed(seed: int, runs: Sequence[Run], tasks: Sequence[Task], ledger: Ledger, args: argparse.Namespace) -> None:
    def judged(name: str, encoder: Any, inputs: tuple[str, ...]) -> None:
        for task in tasks:
            read = ("picture",) if task.pictures else inputs
            judge(ledger, task, _loaded(encoder), {"encoder": name, "seed": seed}, read, args.work)

    judged("random", first_encoder(runs[0].config).eval(), tuple(READS))
    for run in (run for run in runs if run.folder in (args.runs or [run.folder])):
        judged(run.name, pretrain(run.config, args.work / f"{run.folder}-{seed}", device="cpu").encoder, (run.reads,))


def _loaded(encoder: Any) -> LoadedEncoder:
    if isinstance(encoder, Path):
        return load_encoder(encoder, dtype=torch.float32, device="cpu")
    return LoadedEncoder(model=encoder, weights="random", pretrained=True, provenance={})


def tables(ledger: Ledger) -> dict[str, list[report.Row]]:
    """A table a task: mean and standard deviation over seeds, in points."""
    out: dict[str, list[report.Row]] = {}
    for row in ledger.rows.values():
        out.setdefault(f"{row['task']}, {row['head']}", [])
    for heading, lines in out.items():
        mine = [row for row in ledger.rows.values() if f"{row['task']}, {row['head']}" == heading]
        for encoder, read in dict.fromkeys((row["encoder"], row["input"]) for row in mine):
            found = [100 * row["top1"] for row in mine if (row["encoder"], row["input"]) == (encoder, read)]
            spread = f"{statistics.stdev(found):.1f}" if len(found) > 1 else "-"
            halves = [row.get("halves") for row in mine if (row["encoder"], row["input"]) == (encoder, read)]
            lines.append(
                {
                    "encoder": encoder,
                    "reads": read,
                    "accuracy, %": f"{statistics.fmean(found):.1f}",
                    "+-": spread,
                    "seeds": len(found),
                    **({} if None in halves else {name: _mean(halves, i) for i, name in enumerate(HALVES)}),
                }
            )
    return dict(sorted(out.items()))


def _mean(rows: Sequence[Sequence[float]], i: int) -> str:
    return f"{100 * statistics.fmean(row[i] for row in rows):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--fashion", type=Path, required=True, help="folder of the IDX archives of Fashion-MNIST")
    parser.add_argument("--media", type=Path, help="folder of real media: clips/, labelled/fight_256/")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--clips", type=int, default=200, help="procedural clips of each class to learn from")
    parser.add_argument("--suite", type=int, nargs=2, default=(100, 50), help="clips of each class to probe with")
    parser.add_argument("--runs", nargs="*", help="folders of the runs that are done; all where none is named")
    parser.add_argument("--labels", type=int, nargs="*", default=[1000, 6000], help="labelled pictures that probes see")
    parser.add_argument("--tests", type=int, default=4000)
    parser.add_argument("--set", nargs="*", default=[], help="stage1.NAME=VALUE, stage2.NAME=VALUE")
    parser.add_argument("--ship", type=int, help="seed whose encoder becomes the default weights")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    data = prepare_tiny(args.work / "data", media_of(args.work, args.fashion, args.clips), PLAN)
    real = real_corpus(args.work / "real", args.media, tiny_reading()) if args.media else None
    tasks, ledger = tasks_of(args), Ledger.open(args.work / "rows.jsonl")
    if real is not None:
        fine_banks(args.work / "fine", args.work / "data/pictures", data.corpora / "images", tiny_reading())
    for seed in args.seeds:
        run_seed(seed, runs_of(data, real, args.work, seed, args.set), tasks, ledger, args)
    baselines(ledger, tasks)
    windows = 0 if real is None else sum(1 for _ in Corpus(real).samples())
    notes = [
        f"media: {data.pictures:,} pictures, {data.clips:,} procedural clips, {windows:,} real ones; groups "
        f"{dict(data.groups)}, {dict.fromkeys(FINE, FINE_GROUPS)}, {REAL}: {REAL_GROUPS}",
        f"settings: {' '.join((*SETTINGS, *args.set))}; of the second chain also {' '.join(LONG)}",
        f"Fashion-MNIST: {args.tests} test pictures; accuracy is top-1; +- over seeds",
    ]
    if args.ship is not None:
        media = {"pictures": data.pictures, "clips": data.clips, "real": windows}
        ship(args.ship, args.work / f"long2-{args.ship}/encoder", ledger.rows.values(), LAST, media)
    report.write(args.out, "learning", "What pretraining without labels teaches", tables(ledger), notes)


if __name__ == "__main__":
    main()
