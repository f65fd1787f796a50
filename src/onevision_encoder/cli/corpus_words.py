"""`ove corpus words CORPUS... --out FILE`: read the words in pictures and count a vocabulary."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from onevision_encoder.checks import counted


@dataclass(frozen=True, kw_only=True)
class CorpusWords:
    """Read the words in the pictures of corpora (needs the extra ocr), and count them into a vocabulary.

    The words stay beside the shards with their places, so that a crop knows which of them it shows.
    """

    corpora: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="CORPUS")]
    """Folders that ove corpus build made."""
    out: Path = Path("vocabulary.json")
    """The vocabulary: its words are the classes of the text bank."""
    least: int = 2
    """Pictures that a word must stand in to become a class."""
    most: int | None = None
    """Classes at most: the most frequent words."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        from onevision_encoder.pretrain.corpus import Corpus
        from onevision_encoder.pretrain.text import RapidOcrReader, corpus_words, read_texts
        from onevision_encoder.pretrain.vocabulary import build_vocabulary

        corpora, reader = [Corpus(folder) for folder in self.corpora], RapidOcrReader()
        hidden = True if self.json else None
        with tqdm(desc="words", unit="picture", disable=hidden, file=sys.stderr) as bar:
            read = sum(read_texts(corpus, reader, tick=bar.update) for corpus in corpora)
        pictures = (words for corpus in corpora for words in corpus_words(corpus))
        vocabulary = build_vocabulary(pictures, least=self.least, most=self.most)
        vocabulary.save(self.out)
        if self.json:
            told = {"out": str(self.out), "read": read, "pictures": vocabulary.pictures, "classes": len(vocabulary)}
            print(json.dumps({**told, "reader": reader.name}, indent=2))
        else:
            found = f"{counted(len(vocabulary), 'word')} in {counted(vocabulary.pictures, 'picture')}"
            print(f"{found}, {read} of them read now by {reader.name} -> {self.out}")
        return 0
