"""Building corpora: what goes in comes out, interruptions leave no trace, nothing that is broken stops the rest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from clips import moving_square, textured, write_video
from idx_files import idx
from PIL import Image
from small_corpus import small_config, write_pictures, write_videos

from onevision_encoder.errors import CorpusError, InvalidArgumentError, ShardError, WriteError
from onevision_encoder.pretrain import Corpus, CorpusConfig, build_corpus
from onevision_encoder.pretrain.text import image_of
from onevision_encoder.tokens.pipeline import TokenizeConfig
from onevision_encoder.video import fingerprint, read_media


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 pictures, 2 videos, a text that is none, two broken files."""
    place = tmp_path_factory.mktemp("made") / "media"
    write_pictures(place / "a", 12)
    write_videos(place / "b", 2)
    (place / "a" / "broken.jpg").write_bytes((place / "a" / "p01.jpg").read_bytes()[:300])
    (place / "b" / "broken.mp4").write_bytes(b"no video at all")
    (place / "README.txt").write_text("not media")
    return place


def test_folders_of_classes_do_not_make_shards_of_one_class(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pictures(tmp_path / "m" / name, 20)
    build_corpus([tmp_path / "m"], tmp_path / "c", small_config(shard_samples=20))
    first = [entry.facts["id"].split("/")[1] for shard, entry in Corpus(tmp_path / "c").samples()][:20]
    assert 4 <= first.count("a") <= 16


def test_what_is_broken_is_listed_and_the_rest_is_stored(media: Path, tmp_path: Path) -> None:
    ticks: list[int] = []
    report = build_corpus(
        [media], tmp_path, small_config(), licence="CC0", origin="made here", tick=lambda: ticks.append(1)
    )
    assert (report.stored, len(report.failed), len(ticks)) == (14, 2, 16)
    listed = [json.loads(line) for line in (tmp_path / "failures.jsonl").read_text().splitlines()]
    assert [row["id"] for row in listed] == ["media/a/broken.jpg", "media/b/broken.mp4"]
    corpus = Corpus(tmp_path)
    assert len(corpus) == 14
    assert [row.samples for row in corpus.shards] == [5, 5, 4]
    for shard, entry in corpus.samples():
        facts = corpus.facts(shard, entry)
        path = media.parent / facts["id"]
        assert (facts["licence"], facts["origin"], facts["kind"]) == ("CC0", "made here", entry.facts["kind"])
        frames = read_media(path)
        assert (facts["width"], facts["height"]) == (frames.source.width, frames.source.height)
        if facts["kind"] == "image":
            wanted = np.asarray(Image.open(path).convert("RGB"))
            np.testing.assert_array_equal(image_of(shard, entry), wanted)
        else:
            assert facts["frame_index"] == frames.frame_index_T.tolist()
            assert facts["pts_seconds"] == frames.pts_seconds_T.tolist()
            assert sorted(entry.members) == ["codec.safetensors", "frames.safetensors", "json"]
            assert facts["modes"]["tiled"] == facts["modes"]["frames"]
    corpus.verify()


def test_an_interrupted_build_ends_with_the_same_bytes(media: Path, tmp_path: Path) -> None:
    build_corpus([media], tmp_path / "whole" / "c", small_config())
    count = 0

    def stop() -> None:
        nonlocal count
        count += 1
        if count in (3, 9):
            raise KeyboardInterrupt

    out = tmp_path / "parts" / "c"
    reports = [build_corpus([media], out, small_config(), tick=stop) for _ in range(3)]
    assert [report.interrupted for report in reports] == [True, True, False]
    assert content(out) == content(tmp_path / "whole" / "c")
    again = build_corpus([media], out, small_config(), workers=2)
    assert (again.stored, again.kept, len(again.failed)) == (0, 14, 2)
    assert content(out) == content(tmp_path / "whole" / "c")


def test_threads_change_nothing(media: Path, tmp_path: Path) -> None:
    build_corpus([media], tmp_path / "one" / "c", small_config())
    build_corpus([media], tmp_path / "three" / "c", small_config(), workers=3)
    assert content(tmp_path / "three" / "c") == content(tmp_path / "one" / "c")


def test_media_are_added_repaired_and_never_replaced(tmp_path: Path) -> None:
    folder, out = write_pictures(tmp_path / "p", 3), tmp_path / "c"
    (folder / "late.png").write_bytes(b"")
    assert len(build_corpus([folder], out, small_config()).failed) == 1
    Image.fromarray(textured(20, 20, 9)).save(folder / "late.png")
    report = build_corpus([folder], out, small_config())
    assert (report.stored, report.kept, report.failed) == (1, 3, [])
    assert (out / "failures.jsonl").read_text() == ""
    keys = [entry.key for _, entry in Corpus(out).samples()]
    assert keys == [f"{n:08d}" for n in range(4)]
    Image.fromarray(textured(21, 20, 9)).save(folder / "late.png")
    (failure,) = build_corpus([folder], out, small_config()).failed
    assert "has changed since it was stored" in failure["message"]
    with pytest.raises(InvalidArgumentError, match="built with other image_side, steps"):
        build_corpus([folder], out, small_config(steps=5, image_side=32))


def test_a_shard_that_is_gone_is_made_again(tmp_path: Path) -> None:
    folder, out = write_pictures(tmp_path / "p", 7), tmp_path / "c"
    build_corpus([folder], out, small_config(shard_samples=3))
    (out / "shard-000001.tar").unlink()
    with pytest.raises(ShardError, match=r"shard-000001\.tar: no such shard.*ove corpus build"):
        Corpus(out)
    report = build_corpus([folder], out, small_config(shard_samples=3))
    assert (report.lost, report.stored, report.kept) == (["shard-000001.tar"], 3, 4)
    corpus = Corpus(out)
    assert {entry.facts["id"] for _, entry in corpus.samples()} == {f"p/{p.name}" for p in folder.iterdir()}
    assert len({entry.key for _, entry in corpus.samples()}) == 7
    corpus.verify()


def test_a_full_disk_keeps_what_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = write_pictures(tmp_path / "p", 7), tmp_path / "c"
    whole, written = Path.replace, 0

    def full(path: Path, target: Path) -> Path:
        nonlocal written
        written += target.suffix == ".tar"
        if written == 2:
            raise OSError(28, "No space left on device")
        return whole(path, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(WriteError, match="No space left"):
        build_corpus([folder], out, small_config(shard_samples=3))
    monkeypatch.undo()
    assert len(Corpus(out)) == 3
    assert not list(out.glob("*.part*"))
    report = build_corpus([folder], out, small_config(shard_samples=3))
    assert (report.stored, report.kept) == (4, 3)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_archives_with_their_classes(tmp_path: Path, ending: str) -> None:
    place = tmp_path / "mnist"
    place.mkdir()
    pictures = np.random.default_rng(0).integers(0, 256, (12, 9, 7))
    archive = idx(pictures, place / f"train-images-idx3-ubyte{ending}")
    idx(np.arange(12) % 10, place / f"train-labels-idx1-ubyte{ending}")
    report = build_corpus([place], tmp_path / "c", small_config())
    assert report.stored == 12
    corpus = Corpus(tmp_path / "c")
    for n, (shard, entry) in enumerate(corpus.samples()):
        assert entry.facts["id"] == f"mnist/{archive.name}#{n:02d}"
        assert entry.facts["class"] == n % 10
        np.testing.assert_array_equal(image_of(shard, entry)[:, :, 1], pictures[n])
    assert build_corpus([place], tmp_path / "c", small_config()).kept == 12


def test_pictures_are_shrunk_and_turned_upright_on_demand(tmp_path: Path) -> None:
    place = tmp_path / "p"
    place.mkdir()
    picture = Image.fromarray(textured(40, 60, 1))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    picture.save(place / "turned.png", exif=exif)
    picture.save(place / "plain.png")
    build_corpus([place], tmp_path / "c", small_config(image_side=20))
    corpus = Corpus(tmp_path / "c")
    sizes = {entry.facts["id"]: image_of(shard, entry).shape for shard, entry in corpus.samples()}
    assert sizes == {"p/plain.png": (20, 30, 3), "p/turned.png": (30, 20, 3)}
    facts = [corpus.facts(*sample) for sample in corpus.samples()]
    assert [(f["width"], f["stored_width"]) for f in facts] == [(60, 30), (40, 20)]
    build_corpus([place], tmp_path / "kept", small_config())
    kept = Corpus(tmp_path / "kept")
    for shard, entry in kept.samples():
        assert shard.read(entry, "png") == (place.parent / entry.facts["id"]).read_bytes()
        wanted = read_media(place.parent / entry.facts["id"]).source
        assert image_of(shard, entry).shape == (wanted.height, wanted.width, 3)


@pytest.mark.parametrize(("modes", "stored"), [(("tiled",), ["tiled"]), (("frames",), ["frames"])])
def test_one_mode_alone(tmp_path: Path, modes: tuple[str, ...], stored: list[str]) -> None:
    clip = write_video(tmp_path / "v.mp4", moving_square(4, 56, 56, side=14))
    report = build_corpus([clip], tmp_path / "c", small_config(modes=modes, frame_levels=("25%", "50%")))
    assert not report.failed
    (sample,) = Corpus(tmp_path / "c").samples()
    assert [name for name in sample[1].members if name != "json"] == [f"{mode}.safetensors" for mode in stored]
    assert fingerprint(str(clip))  # the source is still whole


def test_what_a_corpus_cannot_be_built_with(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidArgumentError, match="a folder that holds videos, pictures"):
        build_corpus([tmp_path / "empty"], tmp_path / "c")
    with pytest.raises(InvalidArgumentError, match="at least one file"):
        build_corpus([], tmp_path / "c")
    for place in ("x", "y"):
        write_pictures(tmp_path / place / "same", 1)
    with pytest.raises(InvalidArgumentError, match=r"would both be called 'same/p00\.png'"):
        build_corpus([tmp_path / "x" / "same", tmp_path / "y" / "same"], tmp_path / "c")
    (failure,) = build_corpus([tmp_path / "none.png"], tmp_path / "c").failed
    assert failure["error"] == "MediaNotFoundError"
    for wrong in (
        {"modes": ("codec", "codec")},
        {"modes": ()},
        {"modes": ("image",)},
        {"low": "30%"},
        {"low": "8"},
        {"steps": 0},
        {"frame_levels": ()},
        {"recode": "gif"},
        {"image_side": 0},
        {"reading": TokenizeConfig.of(budget=8)},
        {"reading": TokenizeConfig.of(policy="uniform")},
    ):
        with pytest.raises(InvalidArgumentError):
            CorpusConfig(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 7}', '{"schema": 1, "name": "c", "request": {}}'])
def test_a_manifest_of_another_kind_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(CorpusError, match="no such corpus"):
        Corpus(tmp_path)
    (tmp_path / "corpus.json").write_text(text)
    with pytest.raises(CorpusError, match=r"corpus\.json"):
        Corpus(tmp_path)
