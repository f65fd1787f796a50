"""One self-contained HTML page of a bank: how even its clusters are, and what is in them. It opens from disk.

Axes: k centres, n rows, P labels of a row.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder import __version__
from onevision_encoder.checks import require
from onevision_encoder.errors import InvalidArgumentError, OneVisionError
from onevision_encoder.pretrain.centres import Centres, balance
from onevision_encoder.pretrain.concept_pictures import Draw, pictures_of
from onevision_encoder.pretrain.feature_store import FeatureStore
from onevision_encoder.pretrain.labels import LabelTable
from onevision_encoder.tokens.files import write_atomically

STEPS = 24
"""Bars of the histogram of sizes."""


@dataclass(frozen=True, kw_only=True)
class ConceptPage:
    """What the page shows, ready to be written.

    Attributes:
        data: JSON-able. failures: id -> why there is no picture of it; the page lists them.
    """

    data: Mapping[str, Any]
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def html(self) -> str:
        """The whole document."""
        view = resources.files("onevision_encoder.view") / "web" / "page.css"
        web = resources.files(__package__) / "web"
        shown = {**self.data, "failures": [[name, why] for name, why in sorted(self.failures.items())]}
        # "</script>" and "<!--" in a name must not end the block
        text = json.dumps(shown, separators=(",", ":"), allow_nan=False).replace("<", chr(92) + "u003c")
        parts = {
            "VERSION": __version__,
            "TITLE": html.escape(f"{self.data['title']} - concepts"),
            "STYLE": view.read_text(encoding="utf-8") + (web / "concepts.css").read_text(encoding="utf-8"),
            "DATA": f'<script type="application/json" id="data">{text}</script>',
            "SCRIPT": (web / "concepts.js").read_text(encoding="utf-8"),
        }
        pieces = (web / "concepts.html").read_text(encoding="utf-8").split("@")  # the template holds no other @
        return "".join(parts.get(piece, piece) if i % 2 else piece for i, piece in enumerate(pieces))

    def save(self, path: str | Path) -> Path:
        """Write the page, whole or not at all. Raises WriteError."""
        write_atomically(path, self.html.encode("utf-8", "replace"))
        return Path(path)

    @classmethod
    def of(
        cls,
        store: FeatureStore,
        centres: Centres,
        labels: LabelTable,
        *,
        clusters: int = 60,
        examples: int = 12,
        edge: int = 4,
        images: str | Path | None = None,
        title: str | None = None,
        tick: Callable[[int], object] | None = None,
    ) -> ConceptPage:
        """A page of ``clusters`` clusters, evenly spread from the largest to the smallest that holds a row.

        Args:
            examples: rows of a cluster that are shown, nearest first; edge: and so many of the furthest.
            images: a .npy of pictures of the rows; None = a frame of the media that the features were made of. Where
                neither is there the page shows ids.
            tick: called with the clusters done since the last call.
        Raises:
            ShapeError: labels of other rows or centres than these. InvalidArgumentError: a count below 1.
        """
        for name, value, least in (("clusters", clusters, 1), ("examples", examples, 1), ("edge", edge, 0)):
            if value < least:
                raise InvalidArgumentError(name, value, f"at least {least}")
        require(
            len(labels) == store.rows, "labels", f"of {len(labels)} rows", f"of the {store.rows} rows of {store.path}"
        )
        require(labels.classes == len(centres), "labels", f"of {labels.classes} classes", f"of {len(centres)} centres")
        album = _Album(draw=pictures_of(store, images), ids=labels.ids)
        index = labels.index(1)
        sizes_k = np.diff(index.bounds)
        shown = []
        for c in _spread(sizes_k, clusters):
            rows, scores = index.of(c), index.scores[index.bounds[c] : index.bounds[c + 1]]
            near = range(min(examples, len(rows)))
            far = range(max(len(near), len(rows) - edge), len(rows))
            shown.append(
                {
                    "id": c,
                    "size": len(rows),
                    "score": _rounded(scores.mean()),
                    "near": [album.entry(int(rows[i]), float(scores[i])) for i in near],
                    "far": [album.entry(int(rows[i]), float(scores[i])) for i in far],
                }
            )
            if tick:
                tick(1)
        made = dict(centres.provenance)
        data = {
            "title": title or store.path.name,
            "metric": "cosine" if centres.spherical else "minus squared distance",
            "rows": store.rows,
            "width": store.width,
            "balance": balance(sizes_k),
            "histogram": _histogram(sizes_k),
            "history": [row for row in made.get("history", []) if np.isfinite(row["inertia"])],
            "clusters": shown,
            "pictures": album.pictures,
            "drawn": album.draw is not None,
            "facts": _facts(made, labels),
        }
        return cls(data=data, failures=album.failures)


@dataclass
class _Album:
    """Pictures of rows, each once."""

    draw: Draw | None
    ids: tuple[str, ...]
    pictures: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    _place: dict[int, int] = field(default_factory=dict)

    def entry(self, row: int, score: float) -> list[Any]:
        """[id, score, place among the pictures or -1]."""
        if self.draw is not None and row not in self._place:
            try:
                self.pictures.append(self.draw(row))
                self._place[row] = len(self.pictures) - 1
            except OneVisionError as error:
                self.failures[self.ids[row]] = f"{type(error).__name__}: {error}"
                self._place[row] = -1
        return [self.ids[row].encode("utf-8", "replace").decode(), _rounded(score), self._place.get(row, -1)]


def _spread(sizes_k: NDArray[np.int64], count: int) -> list[int]:
    """Clusters that hold a row, by size, evenly spread from the largest to the smallest."""
    order = np.argsort(-sizes_k, kind="stable")
    order = order[sizes_k[order] > 0]
    at = np.unique(np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(np.int64))
    found: list[int] = order[at].tolist()
    return found


def _histogram(sizes_k: NDArray[np.int64]) -> list[dict[str, int]]:
    """Clusters by size: bars of equal width on a logarithmic axis, of whole numbers."""
    top = int(sizes_k.max())
    edges = np.unique(np.round(np.geomspace(1, top + 1, STEPS + 1)).astype(np.int64)) if top else np.array([1, 2])
    bars = [{"from": 0, "to": 0, "clusters": int((sizes_k == 0).sum())}]
    for first, after in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        bars.append({"from": first, "to": after - 1, "clusters": int(((sizes_k >= first) & (sizes_k < after)).sum())})
    return bars


def _facts(made: Mapping[str, Any], labels: LabelTable) -> list[list[str]]:
    """Name and value of how the bank was made."""
    told = {
        **{f"k-means {name}": value for name, value in made.get("config", {}).items()},
        "screening": made.get("screening"),
        "inertia per row": made.get("inertia_per_row"),
        "labels searched among": labels.provenance.get("search"),
        "recall of the search": labels.provenance.get("recall"),
        "features": made.get("features", {}).get("made_by") or "a raw array",
        "version": made.get("version"),
    }
    rows = {name: value for name, value in told.items() if value is not None}
    return [[name, value if isinstance(value, str) else json.dumps(value)] for name, value in rows.items()]


def _rounded(value: float) -> float:
    return round(float(value), 4)
