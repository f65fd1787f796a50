"""Checkpoints that are whole or not there: written beside, synced, renamed; PyTorch's distributed format inside.

::

    checkpoints/
      step-00000200/          complete by its name: it was renamed after every byte was on the disk
        .metadata, *.distcp   tensors, by torch.distributed.checkpoint: any number of ranks reads them
        state.json            step, configuration, ranks, position in the data, and the size of every file
      .part-00000300/         what a kill left behind; removed by the next save
      latest                  the newest folder's name, written last
    saved                     beside the folder: that there was a checkpoint once, should all of them be gone

Nothing in a folder is ever changed after its name is given.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
import torch.distributed.checkpoint
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException

from onevision_encoder.errors import OneVisionError, WriteError
from onevision_encoder.pretrain.failures import ResumeError
from onevision_encoder.pretrain.parallel import Ranks
from onevision_encoder.tokens.files import write_atomically

FOLDER, LATEST, STATE, SAVED = "checkpoints", "latest", "state.json", "saved"
SCHEMA = 1
dcp: Any = torch.distributed.checkpoint
_NAME, _PART, _GONE = "step-{:08d}", ".part-{:08d}", ".gone-{:08d}"


@dataclass(frozen=True)
class Checkpoint:
    """A complete one. ``state`` is what state.json says."""

    path: Path
    state: Mapping[str, Any]

    @property
    def step(self) -> int:
        return int(self.state["step"])


class CheckpointStore:
    """The checkpoints of a run: saves from all ranks together, keeps the newest, hands out what to go on from."""

    def __init__(self, folder: Path, ranks: Ranks, *, keep: int = 3, background: bool = False) -> None:
        self.folder, self.ranks, self.keep, self.background = folder / FOLDER, ranks, keep, background
        self._writing: Future[Any] | None = None
        self._at: tuple[int, dict[str, Any]] | None = None
        self._pool: ThreadPoolExecutor | None = None
        # its own group: what is sent in the background must not mix with what training sends
        self._group = dist.new_group(backend="gloo") if background and ranks.joined else None

    def save(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], mine: Any) -> None:
        """Write a checkpoint; every rank calls it.

        Args:
            step: the next step to do. tensors: by name; each rank's own names, or DTensors, or the same ones on all.
            facts: JSON-able, the same on all ranks. mine: JSON-able, this rank's (its position in the data).
        Raises:
            WriteError: the disk is full ... What was there before is untouched. In the background: it is raised by the
                next call of ``save`` or ``wait``.
        """
        self.wait()
        state = {"schema": SCHEMA, "step": step, **facts, "ranks": self.ranks.world, "by_rank": self.ranks.gather(mine)}
        part = self._prepare(step)
        self._at = (step, state)
        named = dict(tensors)
        if self.background:
            self._writing = self._start(named, part)
        else:
            self._finish(lambda: _save(named, part, alone=not self.ranks.joined))

    def wait(self) -> None:
        """Until what is written in the background is there. Raises WriteError on every rank where it could not be."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            self._finish(writing.result)

    def close(self) -> None:
        """:meth:`wait`, and let go of the threads."""
        try:
            self.wait()
        finally:
            if self._pool is not None:
                self._pool.shutdown()

    def abandon(self) -> None:
        """Let go after a failure: what is being written is still finished where nobody else is needed for it."""
        writing, self._writing = self._writing, None
        if writing is not None and self.ranks.world == 1:
            with suppress(WriteError):
                self._finish(writing.result)
        if self._pool is not None:
            self._pool.shutdown()

    def newest(self) -> Checkpoint | None:
        """What to go on from; None where nothing was ever saved.

        Raises:
            ResumeError: the newest one is damaged, or the pointer names one that is gone.
        """
        names = complete(self.folder)
        pointer = self.folder / LATEST
        named = pointer.read_text(encoding="utf-8").strip() if pointer.is_file() else None
        if named is not None and named not in names:
            raise ResumeError(self.folder / named, f"is gone, but {LATEST} names it; {_others(self.folder, named)}")
        return read_checkpoint(self.folder / names[-1]) if names else None

    def _prepare(self, step: int) -> Path:
        part = self.folder / _PART.format(step)
        cause = None
        if self.ranks.leads:
            try:
                for left in [*self.folder.glob(".part-*"), *self.folder.glob(".gone-*")]:
                    shutil.rmtree(left)
                part.mkdir(parents=True)
            except OSError as error:
                cause = error.strerror or str(error)
        self._agree(part, cause)
        return part

    def _start(self, tensors: dict[str, Tensor], part: Path) -> Future[Any]:
        if self.ranks.joined:
            writer = dcp.FileSystemWriter(part)
            saved: Future[Any] = dcp.async_save(tensors, storage_writer=writer, process_group=self._group)
            return saved
        copies = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
        self._pool = self._pool or ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        return self._pool.submit(_save, copies, part, alone=True)

    def _finish(self, written: Any) -> None:
        """Wait for the tensors; the rank that leads then gives the folder its name."""
        assert self._at is not None
        step, state = self._at
        part, cause = self.folder / _PART.format(step), None
        try:
            written()
            if self.ranks.leads:
                self._name(part, state)
        except (OSError, CheckpointException, RuntimeError, OneVisionError) as error:
            cause = _cause(error)
            if self.ranks.leads:
                shutil.rmtree(part, ignore_errors=True)
        self._agree(part, cause)

    def _name(self, part: Path, state: dict[str, Any]) -> None:
        sizes = {file.name: file.stat().st_size for file in sorted(part.iterdir())}
        write_atomically(part / STATE, json.dumps({**state, "files": sizes}, indent=1).encode())
        _sync(part / STATE)
        _sync(part)
        whole = self.folder / _NAME.format(state["step"])
        if whole.exists():  # saved at the same step before, by a run that was then killed: the same contents
            _remove(whole)
        part.rename(whole)
        _sync(self.folder)
        write_atomically(self.folder / LATEST, f"{whole.name}\n".encode())
        _sync(self.folder / LATEST)
        if not (self.folder.parent / SAVED).is_file():
            write_atomically(self.folder.parent / SAVED, f"{whole.name} was the first checkpoint\n".encode())
        _sync(self.folder)
        for old in complete(self.folder)[: -self.keep]:
            _remove(self.folder / old)

    def _agree(self, part: Path, cause: str | None) -> None:
        """Raise on all ranks what any of them met."""
        causes = [found for found in self.ranks.gather(cause) if found is not None]
        if causes:
            raise WriteError(
                part.with_name(_NAME.format(int(part.name.rsplit("-", 1)[1]))),
                f"{causes[0]}. Make room and run the same command: it goes on from the checkpoint before",
            )


