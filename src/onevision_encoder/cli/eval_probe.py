"""`ove eval probe --data DIR`: how well a small head reads classes from a frozen encoder's tokens."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tqdm import tqdm

from onevision_encoder.checks import counted
from onevision_encoder.cli.batch import INTERRUPTED
from onevision_encoder.cli.eval_tuning import TuningOptions
from onevision_encoder.cli.options import ReadingOptions
from onevision_encoder.cli.results import prepare
from onevision_encoder.errors import InvalidArgumentError, RandomWeightsWarning
from onevision_encoder.evaluate.probe_config import ProbeConfig

if TYPE_CHECKING:
    from onevision_encoder.evaluate import Backbone, DataSet, ProbeResult
    from onevision_encoder.tokens import TokenizeConfig


@dataclass(frozen=True, kw_only=True)
class Probe(ReadingOptions):
    """Train small heads on a frozen encoder, or with --tune all of an encoder, and test once; writes report.json and
    report.md.

    Start it with torchrun to divide the work: the figures stay the same. With --cache it goes on where it stopped.
    """

    data: Path
    """Folder of labelled videos: a folder a class, CSV files, labels.jsonl, or a benchmark (see --benchmark)."""
    model: str
    """A checkpoint folder or hub id of our own encoder or of a peer (SigLIP 2, DINO, CLIP, V-JEPA 2, ...; a peer sees
    frames as its own processor wants them), or a preset with random weights: tiny, small, base, large, huge."""
    probe: ProbeConfig = field(default_factory=ProbeConfig)
    tuning: TuningOptions = field(default_factory=TuningOptions)
    benchmark: str | None = None
    """How the folder's annotation files look: ssv2, diving48, k400, ... (ove eval verify lists them)."""
    out: Path = Path("probe")
    """Folder for report.json, report.md, run.json and predictions.jsonl."""
    cache: Path | None = None
    """Folder that keeps features, or with --tune tokens, for the next run."""
    memory_mb: int = 2048
    """Features up to this size are kept in memory between epochs."""
    workers: int = 1
    """Threads (with --tune: processes) that decode clips."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, mps, ..."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the encoder; heads are float32. With --tune, bfloat16 is for matrix products, weights are float32."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tuning.check(self.probe)

    json: bool = False
    """Print the report as JSON."""

    def run(self) -> int:
        from onevision_encoder.evaluate import joined, load_dataset, write_report

        prepare(self.out)
        data = load_dataset(self.data, self.benchmark)
        try:
            with joined() as team:
                run = self._probe if self.tuning.tune == "head" else self._tune
                result = run(data, quiet=self.json or not team.leads)
                if not team.leads:
                    return 0 if result.complete else 1
        except KeyboardInterrupt:
            kept = "the same command goes on where this one stopped" if self.cache else "--cache would keep features"
            print(f"ove: interrupted, nothing was written; {kept}", file=sys.stderr)
            return INTERRUPTED
        write_report(self.out, result)
        print(json.dumps(result.report, indent=2) if self.json else (self.out / "report.md").read_text("utf-8"), end="")
        _complain(result)
        return 0 if result.complete else 1

    def _probe(self, data: DataSet, *, quiet: bool) -> ProbeResult:
        from onevision_encoder.evaluate import FeatureCache, FeatureReader, run_probe
        from onevision_encoder.evaluate.heads import pooled_only

        backbone, reading, device = self._backbone()
        reader = FeatureReader(
            backbone=backbone,
            reading=reading,
            pool=pooled_only(self.probe.head),
            cache=None if self.cache is None else FeatureCache(self.cache),
            memory_bytes=self.memory_mb << 20,
            workers=self.workers,
        )
        with tqdm(desc="probe", unit="clip", disable=True if quiet else None, file=sys.stderr) as bar:
            return run_probe(data, reader, self.probe, device=device, tick=bar.update, announce=bar.reset)

    def _backbone(self) -> tuple[Backbone, TokenizeConfig, str]:
        """The encoder, what it is to read of a clip, and its device."""
        from onevision_encoder.evaluate import OurBackbone, load_backbone
        from onevision_encoder.evaluate.backbones import is_ours

        where = _own_device(self.device)
        if is_ours(self.model):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RandomWeightsWarning)  # the report says it
                ours = load_backbone(self.model, dtype=self.dtype, device=where)
            assert isinstance(ours, OurBackbone)
            return ours, self.how, str(ours.loaded.model.device)
        frames = {name: getattr(self.sampling, name) for name in self.changed if hasattr(self.sampling, name)}
        for name in sorted(set(self.changed) - set(frames) - {"on_damage"}):
            allowed = f"not given: {self.model} is a peer and takes frames as its own processor wants them"
            raise InvalidArgumentError(name, self.option(name), allowed)
        peer = load_backbone(self.model, dtype=self.dtype, device=where, num_frames=frames.get("num_frames"))
        assert not isinstance(peer, OurBackbone)
        reading = replace(peer.reading, sampling=replace(peer.reading.sampling, **frames), signals=self.signals)
        return peer, reading, str(peer.device)

    def _tune(self, data: DataSet, *, quiet: bool) -> ProbeResult:
        from onevision_encoder.evaluate import TokenSetCache
        from onevision_encoder.evaluate.tuning_run import run_tuning
        from onevision_encoder.model.precision import resolve_device

        learner = self.tuning.learner(self.probe, model=self.model, dtype=self.dtype, patch=self.sizing.patch)
        with tqdm(desc="tuning", unit="step", disable=True if quiet else None, file=sys.stderr) as bar:
            return run_tuning(
                data,
                learner,
                self.how,
                self.probe,
                cache=None if self.cache is None else TokenSetCache(self.cache),
                workers=self.workers,
                device=resolve_device(_own_device(self.device)),
                tick=bar.update,
                announce=bar.reset,
            )


def _own_device(device: str) -> str:
    """Under torchrun each process takes the GPU of its local rank."""
    import os

    import torch

    rank = int(os.environ.get("LOCAL_RANK", "0"))
    if device in ("auto", "cuda") and rank and torch.cuda.is_available():
        return f"cuda:{rank % torch.cuda.device_count()}"
    return device


def _complain(result: ProbeResult) -> None:
    """What was wrong, on standard error, counted."""
    checked, broken = result.report["data"]["verification"], result.report["broken"]
    for kind, number in checked["counts"].items():
        print(f"ove: {kind}: {number} (listed in report.md)", file=sys.stderr)
    for item in broken:
        print(f"ove: {item['id']}: {item['cause']}", file=sys.stderr)
    if broken:
        print(f"ove: {counted(len(broken), 'clip')} could not be read, left out", file=sys.stderr)
    for file in ((result.run["rank_0"]["cache"]) or {}).get("corrupt", []):
        print(f"ove: computed again: {file}", file=sys.stderr)
