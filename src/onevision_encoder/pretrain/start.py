"""Start a run, or go on with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.pretrain.config import PretrainConfig
from onevision_encoder.pretrain.corpora_stream import mixed_stream
from onevision_encoder.pretrain.feed import Feed, StreamMaker
from onevision_encoder.pretrain.loop import Trainer
from onevision_encoder.pretrain.parallel import Ranks, named_losses, processes
from onevision_encoder.pretrain.run_folder import BANKS, RunFolder, export_bank, export_encoder
from onevision_encoder.pretrain.run_log import RunLog
from onevision_encoder.pretrain.train_state import build_state


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a finished run left.

    Attributes:
        out: its folder. encoder: what ``load_encoder`` takes. step: steps done in all. first: the step it began at.
        last: the last row of the metrics (of an earlier call where nothing was left to do, the probe's where there is
            one); ``{}`` on ranks that do not lead.
    """

    out: Path
    encoder: Path
    step: int
    first: int
    last: Mapping[str, Any] = field(default_factory=dict)


def pretrain(
    config: PretrainConfig,
    out: Path | str,
    *,
    resume: bool = True,
    device: str = "auto",
    quiet: bool = False,
    stream: StreamMaker | None = None,
) -> RunResult:
    """Train an encoder and its banks; under torchrun every process calls it.

    The same call goes on where an earlier one stopped, from its newest checkpoint, on any number of processes. On the
    same number it ends with the same weights, to the bit, as a run that was never stopped (on a CPU with as many
    threads, or with deterministic kernels on a GPU).

    Args:
        out: folder of the run (see ``run_folder.py``), seen by all processes.
        resume: False: refuse a folder that holds a run.
        device: auto, cpu, cuda ... quiet: no progress bar.
        stream: makes the batches; None: :class:`~onevision_encoder.pretrain.stream.MixedStream` of ``config.data``.
    Raises:
        InvalidArgumentError, ResumeError, CheckpointError: before anything is done or changed.
        DivergedError, RankLostError, WriteError: on the way; the last good checkpoint is there.
        InterruptedRunError: ctrl-C or SIGTERM; everything is saved.
    """
    folder = Path(out)
    if stream is None:
        config.require_sources()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgumentError("out", str(folder), f"a folder that can be made ({error.strerror})") from error
    with processes(config.parallel, device) as ranks:
        config.rank_batch(ranks.world)
        return _run(config, folder, ranks, stream or mixed_stream, resume=resume, quiet=quiet)


def _run(config: PretrainConfig, out: Path, ranks: Ranks, make: StreamMaker, *, resume: bool, quiet: bool) -> RunResult:
    folder = RunFolder(out, config, ranks)
    with named_losses(ranks, 0, folder.hint):
        found = folder.open(resume=resume)
        torch.manual_seed(config.seed)
        state, feed = build_state(config, ranks, fresh=found is None), Feed(config, ranks, make)
        first = 0
        if found is not None:
            state.load(found)
            feed.load_state_dict(found.state["by_rank"])
            first = found.step
    log = RunLog(out, config.name, config.log, step=first, steps=config.steps, leads=ranks.leads, quiet=quiet)
    if found is not None:
        log.say(f"goes on at step {first}, from {found.path.name} ({found.state['ranks']} -> {ranks.world} processes)")
    elif folder.lost_steps:
        log.say(f"begins anew: an earlier run ended after {folder.lost_steps} steps, before its first checkpoint")
    trainer = Trainer(config=config, folder=folder, ranks=ranks, state=state, feed=feed, log=log, step=first)
    try:
        trainer.train()
        with named_losses(ranks, trainer.step, folder.hint):
            folder.store.close()
    except BaseException:
        folder.store.abandon()
        raise
    finally:
        feed.close()
        log.close()
    with named_losses(ranks, trainer.step, folder.hint):
        if ranks.leads:
            export_encoder(out)
            for name in config.banks:
                export_bank(out, name, out / BANKS / f"{name}.safetensors")
        ranks.meet()
    last = log.rows[-1] if log.rows else {}
    return RunResult(out=out, encoder=out / "encoder", step=trainer.step, first=first, last=last)
