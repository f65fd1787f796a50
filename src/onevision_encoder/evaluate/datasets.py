"""Labelled videos as they lie on disk: what there is, which split it is in, and what is wrong with it.

A registry names the benchmarks (how many classes, which metric, how many epochs of a probe, how their annotation files
look); any other folder is read as a folder of classes, CSV files or ``labels.jsonl``. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

from onevision_encoder.errors import InvalidArgumentError, MediaNotFoundError

Split = Literal["train", "val", "test", "none"]
ProblemKind = Literal["missing file", "wrong label", "in two splits", "same content in two splits", "same id"]


@dataclass(frozen=True, kw_only=True)
class Example:
    """A stretch of a video with its classes.

    Attributes:
        id: unique in the data set. video: what several examples are views of; their logits are averaged.
        path: the file, or a folder of frames. classes: rows of the class list; one, unless the set is multi-label.
        split: ``val`` is a part of training that the data set itself keeps apart; ``none``: the set has no splits.
        start_seconds, end_seconds: bounds of the stretch; None = of the file.
    """

    id: str
    video: str
    path: Path
    classes: tuple[int, ...]
    split: Split
    start_seconds: float | None = None
    end_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something wrong with the data set, by name."""

    kind: ProblemKind
    id: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """Examples with usable labels, and the problems that were met while reading the annotations."""

    name: str
    root: Path
    classes: tuple[str, ...]
    examples: tuple[Example, ...]
    multi_label: bool = False
    epochs: int = 10
    batch_size: int = 32
    problems: tuple[Problem, ...] = ()

    def of(self, *splits: Split) -> list[Example]:
        """Examples of these splits, sorted by id."""
        return sorted((e for e in self.examples if e.split in splits), key=lambda e: e.id)

    def counts(self) -> dict[str, int]:
        """Examples of each split that has any."""
        return {split: n for split in get_args(Split) if (n := len(self.of(split)))}


