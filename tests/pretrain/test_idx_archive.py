"""Archives of small pictures, whole and picture by picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from idx_files import idx
from PIL import Image
from small_corpus import small_config

from onevision_encoder.errors import MediaNotFoundError, UnreadableMediaError
from onevision_encoder.pretrain import Corpus, build_corpus, extract_features
from onevision_encoder.pretrain.concept_pictures import pictures_of
from onevision_encoder.pretrain.corpus_sources import Item
from onevision_encoder.pretrain.feature_extract import items_of, medium_of
from onevision_encoder.pretrain.handmade import EdgesAndColours
from onevision_encoder.pretrain.idx_archive import read_idx
from onevision_encoder.tokens import TokenizeConfig

READING = TokenizeConfig.of(num_frames=1, max_patches=16)


def test_idx_archives_that_are_cut_or_of_another_kind(tmp_path: Path) -> None:
    archive = idx(np.zeros((3, 4, 4)), tmp_path / "t-images-idx3-ubyte")
    idx(np.zeros(2), tmp_path / "t-labels-idx1-ubyte")
    with pytest.raises(UnreadableMediaError, match="2 labels for 3 pictures"):
        read_idx(archive)
    (tmp_path / "t-labels-idx1-ubyte").unlink()
    assert read_idx(archive)[1] is None
    archive.write_bytes(archive.read_bytes()[:-1])
    with pytest.raises(UnreadableMediaError, match="cut short"):
        read_idx(archive)
    archive.write_bytes(b"\x1f\x8bjunk")
    with pytest.raises(UnreadableMediaError, match="unpacked"):
        read_idx(archive)
    archive.write_bytes(b"RIFF1234")
    with pytest.raises(UnreadableMediaError, match="not an IDX archive"):
        read_idx(archive)


def test_features_of_an_archive_are_those_of_its_pictures(tmp_path: Path) -> None:
    """Under the ids that a corpus of it gives them, so that labels made of the features find their samples."""
    place = tmp_path / "mnist"
    place.mkdir()
    pictures = np.random.default_rng(0).integers(0, 256, (11, 28, 28), dtype=np.uint8)
    archive = idx(pictures, place / "train-images-idx3-ubyte.gz")
    items = items_of(Item(id=f"mnist/{archive.name}", path=archive))
    store = extract_features(items, EdgesAndColours(), tmp_path / "of archive", reading=READING)
    files = []
    for n, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{n}.png")
        files += items_of(Item(id=f"{n}", path=tmp_path / f"{n}.png"))
    expected = extract_features(files, EdgesAndColours(), tmp_path / "of files", reading=READING)
    np.testing.assert_array_equal(store.read(0, 11), expected.read(0, 11))
    build_corpus([place], tmp_path / "corpus", small_config())
    assert store.ids() == [entry.facts["id"] for _, entry in Corpus(tmp_path / "corpus").samples()]
    draw = pictures_of(store, None)
    assert draw is not None
    assert draw(3).startswith("data:image/jpeg")


def test_a_picture_that_an_archive_does_not_hold(tmp_path: Path) -> None:
    archive = idx(np.zeros((3, 4, 4)), tmp_path / "t-images-idx3-ubyte")
    with pytest.raises(MediaNotFoundError, match="holds 3 pictures"):
        medium_of(Path(f"{archive}#3"))
    gone = Item(id="gone", path=tmp_path / "u-images-idx3-ubyte#0")
    first = items_of(Item(id="t", path=archive))[0]
    store = extract_features([gone, first], EdgesAndColours(), tmp_path / "f", reading=READING)
    assert list(store.failures) == ["gone"]


def test_an_archive_that_cannot_be_read_is_listed_and_the_rest_is_done(tmp_path: Path) -> None:
    whole = idx(np.arange(2 * 28 * 28).reshape(2, 28, 28) % 251, tmp_path / "t-images-idx3-ubyte")
    cut = tmp_path / "u-images-idx3-ubyte"
    cut.write_bytes(whole.read_bytes()[:-1])
    items = [item for path in (cut, whole) for item in items_of(Item(id=path.name, path=path))]
    store = extract_features(items, EdgesAndColours(), tmp_path / "f", reading=READING)
    assert store.rows == 2
    assert list(store.failures) == [cut.name]
    assert "cut short" in store.failures[cut.name]


def test_a_whole_archive_is_no_picture(tmp_path: Path) -> None:
    archive = idx(np.zeros((3, 4, 4)), tmp_path / "t-images-idx3-ubyte")
    with pytest.raises(UnreadableMediaError, match="archive of 3 pictures"):
        medium_of(archive)
