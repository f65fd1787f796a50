"""`ove concepts label BANK`: the nearest concepts of every row, the rows of every concept, near-duplicates."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tqdm import tqdm

from onevision_encoder.checks import counted
from onevision_encoder.cli.concepts import features_of
from onevision_encoder.cli.results import prepare


@dataclass(frozen=True, kw_only=True)
class ConceptsLabel:
    """Label features by their nearest centres; writes labels.safetensors, index.safetensors and duplicates.json."""

    bank: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BANK")]
    """Folder that ove concepts build made."""
    features: Path | None = None
    """Features to label; left out, those that the bank was made of."""
    out: Path | None = None
    """Folder to write to; left out, the bank's."""
    top: int = 10
    """Labels of a row; fewer where the bank has fewer centres."""
    near: int | None = None
    """Look among the children of so many nearest parents (banks of two levels) instead of all centres."""
    duplicates: float = 0.95
    """Cosine at and above which rows are near-duplicates; 0 = do not look for them."""
    columns: int = 2
    """Rows that share one of so many first labels are compared."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        from onevision_encoder.evaluate import joined
        from onevision_encoder.pretrain import Centres, find_duplicates, label_features

        out = self.out or self.bank
        prepare(out)
        store, centres = features_of(self.bank, self.features), Centres.load(self.bank)
        top = min(self.top, len(centres)) if self.top > 0 else self.top
        with joined() as team:
            hidden = True if self.json or not team.leads else None
            with tqdm(desc="label", unit="row", total=store.rows, disable=hidden, file=sys.stderr) as bar:
                labels = label_features(store, centres, top=top, near=self.near, tick=bar.update)
            if not team.leads:
                return 0
        facts: dict[str, Any] = {"out": str(out), "rows": len(labels), "labels": top, **labels.provenance}
        facts.pop("made_by", None)
        if self.duplicates:
            with tqdm(desc="duplicates", unit="cluster", disable=hidden, file=sys.stderr) as bar:
                columns = min(self.columns, top)
                found = find_duplicates(store, labels, threshold=self.duplicates, columns=columns, tick=bar.update)
            found.save(out, labels.ids)
            facts |= {"duplicates": len(found.dropped), "groups": len(found.groups)}
        labels.index().save(out)
        labels.save(out)
        if self.json:
            print(json.dumps(facts, indent=2))
            return 0
        print(f"{counted(len(labels), 'row')} with {counted(top, 'label')} each, searched among {facts['search']}")
        if "recall" in facts:
            print(f"of the exact labels this finds {100 * facts['recall'][f'top {top}']:.2f} %, of a sample of rows")
        if self.duplicates:
            groups = counted(facts["groups"], "group")
            print(f"near-duplicates: {facts['duplicates']} to drop, of {groups}, listed in duplicates.json")
        print(f"-> {out}")
        return 0
