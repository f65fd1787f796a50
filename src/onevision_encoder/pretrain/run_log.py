"""What a run writes down: a line of metrics.jsonl for each step, a picture of them, a progress bar, other trackers."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from onevision_encoder.errors import MissingExtraError, WriteError
from onevision_encoder.pretrain.config import LogConfig
from onevision_encoder.pretrain.failures import ResumeError
from onevision_encoder.pretrain.run_plot import write_plot
from onevision_encoder.tokens.files import write_atomically

METRICS, PLOT = "metrics.jsonl", "plot.svg"


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Rows of a run's metrics, oldest first; a last line that was cut short by a kill is left out.

    Raises:
        ResumeError: another line is no JSON.
    """
    path = folder / METRICS
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    rows = []
    for number, line in enumerate(lines):
        if not line:
            continue
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            if number >= len(lines) - 1:  # no newline after it: written in part
                break
            raise ResumeError(path, f"line {number + 1} is no JSON ({error}); move the file away to go on") from error
    return rows


class RunLog:
    """The metrics of a run, kept by the process that leads; the others' is silent.

    Opening it for a run that goes on at ``step`` drops the rows of steps from there on: they are done again.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        config: LogConfig,
        *,
        step: int,
        steps: int,
        leads: bool = True,
        quiet: bool = False,
    ) -> None:
        self.folder, self.name, self.config, self.leads = folder, name, config, leads
        self.rows: list[dict[str, Any]] = []
        self._also: list[Any] = []
        if not leads:
            self._bar = tqdm(disable=True)
            return
        self.rows = [row for row in read_metrics(folder) if row["step"] < step]
        write_atomically(folder / METRICS, "".join(_line(row) for row in self.rows).encode())
        self._file = (folder / METRICS).open("a", encoding="utf-8")
        self._also = _trackers(folder, name, config)
        silent = True if quiet else None
        self._bar = tqdm(desc=name, unit="step", total=steps, initial=step, disable=silent, file=sys.stderr)

    def write(self, row: Mapping[str, Any]) -> None:
        """One row; ``step`` counts from 0, other values are numbers or None. Every row reaches the file at once.

        Raises:
            WriteError: the disk is full ...
        """
        if not self.leads:
            return
        self.rows.append(dict(row))
        try:
            self._file.write(_line(row))
            self._file.flush()
        except OSError as error:
            cause = (
                f"{error.strerror or error}. Make room and run the same command: it goes on from the last checkpoint"
            )
            raise WriteError(self.folder / METRICS, cause) from error
        for tracker in self._also:
            tracker.write(row)

    def tick(self, loss: float) -> None:
        """A step is done."""
        self._bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
        self._bar.update()

    def say(self, words: str) -> None:
        """A line for people, above the bar."""
        if self.leads:
            tqdm.write(f"ove: {words}", file=sys.stderr)

    def plot(self) -> None:
        """Draw what is there."""
        if self.leads:
            write_plot(self.folder / PLOT, self.rows, self.name)

    def close(self) -> None:
        """Nothing more comes. Draws the picture."""
        self._bar.close()
        if self.leads and not self._file.closed:
            self._file.close()
            self.plot()
            for tracker in self._also:
                tracker.close()


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row) + "\n"


class _TensorBoard:
    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("tensorboard", ["tensorboard"], "log.tensorboard") from error
        self.writer: Any = SummaryWriter(str(folder / "tensorboard"))

    def write(self, row: Mapping[str, Any]) -> None:
        for name, value in row.items():
            if name != "step" and value is not None:
                self.writer.add_scalar(name, value, row["step"])

    def close(self) -> None:
        self.writer.close()


class _Trackio:
    def __init__(self, project: str, name: str) -> None:
        try:
            import trackio
        except ImportError as error:
            raise MissingExtraError("trackio", ["trackio"], "log.trackio") from error
        self.module: Any = trackio
        trackio.init(project=project, name=name)

    def write(self, row: Mapping[str, Any]) -> None:
        self.module.log({name: value for name, value in row.items() if value is not None})

    def close(self) -> None:
        self.module.finish()


def _trackers(folder: Path, name: str, config: LogConfig) -> list[Any]:
    found: list[Any] = []
    if config.tensorboard:
        found.append(_TensorBoard(folder))
    if config.trackio is not None:
        found.append(_Trackio(config.trackio, name))
    return found
