"""The folder of a run: its configuration, checkpoints, metrics, and the encoder it makes.

::

    RUN/config.json      the resolved configuration: `ove pretrain --out RUN` goes on with it
    RUN/run.json         how it was started: versions, ranks, device, when it went on from which step
    RUN/checkpoints/     see ``checkpoint.py``
    RUN/saved            there from the first complete checkpoint on
    RUN/metrics.jsonl    a row a step; plot.svg draws it
    RUN/encoder/         config.json and model.safetensors: what `ove encode --model RUN/encoder` takes
    RUN/banks/           NAME.safetensors: the centres, as ``bank_init`` of a next stage takes them
"""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from onevision_encoder import __version__
from onevision_encoder.errors import InvalidArgumentError, WriteError
from onevision_encoder.pretrain.checkpoint import (
    FOLDER,
    SAVED,
    Checkpoint,
    CheckpointStore,
    complete,
    load_tensors,
    read_checkpoint,
    stored,
)
from onevision_encoder.pretrain.config import PretrainConfig
from onevision_encoder.pretrain.failures import ResumeError
from onevision_encoder.pretrain.feature_store import write_tensors
from onevision_encoder.pretrain.parallel import Ranks
from onevision_encoder.pretrain.run_log import read_metrics
from onevision_encoder.pretrain.settings import differences, from_json, read_config, to_json
from onevision_encoder.tokens.files import write_atomically

CONFIG, RUN, ENCODER, BANKS = "config.json", "run.json", "encoder", "banks"
FREE = ("name", "log", "checkpoint", "probe", "parallel.mode", "parallel.activation_checkpointing", "parallel.compile")
FREE_TOO = ("parallel.timeout_seconds", "data.workers")
"""Settings that may change where a run goes on: they do not decide what is learned."""


class RunFolder:
    """Where a run keeps everything; all ranks see the same folder."""

    def __init__(self, path: Path, config: PretrainConfig, ranks: Ranks) -> None:
        self.path, self.config, self.ranks = path, config, ranks
        self.hint = f"Go on with: ove pretrain --out {path}"
        self.diverged_hint = (
            f"Nothing of this step was kept; {path / FOLDER} has the last good state. Look at these samples, or begin "
            "anew with a lower optimizer.lr or clip_norm"
        )
        settings = config.checkpoint
        self.store = CheckpointStore(path, ranks, keep=settings.keep, background=settings.background)

    def open(self, *, resume: bool) -> Checkpoint | None:
        """Make the folder, or find what to go on from; every rank calls it.

        Raises:
            InvalidArgumentError: there is a run already, and ``resume`` is False; or the folder cannot be made.
            ResumeError: what is there cannot be continued, or is of another configuration. Nothing is changed then.
        """
        found = self.store.newest()
        rows = read_metrics(self.path)
        if not resume and (found is not None or rows):
            raise InvalidArgumentError("out", str(self.path), "an empty folder, because resume is off")
        if found is not None:
            require_same(found, self.config)
        elif (self.path / SAVED).is_file():
            cause = f"has metrics up to step {rows[-1]['step'] if rows else 0} and no checkpoint: somebody removed them"
            raise ResumeError(self.path, f"{cause}; put them back, or give another folder to begin anew")
        self.lost_steps = 0 if found is not None or not rows else int(rows[-1]["step"]) + 1
        self.ranks.meet()
        if self.ranks.leads:
            self._write_down(found)
        self.ranks.meet()
        return found

    def save(self, step: int, tensors: Mapping[str, Tensor], position: Mapping[str, Any]) -> None:
        """A checkpoint. Raises WriteError."""
        facts = {"config": to_json(self.config), "version": __version__, "torch": torch.__version__}
        self.store.save(step, tensors, facts, dict(position))

    def _write_down(self, found: Checkpoint | None) -> None:
        run = self.path / RUN
        before = json.loads(run.read_text(encoding="utf-8"))["starts"] if run.is_file() and found is not None else []
        start = {
            "step": 0 if found is None else found.step,
            "ranks": self.ranks.world,
            "device": str(self.ranks.device),
            "threads": torch.get_num_threads(),
            "version": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        }
        write_atomically(self.path / CONFIG, (json.dumps(to_json(self.config), indent=2) + "\n").encode())
        write_atomically(run, (json.dumps({"starts": [*before, start]}, indent=2) + "\n").encode())


