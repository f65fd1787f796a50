"""Words to classes: counted, normalised, and only those that a crop shows."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path, PurePath

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from small_corpus import small_config, write_pictures

from onevision_encoder.errors import CorpusError, InvalidArgumentError, MissingExtraError
from onevision_encoder.pretrain import Corpus, Vocabulary, Word, build_corpus, build_vocabulary, read_texts, text_labels
from onevision_encoder.pretrain.text import RapidOcrReader, corpus_words, has_words, load_words, split_line, words_path
from onevision_encoder.pretrain.vocabulary import tokens_of


def word(text: str, box: tuple[float, float, float, float] = (0.1, 0.1, 0.2, 0.2), score: float = 0.9) -> Word:
    return Word(text=text, box=box, score=score)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("“Hello,” WORLD!", ["hello", "world"]),
        ("3.5 km/h", ["3.5", "km/h"]),
        ("ＦＵＬＬ　ｗｉｄｔｈ", ["full", "width"]),
        ("Straße", ["strasse"]),
        ("出口EXIT2", ["出", "口", "exit2"]),
        ("don't - stop", ["don't", "stop"]),
        ("...", []),
        ("カフェ", ["カ", "フ", "ェ"]),
    ],
)
def test_tokens(text: str, tokens: list[str]) -> None:
    assert tokens_of(text) == tokens


def test_tokens_of_any_text_are_their_own_tokens() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        text = "".join(map(chr, rng.choice([*range(0x20, 0x250), *range(0x3040, 0x3100), *range(0x4E00, 0x4E80)], 20)))
        for token in tokens_of(text):
            assert tokens_of(token) == [token]
            assert not any(sign.isspace() for sign in token)


def test_a_vocabulary_counts_pictures_and_keeps_the_frequent(tmp_path: Path) -> None:
    pictures = [
        [word("Exit"), word("exit")],
        [word("EXIT now")],
        [word("now"), word("rare")],
        [word("exit", score=0.2)],
        [],
    ]
    vocabulary = build_vocabulary(pictures)
    assert (vocabulary.tokens, vocabulary.counts, vocabulary.pictures) == (("exit", "now"), (2, 2), 5)
    assert build_vocabulary(pictures, least=1).tokens == ("exit", "now", "rare")
    assert build_vocabulary(pictures, most=1).tokens == ("exit",)
    assert [vocabulary.class_of(token) for token in ("exit", "now", "rare")] == [0, 1, -1]
    vocabulary.save(tmp_path / "v.json")
    assert Vocabulary.load(tmp_path / "v.json") == vocabulary
    for broken in ("", "[]", '{"schema": 2}', '{"schema": 1, "tokens": ["a"], "counts": [], "pictures": 1}'):
        (tmp_path / "v.json").write_text(broken)
        with pytest.raises(CorpusError, match=r"v\.json"):
            Vocabulary.load(tmp_path / "v.json")
    with pytest.raises(InvalidArgumentError):
        build_vocabulary([], least=0)


def test_a_crop_has_the_labels_it_shows() -> None:
    rng = np.random.default_rng(0)
    vocabulary = Vocabulary(tokens=tuple(f"t{n}" for n in range(50)), counts=(1,) * 50, pictures=1)
    for _ in range(50):
        corners = np.sort(rng.random((30, 2, 2)), axis=1)
        words = [word(f"T{rng.integers(60)}", (x0, y0, x1, y1)) for (x0, y0), (x1, y1) in corners.tolist()]
        (left, top), (right, bottom) = np.sort(rng.random((2, 2)), axis=0).tolist()
        got = text_labels(words, vocabulary, crop=(left, top, right, bottom), slots=12)
        shown = set()
        for w in words:
            x0, y0, x1, y1 = w.box
            if left <= x0 and x1 <= right and top <= y0 and y1 <= bottom and int(w.text[1:]) < 50:
                shown.add(int(w.text[1:]))
        wanted = sorted(shown)[:12]
        assert got.tolist() == wanted + [-1] * (12 - len(wanted))


def test_no_text_is_no_label_and_too_many_are_drawn() -> None:
    vocabulary = Vocabulary(tokens=tuple("abcdefgh"), counts=(1,) * 8, pictures=1)
    assert text_labels([], vocabulary).tolist() == [-1] * 100
    words = [word(letter) for letter in "hgfedcba"]
    draw = np.array([0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6, 0.4])
    assert text_labels(words, vocabulary, slots=3, draw=draw).tolist() == [1, 3, 5]
    assert text_labels(words, vocabulary, slots=3).tolist() == [0, 1, 2]
    assert text_labels([word("a", score=0.1)], vocabulary, slots=2).tolist() == [-1, -1]


class Written:
    """Reads what the test wrote: one word for each picture, its height."""

    name = "written 1"
    calls = 0

    def __call__(self, rgb_HW3: NDArray[np.uint8]) -> Sequence[Word]:
        self.calls += 1
        return [word(f"h{rgb_HW3.shape[0]}")] if rgb_HW3.shape[0] % 4 else []


def test_words_stay_beside_the_shards_and_are_read_once(tmp_path: Path) -> None:
    build_corpus([write_pictures(tmp_path / "p", 7)], tmp_path / "c", small_config())
    corpus, reader = Corpus(tmp_path / "c"), Written()
    assert not has_words(corpus)
    with pytest.raises(CorpusError, match=r"read_texts\(\) does"):
        list(corpus_words(corpus))
    assert read_texts(corpus, reader) == 7
    assert read_texts(corpus, reader) == 0
    numbers = [int(PurePath(entry.facts["id"]).stem[1:]) for _, entry in corpus.samples()]
    expected = [(word(f"h{40 + 2 * n}"),) if n % 2 else () for n in numbers]
    assert list(corpus_words(corpus)) == expected
    first = corpus.shard(0)
    assert load_words(first.path, first.digest)["00000001"] == expected[1]
    with pytest.raises(CorpusError, match="made anew"):
        load_words(first.path, "of another shard")
    place = words_path(corpus.shard(1).path)
    place.unlink()
    assert read_texts(corpus, reader) == 2
    for broken in ("{", '{"schema": 1}', '{"schema": 3, "words": {}}', '{"schema": 1, "words": {"a": [["x"]]}}'):
        place.write_text(broken)
        with pytest.raises(CorpusError, match=r"words\.json"):
            load_words(corpus.shard(1).path, corpus.shard(1).digest)
    again = Written()
    again.name = "written 2"
    place.write_text(json.dumps({"schema": 1, "reader": "written 1", "words": {}}))
    assert read_texts(corpus, again) == 7


def drawn(tmp_path: Path) -> NDArray[np.uint8]:
    picture = Image.new("RGB", (480, 160), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(36)
    pen.text((10, 10), "Hello codec", fill="black", font=font)
    pen.text((10, 100), "EXIT 42", fill="red", font=font)
    return np.asarray(picture)


def test_a_line_is_split_where_its_letters_are() -> None:
    level = np.array([[0.1, 0.2], [0.9, 0.2], [0.9, 0.3], [0.1, 0.3]])
    one, two = split_line("ab cdef", level, 0.7)
    assert (one.text, two.text, two.score) == ("ab", "cdef", 0.7)
    np.testing.assert_allclose(one.box, (0.1, 0.2, 0.1 + 0.8 * 2 / 7, 0.3))
    np.testing.assert_allclose(two.box, (0.1 + 0.8 * 3 / 7, 0.2, 0.9, 0.3))
    assert [w.text for w in split_line("出口 EXIT", level, 1)] == ["出", "口", "EXIT"]
    np.testing.assert_allclose(split_line("出口 EXIT", level, 1)[1].box[::2], (0.1 + 0.8 * 2 / 9, 0.1 + 0.8 * 4 / 9))
    upwards = np.array([[0.4, 0.9], [0.4, 0.1], [0.5, 0.1], [0.5, 0.9]])  # read from the bottom to the top
    np.testing.assert_allclose(split_line("ab cd", upwards, 1)[0].box, (0.4, 0.9 - 0.8 * 2 / 5, 0.5, 0.9))
    assert split_line("  ", level, 1) == []


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason='needs the extra "ocr"')
def test_rapidocr_reads_what_was_drawn_where_it_was_drawn(tmp_path: Path) -> None:
    reader, picture = RapidOcrReader(), drawn(tmp_path)
    words = {w.text.casefold(): w for w in reader(picture)}
    assert set(words) == {"hello", "codec", "exit", "42"}
    for text, w in words.items():
        left, top, right, bottom = (share * side for share, side in zip(w.box, (480, 160) * 2, strict=True))
        ink = np.argwhere((picture < 128).any(2)[int(top) : int(bottom) + 1, int(left) : int(right) + 1])
        assert len(ink) > 30, text
    assert words["hello"].box[2] < words["codec"].box[0]
    assert words["exit"].box[1] > words["hello"].box[3]
    assert list(reader(np.full((64, 64, 3), 255, np.uint8))) == []


@pytest.mark.skipif(importlib.util.find_spec("rapidocr") is not None, reason="the extra ocr is there")
def test_without_the_extra_it_says_so() -> None:
    with pytest.raises(MissingExtraError, match=r"rapidocr.*onevision-encoder\[ocr\]"):
        RapidOcrReader()
