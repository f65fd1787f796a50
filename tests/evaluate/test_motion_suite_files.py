"""Files of the motion suite: what is written, that it is the same every time, and what a codec sees in it.

Axes: N clips, T frames, y x cells of 8 x 8 pixels, H W pixels, 3 = RGB.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from one_frame import Z_999, accuracies, chance_interval, kernel_ridge, ridge

from onevision_encoder.codec import read_with_signals
from onevision_encoder.errors import InvalidArgumentError, UnsupportedCodecError, WriteError
from onevision_encoder.evaluate import MotionSuite, make_suite, motion_codecs, suite_clips
from onevision_encoder.evaluate.motion_codecs import Coding, write_clip
from onevision_encoder.evaluate.motion_families import FAMILIES
from onevision_encoder.evaluate.motion_objects import Blob
from onevision_encoder.evaluate.motion_scene import Scene

SMALL = MotionSuite(size=56, frames=(32, 36), clips_per_class=(1, 0, 1))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_suite(tmp_path_factory.mktemp("suite") / "new", SMALL).parent


def read_rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines()]


def decoded(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_a_suite_is_a_folder_of_classes_with_labels(made: Path) -> None:
    rows = read_rows(made)
    assert len(rows) == SMALL.count("train") + SMALL.count("test") == 40
    assert len({row["id"] for row in rows}) == len({row["file"] for row in rows}) == 40
    on_disk = {p.relative_to(made).as_posix() for p in made.rglob("*") if p.is_file()}
    assert {row["file"] for row in rows} == {f for f in on_disk if "/" in f}
    for row in rows:
        assert row["file"].split("/")[:2] == [row["split"], row["label"]]
        assert row["label"] == SMALL.labels[row["label_id"]]
    with (made / "test.csv").open(newline="") as text:
        listed = [(file, int(label)) for file, label in csv.reader(text)]
    assert listed == [(row["file"], row["label_id"]) for row in rows if row["split"] == "test"]
    assert (made / "val.csv").read_text() == ""
    about = json.loads((made / "suite.json").read_text())
    assert about["labels"] == list(SMALL.labels)
    assert about["config"] == json.loads(json.dumps(asdict(SMALL)))
    assert about["config"]["final"] is False


def test_files_are_of_the_codec_length_and_rate_that_they_say(made: Path) -> None:
    names = {"h264": "h264", "mpeg4": "mpeg4", "vp9": "vp9", "hevc": "hevc"}
    seen = set()
    for row in read_rows(made)[:24]:
        with av.open(str(made / row["file"])) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name.removeprefix("lib"), stream.width) == (names[row["codec"]], 56)
            assert float(stream.average_rate or 0) == pytest.approx(row["fps"], rel=0.01)
            assert sum(1 for _ in container.decode(stream)) == row["frames"]
        seen.add(row["codec"])
    assert seen == set(names)


def test_a_file_shows_the_frames_that_were_drawn(made: Path) -> None:
    """In order, each nearest to its own drawing among its neighbours, and not far from it."""
    row = next(r for r in read_rows(made) if r["label"].endswith("right_fast") and r["split"] == "train")
    drawn = next(c for c in suite_clips(SMALL, "train") if c.row["file"] == row["file"])
    assert drawn.row == row
    frames = np.stack(decoded(made / row["file"])).astype(np.float64)
    error = np.abs(frames[5:20, None] - drawn.frames_THW3[None, 5:20]).mean((2, 3, 4))
    assert (error.argmin(1) == np.arange(15)).all()
    assert np.diag(error).max() < 12


def test_the_same_seed_gives_the_same_files_with_any_number_of_workers(made: Path, tmp_path: Path) -> None:
    again = make_suite(tmp_path / "again", replace(SMALL, clips_per_class=(0, 0, 1)), workers=2).parent
    rows = [row for row in read_rows(made) if row["split"] == "test"]
    assert read_rows(again) == rows
    assert (again / "test.csv").read_bytes() == (made / "test.csv").read_bytes()
    for row in rows:
        first, second = ((folder / row["file"]).read_bytes() for folder in (made, again))
        assert hashlib.sha256(first).digest() == hashlib.sha256(second).digest(), row["file"]


def test_a_clip_does_not_depend_on_how_many_are_made_and_another_seed_is_another_clip() -> None:
    more = replace(SMALL, clips_per_class=(7, 3, 2))
    for index in (0, 13, 39):
        one, two = SMALL.plan("test", index), more.plan("test", index)
        assert (one.seed, one.label, one.coding) == (two.seed, two.label, two.coding)
        assert np.array_equal(Scene(one).frame(9), Scene(two).frame(9))
    first, other = (Scene(replace(SMALL, seed=s).plan("test", 0)).frame(3) for s in (0, 1))
    assert np.abs(first.astype(int) - other).mean() > 5


PINNED = {
    "development": [
        [141.8, 141.8, 159.1, 164.7],
        [118.8, 111.8, 109.4, 116.2],
        [125.1, 98.2, 95.0, 100.2],
        [86.3, 71.5, 81.3, 74.8],
    ],
    "held_out": [
        [106.6, 104.5, 101.6, 117.3],
        [97.4, 114.8, 107.1, 111.9],
        [98.8, 91.3, 101.9, 101.7],
        [129.9, 133.9, 128.5, 127.9],
    ],
}


@pytest.mark.parametrize("family", ["development", "held_out"])
def test_drawn_pixels_are_pinned(family: Any) -> None:
    """Grey levels of the four quarters of a frame, to one: a change of the generator must change VERSION."""
    config = MotionSuite(family=family, final=True, size=56)
    expected = PINNED[family]
    for index, row in enumerate(expected):
        picture = Scene(config.plan("val", index)).frame(20).astype(np.float64).mean(-1)
        assert picture.reshape(2, 28, 2, 28).mean((1, 3)).ravel() == pytest.approx(row, abs=1.0)


def test_splits_seeds_and_families_share_nothing() -> None:
    held_out = MotionSuite(family="held_out", final=True, size=56)
    suites = [MotionSuite(size=56), MotionSuite(size=56, seed=1), held_out, replace(held_out, seed=1)]
    seeds = [s.clip_seed(split, i) for s in suites for split in ("train", "val", "test") for i in range(700)]
    assert len(set(seeds)) == len(seeds)
    prints = []
    for config in suites:
        for split in ("train", "val", "test"):
            for index in range(2):
                scene = Scene(config.plan(split, index))  # type: ignore[arg-type]
                things = [o for s in scene._things_SO for o in s]
                parts = scene._backgrounds_S + [o.rgba_NN4 if isinstance(o, Blob) else o.pattern_HW3 for o in things]
                prints += [hashlib.sha256(np.ascontiguousarray(p).tobytes()).digest() for p in parts]
    assert len(set(prints)) == len(prints) >= 24 * 3


def test_switching_a_nuisance_off_leaves_the_rest_alone() -> None:
    full, quiet = MotionSuite(size=56), MotionSuite(size=56, nuisances=("pan", "shake"))
    index = next(i for i in range(60) if (p := full.plan("train", i)).sigma and p.cut and p.pan_2 != (0.0, 0.0))
    one, two = full.plan("train", index), quiet.plan("train", index)
    assert (two.sigma, two.cut) == (0, None)
    assert np.array_equal(one.camera_T2, two.camera_T2)
    assert np.array_equal(one.path.shift_T2, two.path.shift_T2)
    bare = MotionSuite(size=56, nuisances=()).plan("train", index)
    assert not bare.camera_T2.any()
    grain = Scene(one).frame(2).astype(float) - Scene(two).frame(2)
    assert np.std(grain) == pytest.approx(one.sigma, rel=0.15)


def test_the_held_out_family_must_be_asked_for_as_final(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="final"):
        MotionSuite(family="held_out")
    config = MotionSuite(family="held_out", final=True, size=56, frames=(32, 32), clips_per_class=(0, 0, 1))
    folder = make_suite(tmp_path, config).parent
    assert json.loads((folder / "suite.json").read_text())["config"]["final"] is True
    assert {row["family"] for row in read_rows(folder)} == {"held_out"}
    assert not set(FAMILIES["development"].labels[:8]) & set(config.labels)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("family", "production"),
        ("size", 57),
        ("size", 54),
        ("frames", (31, 40)),
        ("frames", (64, 32)),
        ("clips_per_class", (1, 2)),
        ("clips_per_class", (1, -1, 0)),
        ("nuisances", ("rain",)),
        ("nuisances", ("cut", "cut")),
        ("codecs", ()),
        ("codecs", ("theora",)),
        ("seed", -1),
    ],
)
def test_bad_values_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(InvalidArgumentError, match=name):
        MotionSuite(**{name: value})  # type: ignore[arg-type]


def test_a_folder_in_use_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(WriteError, match="not empty"):
        make_suite(tmp_path, SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(WriteError):
        make_suite(tmp_path / "mine.txt", SMALL)
    with pytest.raises(InvalidArgumentError, match="clips_per_class"):
        make_suite(tmp_path / "none", replace(SMALL, clips_per_class=(0, 0, 0)))


def moving(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Of each frame: places (y, x) [n, 2] and motion [n, 2] (y, x) of cells that do not move with the camera, and bits
    spent on the frame, as the block coder finds them in the decoded file."""
    _, signals = read_with_signals(path)
    assert signals.bits_Tyx is not None
    for motion, intra, bits, cut in zip(
        signals.motion_Tyx2, signals.intra_Tyx, signals.bits_Tyx, signals.cut_T, strict=True
    ):
        known = ~intra & (not cut)
        relative = motion[..., ::-1] - (np.median(motion[known], axis=0)[::-1] if known.any() else 0)
        mine = known & (np.hypot(*np.moveaxis(relative, -1, 0)) >= 0.75)
        yield np.argwhere(mine), relative[mine], float(bits.sum())


