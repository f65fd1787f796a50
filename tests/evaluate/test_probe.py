"""A probe end to end: it learns what is there, sees nothing it must not, and says what went wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled import ToneBackbone, folder_of_classes, write_tone

from onevision_encoder.evaluate import FeatureCache, FeatureReader, ProbeConfig, load_dataset, run_probe, write_report
from onevision_encoder.evaluate.choosing import best_cell, mean_loss
from onevision_encoder.evaluate.datasets import DataSet, Example
from onevision_encoder.evaluate.heads import pooled_only
from onevision_encoder.evaluate.probe_report import ProbeResult
from onevision_encoder.evaluate.splits import TestSet, TestSetError, hold_out, make_folds
from onevision_encoder.evaluate.training import ProbeFailedError, by_video
from onevision_encoder.tokens import TokenizeConfig

READING = TokenizeConfig.of(policy="dense", max_patches=4)


@pytest.fixture(scope="module")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_of_classes(tmp_path_factory.mktemp("tones"))


def probe(data: DataSet, config: ProbeConfig, *, backbone: ToneBackbone | None = None, **more: object) -> ProbeResult:
    reader = FeatureReader(backbone=backbone or ToneBackbone(), reading=READING, pool=pooled_only(config.head), **more)  # type: ignore[arg-type]
    return run_probe(data, reader, config)


@pytest.mark.parametrize("head", ["linear", "knn", "attentive", "attentive4"])
def test_what_is_plain_to_see_is_learnt(tones: Path, head: str) -> None:
    lrs = {"knn": (), "linear": (3e-2, 1e-1)}.get(head, (1e-3, 3e-3))
    config = ProbeConfig(head=head, seeds=2, epochs=15, batch_size=4, lrs=lrs, weight_decays=(0.0,))
    backbone = ToneBackbone()
    result = probe(load_dataset(tones), config, backbone=backbone)
    assert result.report["results"]["top1"]["mean"] == 1.0
    assert result.report["results"]["top1"]["interval95"] == [1.0, 1.0]
    assert result.report["test"]["looks"] == [1]
    assert result.complete
    assert len(backbone.asked) == len(set(backbone.asked)) == 24, "a clip goes through the backbone once"


def test_labels_without_meaning_stay_at_chance(tones: Path) -> None:
    """Nothing of the test set leaks: with labels drawn at random, the pooled folds are right about half the time."""
    data = load_dataset(tones)
    generator = np.random.default_rng(5)
    drawn = [replace(e, classes=(int(generator.integers(2)),), split="none") for e in data.examples]
    config = ProbeConfig(head="linear", seeds=2, epochs=10, folds=3, lrs=(1e-3, 1e-2))
    report = probe(replace(data, examples=tuple(drawn)), config).report
    assert 0.15 <= report["results"]["top1"]["mean"] <= 0.85
    assert report["test"] == {**report["test"], "videos": 24, "looks": [1, 1, 1]}


def test_a_cell_that_diverges_is_noted_and_never_chosen(tones: Path) -> None:
    config = ProbeConfig(head="linear", seeds=1, epochs=6, lrs=(1e-1, 1e37), weight_decays=(0.0,))
    record = probe(load_dataset(tones), config).report["seeds"][0]["folds"][0]
    assert record["diverged"] == [1]
    assert record["grid"][1]["val_top1"] is None
    assert record["chosen"] == {"lr": 1e-1, "weight_decay": 0.0}


def test_a_head_does_not_depend_on_its_neighbours_in_the_grid(tones: Path) -> None:
    alone = ProbeConfig(head="linear", seeds=1, epochs=3, lrs=(1e-2,), weight_decays=(0.0, 0.1))
    among = replace(alone, lrs=(1e-2, 1e-4, 3e-3))
    grids = [probe(load_dataset(tones), c).report["seeds"][0]["folds"][0]["grid"] for c in (alone, among)]
    assert grids[0] == grids[1][:2]


def test_a_run_from_the_cache_is_the_same_run(tones: Path, tmp_path: Path) -> None:
    config = ProbeConfig(head="attentive", seeds=2, epochs=2, lrs=(1e-3, 1e-2))
    data = load_dataset(tones)
    for name in ("one", "two", "three"):
        cache = FeatureCache(tmp_path / "cache")
        backbone = ToneBackbone()
        if name == "three":  # one entry cut short, one altered
            short, altered, *_ = sorted((tmp_path / "cache").rglob("*.safetensors"))
            short.write_bytes(short.read_bytes()[:-5])
            altered.write_bytes(altered.read_bytes()[:-1] + b"\x55")
        result = probe(data, config, backbone=backbone, cache=cache, memory_bytes=0 if name == "two" else 1 << 20)
        write_report(tmp_path / name, result)
        assert len(backbone.asked) == {"one": 24, "two": 0, "three": 2}[name]
        assert len(result.run["rank_0"]["cache"]["corrupt"]) == (2 if name == "three" else 0)
    for file in ("report.json", "report.md", "predictions.jsonl"):
        assert len({(tmp_path / name / file).read_bytes() for name in ("one", "two", "three")}) == 1


def test_another_backbone_reading_or_source_is_another_entry(tones: Path, tmp_path: Path) -> None:
    data = load_dataset(tones)
    e = data.examples[0]
    cache = FeatureCache(tmp_path)

    def asks(backbone: ToneBackbone, reading: TokenizeConfig, example: Example) -> bool:
        FeatureReader(backbone=backbone, reading=reading, cache=cache).read([example])
        return bool(backbone.asked)

    assert asks(ToneBackbone(), READING, e)
    assert not asks(ToneBackbone(), READING, e)
    assert not asks(ToneBackbone(), READING, replace(e, id="renamed"))
    assert asks(ToneBackbone(salt=1), READING, e)
    assert asks(ToneBackbone(), TokenizeConfig.of(policy="dense", max_patches=1), e)
    assert asks(ToneBackbone(), READING, data.examples[1])
    assert asks(ToneBackbone(), READING, replace(e, end_seconds=0.05))


def test_clips_that_cannot_be_read_are_named_and_left_out(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path, 4)
    (root / "train/dark/train000.mp4").write_bytes(b"no video")
    (root / "test/bright/test001.mp4").write_bytes(b"")
    result = probe(load_dataset(root), ProbeConfig(head="linear", seeds=1, epochs=2))
    assert [b["id"] for b in result.report["broken"]] == ["test/bright/test001.mp4", "train/dark/train000.mp4"]
    assert not result.complete
    assert [row["id"] for row in result.predictions] == [
        "test/bright/test000.mp4",
        "test/dark/test000.mp4",
        "test/dark/test001.mp4",
    ]
    write_report(tmp_path / "out", result)
    text = (tmp_path / "out/report.md").read_text()
    assert "cannot be read: 2" in text
    assert "train000.mp4: UnreadableMediaError" in text


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    root = folder_of_classes(tmp_path, 2)
    for file in root.rglob("train*.mp4"):
        file.write_bytes(b"no video")
    with pytest.raises(ProbeFailedError, match="not one of 2 training examples"):
        probe(load_dataset(root), ProbeConfig(head="linear", seeds=1, epochs=1))


def test_views_of_a_video_are_averaged(tmp_path: Path) -> None:
    """The mean of the views' logits decides: predictions are one row a video, and the mean of what is stored a view."""
    root = folder_of_classes(tmp_path, 4)
    for number, file in enumerate(sorted(root.rglob("*.mp4"))):
        write_tone(file, 60 if "dark" in file.parts else 190, number, frames=12)
    result = probe(load_dataset(root), ProbeConfig(head="linear", seeds=1, epochs=20, views=3, lrs=(3e-2, 1e-1)))
    assert result.report["test"] == {**result.report["test"], "videos": 4, "examples": 12}
    assert result.report["results"]["top1"]["mean"] == 1.0


