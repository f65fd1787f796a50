"""`ove corpus label CORPUS --bank BANK --name NAME`: give the samples of a corpus their concepts."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from onevision_encoder.checks import counted


@dataclass(frozen=True, kw_only=True)
class CorpusLabel:
    """Attach the labels that ove concepts label found to the samples of the same names in a corpus.

    Banks that were built of the media that the corpus was built of have the same names. The labels lie beside the
    shards; those of an earlier call for the bank are replaced.
    """

    corpus: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="CORPUS")]
    """Folder that ove corpus build made."""
    bank: Path
    """Folder that ove concepts build and ove concepts label made."""
    name: str
    """What the bank is called in a run: object, motion, ..."""
    missing: Literal["error", "none"] = "error"
    """A sample without a row: refuse, or give it no label."""
    drop_duplicates: bool = False
    """Near-duplicates listed in the bank's duplicates.json get no label, so that one of each group is learned from."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        from onevision_encoder.pretrain import Corpus, attach_labels
        from onevision_encoder.pretrain.duplicates import dropped_ids
        from onevision_encoder.pretrain.labels import LabelTable

        corpus, table = Corpus(self.corpus), LabelTable.load(self.bank)
        dropped = dropped_ids(self.bank) if self.drop_duplicates else frozenset()
        given = attach_labels(corpus, table.without(dropped), self.name, missing=self.missing)
        facts = {"corpus": str(self.corpus), "bank": self.name, "classes": table.classes, "samples": len(corpus)}
        facts |= {"labelled": given, "dropped": len(dropped)}
        if self.json:
            print(json.dumps(facts, indent=2))
            return 0
        without = f", {counted(len(dropped), 'near-duplicate')} without a label" if dropped else ""
        print(f"{given} of {counted(len(corpus), 'sample')} with concepts of {table.classes}{without}: {self.name}")
        return 0