def motion_features(path: Path) -> np.ndarray:
    """Net motion, curl, spread, a histogram of motion and activity over time: no training, no appearance."""
    histogram, net, curl, spread, count = np.zeros((7, 7)), np.zeros(2), 0.0, 0.0, []
    for at, motion, _ in moving(path):
        count.append(len(at))
        if len(at) < 2:
            continue
        bins = np.clip(np.rint(motion), -3, 3).astype(int) + 3
        np.add.at(histogram, (bins[:, 0], bins[:, 1]), 1)
        arm, swing = at - at.mean(0), motion - motion.mean(0)
        net += motion.mean(0)
        curl += float((arm[:, 1] * swing[:, 0] - arm[:, 0] * swing[:, 1]).mean())
        spread += float((arm * swing).sum(1).mean())
    activity = np.array([np.mean(part) for part in np.array_split(np.array(count), 10)])
    order = np.sort(activity)
    signed = [np.sign(v) * np.sqrt(abs(v)) for v in (*net, curl, spread)]
    return np.concatenate([np.sqrt(histogram.ravel()), np.sqrt(activity), np.sqrt(order), signed])


def test_a_block_coder_sees_the_class_in_the_file(tmp_path: Path) -> None:
    """Without training: the mean motion of what moves points where the label says, in files of every codec."""
    config = MotionSuite(nuisances=(), frames=(32, 32))
    way = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
    right = 0
    for index in range(8):
        plan = config.plan("train", index)
        path = tmp_path / f"{index}{plan.coding.suffix}"
        write_clip(path, Scene(plan).frames(), config.size, plan.coding)
        net = np.sum([motion.sum(0) for _, motion, _ in moving(path)], axis=0)
        best = max(way, key=lambda w: float(net @ way[w]))
        right += best == plan.label.split("_")[1]
    assert right >= 7  # of 8; chance is 2


