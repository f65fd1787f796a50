"""`ove corpus build MEDIA... --out DIR`: pictures and videos into shards to train from."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import tyro
from tqdm import tqdm

from onevision_encoder.checks import counted
from onevision_encoder.cli.batch import FAILED, INTERRUPTED
from onevision_encoder.cli.results import prepare
from onevision_encoder.pretrain.corpus_build import BuildReport, build_corpus
from onevision_encoder.pretrain.corpus_config import CorpusConfig, Recode
from onevision_encoder.pretrain.corpus_sources import find_items
from onevision_encoder.selection import ScoreName, SelectionConfig
from onevision_encoder.tokens.pipeline import SignalConfig, TimeConfig, TokenizeConfig
from onevision_encoder.types import Order
from onevision_encoder.video import Sampling, Sizing

if TYPE_CHECKING:
    from onevision_encoder.pretrain.stored_video import VideoMode

_USUAL = CorpusConfig()


@dataclass(frozen=True, kw_only=True)
class CorpusBuild:
    """Store pictures, videos and IDX archives in shards (WebDataset tars) to train from.

    Run again, it keeps what is stored, makes what lacks, and adds new media. What cannot be read is listed.
    """

    media: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MEDIA")]
    """Videos, pictures of any kind, IDX archives (MNIST, Fashion-MNIST), or folders of them."""
    out: Path
    """Folder of the corpus."""
    modes: str = "codec,frames,tiled"
    """Ways in which videos can be drawn later, with commas. frames and tiled share their pixels."""
    low: str = _USUAL.low
    """Lowest budget that mode codec can be drawn at, a share of all patches."""
    high: str = _USUAL.high
    """Highest budget that mode codec can be drawn at; a clip takes this share of its dense size."""
    steps: int = _USUAL.steps
    """Budgets from low to high that are kept exactly; 57 are every 256th of the patches."""
    frame_levels: str = ",".join(_USUAL.frame_levels)
    """Budgets that modes frames and tiled can be drawn at, with commas."""
    image_side: int | None = None
    """Pictures whose shorter side is longer than this are shrunk to it. None keeps every size."""
    recode: Recode = "keep"
    """keep: JPEG, PNG and WebP that are not shrunk stay as they are, all else becomes PNG."""
    shard_samples: int = _USUAL.shard_samples
    """Most samples of a shard."""
    shard_mb: int = _USUAL.shard_mb
    """A shard that has reached this size in MiB is full."""
    licence: str = "unknown"
    """Recorded with every sample of this call."""
    origin: str = ""
    """Where the media come from (a URL, a name), recorded with every sample of this call."""
    workers: int = 1
    """Threads that decode. The shards are the same for any number."""
    json: bool = False
    """Print the result as JSON."""
    score: ScoreName = "fused"
    """What mode codec ranks by."""
    anchors: int | None = None
    """Frames that mode codec reads for their own sake. None: 1 per 32 frames."""
    order: Order = "raster"
    """Order of the rows of videos. block2, block3: by 2x2 or 3x3 block."""
    sampling: Sampling = field(default_factory=Sampling)
    sizing: Sizing = field(default_factory=Sizing)
    signals: SignalConfig = field(default_factory=SignalConfig)
    times: TimeConfig = field(default_factory=TimeConfig)

    def run(self) -> int:
        config = self.config
        total = len(find_items(self.media))
        prepare(self.out)
        hidden = True if self.json else None  # None: hidden where nobody watches
        with tqdm(total=total, desc="corpus", unit="file", disable=hidden, file=sys.stderr) as bar:
            report = build_corpus(
                self.media,
                self.out,
                config,
                licence=self.licence,
                origin=self.origin,
                workers=self.workers,
                tick=bar.update,
            )
        if self.json:
            print(json.dumps({"out": str(self.out), **asdict(report)}, indent=2))
        else:
            kept = f", {report.kept} kept" if report.kept else ""
            print(f"{counted(report.stored, 'sample')} stored{kept} -> {self.out}")
        _complain(report, self.out)
        return INTERRUPTED if report.interrupted else FAILED if report.failed else 0

    @property
    def config(self) -> CorpusConfig:
        """What decides the shards."""
        reading = TokenizeConfig(
            selection=SelectionConfig(score=self.score, anchors=self.anchors, order=self.order),
            sampling=self.sampling,
            sizing=self.sizing,
            signals=self.signals,
            times=self.times,
        )
        reading.check_read()
        return CorpusConfig(
            modes=tuple(cast("VideoMode", mode.strip()) for mode in self.modes.split(",")),
            reading=reading,
            low=self.low,
            high=self.high,
            steps=self.steps,
            frame_levels=tuple(level.strip() for level in self.frame_levels.split(",")),
            image_side=self.image_side,
            recode=self.recode,
            shard_samples=self.shard_samples,
            shard_mb=self.shard_mb,
        )


def _complain(report: BuildReport, out: Path) -> None:
    for name in report.lost:
        print(
            f"ove: {out / name} is gone; its samples were made again as far as their media were given", file=sys.stderr
        )
    for failure in report.failed:
        source = "" if failure["source"] in failure["message"] else f"{failure['source']}: "
        print(f"ove: {source}{failure['message']} ({failure['error']})", file=sys.stderr)
    if report.failed:
        left_out = f"{counted(len(report.failed), 'file')} left out, listed in {out / 'failures.jsonl'}"
        print(f"ove: {left_out}; the same command tries again", file=sys.stderr)
    if report.interrupted:
        print("ove: interrupted; the same command goes on where this one stopped", file=sys.stderr)
