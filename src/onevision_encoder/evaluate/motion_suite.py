"""The motion suite: clips whose class is motion alone, made and encoded in seconds from a seed.

What a clip looks like (backgrounds, objects, colours, places), what disturbs it (camera pan and shake, sensor noise, a
cut, its length) and how it is coded are drawn independently of its class; a single frame says nothing. What a codec
had to do says it all. Axes: T frames, H W pixels, 3 = RGB.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from onevision_encoder.errors import InvalidArgumentError, WriteError
from onevision_encoder.evaluate.motion_codecs import CodecName, write_clip
from onevision_encoder.evaluate.motion_families import FAMILIES, Family, FamilyName
from onevision_encoder.evaluate.motion_scene import ClipPlan, Nuisance, Scene, plan_clip

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
SHORTEST, SMALLEST, LARGEST = 32, 56, 1024
VERSION = 1
"""Of the generator: the same seed gives the same pixels under the same version. It goes into every seed."""


@dataclass(frozen=True, kw_only=True)
class MotionSuite:
    """What to make. The same values give the same clips; clip i is the same however many are made.

    Raises:
        InvalidArgumentError: a value out of range, or the held-out family without ``final``.
    """

    family: FamilyName = "development"
    """development: to build methods on. held_out: other shapes, textures, speeds and paths, for one final report."""
    final: bool = False
    """Needed for held_out, and recorded: this is the final report, nothing will be tuned on it."""
    seed: int = 0
    """Of everything, 0 or more."""
    size: int = 112
    """Side of the square pictures in pixels, an even number."""
    frames: tuple[int, int] = (32, 64)
    """Shortest and longest clip; each clip's length is drawn between them."""
    clips_per_class: tuple[int, int, int] = (30, 10, 20)
    """Clips of each class in train, val and test."""
    nuisances: tuple[Nuisance, ...] = ("pan", "shake", "noise", "cut")
    """What may disturb a clip. A cut is in one clip of four, each of the others in one of two."""
    codecs: tuple[CodecName, ...] = ("h264", "mpeg4", "vp9", "hevc")
    """Codecs to draw from."""

    def __post_init__(self) -> None:
        _choice("family", self.family, get_args(FamilyName))
        if self.family == "held_out" and not self.final:
            raise InvalidArgumentError(
                "final", self.final, "family held_out is for the final report: say final (--final)"
            )
        for name, lowest, highest in (("seed", 0, 2**63), ("size", SMALLEST, LARGEST)):
            _whole(name, getattr(self, name), lowest, highest)
        if self.size % 2:
            raise InvalidArgumentError("size", self.size, "an even number of pixels, as 4:2:0 video asks for")
        if len(self.frames) != 2 or self.frames[0] > self.frames[1]:
            raise InvalidArgumentError("frames", self.frames, "(shortest, longest)")
        if len(self.clips_per_class) != len(SPLITS):
            raise InvalidArgumentError("clips_per_class", self.clips_per_class, "three numbers: train, val, test")
        for frames in self.frames:
            _whole("frames", frames, SHORTEST, 10_000)
        for count in self.clips_per_class:
            _whole("clips_per_class", count, 0, 1_000_000)
        for name, choices, least in (("nuisances", Nuisance, 0), ("codecs", CodecName, 1)):
            values = getattr(self, name)
            for value in values:
                _choice(name, value, get_args(choices))
            if len(set(values)) != len(values) or len(values) < least:
                raise InvalidArgumentError(name, values, f"different names, at least {least}")

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes by id."""
        return self._family.labels

    @property
    def _family(self) -> Family:
        return FAMILIES[self.family]

    def count(self, split: Split) -> int:
        """Clips in a split."""
        return self.clips_per_class[SPLITS.index(split)] * len(self.labels)

    def label_id(self, index: int) -> int:
        """Class of clip ``index`` of any split."""
        return index % len(self.labels)

    def clip_seed(self, split: Split, index: int) -> int:
        """64 bits that no other clip of this suite has, nor one of another split, family or seed (but by chance)."""
        words = [VERSION, self._family.code, SPLITS.index(split), index, self.seed]
        return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0])

    def plan(self, split: Split, index: int) -> ClipPlan:
        """All numbers of one clip.

        Raises:
            InvalidArgumentError: no such split, or a negative index. An index beyond ``count`` is a further clip.
        """
        _choice("split", split, SPLITS)
        _whole("index", index, 0, 2**32 - 1)
        return plan_clip(
            self._family,
            self.labels[self.label_id(index)],
            self.clip_seed(split, index),
            size=self.size,
            frames=self.frames,
            nuisances=self.nuisances,
            codecs=self.codecs,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class MotionClip:
    """One clip in memory: uint8 RGB [T, size, size, 3], as drawn (before any codec), and its row of labels."""

    frames_THW3: NDArray[np.uint8]
    row: Mapping[str, Any]


def suite_clips(config: MotionSuite, split: Split) -> Iterator[MotionClip]:
    """Clips of a split in memory, one after the other."""
    for index in range(config.count(split)):
        plan = config.plan(split, index)
        yield MotionClip(frames_THW3=np.stack(list(Scene(plan).frames())), row=_row(config, split, index, plan))


def make_suite(folder: str | Path, config: MotionSuite | None = None, *, workers: int = 1, quiet: bool = True) -> Path:
    """Write all clips as ``folder/<split>/<label>/<id>.<suffix>`` with their labels.

    Beside them: ``labels.jsonl``, a row for each clip (id, file, label, label_id, split, family, seed, frames, fps,
    codec, quality, gop, nuisances); ``train.csv``, ``val.csv``, ``test.csv`` with rows ``file,label_id``;
    ``suite.json`` with the configuration, the class names and the version of the generator. They are written last.

    Args:
        folder: is made; must be empty. workers: processes, 1 or more; the files do not depend on it. A script that asks
            for more than one must do so under ``if __name__ == "__main__":``, as ever where processes are spawned.
    Returns:
        Path of ``labels.jsonl``.
    Raises:
        InvalidArgumentError, WriteError, UnsupportedCodecError.
    """
    config, folder = config or MotionSuite(), Path(folder)
    _whole("workers", workers, 1, 4096)
    todo: list[tuple[Split, int]] = [(split, index) for split in SPLITS for index in range(config.count(split))]
    if not todo:
        raise InvalidArgumentError("clips_per_class", config.clips_per_class, "at least one clip")
    _make_folders(folder, config)
    make = partial(_make_clip, folder, config)
    rows: list[dict[str, Any]] = []
    with tqdm(total=len(todo), desc="motion suite", unit="clip", disable=True if quiet else None) as progress:
        for row in _mapped(make, todo, workers):
            rows.append(row)
            progress.update()
    labels = folder / "labels.jsonl"
    _write_text(labels, "".join(json.dumps(row) + "\n" for row in rows))
    for split in SPLITS:
        chosen = (row for row in rows if row["split"] == split)
        _write_text(folder / f"{split}.csv", "".join(f"{row['file']},{row['label_id']}\n" for row in chosen))
    about = {"version": VERSION, "config": asdict(config), "labels": config.labels, "clips": len(rows)}
    _write_text(folder / "suite.json", json.dumps(about, indent=2) + "\n")
    return labels


def _mapped(make: Any, todo: list[tuple[Split, int]], workers: int) -> Iterator[dict[str, Any]]:
    if workers == 1:
        yield from map(make, todo)
        return
    # Fresh processes: a fork would copy threads' locks in whatever state they are.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(make, todo, chunksize=max(1, min(8, len(todo) // (4 * workers))))


def _make_clip(folder: Path, config: MotionSuite, which: tuple[Split, int]) -> dict[str, Any]:
    split, index = which
    plan = config.plan(split, index)
    row = _row(config, split, index, plan)
    write_clip(folder / row["file"], Scene(plan).frames(), config.size, plan.coding)
    return row


def _row(config: MotionSuite, split: Split, index: int, plan: ClipPlan) -> dict[str, Any]:
    name = f"{split}_{index:05d}"
    return {
        "id": f"{config.family}_{config.seed}_{name}",
        "file": f"{split}/{plan.label}/{name}{plan.coding.suffix}",
        "label": plan.label,
        "label_id": config.label_id(index),
        "split": split,
        "family": config.family,
        "seed": plan.seed,
        "frames": plan.frames,
        **asdict(plan.coding),
        "actor": ("large", "small")[plan.actor],
        "nuisances": plan.nuisances,
    }


def _make_folders(folder: Path, config: MotionSuite) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise WriteError(folder, "the folder is not empty")
        for split in SPLITS:
            for label in config.labels if config.count(split) else ():
                (folder / split / label).mkdir(parents=True)
    except OSError as error:
        raise WriteError(folder, str(error)) from error


def _write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        raise WriteError(path, str(error)) from error


def _choice(name: str, value: object, choices: tuple[Any, ...]) -> None:
    if value not in choices:
        raise InvalidArgumentError(name, value, f"one of {', '.join(choices)}")


def _whole(name: str, value: object, lowest: int, highest: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise InvalidArgumentError(name, value, f"an integer from {lowest} to {highest}")
