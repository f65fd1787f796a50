"""Does codec selection win, by how much, at what cost: the whole experiment as declared cells.

    python benchmarks/bench_motion.py --work FOLDER [--part main providers ...] [--fight FOLDER] [--jobs 2]
    python benchmarks/bench_motion.py --work FOLDER --part held_out --final      (once, at the very end)

A tiny encoder is trained from scratch in every cell, with the same recipe and steps, on tokens that each policy chose
of the same clips. Finished cells are kept in --work: the same command goes on where it stopped, and what is there is
reported by --report. Costs are measured with --costs, when nothing else runs. Above each table stands the
`ove eval sweep` that gives it.

Parts:
main: every policy at 64, 128 and 256 of 1,024 tokens on the development family of the motion suite.
providers: who computes the signals, on clips that all of them can read (H.264 and MPEG-4).
interventions: the paper's three, at test time and trained with.
ablations: choices of the codec policy, one by one. rope: the encoder's positions.
pans: camera compensation where the camera of every other clip pans and nothing else disturbs.
longer: frames with ten times as many steps, an hour of one core; by name alone.
fight: real clips, --fight FOLDER, five folds.
held_out: main at 128 tokens on the held-out family; needs --final.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import report
from sweep_command import sweep_command
from tqdm import tqdm

from onevision_encoder.evaluate import DataSet, MotionSuite, TuneConfig, load_dataset
from onevision_encoder.evaluate.sweep import COSTS, Progress, SweepResult, run_sweep
from onevision_encoder.evaluate.sweep_config import SweepConfig
from onevision_encoder.evaluate.sweep_costs import CostConfig, count_costs, measure_costs
from onevision_encoder.evaluate.sweep_data import motion_folder
from onevision_encoder.evaluate.sweep_ledger import Ledger
from onevision_encoder.evaluate.sweep_report import as_markdown, write_sweep
from onevision_encoder.tokens import TokenizeConfig

SUITE = MotionSuite(clips_per_class=(200, 20, 50))
READING = TokenizeConfig.of(num_frames=16, max_patches=64)
"""16 frames of 112 x 112 pixels, 8 x 8 patches each: 1,024 tokens to choose from."""
TUNE = TuneConfig(steps=1000, precision="bfloat16", pool="mean", rope_mode="pairwise", place_waves=8, place_std=1.5)
FIGHT_TUNE, LONG_TUNE = replace(TUNE, steps=300), replace(TUNE, steps=10_000)
RIVALS = ("uniform", "uniform_lowres", "random", "codec:frame_difference", "run_length")
CODEC = ("codec:bits", "codec:fused")
ONE = ("128",)
BY_NAME = ("longer", "held_out")
COMMANDS = """`python benchmarks/bench_motion.py --work FOLDER --fight FIGHT_256 --jobs 2`, the same with `--costs` when
nothing else runs, and once, at the end, with `--part held_out --final`. By parts: `--part NAME ...`; `--report` writes
this page anew."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One sweep. ``suite`` None: real clips."""

    config: SweepConfig
    suite: MotionSuite | None = SUITE
    heading: str


def _sweep(policies: tuple[str, ...], budgets: tuple[str, ...] = ONE, **more: Any) -> SweepConfig:
    options = {"tune": TUNE, "reading": READING, "seeds": 3, **more}
    return SweepConfig(policies=policies, budgets=budgets, **options)


def _variants(policies: tuple[str, ...], *options: str) -> tuple[str, ...]:
    """Policies as they are and with each option."""
    return tuple(f"{policy}{option}" for policy in policies for option in ("", *(f",{o}" for o in options)))


def declared(final: bool) -> dict[str, Part]:
    """Name -> part. Interventions first: the cells of main that they hold are then not trained twice."""
    main = _sweep((*CODEC, *RIVALS), ("64", "128", "256"))
    disturbed = ("none", "non_motion@0.5", "non_motion", "other_video@0.5", "other_video", "shuffled")
    trained = ("train:non_motion", "train:other_video", "train:shuffled")
    choices = ("anchors=0", "anchors=2", "min_per_frame=0", "min_per_frame=4", "scope=chunk", "interval=frame")
    return {
        "interventions": Part(
            config=_sweep(("codec:fused",), interventions=(*disturbed, *trained)),
            heading="The paper's interventions",
        ),
        "main": Part(config=main, heading="Policies at equal budgets, development family"),
        "providers": Part(
            config=_sweep(("codec:fused", "codec:fused@x264proxy", "codec:fused@native")),
            suite=replace(SUITE, codecs=("h264", "mpeg4")),
            heading="Who computes the signals, clips of H.264 and MPEG-4",
        ),
        "ablations": Part(
            config=_sweep(_variants(("codec:fused",), *choices), reference="codec:fused"),
            heading="Choices of the codec policy, one by one",
        ),
        "rope": Part(
            config=_sweep(("codec:fused",), encoders=("mite", "mite,rope_mode=rotary", "mite,place_waves=0")),
            heading="The encoder's positions: the published RoPE with places, a true rotation with places, RoPE alone",
        ),
        "pans": Part(
            config=_sweep((*_variants(("codec:fused",), "camera=none"), "codec:frame_difference")),
            suite=replace(SUITE, nuisances=("pan",)),
            heading="Camera compensation where every other camera pans",
        ),
        "longer": Part(
            config=_sweep(("uniform_lowres",), tune=LONG_TUNE, seeds=1),
            heading="Ten times as many steps, one seed: do frames only need longer?",
        ),
        "fight": Part(
            config=_sweep((*CODEC, *RIVALS), folds=5, tune=FIGHT_TUNE, seeds=1),
            suite=None,
            heading="fight_256, five folds, each trained once",
        ),
        "held_out": Part(
            config=_sweep((*CODEC, *RIVALS)),
            suite=replace(SUITE, family="held_out", final=True) if final else None,
            heading="Policies at equal budgets, held-out family, looked at once",
        ),
    }