def test_coding_settings_reach_the_encoder(tmp_path: Path) -> None:
    """A worse quality makes a smaller file, and key frames come as often as asked."""
    frames = [Scene(MotionSuite(size=56).plan("train", 3)).frame(t) for t in range(30)]
    for codec, (best, worst) in {"h264": (18, 40), "mpeg4": (2, 20), "vp9": (15, 55), "hevc": (18, 40)}.items():
        sizes = []
        for quality in (best, worst):
            coding = Coding(codec=codec, quality=quality, gop=12, fps=25)  # type: ignore[arg-type]
            path = tmp_path / f"{codec}{quality}{coding.suffix}"
            write_clip(path, frames, 56, coding)
            sizes.append(path.stat().st_size)
            with av.open(str(path)) as container:
                keys = [i for i, frame in enumerate(container.decode(video=0)) if frame.key_frame]
            assert {0, 12, 24} <= set(keys), (codec, keys)
        assert sizes[1] < 0.6 * sizes[0], codec


def test_a_missing_encoder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(motion_codecs._ENCODERS, "vp9", ("libabsent", ".webm", (26, 46)))
    coding = Coding(codec="vp9", quality=30, gop=12, fps=25)
    with pytest.raises(UnsupportedCodecError, match=r"no encoder libabsent for vp9"):
        write_clip(tmp_path / "x.webm", iter([]), 56, coding)
    with pytest.raises(WriteError, match="nowhere"):
        write_clip(tmp_path / "nowhere" / "x.mp4", [np.zeros((56, 56, 3), np.uint8)], 56, replace(coding, codec="h264"))


