"""`ove concepts` as a person would call it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from calling import call
from clips import moving_square, write_video

from onevision_encoder.cli import concepts_build
from onevision_encoder.pretrain import Centres, InvertedIndex, LabelTable


@pytest.fixture
def features(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 8)).astype(np.float32)
    x[299] = x[0]
    np.save(tmp_path / "x.npy", x)
    return tmp_path / "x.npy"


def test_from_features_to_a_page(features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bank = tmp_path / "bank"
    code, out, err = call(capsys, "concepts", "build", features, "--k", 12, "--iterations", 4, "--out", bank)
    assert code == 0, err
    assert "12 centres of 300 rows after 4 updates" in out
    assert not (bank / "work").exists()
    assert len(Centres.load(bank)) == 12
    code, out, err = call(capsys, "concepts", "label", bank, "--top", 3, "--duplicates", 0.9999, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["rows"], told["labels"], told["duplicates"], told["search"]) == (300, 3, 1, "all centres")
    assert LabelTable.load(bank).labels_nP.shape == (300, 3)
    assert InvertedIndex.load(bank).bounds[-1] == 900
    assert json.loads((bank / "duplicates.json").read_text())["duplicates"][0]["dropped"] == "299"
    page = tmp_path / "page.html"
    code, out, err = call(capsys, "concepts", "report", bank, "--out", page, "--clusters", 5)
    assert code == 0, err
    assert "5 clusters with 0 pictures" in out
    assert page.read_text().startswith("<!doctype html>")


@pytest.mark.slow
def test_media_that_cannot_be_read_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    media = tmp_path / "media"
    media.mkdir()
    for i in range(3):
        write_video(media / f"{i}.mp4", moving_square(frames=2, height=28, width=28, side=7, seed=i))
    (media / "bad.mp4").write_bytes(b"no video")
    words = ("concepts", "build", media, "--k", 2, "--model", "tiny", "--num-frames", 2, "--max-patches", 4)
    code, out, err = call(capsys, *words, "--out", tmp_path / "bank", "--json")
    assert code == 1
    told = json.loads(out)
    assert told["rows"] == 3
    assert list(told["failed"]) == ["media/bad.mp4"]
    assert "bad.mp4: UnreadableMediaError" in err
    assert "1 source could not be read" in err
    assert call(capsys, "concepts", "label", tmp_path / "bank")[0] == 0
    code, out, _ = call(capsys, "concepts", "report", tmp_path / "bank", "--out", tmp_path / "p.html", "--json")
    assert (code, json.loads(out)["pictures"]) == (0, 3)


def test_an_interrupted_run_says_how_to_go_on(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("concepts", "build", features, "--k", 12, "--iterations", 4, "--out", tmp_path / "bank")

    class Bar(concepts_build.tqdm):  # type: ignore[misc, name-defined]
        def update(self, n: float = 1) -> None:
            self.n += n
            if self.n == 3:
                raise KeyboardInterrupt

    monkeypatch.setattr(concepts_build, "tqdm", Bar)
    code, _, err = call(capsys, *words)
    assert code == 130
    assert "goes on where this one stopped" in err
    assert (tmp_path / "bank/work/flat.safetensors").is_file()
    monkeypatch.undo()
    assert call(capsys, *words)[0] == 0
    assert not (tmp_path / "bank/work").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("build", "FEATURES", "--k", 301, "--out", "OUT"), "k=301 is not accepted: at most 300"),
        (("build", "FEATURES", "FEATURES", "--k", 3, "--out", "OUT"), "media need --model"),
        (("build", "absent.npy", "--k", 3, "--out", "OUT"), "absent.npy: no such features"),
        (("label", "OUT"), "holds no bank.json"),
        (("report", "OUT", "--out", "page.txt"), "ends in .html"),
    ],
)
def test_wrong_calls_say_why(
    features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[object, ...], message: str
) -> None:
    places = {"FEATURES": features, "OUT": tmp_path / "bank"}
    code, _, err = call(capsys, "concepts", *(places.get(w, w) if isinstance(w, str) else w for w in words))
    assert code == 2
    assert message in err