@dataclass
class Reading:
    """What a reader of annotations has gathered so far."""

    root: Path
    classes: tuple[str, ...]
    multi_label: bool = False
    examples: list[Example] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def add(
        self,
        id: str,
        path: Path,
        labels: tuple[object, ...],
        split: Split,
        *,
        video: str | None = None,
        window: tuple[float | None, float | None] = (None, None),
    ) -> None:
        """Take an example, or note that a label is none of the classes (the example then stays out)."""
        known = {name: i for i, name in enumerate(self.classes)}
        rows = [label if type(label) is int else known.get(str(label), -1) for label in labels]
        bad = [label for label, row in zip(labels, rows, strict=True) if not 0 <= row < len(self.classes)]
        if bad or (not rows and not self.multi_label):
            detail = f"{bad!r} is no class of 0 to {len(self.classes) - 1}" if bad else "no label"
            self.problems.append(Problem(kind="wrong label", id=id, detail=detail))
            return
        self.examples.append(
            Example(
                id=id,
                video=video or id,
                path=path,
                classes=tuple(sorted(set(rows))),
                split=split,
                start_seconds=window[0],
                end_seconds=window[1],
            )
        )


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A known data set.

    Attributes:
        num_classes: what a complete copy has. metric: the one to report first. epochs, batch_size: of the paper's probe
            (all GPUs together).
        layout: files it is read from, in words. reader: name of a function of ``benchmark_files``.
    """

    name: str
    num_classes: int
    metric: str
    epochs: int
    batch_size: int
    layout: str
    reader: str
    multi_label: bool = False


_EPIC = "EPIC_100_{train,validation}.csv, EPIC_100_{verb,noun}_classes.csv; P01/videos/P01_01.MP4 or cut clips"
_ROWS = (
    # name, classes, metric, epochs, batch, reader, layout
    ("ssv2", 174, "top1", 10, 32, "ssv2", "labels.json, train.json, validation.json; ID.webm"),
    ("diving48", 48, "top1", 30, 32, "diving48", "Diving48_V2_{train,test}.json, Diving48_vocab.json; NAME.mp4"),
    ("perception_test", 63, "top1", 30, 32, "perception", "*train*.json, *valid*.json of actions; video_N.mp4"),
    ("epic_verb", 97, "top1", 10, 128, "epic_verb", _EPIC),
    ("epic_noun", 300, "top1", 10, 128, "epic_noun", _EPIC),
    ("k400", 400, "top1", 10, 128, "kinetics", "train.csv, val.csv (label, youtube_id, time_start, time_end)"),
    ("hmdb51", 51, "top1", 30, 16, "hmdb51", "CLASS_test_split1.txt (NAME.avi 0|1|2); NAME.avi"),
    ("charades_ego", 157, "map", 10, 128, "charades", "CharadesEgo_v1_{train,test}.csv, Charades_v1_classes.txt"),
    ("ucf101", 101, "top1", 10, 128, "ucf101", "classInd.txt, trainlist01.txt, testlist01.txt; NAME.avi"),
    ("jester", 27, "top1", 10, 128, "jester", "jester-v1-{labels,train,validation}.csv; folders of frames ID/"),
)

BENCHMARKS: Mapping[str, Benchmark] = MappingProxyType(
    {
        name: Benchmark(
            name=name,
            num_classes=classes,
            metric=metric,
            epochs=epochs,
            batch_size=batch,
            reader=reader,
            layout=layout,
            multi_label=metric == "map",
        )
        for name, classes, metric, epochs, batch, reader, layout in _ROWS
    }
)
"""Name -> benchmark. Where the test labels are not public, the published validation split is the test split."""


def load_dataset(root: Path, benchmark: str | None = None) -> DataSet:
    """Read what lies in a folder.

    Args:
        benchmark: a key of :data:`BENCHMARKS`; None = tell by its files: ``labels.jsonl``; ``labels.csv`` or
            ``train.csv`` and ``test.csv``; else a folder of classes, with or without train / val / test above them.
    Raises:
        MediaNotFoundError: no such folder, or an annotation file is not there.
        InvalidArgumentError: unknown benchmark, annotation files that cannot be read, no usable example.
    """
    from onevision_encoder.evaluate import benchmark_files, plain_files

    root = Path(root)
    if not root.is_dir():
        raise MediaNotFoundError(root, "no such folder of labelled videos")
    epochs, batch_size = 10, 32
    name = root.resolve().name
    if benchmark is None:
        reading = plain_files.read(root)
    else:
        known = BENCHMARKS.get(benchmark)
        if known is None:
            raise InvalidArgumentError("benchmark", benchmark, f"one of {', '.join(BENCHMARKS)}")
        reader: Callable[[Path], Reading] = benchmark_files.READERS[known.reader]
        reading, name = reader(root), benchmark
        epochs, batch_size = known.epochs, known.batch_size
        reading.multi_label = known.multi_label
    if not reading.examples:
        said = f" ({len(reading.problems)} problems, the first: {reading.problems[0]})" if reading.problems else ""
        raise InvalidArgumentError("data", str(root), f"a folder with labelled videos; none was found{said}")
    if not reading.multi_label:
        _one_class_a_video(reading)
    return DataSet(
        name=name,
        root=root,
        classes=reading.classes,
        examples=tuple(sorted(reading.examples, key=lambda e: e.id)),
        multi_label=reading.multi_label,
        epochs=epochs,
        batch_size=batch_size,
        problems=tuple(reading.problems),
    )


def _one_class_a_video(reading: Reading) -> None:
    """Views of one video that are not of one class are left out, and noted."""
    classes: dict[str, set[tuple[int, ...]]] = {}
    for e in reading.examples:
        classes.setdefault(e.video, set()).add(e.classes)
    torn = {video for video, found in classes.items() if len(found) > 1 or len(next(iter(found))) > 1}
    for e in reading.examples:
        if e.video in torn:
            detail = f"video {e.video} is of several classes, in a set of one class a video"
            reading.problems.append(Problem(kind="wrong label", id=e.id, detail=detail))
    reading.examples = [e for e in reading.examples if e.video not in torn]
