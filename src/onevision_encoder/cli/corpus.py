"""`ove corpus VERB`: the verbs that make what a model is trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def corpus_verbs() -> dict[str, Callable[..., Any]]:
    """Verb -> its options."""
    from onevision_encoder.cli.corpus_build import CorpusBuild
    from onevision_encoder.cli.corpus_label import CorpusLabel
    from onevision_encoder.cli.corpus_words import CorpusWords

    return {"build": CorpusBuild, "label": CorpusLabel, "words": CorpusWords}


@dataclass(frozen=True, kw_only=True)
class CorpusVerbs:
    """Make what a model is trained on: build, label, words (see ove corpus --help)."""

    def run(self) -> int:
        raise AssertionError("words after corpus are parsed by the verbs of corpus_verbs()")
