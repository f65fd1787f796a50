"""`ove lmm train --model DIR --data FILE --out DIR`: fine-tune a vision-language model on conversations."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tqdm import tqdm

from onevision_encoder.checks import counted
from onevision_encoder.cli.batch import INTERRUPTED
from onevision_encoder.lmm.training_config import TrainingConfig

if TYPE_CHECKING:
    from onevision_encoder.lmm.training import TrainingReport
    from onevision_encoder.lmm.training_log import Tick

READING = (
    *("budget", "request_budget", "timestamps", "group_frames", "video_backend", "num_frames", "short", "max_patches"),
)


@dataclass(frozen=True, kw_only=True)
class Train:
    """Fine-tune a vision-language model on conversations about images and videos, read from their files.

    Every sample is read once before the first step, so that broken ones show at once. Start it with torchrun for
    several GPUs.
    """

    model: str
    """Folder or hub id of the model (ove lmm make), or of adapters, which become part of it (not for stage lora)."""
    data: Path
    """Conversations in LLaVA's, ShareGPT's or the chat form: .jsonl, or a .json list."""
    out: Path
    """Folder for checkpoints, log.jsonl, training.json and the trained model (or adapters)."""
    training: TrainingConfig = field(default_factory=TrainingConfig)
    val: Path | None = None
    """Other conversations: the loss on them is logged with each checkpoint."""
    media_root: Path | None = None
    """Folder that paths in the data are relative to; none = the folder of the data."""
    cache: Path | None = None
    """Folder that keeps the tokens of media; none = OUT/tokens."""
    resume: bool = False
    """Go on with the interrupted run in OUT from its last checkpoint."""
    budget: str | None = None
    """Tokens of each video for the language model, or a share of its patches, 12.5% say; none = the model's own."""
    request_budget: int | None = None
    """Tokens of all media of a conversation."""
    timestamps: bool | None = None
    """Write the time before the tokens of each group of frames."""
    group_frames: int | None = None
    """Frames of a group."""
    video_backend: Literal["codec", "frames", "tiled"] | None = None
    """How the patches of videos are chosen."""
    num_frames: int | None = None
    """Frames read of each video."""
    short: Literal["error", "cap"] | None = None
    """A video of fewer patches than its budget: error, or cap, which takes those it has; none = the model's own."""
    max_patches: int | None = None
    """Most patches of a frame or picture."""
    dtype: Literal["float32", "bfloat16", "auto"] = "float32"
    """Of the weights; auto = as saved."""
    device: Literal["auto", "cpu"] = "auto"
    """auto: a GPU if there is one."""
    json: bool = False
    """Print the report as JSON."""

    def run(self) -> int:
        from onevision_encoder.lmm.training import fine_tune

        reading: dict[str, Any] = {name: getattr(self, name) for name in READING if getattr(self, name) is not None}
        if self.budget is not None and self.budget.isdecimal():
            reading["budget"] = int(self.budget)
        try:
            with _bars(quiet=self.json) as tick:
                report = fine_tune(
                    self.model,
                    self.data,
                    self.out,
                    self.training,
                    val=self.val,
                    media_root=self.media_root,
                    cache=self.cache,
                    dtype=self.dtype,
                    device=self.device,
                    resume=self.resume,
                    tick=tick,
                    **reading,
                )
        except KeyboardInterrupt:
            print(
                "ove: interrupted; with --resume the same command goes on where it was saved last",
                file=sys.stderr,
            )
            return INTERRUPTED
        print(json.dumps(report.facts, indent=2) if self.json else _text(report, self.out))
        for line, cause in report.broken:
            print(f"ove: {self.data}: line {line}: {cause}", file=sys.stderr)
        if report.broken:
            print(f"ove: {counted(len(report.broken), 'sample')} left out", file=sys.stderr)
        return 1 if report.broken else 0


@contextmanager
def _bars(*, quiet: bool) -> Iterator[Tick]:
    """A bar on standard error for each thing that is counted, one after the other."""
    bars: dict[str, Any] = {}

    def tick(what: str, done: int, total: int) -> None:
        if what not in bars:
            bars[what] = tqdm(total=total, desc=what, disable=True if quiet else None, file=sys.stderr)
        bars[what].update(done - bars[what].n)

    try:
        yield tick
    finally:
        for bar in bars.values():
            bar.close()


def _text(report: TrainingReport, out: Path) -> str:
    facts = report.facts
    data = facts["data"]["train"]
    samples = f"{counted(data['samples'], 'sample')} in {counted(data['rows'], 'row')}"
    losses = f", loss {facts['first_loss']:.4g} -> {facts['last_loss']:.4g}" if "first_loss" in facts else ""
    return (
        f"{out}: stage {facts['config']['stage']}, {counted(facts['steps'], 'step')}, {samples}, "
        f"{data['tokens']:,} tokens ({data['visual_tokens']:,} visual), "
        f"{facts['trained_parameters']:,} parameters trained{losses}"
    )
