"""Who trains, who selects, who tests: parts of a data set that share no video, and a test set that opens once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from onevision_encoder.errors import InvalidArgumentError, MediaError, OneVisionError
from onevision_encoder.evaluate.datasets import DataSet, Example
from onevision_encoder.video import probe


class TestSetError(OneVisionError):
    """The test set was looked at a second time in one run: what is reported would have been selected on it."""

    __test__ = False  # pytest looks for classes of this name


@dataclass
class TestSet:
    """Examples that may be seen once, when everything has been chosen."""

    __test__ = False

    examples: tuple[Example, ...]
    looks: int = 0
    _names: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        self._names = frozenset(e.id for e in self.examples)

    def __len__(self) -> int:
        return len(self.examples)

    def look(self) -> tuple[Example, ...]:
        """The examples.

        Raises:
            TestSetError: the second time.
        """
        if self.looks:
            raise TestSetError(f"the test set of {len(self)} examples was looked at before in this run")
        self.looks += 1
        return self.examples


@dataclass(frozen=True, kw_only=True, eq=False)
class Fold:
    """Examples to train on, those the data set itself keeps for selection, and the test set."""

    train: tuple[Example, ...]
    val: tuple[Example, ...]
    test: TestSet


def make_folds(data: DataSet, folds: int, views: int, seed: int) -> list[Fold]:
    """The published split (``folds`` 0), or a stratified partition of everything there is into ``folds`` test sets.

    A video is in one fold with all its stretches. ``views`` cuts each stretch into that many of equal length.

    Raises:
        InvalidArgumentError: no test split and no folds, or fewer videos than folds.
    """
    if views < 1:
        raise InvalidArgumentError("views", views, "at least 1")
    if folds == 0:
        train, val, test = (tuple(views_of(data.of(name), views)) for name in ("train", "val", "test"))
        if not train or not test:
            allowed = f"a data set with train and test splits (it has {data.counts()}), or folds of 2 or more"
            raise InvalidArgumentError("data", data.name, allowed)
        return [Fold(train=train, val=val, test=TestSet(test))]
    fold_of = _deal(data.examples, folds, np.random.default_rng(seed))
    examples = views_of(sorted(data.examples, key=lambda e: e.id), views)
    return [
        Fold(
            train=tuple(e for e in examples if fold_of[e.video] != fold),
            val=(),
            test=TestSet(tuple(e for e in examples if fold_of[e.video] == fold)),
        )
        for fold in range(folds)
    ]


def _deal(examples: Sequence[Example], folds: int, generator: np.random.Generator) -> dict[str, int]:
    """video -> fold: the shuffled videos of each class dealt in turn, going on where the class before stopped."""
    by_class = _videos_by_class(examples)
    total = sum(map(len, by_class))
    if folds < 2 or total < folds:
        raise InvalidArgumentError("folds", folds, f"0, or 2 to the number of videos ({total})")
    out: dict[str, int] = {}
    for videos in by_class:
        for i in generator.permutation(len(videos)):
            out[videos[i]] = len(out) % folds
    return out


def hold_out(train: Sequence[Example], share: float, seed: int) -> tuple[list[Example], list[Example]]:
    """(rest, held out): of each class, ``share`` of its videos, at least one where it has two; seeded.

    A video of several classes counts as one of the first.

    Raises:
        InvalidArgumentError: the share is not above 0 and below 1, or no class has two videos.
    """
    if not 0 < share < 1:
        raise InvalidArgumentError("val_share", share, "above 0 and below 1")
    generator = np.random.default_rng([seed, 1])
    held: set[str] = set()
    for videos in _videos_by_class(train):
        count = min(len(videos) - 1, max(1, round(share * len(videos))))
        held |= {videos[i] for i in generator.permutation(len(videos))[:count]}
    if not held:
        raise InvalidArgumentError("train", f"{len(train)} examples", "a class with two videos, to select on one")
    return [e for e in train if e.video not in held], [e for e in train if e.video in held]


def _videos_by_class(examples: Sequence[Example]) -> list[list[str]]:
    """Videos of each class in turn, sorted; a video with stretches of several classes is in the first only."""
    first: dict[str, int] = {}
    for e in examples:
        label = min(e.classes, default=-1)
        first[e.video] = min(label, first.get(e.video, label))
    groups: dict[int, list[str]] = defaultdict(list)
    for video in sorted(first):
        groups[first[video]].append(video)
    return [groups[label] for label in sorted(groups)]


def views_of(examples: Sequence[Example], views: int) -> list[Example]:
    """Each example cut into ``views`` stretches of equal length, which stay one video.

    A file whose length cannot be told stays whole; reading it will say why.
    """
    if views == 1:
        return list(examples)
    out: list[Example] = []
    for e in examples:
        start = e.start_seconds or 0.0
        end = e.end_seconds if e.end_seconds is not None else _duration(e)
        if end is None:
            out.append(e)
            continue
        edges = np.linspace(start, end, views + 1).tolist()
        out += [
            replace(e, id=f"{e.id}@{i}", start_seconds=start, end_seconds=end)
            for i, (start, end) in enumerate(pairwise(edges))
        ]
    return out


def _duration(e: Example) -> float | None:
    try:
        return probe(e.path).source.duration_seconds
    except MediaError:
        return None