def test_views_given_by_the_data_are_grouped(tones: Path, tmp_path: Path) -> None:
    rows = [
        {"file": str(p), "label": p.parent.name, "split": p.parents[1].name, "video": f"{p.parent.name}{i // 2}{s}"}
        for s in ("train", "test")
        for i, p in enumerate(sorted(tones.glob(f"{s}/*/*.mp4")))
    ]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = probe(load_dataset(tmp_path), ProbeConfig(head="knn", seeds=1))
    assert [len(row["logits"]) for row in result.predictions] == [1] * 4
    assert result.report["test"]["examples"] == 8


def test_the_logits_of_a_video_are_the_mean_of_its_views() -> None:
    generator = np.random.default_rng(2)
    examples = made({"v": 0, "w": 1}, views=3)
    rows = {e.id: generator.normal(size=4).astype(np.float32) for e in examples}
    del rows["w-1"]  # a view that cannot be read: the others speak for the video
    found = by_video(rows, examples[::-1])
    assert list(found) == ["v", "w"]
    np.testing.assert_allclose(found["v"], sum(rows[f"v-{i}"].astype(float) for i in range(3)) / 3)
    np.testing.assert_allclose(found["w"], (rows["w-0"].astype(float) + rows["w-2"]) / 2)


def test_of_equal_cells_the_surer_one_is_taken() -> None:
    assert best_cell([(0.5, 0.1), (0.9, 0.7), (0.9, 0.3), None], []) == 2
    with pytest.raises(ProbeFailedError, match="diverged"):
        best_cell([None] * 4, [0, 1, 2, 3])
    with pytest.raises(ProbeFailedError, match="diverged"):
        best_cell([None], [0])
    logits, truth = np.random.default_rng(0).normal(size=(2, 5, 3))
    labels = np.array([0, 2, 1, 1, 0])
    expected = torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(labels))
    assert mean_loss(logits, labels, multi_label=False) == pytest.approx(float(expected))
    many = (truth > 0).astype(float)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(torch.tensor(logits), torch.tensor(many))
    assert mean_loss(logits, many, multi_label=True) == pytest.approx(float(expected))


