"""A folder of results: one file per input, and an index; what is there already is recognised."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from onevision_encoder import __version__
from onevision_encoder.checks import counted
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.tokens.described import KEY
from onevision_encoder.tokens.files import write_atomically
from onevision_encoder.video import fingerprint
from onevision_encoder.video.damage import damage_words

INDEX = "index.jsonl"


def prepare(folder: Path) -> None:
    """Make the folder, before any work is done. Raises InvalidArgumentError where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgumentError(
            "out", str(folder), f"a folder that exists or can be made ({error.strerror})"
        ) from error


def described(target: Path) -> Mapping[str, Any] | None:
    """The JSON that our files carry, and ``shapes`` of the tensors; None: no such file, none of ours, or cut short."""
    if not target.is_file():
        return None
    try:
        with safe_open(str(target), framework="numpy") as file:
            found = json.loads((file.metadata() or {})[KEY])
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, ValueError):
        return None
    return {**found, "shapes": shapes} if isinstance(found, dict) else None


def made_of(made: Mapping[str, Any], source: str, request: Any) -> bool:
    """Whether provenance ``made`` is that of this very source, by these options and this version.

    Raises:
        InvalidArgumentError: it is of another source altogether, which must not be overwritten by accident.
    """
    stated = made.get("source") or {}
    now = fingerprint(source)
    if stated.get("fingerprint") == now:
        return bool(made.get("request") == request and made.get("version") == __version__)
    if not _same_place(str(stated.get("name")), source):
        allowed = f"another folder: this one holds what was made of {stated.get('name')!r} under the same name"
        raise InvalidArgumentError("out", source, allowed)
    return False


def _same_place(one: str, other: str) -> bool:
    return one == other or ("://" not in one + other and Path(one).resolve() == Path(other).resolve())


def facts(provenance: Mapping[str, Any], tokens: int, frames: int, grid: Sequence[int]) -> dict[str, Any]:
    """What a line of the index says about the tokens of one clip."""
    source, selection = (provenance.get(part) or {} for part in ("source", "selection"))
    return {
        "tokens": tokens,
        "of": selection.get("available", frames * grid[0] * grid[1]),
        "frames": frames,
        "grid": list(grid),
        "frames_lost": source.get("frames_lost"),
        "frames_corrupt": source.get("frames_corrupt"),
    }


def describe(item: Mapping[str, Any]) -> str:
    """One input's tokens in words."""
    share = 100 * item["tokens"] / item["of"]
    grid = f"{item['grid'][0]}x{item['grid'][1]} patches"
    damage = "".join(f", {words}" for words in damage_words(item["frames_lost"], item["frames_corrupt"]))
    return f"{counted(item['tokens'], 'token')}, {share:.3g} % of {counted(item['frames'], 'frame')} of {grid}{damage}"


def write_index(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add ``rows`` to the index: a row for each result in the folder, the newest of each name, sorted by name."""
    path = folder / INDEX
    known: dict[str, Mapping[str, Any]] = {}
    if path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            if (folder / row["file"]).is_file():
                known[row["file"]] = row
    known |= {row["file"]: row for row in rows}
    text = "".join(json.dumps(known[name]) + "\n" for name in sorted(known))
    write_atomically(path, text.encode())
