"""`ove concepts VERB`: a bank of concepts, from media or features to labels and a page of what is in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onevision_encoder.errors import InvalidArgumentError, MediaNotFoundError
from onevision_encoder.tokens.files import write_atomically

if TYPE_CHECKING:
    from onevision_encoder.pretrain import FeatureStore

BANK = "bank.json"


def concept_verbs() -> dict[str, Callable[..., Any]]:
    """Verb -> its options."""
    from onevision_encoder.cli.concepts_build import ConceptsBuild
    from onevision_encoder.cli.concepts_label import ConceptsLabel
    from onevision_encoder.cli.concepts_report import ConceptsReport

    return {"build": ConceptsBuild, "label": ConceptsLabel, "report": ConceptsReport}


@dataclass(frozen=True, kw_only=True)
class Concepts:
    """Make a bank of concepts by clustering features: build, label, report (see ove concepts --help)."""

    def run(self) -> int:
        raise AssertionError("words after concepts are parsed by the verbs of concept_verbs()")


def write_bank(folder: Path, features: Path, facts: Mapping[str, Any]) -> None:
    """Write ``bank.json``: where the features are (relative, where they lie inside the folder), and how it went."""
    inside = features.resolve().is_relative_to(folder.resolve())
    place = features.resolve().relative_to(folder.resolve()) if inside else features.resolve()
    text = json.dumps({"store": place.as_posix(), **facts}, indent=2, sort_keys=True) + "\n"
    write_atomically(folder / BANK, text.encode("utf-8", "surrogateescape"))


def features_of(bank: Path, features: Path | None) -> FeatureStore:
    """The store that a bank was made of, or another one.

    Raises:
        MediaNotFoundError: the folder holds no bank. InvalidArgumentError: its ``bank.json`` cannot be read.
    """
    from onevision_encoder.pretrain import open_features

    if features is not None:
        return open_features(features)
    if not (bank / BANK).is_file():
        raise MediaNotFoundError(bank, f"holds no {BANK}; ove concepts build makes one")
    try:
        place = json.loads((bank / BANK).read_text(encoding="utf-8"))["store"]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidArgumentError("bank", str(bank / BANK), f"a file made by ove concepts build ({error})") from error
    return open_features(bank / place)
