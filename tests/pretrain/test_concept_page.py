"""The page of a bank: what it holds, and that a browser shows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from browser import chromium, complaints, wait_until
from made_features import blobs, unit

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.pretrain import (
    ConceptPage,
    FeatureStore,
    KMeansConfig,
    LabelTable,
    kmeans,
    label_features,
    open_features,
)
from onevision_encoder.pretrain.centres import Centres
from onevision_encoder.pretrain.feature_store import write_chunk, write_index

Bank = tuple[FeatureStore, Centres, LabelTable]


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    x, truth = blobs(6, 20, 8, noise=0.1)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "images.npy", np.repeat((truth * 40).astype(np.uint8), 64).reshape(-1, 8, 8))
    store = open_features(tmp_path / "x.npy")
    centres = kmeans(store, KMeansConfig(k=6, init="k-means++"))
    return store, centres, label_features(store, centres, top=3)


def test_page_tells_each_cluster_with_its_nearest_and_furthest_rows(bank: Bank, tmp_path: Path) -> None:
    store, centres, labels = bank
    page = ConceptPage.of(*bank, examples=5, edge=2, images=tmp_path / "images.npy")
    assert len(page.data["clusters"]) == 6
    x = unit(store.read(0, store.rows))
    for cluster in page.data["clusters"]:
        cosine = x @ centres.centres_kD[cluster["id"]].astype(np.float64)
        members = np.flatnonzero(labels.labels_nP[:, 0] == cluster["id"])
        order = members[np.argsort(-cosine[members])]
        assert cluster["size"] == len(members) == 20
        assert [int(name) for name, *_ in cluster["near"]] == order[:5].tolist()
        assert [int(name) for name, *_ in cluster["far"]] == order[-2:].tolist()
        assert cluster["score"] == pytest.approx(cosine[members].mean(), abs=1e-4)
    assert sum(bar["clusters"] for bar in page.data["histogram"]) == 6
    assert len(page.data["pictures"]) == 6 * 7
    assert page.data["drawn"]
    assert not page.failures
    few = ConceptPage.of(*bank, clusters=2, images=tmp_path / "images.npy")
    assert len(few.data["clusters"]) == 2


def test_rows_without_a_picture_are_listed(bank: Bank, tmp_path: Path) -> None:
    store, centres, labels = bank
    x = store.read(0, store.rows)
    odd = [f"</script>{i}.png" for i in range(store.rows)]
    write_chunk(tmp_path / "s/a.safetensors", x, odd, [str(tmp_path / name.split(">")[1]) for name in odd])
    write_index(tmp_path / "s", [("a.safetensors", store.rows)], 8, {})
    named = open_features(tmp_path / "s")
    page = ConceptPage.of(named, centres, label_features(named, centres, top=1), examples=1, edge=0)
    assert len(page.failures) == 6
    assert all("MediaNotFoundError" in why for why in page.failures.values())
    assert page.html.count("</script>") == 2, "a name cannot end the data"
    assert not ConceptPage.of(*bank).data["pictures"], "features without media have no pictures"
    np.save(tmp_path / "few.npy", np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(InvalidArgumentError, match=r"uint8 \[120, H, W\]"):
        ConceptPage.of(*bank, images=tmp_path / "few.npy")
    with pytest.raises(ShapeError, match="the 120 rows"):
        ConceptPage.of(
            named,
            centres,
            LabelTable(ids=(), labels_nP=labels.labels_nP[:0], scores_nP=labels.scores_nP[:0], classes=6),
        )
    with pytest.raises(InvalidArgumentError, match="examples"):
        ConceptPage.of(*bank, examples=0)


@pytest.mark.slow
def test_a_browser_shows_it(bank: Bank, tmp_path: Path) -> None:
    page = ConceptPage.of(*bank, images=tmp_path / "images.npy").save(tmp_path / "page.html")
    with chromium() as driver:
        driver.get(page.as_uri())

        def shown() -> list[str]:
            return driver.execute_script("return Array.from(document.querySelectorAll('.cluster'), (e) => e.id)")

        assert len(shown()) == 6
        drawn = "Array.from(document.images).filter((i) => i.complete && i.naturalWidth === 120).length"
        wait_until(driver, f"{drawn} > 10")  # decoded a while after the page says that it is loaded
        set_to = """
            const [name, value] = arguments, control = document.getElementById(name);
            control.value = value;
            for (const kind of ["input", "change"]) control.dispatchEvent(new Event(kind));
        """
        driver.execute_script(set_to, "order", "id")
        assert shown() == [f"cluster-{c}" for c in range(6)]
        driver.execute_script(set_to, "find", "4")
        assert "cluster-4" in shown()
        driver.execute_script(set_to, "find", "no such id")
        assert shown() == []
        wide = driver.execute_script("return document.documentElement.scrollWidth > window.innerWidth")
        assert not wide
        assert not complaints(driver)
