"""`ove eval sweep --policies ... --budgets ... --data DIR|motion`: which tokens are worth reading, and what they
cost."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tqdm import tqdm

from onevision_encoder.checks import counted
from onevision_encoder.cli.batch import INTERRUPTED
from onevision_encoder.cli.results import prepare
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.evaluate.motion_codecs import CodecName
from onevision_encoder.evaluate.motion_families import FamilyName
from onevision_encoder.evaluate.motion_scene import Nuisance
from onevision_encoder.evaluate.motion_suite import MotionSuite
from onevision_encoder.evaluate.probe_config import ProbeConfig
from onevision_encoder.evaluate.sweep_config import Costs, Mode, SweepConfig
from onevision_encoder.evaluate.tuning_config import TuneConfig
from onevision_encoder.tokens.pipeline import SignalConfig, TimeConfig, TokenizeConfig
from onevision_encoder.video import OnDamage, Sampling, Sizing

if TYPE_CHECKING:
    from onevision_encoder.evaluate import DataSet
    from onevision_encoder.evaluate.sweep import Progress, SweepResult

MOTION = "motion"


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """Compare token policies at equal budgets: accuracy, tokens, milliseconds, memory; writes sweep.json, sweep.md and
    a picture.

    Each cell (policy, budget, encoder, seed, fold) trains a small encoder from scratch, or heads on a frozen one with
    --mode probe, and is tested as it is and under each intervention. Finished cells are kept in OUT: the same command
    goes on where it stopped.
    """

    data: str
    """Folder of labelled videos, or motion: the motion suite, made in the cache."""
    out: Path = Path("sweep")
    """Folder for cells.jsonl, costs.jsonl, sweep.json, sweep.md, sweep.svg and sweep.png."""
    policies: tuple[str, ...] = SweepConfig.policies
    """POLICY[:SCORE][@PROVIDER][,option=value ...], as in codec:bits,anchors=0 or codec:fused@x264proxy."""
    budgets: tuple[str, ...] = SweepConfig.budgets
    """Tokens a clip: numbers, or LOW..HIGH, which doubles LOW as far as HIGH."""
    encoders: tuple[str, ...] = SweepConfig.encoders
    """PRESET[,field=value ...] to train, as in mite,rope_mode=pairwise; checkpoints or hub ids with --mode probe."""
    interventions: tuple[str, ...] = SweepConfig.interventions
    """none, non_motion, other_video, shuffled; @SHARE of the tokens; train: in front: in training too."""
    reference: str | None = None
    """Policy that the others are compared with. Not given: uniform if it is there, else the first."""
    mode: Mode = "scratch"
    """scratch: each cell trains its encoder. probe: frozen encoders, small heads."""
    seeds: int = 3
    """Runs of each cell."""
    folds: int = 0
    """0: the published split. 2 or more: as many test sets out of all there is."""
    resamples: int = SweepConfig.resamples
    """Of the bootstrap over test videos."""
    tune: TuneConfig = field(default_factory=TuneConfig)
    """How encoders are trained."""
    head: Literal["attentive", "attentive4", "linear", "knn"] = "attentive"
    """Of mode probe."""
    probe_epochs: int | None = None
    """Of mode probe. Not given: the data set's own."""
    sampling: Sampling = field(default_factory=lambda: Sampling(num_frames=16))
    sizing: Sizing = field(default_factory=Sizing)
    times: TimeConfig = field(default_factory=TimeConfig)
    on_damage: OnDamage = "partial"
    """partial: a damaged file gives the frames that decode. error: it counts as broken."""
    benchmark: str | None = None
    """How the folder's annotation files look: ssv2, diving48, k400, ... (ove eval verify lists them)."""
    family: FamilyName = "development"
    """Of the motion suite. held_out: for one final report, with --final."""
    final: bool = False
    """This is the final report: nothing will be tuned on it."""
    suite_seed: int = 0
    """Of the motion suite."""
    suite_size: int = 112
    """Side of its pictures in pixels."""
    clips_per_class: tuple[int, int, int] = (30, 10, 20)
    """Its clips of each class in train, val and test."""
    suite_nuisances: tuple[Nuisance, ...] = MotionSuite.nuisances
    """What may disturb its clips. One alone disturbs half of them (a cut a quarter)."""
    suite_codecs: tuple[CodecName, ...] = MotionSuite.codecs
    """Codecs that its clips are drawn from."""
    cache: Path | None = None
    """Folder that keeps tokens and motion suites, worth sharing between sweeps. Not given: OUT/cache."""
    jobs: int = 1
    """Processes of one thread each; the figures do not depend on it."""
    costs: Costs = "with"
    """with: measure what a clip costs too. skip: only train. only: only measure, when nothing else runs."""
    cost_clips: int = 8
    """Clips whose costs are measured."""
    cost_device: str = "cpu"
    """Where encoding is measured: cpu or cuda."""
    cost_big: str | None = None
    """A bigger preset whose encoding is measured as well: small, base, large, huge."""
    json: bool = False
    """Print the report as JSON."""

    def __post_init__(self) -> None:
        _ = self.config, self.suite
        if self.jobs < 1:
            raise InvalidArgumentError("jobs", self.jobs, "at least 1")

    @property
    def config(self) -> SweepConfig:
        """What decides the figures."""
        return SweepConfig(
            policies=self.policies,
            budgets=self.budgets,
            encoders=self.encoders,
            interventions=self.interventions,
            reference=self.reference,
            mode=self.mode,
            seeds=self.seeds,
            folds=self.folds,
            resamples=self.resamples,
            tune=self.tune,
            probe=ProbeConfig(head=self.head, epochs=self.probe_epochs, seeds=self.seeds, folds=self.folds),
            reading=TokenizeConfig(
                sampling=self.sampling,
                sizing=self.sizing,
                signals=SignalConfig(on_damage=self.on_damage),
                times=self.times,
            ),
        )

    @property
    def suite(self) -> MotionSuite | None:
        """The motion suite that was asked for."""
        if self.data != MOTION:
            return None
        return MotionSuite(
            family=self.family,
            final=self.final,
            seed=self.suite_seed,
            size=self.suite_size,
            clips_per_class=self.clips_per_class,
            nuisances=self.suite_nuisances,
            codecs=self.suite_codecs,
        )

    def run(self) -> int:
        from onevision_encoder.evaluate.sweep_report import as_markdown, write_sweep

        prepare(self.out)
        try:
            result = self._result(self._data())
        except KeyboardInterrupt:
            print("ove: interrupted; the same command goes on where this one stopped", file=sys.stderr)
            return INTERRUPTED
        report = write_sweep(self.out, result)
        print(json.dumps(report, indent=1) if self.json else as_markdown(report), end="" if not self.json else "\n")
        _complain(result)
        return 0 if result.complete else 1

    def _data(self) -> DataSet:
        from onevision_encoder.evaluate import load_dataset
        from onevision_encoder.evaluate.sweep_data import motion_folder

        if self.suite is None:
            return load_dataset(Path(self.data), self.benchmark)
        folder = motion_folder(self.cache or self.out / "cache", self.suite, workers=self.jobs, quiet=self.json)
        return replace(load_dataset(folder), name=f"motion {self.family}")

    def _result(self, data: DataSet) -> SweepResult:
        from onevision_encoder.evaluate.sweep import COSTS, run_sweep
        from onevision_encoder.evaluate.sweep_costs import CostConfig, count_costs, measure_costs
        from onevision_encoder.evaluate.sweep_ledger import Ledger

        with _Bars(quiet=self.json) as bars:
            result = run_sweep(
                data,
                self.config,
                self.out,
                cache=self.cache,
                jobs=self.jobs,
                train=self.costs != "only",
                progress=bars.progress,
            )
            how = CostConfig(clips=self.cost_clips, device=self.cost_device, big=self.cost_big)
            ledger, measure = Ledger.open(self.out / COSTS), self.costs != "skip"
            if measure:
                bars.stage("costs", count_costs(self.config, how))
            found = measure_costs(data, self.config, how, ledger, measure=measure, tick=bars.tick)
        return replace(result, costs=tuple(found))


