"""Words that are read in pictures become classes: normalised, counted, and joined to a crop of the picture.

Axes: n samples, P label slots of a sample.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import CorpusError, InvalidArgumentError
from onevision_encoder.tokens.files import write_atomically

Box = tuple[float, float, float, float]
"""(left, top, right, bottom) as shares of the picture's width and height, 0 to 1."""
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
SLOTS = 100
"""Labels of a picture at most, as the published encoder's text bank."""
SCHEMA = 1

_SINGLE = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # kana and Han, written without spaces
WORD = re.compile(rf"[{_SINGLE}]|(?:(?![{_SINGLE}])\S)+")
"""What stands by itself in a line."""
_TOKEN = re.compile(rf"[{_SINGLE}]|(?:(?![{_SINGLE}])[^\W_])+(?:['’.,:/-](?:(?![{_SINGLE}])[^\W_])+)*")


@dataclass(frozen=True, kw_only=True)
class Word:
    """A word that was read: what, where in the picture, and how sure the reader is (0 to 1)."""

    text: str
    box: Box
    score: float = 1.0


def tokens_of(text: str) -> list[str]:
    """Normalised tokens: NFKC, case folded, without marks at the ends; Han and kana one by one.

    >>> tokens_of("“Hello,” WORLD! 3.5 出口")
    ['hello', 'world', '3.5', '出', '口']
    """
    return _TOKEN.findall(unicodedata.normalize("NFKC", text).casefold())


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Classes of a text bank: class i is ``tokens[i]``, seen in ``counts[i]`` pictures; the most frequent first."""

    tokens: tuple[str, ...]
    counts: tuple[int, ...]
    pictures: int

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.counts) or len(set(self.tokens)) < len(self.tokens):
            raise InvalidArgumentError("tokens", f"{len(self.tokens)} for {len(self.counts)} counts", "each once")
        object.__setattr__(self, "_class_of", {token: i for i, token in enumerate(self.tokens)})

    def __len__(self) -> int:
        return len(self.tokens)

    def class_of(self, token: str) -> int:
        """Class of a normalised token, -1 where it is none of them."""
        found: int = self.__dict__["_class_of"].get(token, -1)
        return found

    def save(self, path: str | Path) -> None:
        """Write JSON. Raises WriteError."""
        rows = {"schema": SCHEMA, "pictures": self.pictures, "tokens": self.tokens, "counts": self.counts}
        write_atomically(path, (json.dumps(rows, ensure_ascii=False) + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> Vocabulary:
        """Read what :meth:`save` wrote. Raises CorpusError."""
        try:
            rows = json.loads(Path(path).read_bytes())
            if rows["schema"] != SCHEMA:
                raise CorpusError(path, f"schema {rows['schema']!r}; this version reads schema {SCHEMA}")
            return cls(tokens=tuple(rows["tokens"]), counts=tuple(rows["counts"]), pictures=int(rows["pictures"]))
        except (OSError, ValueError, LookupError, TypeError) as error:
            if isinstance(error, CorpusError):
                raise
            raise CorpusError(path, f"not a vocabulary: {error}; build_vocabulary() makes one") from error


def build_vocabulary(
    pictures: Iterable[Sequence[Word]], *, least: int = 2, most: int | None = None, score: float = 0.5
) -> Vocabulary:
    """Count in how many pictures each token stands, and keep the frequent ones.

    Args:
        pictures: words of each picture. least: pictures that a token must stand in. most: classes at most, the most
            frequent ones; of equally frequent ones the first in order of code points. score: words below do not count.
    """
    if least < 1:
        raise InvalidArgumentError("least", least, "at least 1")
    counts: Counter[str] = Counter()
    number = 0
    for words in pictures:
        number += 1
        counts.update({token for word in words if word.score >= score for token in tokens_of(word.text)})
    kept = sorted((-count, token) for token, count in counts.items() if count >= least)[:most]
    return Vocabulary(
        tokens=tuple(token for _, token in kept), counts=tuple(-count for count, _ in kept), pictures=number
    )


def text_labels(
    words: Sequence[Word],
    vocabulary: Vocabulary,
    *,
    crop: Box = WHOLE,
    slots: int = SLOTS,
    score: float = 0.5,
    draw: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """Classes of the words whose box lies inside ``crop``: int64 [slots], rising, each once, then -1.

    Args:
        crop: the part of the picture that is seen; a word that it cuts is not read.
        draw: numbers in [0, 1), ``len(vocabulary)`` of them or more: where there are more classes than slots, those
            with the lowest numbers are taken. None takes the most frequent ones.
    """
    left, top, right, bottom = crop
    inside = (
        w
        for w in words
        if w.score >= score and w.box[0] >= left and w.box[1] >= top and w.box[2] <= right and w.box[3] <= bottom
    )
    classes = np.array(sorted({vocabulary.class_of(t) for w in inside for t in tokens_of(w.text)} - {-1}), np.int64)
    if len(classes) > slots:
        chosen = np.arange(slots) if draw is None else np.argsort(draw[classes], kind="stable")[:slots]
        classes = np.sort(classes[chosen])
    labels = np.full(slots, -1, np.int64)
    labels[: len(classes)] = classes
    return labels
