"""What pretraining without labels teaches a tiny encoder: pictures, motion, real clips.

    python benchmarks/bench_learning.py --work FOLDER --fashion FOLDER [--fight FOLDER] [--out benchmarks/results]

Media: the training pictures of Fashion-MNIST (its labels stay outside), procedural clips. The
pipeline of ``--recipe tiny-cpu`` makes corpora and banks of them, of hand-made features; stage 1 learns pictures, stage
2 goes on from it with pictures and clips. Its arms differ in what they read of a clip: codec (patches that the codec
policy chose) or frames (whole frames), each 128 of 1,024 patches.

Probes of frozen encoders, on data of other seeds: Fashion-MNIST (nearest neighbours and a linear head on the pooled
embedding, a linear head on all tokens in a row; --labels of its training pictures), the motion suite and fight_256
(attentive head on 128 tokens, read as the arm reads, five folds of fight_256; nearest neighbours by the pooled
embedding). random: the same encoder untrained. Baselines: pixels; of pictures histograms of oriented gradients with
normalised blocks; and the very features that the banks were made of.

Finished parts lie in the work folder: the same command goes on where it stopped. ``--ship SEED`` writes the encoder of
arm codec of that seed, in float16, and its card to the folder of the package's default weights.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import report
import torch
from learning_tasks import READS, SIDE, Task, baselines, judge, tasks_of

from onevision_encoder.evaluate.sweep_ledger import Ledger
from onevision_encoder.model import LoadedEncoder, default_weights, load_encoder, write_model_card
from onevision_encoder.pretrain import PretrainConfig, pretrain
from onevision_encoder.pretrain.pipeline import TinyData, TinyPlan, prepare_tiny, tiny_stages
from onevision_encoder.pretrain.tiny_media import procedural_clips
from onevision_encoder.pretrain.train_state import first_encoder

CLIP_SIDE = 112
"""Pixels of a clip's frame, by tiny-cpu's corpora."""
ARMS: Mapping[str, Mapping[str, float]] = {
    "codec": {"codec": 1.0},
    "frames": {"frames": 1.0},
}
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
PLAN = TinyPlan(most_groups=(500, 128))


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


def stages_of(
    data: TinyData, work: Path, seed: int, settings: Sequence[str]
) -> tuple[PretrainConfig, dict[str, PretrainConfig]]:
    """Stage 1 of a seed, and stage 2 of each arm."""
    first, second = tiny_stages(data, work / f"stage1-{seed}", settings)
    arms = {name: replace(second, data=replace(second.data, modes=modes), seed=seed) for name, modes in ARMS.items()}
    return replace(first, seed=seed), arms


def run_seed(seed: int, data: TinyData, tasks: Sequence[Task], ledger: Ledger, args: argparse.Namespace) -> None:
    first, arms = stages_of(data, args.work, seed, (*SETTINGS, *args.set))

    def judged(name: str, encoder: Any, inputs: tuple[str, ...]) -> None:
        for task in tasks:
            read = ("picture",) if task.pictures else inputs
            judge(ledger, task, _loaded(encoder), {"encoder": name, "seed": seed}, read, args.work)

    judged("random", first_encoder(first).eval(), tuple(READS))
    judged("stage 1", pretrain(first, args.work / f"stage1-{seed}", device="cpu").encoder, ("codec",))
    for arm in args.arms:
        after = pretrain(arms[arm], args.work / f"stage2-{arm}-{seed}", device="cpu").encoder
        judged(f"stage 2, {arm}", after, (arm,))


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
            lines.append(
                {
                    "encoder": encoder,
                    "reads": read,
                    "accuracy, %": f"{statistics.fmean(found):.1f}",
                    "+-": spread,
                    "seeds": len(found),
                }
            )
    return dict(sorted(out.items()))


def ship(seed: int, data: TinyData, ledger: Ledger, work: Path) -> None:
    """Write the default weights and their card."""
    target = default_weights()
    loaded = load_encoder(work / f"stage2-codec-{seed}/encoder", dtype=torch.float16, device="cpu")
    loaded.model.config.image_size = CLIP_SIDE
    shutil.rmtree(target, ignore_errors=True)
    loaded.model.save_pretrained(str(target))
    (target / "model.safetensors").chmod(0o644)
    mine = [
        row for row in ledger.rows.values() if row["seed"] == seed and row["encoder"] in ("random", "stage 2, codec")
    ]
    lines = [
        f"| {row['task']} | {row['head']} | {row['input']} | {row['encoder']} | {100 * row['top1']:.1f} |"
        for row in mine
    ]
    words = f"""Trained from scratch, without labels, by `benchmarks/bench_learning.py` (seed {seed};
every setting is in it).

Data: the {data.pictures:,} training pictures of Fashion-MNIST (Zalando SE, MIT licence), without their labels, and
{data.clips:,} procedural clips of this project's motion suite. No person, place or thing of the world is in them but
photographs of clothes, {SIDE} x {SIDE} pixels as they were read: these weights make the commands mean something
offline; for real work load a published checkpoint.

Frozen, probed on held-out data (accuracy in %; random: the same encoder untrained):

| data | head | reads | encoder | accuracy |
|---|---|---|---|---|
""" + "\n".join(lines)
    write_model_card(
        loaded.model,
        target,
        name="default",
        license="apache-2.0",
        weights=words,
        overwrite=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--fashion", type=Path, required=True, help="folder of the IDX archives of Fashion-MNIST")
    parser.add_argument("--fight", type=Path, help="folder fight_256")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--clips", type=int, default=200, help="procedural clips of each class to learn from")
    parser.add_argument("--suite", type=int, nargs=2, default=(100, 50), help="clips of each class to probe with")
    parser.add_argument("--arms", nargs="*", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--labels", type=int, nargs="*", default=[1000, 6000], help="labelled pictures that probes see")
    parser.add_argument("--tests", type=int, default=4000)
    parser.add_argument("--set", nargs="*", default=[], help="stage1.NAME=VALUE, stage2.NAME=VALUE")
    parser.add_argument("--ship", type=int, help="seed whose encoder becomes the default weights")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    data = prepare_tiny(args.work / "data", media_of(args.work, args.fashion, args.clips), PLAN)
    tasks, ledger = tasks_of(args), Ledger.open(args.work / "rows.jsonl")
    for seed in args.seeds:
        run_seed(seed, data, tasks, ledger, args)
    baselines(ledger, tasks)
    notes = [
        f"media: {data.pictures:,} pictures, {data.clips:,} clips; groups {dict(data.groups)}",
        f"settings: {' '.join((*SETTINGS, *args.set))}",
        f"Fashion-MNIST: {args.tests} test pictures; accuracy is top-1; +- over seeds",
    ]
    if args.ship is not None:
        ship(args.ship, data, ledger, args.work)
    report.write(args.out, "learning", "What pretraining without labels teaches", tables(ledger), notes)


if __name__ == "__main__":
    main()