class _Bars:
    """A progress bar for each stage, on standard error."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet, self.bar = quiet, tqdm(disable=True)

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def stage(self, name: str, total: int) -> None:
        self.bar.close()
        unit = {"training": "cell", "costs": "cell"}.get(name, "clip")
        self.bar = tqdm(desc=name, total=total, unit=unit, disable=True if self.quiet else None, file=sys.stderr)

    def tick(self, count: int) -> None:
        self.bar.update(count)

    @property
    def progress(self) -> Progress:
        from onevision_encoder.evaluate.sweep import Progress

        return Progress(stage=self.stage, tick=self.tick)


def _complain(result: SweepResult) -> None:
    """What was wrong, on standard error, counted."""
    for kind, number in result.checked.counts().items():
        print(f"ove: {kind}: {number} (listed in sweep.md)", file=sys.stderr)
    for id, causes in result.broken.items():
        print(f"ove: {id}: {next(iter(causes.values()))}", file=sys.stderr)
    if result.broken:
        print(f"ove: {counted(len(result.broken), 'clip')} could not be read, left out", file=sys.stderr)
    refused = sum(row["refused"] is not None for row in result.rows)
    if refused:
        print(f"ove: {counted(refused, 'cell')} refused (listed in sweep.md)", file=sys.stderr)