@pytest.fixture(scope="module", params=["development", "held_out"])
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = MotionSuite(family=request.param, final=True, frames=(32, 48), clips_per_class=(20, 0, 10))
    return make_suite(tmp_path_factory.mktemp("large") / request.param, config, workers=2).parent


@pytest.mark.slow
def test_files_tell_the_class_by_motion_and_by_no_single_frame(large: Path) -> None:
    rows = read_rows(large)
    label_N, train = np.array([row["label_id"] for row in rows]), 400
    low, high = chance_interval(len(rows) - train, 20)
    x = np.array([motion_features(large / row["file"]) for row in rows])
    seen = {
        p.__name__: np.mean(p(x[:train], label_N[:train], x[train:]) == label_N[train:]) for p in (ridge, kernel_ridge)
    }
    print(f"\n{large.name}: chance {1 / 20}, {low:.3f}-{high:.3f}; motion of blocks {seen}")
    assert max(seen.values()) > 0.3
    clips = [decoded(large / row["file"]) for row in rows]
    for where, place in (("first", 0.0), ("middle", 0.5), ("last", 1.0)):
        pictures = np.stack([c[round(place * (len(c) - 1))] for c in clips])
        found = accuracies(pictures, label_N, train)
        print(where, {"/".join(k): round(v, 3) for k, v in found.items()})
        assert max(found.values()) <= high, found
        assert min(found.values()) >= low, found
    mean = np.stack([np.mean(c, axis=0).astype(np.uint8) for c in clips])  # smears what moves: reported, not required
    print("mean frame", {"/".join(k): round(v, 3) for k, v in accuracies(mean, label_N, train).items()})


@pytest.mark.slow
def test_the_size_of_a_file_does_not_tell_one_way_from_the_other(large: Path) -> None:
    """Motion costs bits, so sizes differ between classes; between mirrored ones nothing may."""
    rows = read_rows(large)
    size = {row["id"]: np.log((large / row["file"]).stat().st_size / row["frames"]) for row in rows}
    by_label: dict[str, list[float]] = {}
    for row in rows:
        by_label.setdefault(row["label"], []).append(float(size[row["id"]]))
    labels = list(by_label)
    moves = [label for label in labels if label.startswith("move")]
    pairs = [(moves[i], moves[i + 2]) for i in (0, 1, 4, 5)]
    pairs += [tuple(label for label in labels if label.startswith(k)) for k in ("rotate", "zoom", "order")]  # type: ignore[misc]
    for one, two in pairs:
        a, b = by_label[one], by_label[two]
        z = (np.mean(a) - np.mean(b)) / np.sqrt(np.var(a) / len(a) + np.var(b) / len(b))
        assert abs(z) < Z_999, (one, two, z)