def complete(folder: Path) -> list[str]:
    """Names of the complete checkpoints in a folder of them, oldest first."""
    return sorted(path.name for path in folder.glob("step-*") if path.is_dir())


def read_checkpoint(path: Path) -> Checkpoint:
    """A complete checkpoint's facts.

    Raises:
        ResumeError: it is none, or files of it are missing or cut short.
    """
    try:
        state = json.loads((path / STATE).read_text(encoding="utf-8"))
        sizes, step = state["files"], int(state["step"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResumeError(path, f"is no complete checkpoint ({error}); {_others(path.parent, path.name)}") from error
    if state.get("schema") != SCHEMA:
        raise ResumeError(path, f"has schema {state.get('schema')!r}, accepted is {SCHEMA}")
    del step
    for name, size in sizes.items():
        found = (path / name).stat().st_size if (path / name).is_file() else None
        if found != size:
            what = "is missing" if found is None else f"has {found} bytes instead of {size}"
            raise ResumeError(path, f"is damaged: {name} {what}; {_others(path.parent, path.name)}")
    return Checkpoint(path, state)


def load_tensors(checkpoint: Checkpoint, tensors: dict[str, Tensor], ranks: Ranks) -> None:
    """Fill tensors, DTensors among them, from a checkpoint that any number of ranks wrote.

    Raises:
        ResumeError: a tensor is not there, or has another shape.
    """
    reader = dcp.FileSystemReader(checkpoint.path)
    try:
        with _one_process_is_meant(not ranks.joined):
            dcp.load(tensors, storage_reader=reader, **({} if ranks.joined else _alone(dcp.load)))
    except (CheckpointException, RuntimeError, OSError, ValueError, KeyError) as error:
        raise ResumeError(checkpoint.path, f"does not fit this run: {_cause(error)}") from error


def stored(checkpoint: Checkpoint) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor in a checkpoint."""
    found = dcp.FileSystemReader(checkpoint.path).read_metadata().state_dict_metadata
    return {name: tuple(entry.size) for name, entry in found.items() if hasattr(entry, "size")}


def _save(tensors: dict[str, Tensor], part: Path, *, alone: bool) -> None:
    with _one_process_is_meant(alone):
        dcp.save(tensors, storage_writer=dcp.FileSystemWriter(part), **(_alone(dcp.save) if alone else {}))


def _alone(function: Any) -> dict[str, Any]:
    import inspect

    return {"no_dist": True} if "no_dist" in inspect.signature(function).parameters else {}


def _one_process_is_meant(alone: bool) -> Any:
    quiet = warnings.catch_warnings()
    if alone:
        warnings.filterwarnings("ignore", message="torch.distributed is (unavailable|disabled)")
    return quiet


def _others(folder: Path, name: str) -> str:
    """What else there is, for an error."""
    rest = [other for other in complete(folder) if other != name]
    if not rest:
        return "there is no other; give another --out to begin anew"
    return f"to go on from an older one ({', '.join(rest)}) move this one and {LATEST} out of {folder}"


def _cause(error: BaseException) -> str:
    """The first cause of all, in one line."""
    if isinstance(error, CheckpointException):
        rank, (inner, _) = next(iter(error.failures.items()))
        return f"rank {rank}: {_cause(inner)}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _remove(folder: Path) -> None:
    """Take its name away first, so that half of it never looks whole."""
    gone = folder.with_name(_GONE.format(int(folder.name.rsplit("-", 1)[1])))
    if gone.exists():
        shutil.rmtree(gone)
    folder.rename(gone)
    shutil.rmtree(gone)


def _sync(path: Path) -> None:
    """Onto the disk. Folders cannot be opened for it on Windows, where renames are journalled."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() or os.name != "nt" else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
