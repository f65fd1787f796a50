"""Features on disk, and features made of media."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clips import write_video
from safetensors.numpy import save_file

from onevision_encoder.errors import InvalidArgumentError, MediaNotFoundError, ShapeError
from onevision_encoder.evaluate.backbone import Features
from onevision_encoder.pretrain import FeatureStoreError, extract_features, open_features
from onevision_encoder.pretrain.corpus_sources import Item
from onevision_encoder.pretrain.feature_store import write_chunk, write_index
from onevision_encoder.tokens import TokenizeConfig

RNG = np.random.default_rng(0)
X = RNG.standard_normal((23, 5)).astype(np.float32)


def store_of(folder: Path, sizes: Sequence[int] = (7, 1, 15), dtype: type = np.float32) -> Path:
    start, chunks = 0, []
    for i, size in enumerate(sizes):
        ids = [f"row {start + j}" for j in range(size)]
        write_chunk(folder / f"{i}.safetensors", X[start : start + size].astype(dtype), ids, [f"/m/{n}" for n in ids])
        chunks.append((f"{i}.safetensors", size))
        start += size
    write_index(folder, chunks, 5, {"model": "made up"}, {"gone": "because"})
    return folder


def test_a_store_reads_any_stretch(tmp_path: Path) -> None:
    store = open_features(store_of(tmp_path / "s"))
    assert (store.rows, store.width) == (23, 5)
    for start in range(23):
        for stop in range(start, 24):
            np.testing.assert_array_equal(store.read(start, stop), X[start:stop])
    assert store.ids() == [f"row {i}" for i in range(23)]
    assert store.sources() == [f"/m/row {i}" for i in range(23)]
    assert (store.made_by, store.failures) == ({"model": "made up"}, {"gone": "because"})
    half = open_features(store_of(tmp_path / "half", dtype=np.float16))
    np.testing.assert_array_equal(half.read(0, 23), X.astype(np.float16).astype(np.float32))


def test_raw_arrays_are_features_too(tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    np.save(tmp_path / "many/a.npy", X[:9])
    save_file({"whatever": X[9:].copy(), "ids": np.arange(14)}, tmp_path / "many/b.safetensors")
    np.save(tmp_path / "one.npy", X)
    for path in (tmp_path / "many", tmp_path / "one.npy"):
        store = open_features(path)
        np.testing.assert_array_equal(store.read(0, 23), X)
        assert store.ids()[22] == "22"
        assert store.sources() is None


def test_identity_follows_the_content(tmp_path: Path) -> None:
    one = open_features(store_of(tmp_path / "a")).identity()
    assert open_features(tmp_path / "a").identity() == one
    assert open_features(store_of(tmp_path / "b", sizes=(8, 15))).identity() != one


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda s: (s / "1.safetensors").unlink(), r"1\.safetensors: is missing"),
        (
            lambda s: (s / "2.safetensors").write_bytes((s / "2.safetensors").read_bytes()[:-8]),
            r"2\.safetensors: not a",
        ),
        (lambda s: write_chunk(s / "0.safetensors", X[:6], list("abcdef")), r"6 x 5, the index says 7 x 5"),
        (lambda s: write_chunk(s / "0.safetensors", X[:7, :4], list("abcdefg")), r"7 x 4, the index says 7 x 5"),
        (lambda s: (s / "index.json").write_text("{"), r"index\.json: not an index"),
        (lambda s: (s / "index.json").write_text('{"schema": 9, "width": 5, "chunks": []}'), r"schema 9"),
        (lambda s: write_index(s, [], 5, {}), r"lists no chunk"),
    ],
)
def test_a_damaged_store_is_refused_by_name(tmp_path: Path, harm: Any, message: str) -> None:
    harm(store_of(tmp_path / "s"))
    with pytest.raises(FeatureStoreError, match=message):
        open_features(tmp_path / "s")


def test_what_is_no_features_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaNotFoundError):
        open_features(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FeatureStoreError, match="holds neither"):
        open_features(tmp_path / "empty")
    for name, array in (
        ("double", X.astype(np.float64)),
        ("flat", X[0]),
        ("none", X[:0]),
        ("int", np.ones((3, 3), int)),
    ):
        np.save(tmp_path / f"{name}.npy", array)
        with pytest.raises(FeatureStoreError, match=r"accepted is float32 or float16 \[n, D\]"):
            open_features(tmp_path / f"{name}.npy")
    np.save(tmp_path / "empty/a.npy", X)
    np.save(tmp_path / "empty/b.npy", X[:, :4])
    with pytest.raises(FeatureStoreError, match="width 4"):
        open_features(tmp_path / "empty")
    save_file({"a": X, "b": X}, tmp_path / "two.safetensors")
    with pytest.raises(FeatureStoreError, match="a tensor 'features', or one matrix"):
        open_features(tmp_path / "two.safetensors")
    (tmp_path / "x.txt").write_text("no")
    with pytest.raises(FeatureStoreError, match=r"x\.txt"):
        open_features(tmp_path / "x.txt")
    with pytest.raises(ShapeError, match="one for each row"):
        write_chunk(tmp_path / "c.safetensors", X, ["a"])


class Meaner:
    """A backbone whose tokens are mean colours of frames; counts what it encodes."""

    name, width = "meaner", 3

    def __init__(self, tag: str = "a") -> None:
        self.tag, self.count = tag, 0

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "tag": self.tag}

    def encode(self, clips: Sequence[Any]) -> Features:
        self.count += len(clips)
        tokens = torch.tensor(clips[0].frames.rgb_THW3.reshape(clips[0].frames.num_frames, -1, 3).mean(1)).float()
        return Features(tokens_NC=tokens, cu_seqlens=torch.tensor([0, len(tokens)], dtype=torch.int32))


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    folder = tmp_path_factory.mktemp("media")
    for i in range(5):
        tones = np.full((3, 28, 28, 3), 30 * i, np.uint8) + np.arange(3, dtype=np.uint8)[:, None, None, None] * 20
        write_video(folder / f"{i}.mp4", tones, codec="mpeg4")
    (folder / "2.mp4").write_bytes(b"no video")
    return [Item(id=f"{i}.mp4", path=folder / f"{i}.mp4") for i in range(5)]


def test_features_of_media_go_on_where_they_stopped(media: list[Item], tmp_path: Path) -> None:
    reading = TokenizeConfig.of(policy="dense")
    backbone = Meaner()
    done = 0

    def tick(count: int) -> None:
        nonlocal done
        done += count
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_features(media, backbone, tmp_path, reading=reading, chunk=2, tick=tick)
    assert backbone.count == 2
    store = extract_features(media, backbone, tmp_path, reading=reading, chunk=2)
    assert backbone.count == 4, "the finished chunk was not done again"
    assert store.ids() == ["0.mp4", "1.mp4", "3.mp4", "4.mp4"]
    assert store.sources() == [str(media[i].path) for i in (0, 1, 3, 4)]
    assert list(store.failures) == ["2.mp4"]
    assert "UnreadableMediaError" in store.failures["2.mp4"]
    np.testing.assert_allclose(store.read(0, 4)[:, 1], [20, 50, 110, 140], atol=4)
    assert store.made_by["backbone"] == {"name": "meaner", "tag": "a"}
    whole = extract_features(media, Meaner(), tmp_path / "whole", reading=reading, chunk=2)
    np.testing.assert_array_equal(whole.read(0, 4), store.read(0, 4))
    with pytest.raises(InvalidArgumentError, match="other sources, options or encoders"):
        extract_features(media, Meaner("b"), tmp_path, reading=reading, chunk=2)


def test_only_failures_are_an_error_that_names_them(media: list[Item], tmp_path: Path) -> None:
    with pytest.raises(FeatureStoreError, match="not one source could be read"):
        extract_features(media[2:3], Meaner(), tmp_path, reading=TokenizeConfig.of(policy="dense"))
    index = json.loads((tmp_path / "index.json").read_text())
    assert list(index["failures"]) == ["2.mp4"]


def test_wrong_calls_are_refused(media: list[Item], tmp_path: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="no summary"):
        extract_features(media[:1], Meaner(), tmp_path, reading=TokenizeConfig.of(policy="dense"), pool="pooled")
    with pytest.raises(InvalidArgumentError, match="each with its own id"):
        extract_features([media[0], media[0]], Meaner(), tmp_path)
    with pytest.raises(InvalidArgumentError, match="pool"):
        extract_features(media, Meaner(), tmp_path, pool="max")  # type: ignore[arg-type]
