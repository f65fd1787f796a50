"""Labels, the index of them, and near-duplicates, against brute force."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from made_features import cloud, unit

from onevision_encoder.errors import InvalidArgumentError, MediaNotFoundError, ShapeError
from onevision_encoder.pretrain import (
    Centres,
    InvertedIndex,
    KMeansConfig,
    LabelTable,
    find_duplicates,
    kmeans,
    label_features,
    open_features,
)
from onevision_encoder.pretrain import duplicates as duplicates_module
from onevision_encoder.pretrain import labels as labels_module
from onevision_encoder.pretrain.labels import LabelFileError


@pytest.fixture
def features(tmp_path: Path) -> Path:
    np.save(tmp_path / "x.npy", cloud(600, 8))
    return tmp_path / "x.npy"


@pytest.mark.parametrize("spherical", [True, False])
def test_labels_are_the_nearest_centres(features: Path, spherical: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels_module, "CENTRES", 7)  # blocks that do not divide the centres
    centres = kmeans(features, KMeansConfig(k=25, iterations=3, spherical=spherical))
    table = label_features(features, centres, top=6, chunk_rows=100)
    x, c = np.load(features).astype(np.float64), centres.centres_kD.astype(np.float64)
    score = unit(x) @ c.T if spherical else -((x[:, None] - c[None]) ** 2).sum(2)
    truth = np.argsort(-score, axis=1)[:, :6]
    np.testing.assert_array_equal(table.labels_nP, truth)
    np.testing.assert_allclose(table.scores_nP, np.take_along_axis(score, truth, 1), atol=2e-5)
    assert table.ids[17] == "17"
    assert np.bincount(table.labels_nP[:, 0], minlength=25).tolist() == centres.sizes_k.tolist()


def test_recall_of_a_search_through_parents_is_told(features: Path) -> None:
    centres = kmeans(features, KMeansConfig(k=36, iterations=5, levels=2))
    exact = label_features(features, centres, top=5)
    for near in (1, 3, 6):
        table = label_features(features, centres, top=5, near=near)
        shared = [len(set(a) & set(b)) for a, b in zip(exact.labels_nP, table.labels_nP, strict=True)]
        told = table.provenance["recall"]
        assert told["rows"] == 600
        assert told["top 5"] == pytest.approx(sum(shared) / 3000)
        assert told["first"] == pytest.approx((exact.labels_nP[:, 0] == table.labels_nP[:, 0]).mean())
    assert told["top 5"] == 1, "all parents"
    assert "recall" not in exact.provenance


def test_index_is_the_labels_the_other_way_round(features: Path, tmp_path: Path) -> None:
    table = label_features(features, kmeans(features, KMeansConfig(k=25, iterations=3)), top=4)
    for columns in (1, 3, None):
        index = table.index(columns)
        wide = table.labels_nP[:, :columns]
        for c in range(25):
            rows = index.of(c)
            assert sorted(rows.tolist()) == np.flatnonzero((wide == c).any(1)).tolist()
            scores = index.scores[index.bounds[c] : index.bounds[c + 1]]
            assert (np.diff(scores) <= 0).all(), "best first"
    read = InvertedIndex.load(index.save(tmp_path / "bank").parent)
    np.testing.assert_array_equal(read.rows, index.rows)
    np.testing.assert_array_equal(read.bounds, index.bounds)


def test_labels_keep_on_disk(features: Path, tmp_path: Path) -> None:
    table = label_features(features, kmeans(features, KMeansConfig(k=5, iterations=2)), top=2)
    odd = LabelTable(
        ids=("a/\u00fc.mp4", "b\udcff.mp4"),  # a name that is no UTF-8
        labels_nP=np.array([[1, -1], [0, 2]], np.int32),
        scores_nP=np.array([[0.5, -np.inf], [0.4, 0.1]], np.float32),
        classes=3,
    )
    for made in (table, odd):
        read = LabelTable.load(made.save(tmp_path / "bank"))
        assert read.ids == made.ids
        np.testing.assert_array_equal(read.labels_nP, made.labels_nP)
        np.testing.assert_array_equal(read.scores_nP, made.scores_nP)
        assert read.classes == made.classes
    assert odd.index().of(2).tolist() == [1]
    (tmp_path / "bank/labels.safetensors").write_bytes(b"none")
    with pytest.raises(LabelFileError, match=r"labels\.safetensors"):
        LabelTable.load(tmp_path / "bank")
    with pytest.raises(MediaNotFoundError):
        LabelTable.load(tmp_path / "absent")


def test_what_does_not_fit_is_refused(features: Path, tmp_path: Path) -> None:
    centres = kmeans(features, KMeansConfig(k=5, iterations=2))
    np.save(tmp_path / "wide.npy", cloud(20, 9))
    with pytest.raises(ShapeError, match="width 9"):
        label_features(tmp_path / "wide.npy", centres)
    with pytest.raises(InvalidArgumentError, match="1 to 5"):
        label_features(features, centres, top=6)
    with pytest.raises(InvalidArgumentError, match="no parents"):
        label_features(features, centres, top=2, near=2)
    with pytest.raises(ShapeError, match="-1 to 4"):
        LabelTable(ids=("a",), labels_nP=np.array([[5]], np.int32), scores_nP=np.zeros((1, 1), np.float32), classes=5)
    table = label_features(features, centres, top=2)
    with pytest.raises(ShapeError, match="600 rows"):
        find_duplicates(tmp_path / "wide.npy", table)
    for wrong in ({"threshold": 0.0}, {"threshold": 1.1}, {"columns": 3}):
        with pytest.raises(InvalidArgumentError):
            find_duplicates(features, table, **wrong)


def brute_groups(x: np.ndarray, threshold: float) -> list[tuple[int, ...]]:
    """Connected components by repeated squaring of the neighbourhood."""
    near = unit(x) @ unit(x).T >= threshold - 1e-6
    while (wider := near @ near).sum() != near.sum():
        near = wider
    return sorted({tuple(np.flatnonzero(row).tolist()) for row in near if row.sum() > 1})


def one_cluster(x: np.ndarray) -> Centres:
    return Centres(centres_kD=unit(x.mean(0)[None]).astype(np.float32), sizes_k=np.array([len(x)]))


@pytest.mark.parametrize("threshold", [0.9, 0.97, 1.0])
def test_groups_are_the_connected_ones(tmp_path: Path, threshold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates_module, "BLOCK", 50)  # pairs across blocks
    x = cloud(130, 6, centres=20)
    x = np.concatenate([x, 3 * x[:10], x[40:60] + 0.02 * cloud(20, 6, seed=1)])
    np.save(tmp_path / "x.npy", x)
    table = label_features(tmp_path / "x.npy", one_cluster(x), top=1)
    found = find_duplicates(tmp_path / "x.npy", table, threshold=threshold, columns=1)
    truth = brute_groups(x, threshold)
    assert list(found.groups) == truth
    assert len(truth) >= 10
    assert found.dropped == sorted(row for group in truth for row in group[1:])
    cosine = unit(x) @ unit(x).T
    np.fill_diagonal(cosine, -1)
    for row in found.dropped:
        assert found.nearest[row] == pytest.approx(cosine[row].max(), abs=1e-5)


def test_pairs_across_a_border_are_seen_by_the_second_label(tmp_path: Path) -> None:
    border = np.array([[1, 0.01, 0], [1, -0.01, 0], [1, 1, 0], [1, -1, 0]], np.float32)
    np.save(tmp_path / "x.npy", border)
    centres = Centres(centres_kD=unit(border[2:]).astype(np.float32), sizes_k=np.array([2, 2]))
    table = label_features(tmp_path / "x.npy", centres, top=2)
    found = [find_duplicates(tmp_path / "x.npy", table, columns=columns).groups for columns in (1, 2)]
    assert found == [(), ((0, 1),)]


def test_what_is_dropped_is_listed_by_name(tmp_path: Path) -> None:
    x = cloud(60, 6)
    x[50] = 2 * x[7]
    np.save(tmp_path / "x.npy", x)
    store = open_features(tmp_path / "x.npy")
    centres = kmeans(store, KMeansConfig(k=4, iterations=3))
    table = label_features(store, centres, top=2)
    found = find_duplicates(store, table, threshold=0.9999, memory_mb=0)
    listed = json.loads(found.save(tmp_path, table.ids).read_text())
    assert listed["duplicates"] == [{"dropped": "50", "kept": "7", "cosine": 1.0}]
    assert (listed["rows"], listed["dropped"], found.keep_n.sum()) == (60, 1, 59)
