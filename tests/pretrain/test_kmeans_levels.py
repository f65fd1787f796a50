"""Two levels: how children are given out, what a search among near parents finds, how good the centres are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from made_features import blobs, cloud, unit

from onevision_encoder.pretrain import KMeansConfig, kmeans
from onevision_encoder.pretrain.kmeans_levels import allocate
from onevision_encoder.pretrain.kmeans_tree import TreeSearch


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.floats(0, 1))
def test_children_are_given_out_by_size(sizes: list[int], share: float) -> None:
    size_j = np.array(sizes)
    least, most = int((size_j > 0).sum()), int(size_j.sum())
    if not most:
        return
    k = least + int(share * (most - least))
    count_j = allocate(size_j, k)
    assert count_j.sum() == k
    assert (count_j <= size_j).all()
    assert ((count_j > 0) == (size_j > 0)).all()
    quota_j = k * size_j / most
    free = (count_j > 1) & (count_j < size_j)
    if least == (np.floor(quota_j) >= 1).sum():  # no parent was lifted to its one child
        assert (np.abs(count_j - quota_j)[free] <= 1).all()


def test_a_search_among_all_parents_is_exact() -> None:
    rng = np.random.default_rng(0)
    c, x, parents = (unit(rng.standard_normal((n, 9))) for n in (60, 200, 7))
    bounds = np.array([0, 1, 5, 20, 21, 40, 44, 60])
    tensors = [torch.tensor(a, dtype=torch.float32) for a in (c, parents)]
    search = TreeSearch(*tensors, torch.from_numpy(bounds), near=7, spherical=True)
    x32 = torch.tensor(x, dtype=torch.float32)
    truth = np.argsort(-(x @ c.T), axis=1)[:, :5]
    labels, scores = search.top(x32, 5)
    np.testing.assert_array_equal(labels.numpy(), truth)
    np.testing.assert_allclose(scores.numpy(), np.take_along_axis(x @ c.T, truth, 1), atol=1e-6)
    np.testing.assert_array_equal(search.find(x32).numpy(), truth[:, 0])
    lone = TreeSearch(*tensors, torch.from_numpy(bounds), near=1, spherical=True)
    labels, _ = lone.top(x32, 5)
    nearest = (x @ parents.T).argmax(1)
    for row, parent in zip(labels.numpy(), nearest, strict=True):
        own = [c for c in range(bounds[parent], bounds[parent + 1])]
        assert set(row[row >= 0]) <= set(own)
        assert (row >= 0).sum() == min(5, len(own))


def test_plain_distances_are_searched_alike() -> None:
    rng = np.random.default_rng(1)
    c, x = 3 * rng.standard_normal((60, 9)), rng.standard_normal((100, 9))
    tensors = [torch.tensor(a, dtype=torch.float32) for a in (c, c[:4])]
    search = TreeSearch(*tensors, torch.tensor([0, 10, 30, 50, 60]), near=4, spherical=False)
    truth = ((x[:, None] - c[None]) ** 2).sum(2).argmin(1)
    np.testing.assert_array_equal(search.find(torch.tensor(x, dtype=torch.float32)).numpy(), truth)


def test_two_levels_are_next_to_as_good_as_one(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", cloud(4000, 16, centres=200))
    flat, tree = (kmeans(tmp_path / "x.npy", KMeansConfig(k=100, iterations=12, levels=levels)) for levels in (1, 2))
    assert tree.provenance["inertia"] < 1.03 * flat.provenance["inertia"]
    assert tree.sizes_k.sum() == 4000
    assert tree.parents_jD is not None
    assert tree.child_bounds is not None
    assert len(tree.parents_jD) == 10
    x = unit(np.load(tmp_path / "x.npy"))
    exact = np.bincount((x @ tree.centres_kD.T).argmax(1), minlength=100)
    assert np.abs(exact - tree.sizes_k).sum() < 0.05 * 4000, "sizes of the search are next to the exact ones"
    stages = {row["stage"] for row in tree.provenance["history"]}
    assert stages == {"parents", "polish"}


def test_separated_clusters_come_out_whole_on_two_levels(tmp_path: Path) -> None:
    x, truth = blobs(16, 30, 24)
    np.save(tmp_path / "x.npy", x)
    config = KMeansConfig(k=32, iterations=20, levels=2, parents=16, init="k-means++")
    found = kmeans(tmp_path / "x.npy", config)
    label = (unit(x) @ found.centres_kD.T).argmax(1)
    owners = [set(truth[label == c].tolist()) for c in range(32)]
    assert all(len(owner) == 1 for owner in owners), "a centre holds rows of one cluster"


@pytest.mark.parametrize("parents", [1, 30])
def test_the_ends_of_what_is_possible(tmp_path: Path, parents: int) -> None:
    np.save(tmp_path / "x.npy", cloud(30, 5))
    found = kmeans(tmp_path / "x.npy", KMeansConfig(k=30, iterations=4, levels=2, parents=parents))
    assert len(found) == 30
    assert found.provenance["inertia"] == pytest.approx(0, abs=1e-6), "every row is its own centre"
