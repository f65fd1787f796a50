"""Clustering against the slow obvious way, on known clusters, on adversarial rows, resumed, streamed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from made_features import blobs, cloud, inertia, lloyd, unit

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.pretrain import Centres, FeatureStoreError, KMeansConfig, kmeans
from onevision_encoder.pretrain.centres import CentresFileError, balance
from onevision_encoder.pretrain.kmeans_nearest import Nearest


def saved(path: Path, rows: np.ndarray) -> Path:
    np.save(path / "features.npy", rows)
    return path / "features.npy"


def first_rows(n: int, k: int, seed: int) -> np.ndarray:
    return np.sort(np.random.default_rng([seed]).choice(n, k, replace=False, shuffle=False))


@pytest.mark.parametrize(("spherical", "screening"), [(True, "none"), (True, "bf16"), (False, "auto")])
def test_centres_are_those_of_the_slow_way(tmp_path: Path, spherical: bool, screening: str) -> None:
    x = cloud(700, 12)
    config = KMeansConfig(k=15, iterations=6, spherical=spherical, seed=3, screening=screening, chunk_rows=128)
    found = kmeans(saved(tmp_path, x), config)
    truth = lloyd(x, first_rows(700, 15, 3), 6, spherical=spherical)
    np.testing.assert_allclose(found.centres_kD, truth, atol=2e-5)
    rows = unit(x) if spherical else x
    assert found.provenance["inertia"] == pytest.approx(inertia(rows, truth), rel=1e-5)
    label = ((rows[:, None] - truth[None]) ** 2).sum(2).argmin(1)
    assert found.sizes_k.tolist() == np.bincount(label, minlength=15).tolist()
    told = [row["inertia"] for row in found.provenance["history"]]
    assert told == sorted(told, reverse=True)


@pytest.mark.parametrize("init", ["sampled", "k-means++"])
def test_known_clusters_are_found(tmp_path: Path, init: str) -> None:
    x, truth = blobs(8, 40, 16)
    config = KMeansConfig(k=8, iterations=30, init=init, seed=0)
    found = kmeans(saved(tmp_path, x), config)
    label = (unit(x) @ found.centres_kD.T).argmax(1)
    if init == "k-means++":
        assert found.sizes_k.tolist() == [40] * 8
        assert len({(int(a), int(b)) for a, b in zip(truth, label, strict=True)}) == 8, "one centre for each cluster"
        assert found.provenance["converged"]
    else:  # may start with two centres in a cluster; each centre still holds rows of whole clusters or parts of one
        assert found.sizes_k.sum() == 320


@pytest.mark.parametrize("kind", ["cloud", "one direction", "duplicates", "tiny differences"])
@pytest.mark.parametrize("k", [2, 70, 1500])
def test_screening_finds_the_nearest_centre(kind: str, k: int) -> None:
    rng = np.random.default_rng(k)
    x, c = rng.standard_normal((900, 48)), rng.standard_normal((k, 48))
    if kind == "one direction":  # what features of real encoders look like: a large common part
        x, c = x + 12, c + 12
    elif kind == "duplicates":
        x[::2], c[k // 2 :] = x[0], c[0]
    elif kind == "tiny differences":
        c = c[:1] + 1e-4 * c
    x, c = unit(x), unit(c)
    x32, c32 = (torch.tensor(a, dtype=torch.float32) for a in (x, c))
    searches = [Nearest(c32, spherical=True, screening=asked) for asked in (True, False)]
    screened, plain = (search.find(x32).numpy() for search in searches)
    best = (x @ c.T).max(1)
    for label in (screened, plain):
        chosen = (x * c[label]).sum(1)
        assert (best - chosen).max() < 1e-6, "as near as float32 can tell"
    if kind == "cloud" and k == 70:
        assert searches[0].full == 0, "screening was given up"
        assert searches[0].compared < 900 * k / 8, "screening ruled out next to nothing"


def test_empty_clusters_are_filled(tmp_path: Path) -> None:
    x, _ = blobs(12, 2, 16, noise=1e-3)
    rows = np.concatenate([np.repeat(x[:1], 400, 0), x])  # a drawn centre is next to surely the same row
    found = kmeans(saved(tmp_path, rows), KMeansConfig(k=12, iterations=20, seed=1))
    history = found.provenance["history"]
    assert history[0]["empty"] > 5
    assert history[0]["repaired"] > 0
    assert found.provenance["balance"]["empty"] == 0
    assert found.provenance["inertia"] < 0.25 * history[0]["inertia"]


def test_rows_that_are_all_the_same_leave_clusters_empty_and_say_so(tmp_path: Path) -> None:
    found = kmeans(saved(tmp_path, np.ones((30, 4), np.float32)), KMeansConfig(k=4, iterations=5, init="k-means++"))
    assert found.provenance["balance"]["empty"] == 3
    assert found.provenance["inertia"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("levels", [1, 2])
def test_same_bits_streamed_or_in_memory_and_again(tmp_path: Path, levels: int) -> None:
    path = saved(tmp_path, cloud(1500, 10))
    runs = [
        kmeans(path, KMeansConfig(k=30, iterations=5, levels=levels, memory_mb=memory, chunk_rows=256))
        for memory in (100, 0, 100)
    ]
    for other in runs[1:]:
        assert other.centres_kD.tobytes() == runs[0].centres_kD.tobytes()
        assert other.provenance["inertia"] == runs[0].provenance["inertia"]
    seeded = kmeans(path, KMeansConfig(k=30, iterations=5, levels=levels, seed=1, chunk_rows=256))
    assert seeded.centres_kD.tobytes() != runs[0].centres_kD.tobytes()


class KilledError(Exception):
    pass


@pytest.mark.parametrize("levels", [1, 2])
def test_goes_on_where_it_was_killed(tmp_path: Path, levels: int) -> None:
    path = saved(tmp_path, cloud(1500, 10))
    config = KMeansConfig(k=40, iterations=6, levels=levels, memory_mb=0, chunk_rows=256)
    whole = kmeans(path, config)
    looks = 0
    for at in (3, 4, 5, 6, 7):  # each run gets a little further than the last
        seen = 0

        def tick(stage: str, inertia: float, at: int = at) -> None:
            nonlocal seen, looks
            seen += 1
            looks += 1
            if seen == at:
                raise KilledError

        try:
            found = kmeans(path, config, work=tmp_path / "work", tick=tick)
            break
        except KilledError:
            continue
    else:
        found = kmeans(path, config, work=tmp_path / "work")
    assert found.centres_kD.tobytes() == whole.centres_kD.tobytes()
    assert found.provenance["history"] == whole.provenance["history"]
    with pytest.raises(InvalidArgumentError, match="progress of other features or options"):
        kmeans(path, KMeansConfig(k=40, levels=levels, seed=5, chunk_rows=256), work=tmp_path / "work")


def test_more_iterations_go_on_from_fewer(tmp_path: Path) -> None:
    path = saved(tmp_path, cloud(800, 10))
    kmeans(path, KMeansConfig(k=20, iterations=3), work=tmp_path / "work")
    more = kmeans(path, KMeansConfig(k=20, iterations=6), work=tmp_path / "work")
    assert more.centres_kD.tobytes() == kmeans(path, KMeansConfig(k=20, iterations=6)).centres_kD.tobytes()
    assert len(more.provenance["history"]) == 6


def test_tolerance_stops_early(tmp_path: Path) -> None:
    path = saved(tmp_path, cloud(800, 10))
    found = kmeans(path, KMeansConfig(k=20, iterations=50, tolerance=0.05))
    told = [row["inertia"] for row in found.provenance["history"]]
    assert len(told) < 10
    assert told[-1] - found.provenance["inertia"] <= 0.05 * told[-1]
    assert found.provenance["converged"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.__setitem__((7, 2), np.nan), r"1 row of 50 .* not finite: 7$"),
        (lambda x: x.__setitem__((slice(3, 12), 0), np.inf), r"9 rows of 50 .*: 3, 4, 5, 6, 7 and 4 more"),
        (lambda x: x.__setitem__(9, 0), r"1 row of 50 .*zeros, which have no direction: 9"),
    ],
)
def test_rows_without_a_place_are_named(tmp_path: Path, change: object, message: str) -> None:
    x = cloud(50, 6)
    change(x)  # type: ignore[operator]
    with pytest.raises(FeatureStoreError, match=message):
        kmeans(saved(tmp_path, x), KMeansConfig(k=3, chunk_rows=8))


def test_zeros_are_rows_like_others_of_plain_k_means(tmp_path: Path) -> None:
    x = cloud(50, 6)
    x[9] = 0
    assert kmeans(saved(tmp_path, x), KMeansConfig(k=3, spherical=False)).sizes_k.sum() == 50
    x[9] = 1e20
    with pytest.raises(FeatureStoreError, match=r"lengths above 1e\+12: 9"):
        kmeans(saved(tmp_path, x), KMeansConfig(k=3, spherical=False))


def test_wrong_options_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, cloud(50, 6))
    with pytest.raises(InvalidArgumentError, match="k=51 is not accepted: at most 50"):
        kmeans(path, KMeansConfig(k=51))
    with pytest.raises(InvalidArgumentError, match="screening"):
        kmeans(path, KMeansConfig(k=5, spherical=False, screening="bf16"))
    for wrong in ({"k": 0}, {"k": 5, "iterations": 0}, {"k": 5, "tolerance": 1.0}, {"k": 5, "init": "random"}):
        with pytest.raises(InvalidArgumentError):
            KMeansConfig(**wrong)
    with pytest.raises(InvalidArgumentError, match="levels=2"):
        KMeansConfig(k=5, parents=2)


def test_centres_keep_on_disk(tmp_path: Path) -> None:
    made = kmeans(saved(tmp_path, cloud(300, 6)), KMeansConfig(k=12, iterations=3, levels=2))
    read = Centres.load(made.save(tmp_path / "bank").parent)
    for name in ("centres_kD", "sizes_k", "parents_jD", "child_bounds"):
        np.testing.assert_array_equal(getattr(read, name), getattr(made, name))
    assert read.provenance["config"]["k"] == 12
    file = tmp_path / "bank/centres.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(CentresFileError, match=r"centres\.safetensors"):
        Centres.load(file)


def test_balance_of_known_sizes() -> None:
    even, lone = balance(np.full(10, 7)), balance(np.array([0, 0, 0, 12]))
    assert (even["gini"], even["effective_share"]) == pytest.approx((0, 1))
    assert (lone["gini"], lone["effective_share"], lone["empty"]) == pytest.approx((0.75, 0.25, 3))
    halves = balance(np.array([1, 3]))  # Gini of two: |a - b| / 2 (a + b)
    assert halves["gini"] == pytest.approx(0.25)
