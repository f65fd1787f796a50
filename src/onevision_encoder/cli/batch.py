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

    @property
    def exit_code(self) -> int:
        return 1 if self.failed else 0


def expand(files: Sequence[str], suffixes: str = MEDIA_SUFFIXES) -> list[Input]:
    """Files as they are, folders searched recursively for ``suffixes``, URLs untouched; names are unique.

    Raises:
        InvalidArgumentError: nothing given, or a folder without media. A missing file is left to the reader, so that
            it does not stop a batch.
    """
    if not files:
        raise InvalidArgumentError("files", [], "at least one file or folder")
    inputs: list[Input] = []
    for given in files:
        folder = Path(given)
        if "://" in given or not folder.is_dir():
            inputs.append(
                Input(path=given, name=given.rstrip("/").rsplit("/", 1)[-1] if "://" in given else folder.name)
            )
            continue
        endings = tuple(suffixes.split())
        found = sorted(p for p in folder.rglob("*") if p.name.lower().endswith(endings) and p.is_file())
        if not found:
            raise InvalidArgumentError("files", given, f"a folder with media files in it ({suffixes})")
        inputs += [Input(path=str(p), name=p.relative_to(folder).as_posix()) for p in found]
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
    """Call ``work`` on each input. An :class:`OneVisionError` is recorded and the batch goes on."""
    report = Report()
    with tqdm(inputs, desc=label, unit="file", disable=quiet or len(inputs) < 2, file=sys.stderr) as progress:
        for item in progress:
            try:
                report.done.append({"name": item.name, "source": item.path, **work(item)})
            except OneVisionError as error:
                failure = {"name": item.name, "source": item.path, "error": type(error).__name__, "message": str(error)}
                report.failed.append(failure)
    return report


def finish(report: Report, *, as_json: bool, line: Callable[[Mapping[str, Any]], str], extra: Mapping[str, Any]) -> int:
    """Print what was done and what failed; returns the exit code."""
    if as_json:
        print(json.dumps({**extra, "done": report.done, "failed": report.failed}, indent=2))
    else:
        for item in report.done:
            print(line(item))
    for failure in report.failed:
        source = "" if failure["source"] in failure["message"] else f"{failure['source']}: "
        print(f"ove: {source}{failure['message']} ({failure['error']})", file=sys.stderr)
    if report.failed:
        total = len(report.done) + len(report.failed)
        print(f"ove: {len(report.failed)} of {total} inputs failed", file=sys.stderr)
    return report.exit_code