def require_same(checkpoint: Checkpoint, config: PretrainConfig) -> None:
    """Raise ResumeError where a checkpoint was made by another configuration, naming the first field."""
    for field, there, here in differences(checkpoint.state["config"], to_json(config)):
        if not any(field == free or field.startswith(f"{free}.") for free in (*FREE, *FREE_TOO)):
            cause = f"was made with {field} = {there!r}, this run says {here!r}"
            raise ResumeError(checkpoint.path, f"{cause}; say the same, or give another folder to begin anew", field)


def config_of(path: Path) -> PretrainConfig:
    """The configuration of a run's folder. Raises InvalidArgumentError where there is none."""
    if not (path / CONFIG).is_file():
        raise InvalidArgumentError("out", str(path), "the folder of a run; to begin one, name a recipe or a config")
    return read_config(path / CONFIG)


def export_encoder(run: Path, out: Path | None = None, *, step: int | None = None) -> Path:
    """Write the encoder of a checkpoint as ``from_pretrained`` and ``ove encode`` take it; any time, by one process.

    Args:
        run: the folder of a run. out: a new folder; None: ``RUN/encoder``, which is replaced. step: of the checkpoint;
            None: the newest.
    Returns:
        The folder.
    Raises:
        ResumeError: no such checkpoint, or a damaged one. InvalidArgumentError: ``out`` is there already.
        WriteError: it cannot be written.
    """
    from onevision_encoder.model import OneVisionEncoderModel

    checkpoint = _checkpoint_of(run, step)
    config = from_json(PretrainConfig, checkpoint.state["config"])
    target = run / ENCODER if out is None else out
    if out is not None and out.exists():
        raise InvalidArgumentError("export", str(out), "a folder that does not exist yet")
    model = OneVisionEncoderModel(config.encoder_config())
    tensors = {f"encoder/{name}": parameter.detach() for name, parameter in model.named_parameters()}
    there = stored(checkpoint)
    strangers = sorted(name for name in there if name.startswith("encoder/") and name not in tensors)
    if strangers:
        raise ResumeError(checkpoint.path, f"{strangers[0]} is in it, and no part of an encoder of its configuration")
    for name, tensor in tensors.items():
        if there.get(name) != tuple(tensor.shape):
            raise ResumeError(
                checkpoint.path, f"{name} is {there.get(name)}, its configuration says {tuple(tensor.shape)}"
            )
    load_tensors(checkpoint, tensors, Ranks())
    part = target.with_name(f".{target.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        model.save_pretrained(part)
        shutil.rmtree(target, ignore_errors=True)
        part.rename(target)
    except (OSError, SafetensorError) as error:
        raise WriteError(target, getattr(error, "strerror", None) or str(error)) from error
    return target


def export_bank(run: Path, name: str, out: Path, *, step: int | None = None) -> Path:
    """Write the rows of a bank as ``bank_init`` and ``ConceptBank.load_rows`` take them: safetensors, float32 [C, D].

    The whole bank in memory of one process. ``step`` as in :func:`export_encoder`.

    Raises:
        ResumeError: no such checkpoint or bank. WriteError.
    """
    checkpoint = _checkpoint_of(run, step)
    start = f"bank/{name}/rows["
    spans = {n: tuple(map(int, n[len(start) : -1].split(":"))) for n in stored(checkpoint) if n.startswith(start)}
    if not spans:
        raise ResumeError(checkpoint.path, f"holds no bank {name!r}")
    width = next(shape[1] for n, shape in stored(checkpoint).items() if n in spans)
    rows_CD = torch.empty(max(b for _, b in spans.values()), width)
    load_tensors(checkpoint, {n: rows_CD[a:b] for n, (a, b) in spans.items()}, Ranks())
    out.parent.mkdir(parents=True, exist_ok=True)
    write_tensors(out, {"rows": rows_CD.numpy()}, {"bank": name, "step": checkpoint.step})
    return out


def _checkpoint_of(run: Path, step: int | None) -> Checkpoint:
    names = complete(run / FOLDER)
    wanted = names[-1:] if step is None else [name for name in names if name == f"step-{step:08d}"]
    if not wanted:
        raise ResumeError(run / FOLDER, f"holds no checkpoint{'' if step is None else f' of step {step}'}: {names}")
    return read_checkpoint(run / FOLDER / wanted[0])
