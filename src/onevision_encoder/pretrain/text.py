"""Reading the words in pictures, and keeping them beside the shards of a corpus.

``shard-000012.words.json`` holds ``schema``, ``reader`` (what read them) and ``words``: key -> [[text, left, top,
right, bottom, score], ...], boxes as shares of the picture upright. A picture without text has an empty list.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import CorpusError, MissingExtraError
from onevision_encoder.pretrain.corpus import Corpus
from onevision_encoder.pretrain.samples import decode_image
from onevision_encoder.pretrain.shards import Entry, Shard
from onevision_encoder.pretrain.versioned_json import read_versioned_json
from onevision_encoder.pretrain.vocabulary import WORD, Word
from onevision_encoder.tokens.files import write_atomically

SCHEMA = 1


class TextReader(Protocol):
    """Reads the words of one picture."""

    @property
    def name(self) -> str:
        """What reads, with its version: recorded beside the words."""
        ...

    def __call__(self, rgb_HW3: NDArray[np.uint8]) -> Sequence[Word]:
        """Words of uint8 RGB [H, W, 3]; none where there is no text."""
        ...


class RapidOcrReader:
    """PP-OCR by RapidOCR: its models come inside its wheel, nothing is downloaded.

    Raises:
        MissingExtraError: RapidOCR or onnxruntime is not installed.
    """

    def __init__(self) -> None:
        packages = [name for name in ("rapidocr", "onnxruntime") if importlib.util.find_spec(name) is None]
        if packages:
            raise MissingExtraError("ocr", packages, "reading words in pictures")
        from rapidocr import RapidOCR

        logging.getLogger("RapidOCR").setLevel(logging.ERROR)  # a picture without text is no event
        self._engine: Any = RapidOCR(params={"Global.log_level": "error"})
        self.name = f"rapidocr {version('rapidocr')}"

    def __call__(self, rgb_HW3: NDArray[np.uint8]) -> Sequence[Word]:
        height, width = rgb_HW3.shape[:2]
        bgr_HW3 = np.ascontiguousarray(rgb_HW3[:, :, ::-1])
        # Lines, not its own boxes of words: those are missing for all lines where one of them has none.
        found = self._engine(bgr_HW3, return_word_box=False)
        if found.txts is None:
            return []
        words: list[Word] = []
        for text, corners, score in zip(found.txts, found.boxes, found.scores, strict=True):
            words += split_line(text, np.asarray(corners, np.float64) / (width, height), float(score))
        return words


def split_line(text: str, corners_42: NDArray[np.float64], score: float) -> list[Word]:
    """Words of a line of text: what spaces part, and Han and kana one by one.

    Each takes the part of the line that its letters take of all (Han, kana and full-width letters count twice).

    Args:
        corners_42: (x, y) as shares of the picture: top left, top right, bottom right, bottom left as the line is read.
    """
    ends = np.cumsum([0] + [2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text], dtype=np.float64)
    ends /= ends[-1] or 1
    top_left, top_right, bottom_right, bottom_left = corners_42
    words = []
    for match in WORD.finditer(text):
        begin, end = ends[match.start()], ends[match.end()]
        along = np.array([begin, end, begin, end])[:, None]
        left, right = np.array([top_left] * 2 + [bottom_left] * 2), np.array([top_right] * 2 + [bottom_right] * 2)
        xy_42 = (left + along * (right - left)).clip(0, 1)
        (x0, y0), (x1, y1) = xy_42.min(0).tolist(), xy_42.max(0).tolist()
        words.append(Word(text=match[0], box=(x0, y0, x1, y1), score=score))
    return words


def read_texts(corpus: Corpus, reader: TextReader, *, tick: Callable[[], object] = lambda: None) -> int:
    """Read the words of every picture of a corpus; shards that have been read by this reader are kept.

    Returns:
        The number of pictures that were read now. Videos have no words.
    Raises:
        CorpusError: a picture that cannot be read. WriteError.
    """
    number = 0
    for place in range(len(corpus.shards)):
        shard = corpus.shard(place)
        if words_path(shard.path).is_file():
            there = _load(words_path(shard.path))
            if (there["reader"], there.get("shard")) == (reader.name, shard.digest):
                continue
        words: dict[str, list[Any]] = {}
        for entry in shard.entries:
            if entry.facts["kind"] == "image":
                words[entry.key] = [[w.text, *w.box, w.score] for w in reader(image_of(shard, entry))]
                number += 1
                tick()
        told = {"schema": SCHEMA, "reader": reader.name, "shard": shard.digest, "words": words}
        write_atomically(words_path(shard.path), json.dumps(told, ensure_ascii=False, sort_keys=True).encode())
    return number


def image_of(shard: Shard, entry: Entry) -> NDArray[np.uint8]:
    """The stored picture of a sample: upright uint8 RGB [H, W, 3]. Raises ShardError, UnreadableMediaError."""
    suffix = str(entry.facts["suffix"])
    return decode_image(f"{shard.path}: {entry.key}.{suffix}", shard.read(entry, suffix))[0]


def words_path(shard: Path) -> Path:
    """``shard-000012.words.json`` beside ``shard-000012.tar``."""
    return shard.with_suffix(".words.json")


def has_words(corpus: Corpus) -> bool:
    """Whether the words of any shard were read."""
    return any(words_path(corpus.folder / row.name).is_file() for row in corpus.shards)


def load_words(shard: Path, digest: str) -> dict[str, tuple[Word, ...]]:
    """Key -> words, of every picture of a shard whose digest is ``digest``.

    Raises:
        CorpusError: no words, or those of what the shard held before it was made anew.
    """
    path = words_path(shard)
    found = _load(path)
    if found.get("shard") != digest:
        raise CorpusError(path, f"words of what {shard.name} held before it was made anew: read the texts again")
    try:
        return {
            key: tuple(Word(text=str(r[0]), box=(r[1], r[2], r[3], r[4]), score=float(r[5])) for r in rows)
            for key, rows in found["words"].items()
        }
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise CorpusError(path, f"not a file of words: {error!r}; remove it and read the texts again") from error


def corpus_words(corpus: Corpus) -> Iterator[tuple[Word, ...]]:
    """Words of every picture, shard by shard: what :func:`build_vocabulary` counts. Raises CorpusError."""
    for row in corpus.shards:
        yield from load_words(corpus.folder / row.name, row.blake2b).values()


def _load(path: Path) -> Mapping[str, Any]:
    return read_versioned_json(
        path,
        SCHEMA,
        "words",
        error=CorpusError,
        missing=lambda: "the words of this shard were not read: read_texts() does",
        broken=lambda cause: f"cannot be read: {cause}; remove it and read the texts again",
    )