def data_of(name: str, part: Part, work: Path, fight: Path | None, jobs: int) -> DataSet:
    if part.suite is not None:
        folder = motion_folder(work / "cache", part.suite, workers=jobs, quiet=False)
        return replace(load_dataset(folder), name=f"motion {part.suite.family}")
    if name == "fight" and fight is not None:
        return load_dataset(fight)
    sys.exit(f"part {name} needs {'--fight FOLDER' if name == 'fight' else '--final'}")


def run_part(name: str, part: Part, args: argparse.Namespace) -> SweepResult:
    """Train what is missing (or nothing, with --report and --costs), measure what is to be measured."""
    data = data_of(name, part, args.work, args.fight, args.jobs)
    folder, tokens = args.work / name, args.work / "cache" / "tokens"
    how = CostConfig(big="large")
    with _Bars(name) as bars:
        train = not (args.report or args.costs)
        progress = Progress(stage=bars.stage, tick=bars.tick)
        # one ledger for all parts: what two of them have in common is trained once
        result = run_sweep(data, part.config, args.work, cache=tokens, jobs=args.jobs, train=train, progress=progress)
        if args.costs:
            bars.stage("costs", count_costs(part.config, how))
        ledger = Ledger.open(args.work / COSTS)
        told = bars.tick if args.costs else lambda _: None
        found = measure_costs(data, part.config, how, ledger, measure=args.costs, tick=told)
    result = replace(result, costs=tuple(found))
    write_sweep(folder, result, part.heading)
    return result


class _Bars:
    def __init__(self, part: str) -> None:
        self.part, self.bar = part, tqdm(disable=True)

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def stage(self, name: str, total: int) -> None:
        self.bar.close()
        self.bar = tqdm(desc=f"{self.part}: {name}", total=total)

    def tick(self, count: int) -> None:
        self.bar.update(count)


def publish(out: Path, found: Mapping[str, tuple[Part, dict[str, Any]]], work: Path) -> None:
    """motion.json, motion.md and the pictures of the parts that have any."""
    facts = report.environment()
    packages = facts["packages"]
    assert isinstance(packages, dict)
    lines = ["# Does codec selection win, by how much, at what cost", "", COMMANDS, ""]
    lines += [f"{facts['date']}, commit {facts['commit']}, {facts['processor']}, {facts['cores']} cores,"]
    lines += [f"{facts['system']}, Python {facts['python']}, " + ", ".join(f"{k} {v}" for k, v in packages.items()), ""]
    rows, kept = [], {}
    out.mkdir(parents=True, exist_ok=True)
    for name, (part, made) in found.items():
        text = as_markdown(made).replace("\n## ", "\n### ").split("\n", 1)[1]
        command = sweep_command(part.config, part.suite, "FIGHT_256")
        lines += [f"## {part.heading}", "", f"`{command}`", text]
        rows += [{"part": name, **row} for row in made["rows"]]
        kept[name] = {"command": command, **{key: value for key, value in made.items() if key != "rows"}}
        if name in ("main", "held_out", "fight") and (work / name / "sweep.png").is_file():
            picture = "motion" if name == "main" else f"motion_{name}"
            for suffix in ("svg", "png"):
                (out / f"{picture}.{suffix}").write_bytes((work / name / f"sweep.{suffix}").read_bytes())
            lines += [f"![accuracy against tokens and milliseconds]({picture}.svg)", ""]
    (out / "motion.md").write_text("\n".join(lines), encoding="utf-8")
    record = {"title": "motion", "environment": facts, "parts": kept, "rows": rows}
    (out / "motion.json").write_text(json.dumps(record, indent=1, default=str) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of finished cells, tokens and suites")
    parser.add_argument(
        "--part", nargs="*", choices=list(declared(False)), help=f"default: all but {' and '.join(BY_NAME)}"
    )
    parser.add_argument("--fight", type=Path, help="folder fight_256")
    parser.add_argument("--final", action="store_true", help="the final report: the held-out family may be looked at")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread each")
    parser.add_argument("--costs", action="store_true", help="measure costs instead of training")
    parser.add_argument("--report", action="store_true", help="train nothing, report what is there")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    args = parser.parse_args()
    parts = declared(args.final)
    names = args.part or [n for n in parts if n not in BY_NAME and (n != "fight" or args.fight)]
    for name in names:
        run_part(name, parts[name], args)
    done = {name: path for name in parts if (path := args.work / name / "sweep.json").is_file()}
    made = {name: (parts[name], json.loads(path.read_text("utf-8"))) for name, path in done.items()}
    publish(args.out, made, args.work)


if __name__ == "__main__":
    main()
