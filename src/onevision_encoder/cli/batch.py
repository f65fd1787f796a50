"""Many inputs, one result each: goes on past a bad file, lists it, and says so in the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from tqdm import tqdm

from onevision_encoder.errors import InvalidArgumentError, OneVisionError

MEDIA_SUFFIXES = (
    ".264 .265 .3gp .avi .bmp .flv .gif .h264 .h265 .hevc .ivf .jpeg .jpg .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts "
    ".obu .ogv .png .tif .tiff .ts .vob .webm .webp .wmv .y4m"
)
"""What a folder is searched for. A file named on the command line is tried whatever its suffix."""

TOKEN_SUFFIX = ".tokens.safetensors"
FAILED, INTERRUPTED = 1, 130


@dataclass(frozen=True)
class Input:
    """One thing to work on: ``name`` identifies it in results and names its output file."""

    path: str
    name: str


@dataclass
class Report:
    """What became of each input."""

    done: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        return INTERRUPTED if self.interrupted else FAILED if self.failed else 0


def expand(files: Sequence[str], suffixes: str = MEDIA_SUFFIXES) -> list[Input]:
    """Files as they are, folders searched recursively for ``suffixes``, URLs untouched; names are unique.

    A missing file or a folder without media is left to the reader to refuse, so that it does not stop a batch.

    Raises:
        InvalidArgumentError: nothing given.
    """
    if not files:
        raise InvalidArgumentError("files", [], "at least one file or folder")
    inputs: list[Input] = []
    for given in dict.fromkeys(files):
        folder = Path(given)
        found: list[Path] = []
        if "://" not in given and folder.is_dir():
            endings = tuple(suffixes.split())
            found = sorted(p for p in folder.rglob("*") if p.name.lower().endswith(endings) and p.is_file())
        if found:
            inputs += [Input(path=str(p), name=p.relative_to(folder).as_posix()) for p in found]
        else:
            inputs.append(
                Input(path=given, name=given.rstrip("/").rsplit("/", 1)[-1] if "://" in given else folder.name)
            )
    return _distinct(inputs)


def _distinct(inputs: Iterable[Input]) -> list[Input]:
    """Names without the token suffix; same-named inputs from different places get a number, in the order given."""
    taken: set[str] = set()
    out: list[Input] = []
    for item in inputs:
        name = item.name.removesuffix(TOKEN_SUFFIX)
        path, count = PurePosixPath(name), 1
        while name in taken:
            count += 1
            name = path.with_name(f"{path.stem}~{count}{path.suffix}").as_posix()
        taken.add(name)
        out.append(Input(path=item.path, name=name))
    return out


def run_batch(
    inputs: Sequence[Input], work: Callable[[Input], Mapping[str, Any]], *, label: str, quiet: bool
) -> Report:
    """Call ``work`` on each input. An :class:`OneVisionError` is recorded and the batch goes on; Ctrl-C ends it."""
    report = Report()
    hidden = True if quiet or len(inputs) < 2 else None  # None: hidden where nobody watches, no terminal
    with tqdm(inputs, desc=label, unit="file", disable=hidden, file=sys.stderr) as progress:
        try:
            for item in progress:
                _attempt(item, work, report)
        except KeyboardInterrupt:
            report.interrupted = True
    return report


def _attempt(item: Input, work: Callable[[Input], Mapping[str, Any]], report: Report) -> None:
    try:
        report.done.append({"name": item.name, "source": item.path, **work(item)})
    except OneVisionError as error:
        failure = {"name": item.name, "source": item.path, "error": type(error).__name__, "message": str(error)}
        report.failed.append(failure)


def finish(report: Report, *, as_json: bool, line: Callable[[Mapping[str, Any]], str], extra: Mapping[str, Any]) -> int:
    """Print what was done and what failed; returns the exit code."""
    if as_json:
        print(json.dumps({**extra, "done": report.done, "failed": report.failed}, indent=2))
    else:
        for item in report.done:
            print(line(item))
    complain(report)
    total = len(report.done) + len(report.failed)
    if report.failed and total > 1:
        print(f"ove: {len(report.failed)} of {total} inputs failed", file=sys.stderr)
    if report.interrupted:
        print("ove: interrupted; the same command goes on where this one stopped", file=sys.stderr)
    return report.exit_code


def complain(report: Report) -> None:
    """Every failure on standard error, with the input it belongs to."""
    for failure in report.failed:
        source = "" if failure["source"] in failure["message"] else f"{failure['source']}: "
        print(f"ove: {source}{failure['message']} ({failure['error']})", file=sys.stderr)