def test_several_labels_are_scored_by_map(tones: Path, tmp_path: Path) -> None:
    files = sorted(tones.glob("*/*/*.mp4"))
    rows = [
        {"file": str(p), "label": ["grey", p.parent.name] if i % 2 else [p.parent.name], "split": p.parents[1].name}
        for i, p in enumerate(files)
    ]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = probe(load_dataset(tmp_path), ProbeConfig(head="linear", seeds=1, epochs=20, lrs=(1e-1, 3e-1)))
    assert list(result.report["results"]) == ["map"]
    assert result.report["results"]["map"]["mean"] > 0.7


def test_the_test_set_opens_once() -> None:
    examples = (Example(id="a", video="a", path=Path("a"), classes=(0,), split="test"),)
    guard = TestSet(examples)
    assert guard.look() == examples
    with pytest.raises(TestSetError, match="looked at before"):
        guard.look()


def made(videos: dict[str, int], views: int = 1, split: str = "none") -> list[Example]:
    return [
        Example(id=f"{v}-{i}", video=v, path=Path(v), classes=(c,), split=split)  # type: ignore[arg-type]
        for v, c in videos.items()
        for i in range(views)
    ]


def test_folds_share_no_video_and_keep_the_classes_balanced() -> None:
    videos = {f"v{i}": int(i >= 12) for i in range(23)}
    data = DataSet(name="made", root=Path(), classes=("a", "b"), examples=tuple(made(videos, views=3)))
    folds = make_folds(data, 5, 1, seed=0)
    assert sorted(e.id for f in folds for e in f.test.examples) == sorted(e.id for e in data.examples)
    for fold in folds:
        inside = {e.video for e in fold.test.examples}
        assert not inside & {e.video for e in fold.train}
        assert len(inside) in (4, 5)
        assert sum(videos[v] == 0 for v in inside) in (2, 3)
    again = make_folds(data, 5, 1, seed=0)
    assert [f.test.examples for f in again] == [f.test.examples for f in folds]


def test_what_is_held_out_is_of_every_class_and_apart_by_video() -> None:
    videos = {f"v{i:02d}": i % 3 for i in range(30)} | {"alone": 3}
    train, held = hold_out(made(videos, views=2), 0.2, seed=1)
    assert not {e.video for e in train} & {e.video for e in held}
    assert sorted(videos[v] for v in {e.video for e in held}) == [0, 0, 1, 1, 2, 2]
    assert len(train) + len(held) == 62
    assert hold_out(made(videos, views=2), 0.2, seed=2)[1] != held
