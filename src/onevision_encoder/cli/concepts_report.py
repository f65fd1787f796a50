"""`ove concepts report BANK --out page.html`: one page of what the clusters of a bank hold."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

from onevision_encoder.checks import counted
from onevision_encoder.cli.batch import FAILED
from onevision_encoder.cli.concepts import features_of
from onevision_encoder.cli.results import prepare
from onevision_encoder.errors import InvalidArgumentError


@dataclass(frozen=True, kw_only=True)
class ConceptsReport:
    """Write one self-contained HTML page of a labelled bank: balance, and clusters with examples."""

    bank: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="BANK")]
    """Folder that ove concepts build made and ove concepts label labelled."""
    out: Path = Path("concepts.html")
    """Page to write."""
    features: Path | None = None
    """Features that were labelled; left out, those that the bank was made of."""
    labels: Path | None = None
    """Folder of the labels; left out, the bank's."""
    images: Path | None = None
    """A .npy of pictures, uint8 [n, H, W] or [n, H, W, 3], where the features were not made of media."""
    clusters: int = 60
    """Clusters to show, evenly spread over the sizes."""
    examples: int = 12
    """Rows of each, nearest to the centre first."""
    edge: int = 4
    """And so many of the furthest."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        from onevision_encoder.pretrain import Centres, ConceptPage, LabelTable

        if self.out.suffix.lower() not in (".html", ".htm"):
            raise InvalidArgumentError("out", str(self.out), "a file name that ends in .html")
        prepare(self.out.parent)
        store, centres = features_of(self.bank, self.features), Centres.load(self.bank)
        table = LabelTable.load(self.labels or self.bank)
        with tqdm(desc="report", unit="cluster", disable=True if self.json else None, file=sys.stderr) as bar:
            page = ConceptPage.of(
                store,
                centres,
                table,
                clusters=self.clusters,
                examples=self.examples,
                edge=self.edge,
                images=self.images,
                title=self.bank.resolve().name,
                tick=bar.update,
            )
        page.save(self.out)
        shown, pictures = len(page.data["clusters"]), len(page.data["pictures"])
        if self.json:
            told = {"out": str(self.out), "clusters": shown, "pictures": pictures, "failed": dict(page.failures)}
            print(json.dumps(told, indent=2))
        else:
            print(f"{counted(shown, 'cluster')} with {counted(pictures, 'picture')} -> {self.out}")
        for name, why in sorted(page.failures.items()):
            print(f"ove: no picture of {name}: {why}", file=sys.stderr)
        return FAILED if page.failures else 0
