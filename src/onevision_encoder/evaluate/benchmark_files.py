"""Annotation files of known benchmarks, as their authors publish them.

Each reader looks for the annotation files anywhere below the folder and finds the videos by name, wherever they lie.
A video that is not there stays in, under the path where it was looked for, so that it is reported by name.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from onevision_encoder.errors import InvalidArgumentError, MediaNotFoundError
from onevision_encoder.evaluate.datasets import Reading, Split
from onevision_encoder.video.suffixes import is_video_name


def find_file(root: Path, *patterns: str) -> Path:
    """The file below ``root`` that matches the first pattern that any matches; the shortest path, then by name.

    Raises:
        MediaNotFoundError: there is none.
    """
    for pattern in patterns:
        found = sorted(root.rglob(pattern), key=lambda p: (len(p.parts), str(p)))
        if found:
            return found[0]
    raise MediaNotFoundError(root, f"no annotation file {' or '.join(patterns)} in it")


class Videos:
    """Where videos lie, by the name of the file without suffix (or of the folder of frames)."""

    def __init__(self, root: Path, *, frame_folders: bool = False) -> None:
        entries = sorted(root.rglob("*"))
        if frame_folders:
            self.where = {p.name: p for p in entries if p.is_dir()}
        else:
            self.where = {p.stem: p for p in entries if is_video_name(p)}
        self.root = root

    def __call__(self, *stems: str, otherwise: str) -> Path:
        """The file of the first stem that is there, else the place where it was looked for."""
        return next((self.where[stem] for stem in stems if stem in self.where), self.root / otherwise)


def ssv2(root: Path) -> Reading:
    """labels.json {template: number}; train/validation.json [{id, template}], with brackets around [something]."""
    prefix = "something-something-v2-"
    numbers = _json(find_file(root, "labels.json", f"{prefix}labels.json"))
    reading = Reading(root=root, classes=tuple(sorted(numbers, key=lambda name: int(numbers[name]))))
    videos = Videos(root)
    for split, name in _splits(("train", "train"), ("test", "validation")):
        for row in _json(find_file(root, f"{name}.json", f"{prefix}{name}.json")):
            label = re.sub(r"[\[\]]", "", str(row.get("template", "")))
            reading.add(str(row["id"]), videos(str(row["id"]), otherwise=f"{row['id']}.webm"), (label,), split)
    return reading


def diving48(root: Path) -> Reading:
    """Diving48_V2_train/test.json [{vid_name, label}], Diving48_vocab.json [48 dives of four parts]."""
    vocabulary = _json(find_file(root, "Diving48_vocab.json"))
    reading = Reading(root=root, classes=tuple("-".join(d) if isinstance(d, list) else str(d) for d in vocabulary))
    videos = Videos(root)
    for split, name in _splits(("train", "train"), ("test", "test")):
        for row in _json(find_file(root, f"Diving48_V2_{name}.json", f"Diving48_{name}.json")):
            stem = str(row["vid_name"])
            reading.add(stem, videos(stem, otherwise=f"rgb/{stem}.mp4"), (row["label"],), split)
    return reading


def perception(root: Path) -> Reading:
    """{video_id: {metadata {frame_rate}, action_localisation [{id, label, label_id, frame_ids [start, end]}]}}.

    Seconds come from frame numbers and the frame rate. A segment is an example.
    """
    tables = [(split, _json(find_file(root, f"*{name}*.json"))) for split, name in _splits(("train", "train"), TEST)]
    segments = [
        (split, video, facts["metadata"], action)
        for split, table in tables
        for video, facts in table.items()
        for action in facts.get("action_localisation", [])
    ]
    names = {int(action["label_id"]): str(action["label"]) for _, _, _, action in segments}
    classes = tuple(names.get(i, f"class {i}") for i in range(max(names, default=-1) + 1))
    reading, videos = Reading(root=root, classes=classes), Videos(root)
    for split, video, metadata, action in segments:
        start, stop = (int(frame) / float(metadata["frame_rate"]) for frame in action["frame_ids"])
        path = videos(video, otherwise=f"videos/{video}.mp4")
        reading.add(f"{video}#{action['id']}", path, (int(action["label_id"]),), split, window=(start, stop))
    return reading


TEST = ("test", "valid")


def epic(root: Path, what: str) -> Reading:
    """EPIC_100_train/validation.csv with narration_id, video_id, start/stop_timestamp, verb_class, noun_class."""
    rows = _csv(find_file(root, f"EPIC_100_{what}_classes.csv", f"EPIC_100_{what}_classes_v2.csv"))
    names = {int(row["id"]): row["key"] for row in rows}
    reading = Reading(root=root, classes=tuple(names.get(i, f"class {i}") for i in range(max(names) + 1)))
    videos = Videos(root)
    for split, name in _splits(("train", "train"), ("test", "validation")):
        for row in _csv(find_file(root, f"EPIC_100_{name}.csv")):
            clip, video = row["narration_id"], row["video_id"]
            path = videos(clip, video, otherwise=f"{row.get('participant_id', video[:3])}/videos/{video}.MP4")
            cut = path.stem == clip  # the user has cut the video into its actions
            window = (None, None) if cut else (_clock(row["start_timestamp"]), _clock(row["stop_timestamp"]))
            reading.add(clip, path, (int(row[f"{what}_class"]),), split, window=window)
    return reading


def kinetics(root: Path) -> Reading:
    """train.csv, val.csv (or validate.csv) with label, youtube_id, time_start, time_end, split."""
    tables = [
        ("train", _csv(find_file(root, "train.csv", "kinetics*train.csv"))),
        ("test", _csv(find_file(root, "val.csv", "validate.csv", "validation.csv", "kinetics*val*.csv"))),
    ]
    reading = Reading(root=root, classes=tuple(sorted({r["label"] for _, rows in tables for r in rows if r["label"]})))
    videos = Videos(root)
    for split, rows in tables:
        for row in rows:
            name = row["youtube_id"]
            full = f"{name}_{int(float(row['time_start'])):06d}_{int(float(row['time_end'])):06d}"
            path = videos(full, name, otherwise=f"{split}/{row['label']}/{full}.mp4")
            reading.add(full, path, (row["label"],), "train" if split == "train" else "test")
    return reading


def hmdb51(root: Path) -> Reading:
    """CLASS_test_split1.txt with ``NAME.avi 1`` (train), 2 (test), 0 (neither)."""
    find_file(root, "*_test_split1.txt")
    tables = sorted(root.rglob("*_test_split1.txt"))
    names = [table.name.removesuffix("_test_split1.txt") for table in tables]
    reading, videos = Reading(root=root, classes=tuple(sorted(set(names)))), Videos(root)
    for table, name in zip(tables, names, strict=True):
        for file, kind in (line.rsplit(maxsplit=1) for line in _lines(table)):
            split: Split | None = {"1": "train", "2": "test"}.get(kind)  # type: ignore[assignment]
            if split is not None:
                stem = file.rsplit(".", 1)[0]
                reading.add(f"{name}/{stem}", videos(stem, otherwise=f"{name}/{file}"), (name,), split)
    return reading


def charades(root: Path) -> Reading:
    """CharadesEgo_v1_train/test.csv, columns id and actions (``c092 11.90 21.20;c147 0.00 12.60``); ``c000 words``."""
    lines = [line.split(maxsplit=1) for line in _lines(find_file(root, "Charades_v1_classes.txt"))]
    codes = {code: i for i, (code, _) in enumerate(lines)}
    reading = Reading(root=root, classes=tuple(words for _, words in lines), multi_label=True)
    videos = Videos(root)
    for split, name in _splits(("train", "train"), ("test", "test")):
        for row in _csv(find_file(root, f"CharadesEgo_v1_{name}.csv")):
            found = [action.split()[0] for action in (row["actions"] or "").split(";") if action.strip()]
            labels = tuple(codes.get(code, code) for code in found)
            reading.add(row["id"], videos(row["id"], otherwise=f"{row['id']}.mp4"), labels, split)
    return reading


def ucf101(root: Path) -> Reading:
    """classInd.txt ``1 Name``; trainlist01.txt ``Name/file.avi 1``; testlist01.txt ``Name/file.avi``."""
    classes = tuple(line.split()[1] for line in _lines(find_file(root, "classInd.txt")))
    reading, videos = Reading(root=root, classes=classes), Videos(root)
    for split, name in _splits(("train", "train"), ("test", "test")):
        for line in _lines(find_file(root, f"{name}list01.txt")):
            file = line.split()[0]
            label, stem = file.split("/")[0], Path(file).stem
            reading.add(stem, videos(stem, otherwise=file), (label,), split)
    return reading


def jester(root: Path) -> Reading:
    """jester-v1-labels.csv, one name a line; jester-v1-train/validation.csv ``ID;name``; a folder of frames an ID."""
    classes = tuple(_lines(find_file(root, "jester-v1-labels.csv")))
    reading, videos = Reading(root=root, classes=classes), Videos(root, frame_folders=True)
    for split, name in _splits(("train", "train"), ("test", "validation")):
        for line in _lines(find_file(root, f"jester-v1-{name}.csv")):
            clip, _, label = line.partition(";")
            reading.add(clip, videos(clip, otherwise=clip), (label,), split)
    return reading


READERS: Mapping[str, Callable[[Path], Reading]] = MappingProxyType(
    {
        "ssv2": ssv2,
        "diving48": diving48,
        "perception": perception,
        "epic_verb": lambda root: epic(root, "verb"),
        "epic_noun": lambda root: epic(root, "noun"),
        "kinetics": kinetics,
        "hmdb51": hmdb51,
        "charades": charades,
        "ucf101": ucf101,
        "jester": jester,
    }
)


def _splits(*pairs: tuple[str, str]) -> Iterator[tuple[Split, str]]:
    for split, name in pairs:
        yield ("train" if split == "train" else "test"), name


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InvalidArgumentError("annotations", str(path), f"a JSON file ({error})") from error


def _csv(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _clock(text: str) -> float:
    """``HH:MM:SS.ss`` in seconds."""
    hours, minutes, seconds = text.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
