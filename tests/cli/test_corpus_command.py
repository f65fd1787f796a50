"""`ove corpus`: what a person sees of a build that is whole, broken, repeated or wrong."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from calling import call
from small_corpus import write_pictures, write_videos

from onevision_encoder.pretrain import Corpus

SMALL = ("--low", "12.5%", "--high", "50%", "--steps", "4", "--frame-levels", "12.5%,50%")


def test_build_lists_what_fails_and_keeps_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(tmp_path / "m", 3)
    write_videos(tmp_path / "m", 1)
    (tmp_path / "m" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nno more")
    words = ("corpus", "build", tmp_path / "m", "--out", tmp_path / "c", *SMALL, "--licence", "CC0")
    code, out, err = call(capsys, *words)
    assert (code, out) == (1, f"4 samples stored -> {tmp_path / 'c'}\n")
    assert "broken.png" in err
    assert "1 file left out, listed in" in err
    corpus = Corpus(tmp_path / "c")
    assert {corpus.facts(*sample)["licence"] for sample in corpus.samples()} == {"CC0"}
    code, out, _ = call(capsys, *words, "--json")
    told = json.loads(out)
    assert (code, told["stored"], told["kept"], len(told["failed"])) == (1, 0, 4, 1)
    (tmp_path / "m" / "broken.png").unlink()
    code, out, err = call(capsys, *words)
    assert (code, out) == (0, f"0 samples stored, 4 kept -> {tmp_path / 'c'}\n")
    code, _, err = call(capsys, *words, "--modes", "codec")
    assert code == 2
    assert "built with other modes" in err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--modes", "codec,image"), "codec, frames, tiled"),
        (("--low", "40%"), "high"),
        (("--steps", "0"), "steps"),
        (("--workers", "0"), "workers"),
        (("--frame-levels", "8"), "percentages"),
    ],
)
def test_a_wrong_call_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], named: str
) -> None:
    code, _, err = call(capsys, "corpus", "build", write_pictures(tmp_path / "m", 1), "--out", tmp_path / "c", *words)
    assert code == 2
    assert named in err


@pytest.mark.skipif(importlib.util.find_spec("rapidocr") is not None, reason="the extra ocr is there")
def test_words_without_the_extra(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, "corpus", "build", write_pictures(tmp_path / "m", 1), "--out", tmp_path / "c")
    code, _, err = call(capsys, "corpus", "words", tmp_path / "c")
    assert code == 2
    assert 'pip install "onevision-encoder[ocr]"' in err


def test_help_names_the_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = call(capsys, "corpus", "--help")
    assert code == 0
    assert "build" in out
    assert "words" in out
