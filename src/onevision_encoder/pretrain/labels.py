"""Labels: the nearest centres of every row, with scores; and the other way round, the rows of every centre.

Axes: n rows, k centres, P labels of a row, B rows of a chunk, D width.

``labels.safetensors`` holds ``labels`` int32 [n, P] (best first, -1 = none), ``scores`` float32 [n, P] (cosine; of
plain k-means minus the squared distance), and the ids as feature chunks do. ``index.safetensors`` is a compressed
sparse row matrix: the rows of centre c are ``rows``[``bounds``[c] : ``bounds``[c + 1]], best first, and ``scores``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onevision_encoder.checks import freeze, require, require_dtypes, short_repr
from onevision_encoder.errors import InvalidArgumentError, MediaNotFoundError, OneVisionError, ShapeError
from onevision_encoder.evaluate.distributed import team as joined_team
from onevision_encoder.pretrain.attached_labels import NONE, AttachedLabels
from onevision_encoder.pretrain.centres import Centres
from onevision_encoder.pretrain.feature_store import (
    FeatureStore,
    join_names,
    open_features,
    split_names,
    write_tensors,
)
from onevision_encoder.pretrain.kmeans_rows import Rows, check_rows
from onevision_encoder.pretrain.kmeans_tree import TreeSearch
from onevision_encoder.tokens.described import Form

FILE, INDEX_FILE = "labels.safetensors", "index.safetensors"
CENTRES = 4096
"""Of a block of scores."""

CHECKED_ROWS = 1000
"""A search through parents is compared with the exact one on so many rows."""

Found = tuple[NDArray[np.int64], NDArray[np.float32]]


class LabelFileError(OneVisionError):
    """A file of labels or an index is not one of ours, is cut short, or contradicts itself."""


FORM = Form(
    noun="a file of labels",
    error=LabelFileError,
    schema=1,
    tensors={"labels": np.int32, "scores": np.float32, "id_bytes": np.uint8, "id_bounds": np.int64},
    optional={},
    fields={"classes": int, "provenance": dict},
)
INDEX_FORM = Form(
    noun="an index of labels",
    error=LabelFileError,
    schema=1,
    tensors={"bounds": np.int64, "rows": np.int64, "scores": np.float32},
    optional={},
    fields={},
)


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelTable:
    """Labels of rows.

    Attributes:
        ids: of the rows, in order. labels_nP: int32, best first, -1 = none. scores_nP: float32, -inf of none.
        classes: k, above every label. provenance: JSON-able: how they were searched, what the search may miss.
    Raises:
        ShapeError: arrays that do not fit each other, or labels outside -1 ... classes - 1.
    """

    ids: tuple[str, ...]
    labels_nP: NDArray[np.int32]
    scores_nP: NDArray[np.float32]
    classes: int
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_dtypes(self, {"labels_nP": np.int32, "scores_nP": np.float32})
        shape = self.labels_nP.shape
        require(len(shape) == 2 and shape[0] == len(self.ids), "labels_nP", shape, f"[{len(self.ids)}, P]")
        require(self.scores_nP.shape == shape, "scores_nP", self.scores_nP.shape, f"{shape}")
        if self.labels_nP.size:
            lowest, highest = int(self.labels_nP.min()), int(self.labels_nP.max())
            require(
                lowest >= -1 and highest < self.classes, "labels_nP", (lowest, highest), f"-1 to {self.classes - 1}"
            )
        freeze(self)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return short_repr(self)

    def save(self, path: str | Path) -> Path:
        """Write the file, or ``labels.safetensors`` in a folder, whole or not at all. Raises WriteError."""
        path = Path(path)
        path = path if path.suffix == ".safetensors" else path / FILE
        id_bytes, id_bounds = join_names(self.ids)
        arrays: dict[str, NDArray[Any]] = {
            "labels": self.labels_nP,
            "scores": self.scores_nP,
            "id_bytes": id_bytes,
            "id_bounds": id_bounds,
        }
        facts = {"schema": FORM.schema, "classes": self.classes, "provenance": dict(self.provenance)}
        write_tensors(path, arrays, facts)
        return path

    @classmethod
    def load(cls, path: str | Path) -> LabelTable:
        """Read a file, or a folder's ``labels.safetensors``. Raises MediaNotFoundError, LabelFileError."""
        path = Path(path)
        path = path / FILE if path.is_dir() else path
        if not path.is_file():
            raise MediaNotFoundError(path, "no such file of labels")
        described, arrays = FORM.read(path)
        try:
            return cls(
                ids=tuple(split_names(arrays["id_bytes"], arrays["id_bounds"])),
                labels_nP=arrays["labels"],
                scores_nP=arrays["scores"],
                classes=described["classes"],
                provenance=described["provenance"],
            )
        except ValueError as error:
            raise LabelFileError(f"{path}: {error}") from error

    def without(self, ids: Collection[str] = ()) -> AttachedLabels:
        """What a corpus takes, with no label for ``ids``."""
        labels_nP = self.labels_nP.copy()
        labels_nP[[id in ids for id in self.ids]] = NONE
        return AttachedLabels(ids=self.ids, labels_NP=labels_nP, classes=self.classes)

    def index(self, columns: int | None = None) -> InvertedIndex:
        """Rows of every class by their first ``columns`` labels (None = all of them)."""
        labels, scores = self.labels_nP[:, :columns], self.scores_nP[:, :columns]
        row, column = np.nonzero(labels >= 0)
        label, score = labels[row, column], scores[row, column]
        order = np.lexsort((row, -score, label))
        bounds = np.concatenate([[0], np.cumsum(np.bincount(label, minlength=self.classes))]).astype(np.int64)
        return InvertedIndex(bounds=bounds, rows=row[order].astype(np.int64), scores=score[order])


@dataclass(frozen=True, kw_only=True, eq=False)
class InvertedIndex:
    """Rows of every class: int64 [k + 1] bounds, int64 rows and float32 scores, best first."""

    bounds: NDArray[np.int64]
    rows: NDArray[np.int64]
    scores: NDArray[np.float32]

    def __post_init__(self) -> None:
        require_dtypes(self, {"bounds": np.int64, "rows": np.int64, "scores": np.float32})
        rising = len(self.bounds) >= 1 and self.bounds[0] == 0 and bool((np.diff(self.bounds) >= 0).all())
        require(rising and self.bounds[-1] == len(self.rows), "bounds", self.bounds, f"0 ... {len(self.rows)}")
        require(self.rows.shape == self.scores.shape, "scores", self.scores.shape, f"{self.rows.shape}")
        freeze(self)

    @property
    def classes(self) -> int:
        return len(self.bounds) - 1

    def of(self, label: int) -> NDArray[np.int64]:
        """Rows of a class, best first."""
        return self.rows[self.bounds[label] : self.bounds[label + 1]]

    def save(self, path: str | Path) -> Path:
        """Write the file, or ``index.safetensors`` in a folder, whole or not at all. Raises WriteError."""
        path = Path(path)
        path = path if path.suffix == ".safetensors" else path / INDEX_FILE
        arrays: dict[str, NDArray[Any]] = {"bounds": self.bounds, "rows": self.rows, "scores": self.scores}
        write_tensors(path, arrays, {"schema": INDEX_FORM.schema})
        return path

    @classmethod
    def load(cls, path: str | Path) -> InvertedIndex:
        """Read a file, or a folder's ``index.safetensors``. Raises MediaNotFoundError, LabelFileError."""
        path = Path(path)
        path = path / INDEX_FILE if path.is_dir() else path
        if not path.is_file():
            raise MediaNotFoundError(path, "no such index")
        _, arrays = INDEX_FORM.read(path)
        try:
            return cls(**arrays)
        except ValueError as error:
            raise LabelFileError(f"{path}: {error}") from error


def label_features(
    features: FeatureStore | str | Path,
    centres: Centres,
    *,
    top: int = 10,
    near: int | None = None,
    chunk_rows: int = 4096,
    tick: Callable[[int], object] | None = None,
) -> LabelTable:
    """The ``top`` nearest centres of every row.

    Args:
        near: None = among all centres, exact; a number = among the children of so many nearest parents (two levels),
            and the provenance says which share of the exact labels that finds, measured on a sample of rows.
        tick: called with the rows done since the last call.
    Raises:
        ShapeError: features of another width than the centres.
        InvalidArgumentError: ``top`` above the centres, or ``near`` without parents.
        FeatureStoreError: rows that cannot be read or have no direction.
    """
    store = features if isinstance(features, FeatureStore) else open_features(features)
    if store.width != centres.centres_kD.shape[1]:
        raise ShapeError(
            "features", f"width {store.width}", f"width {centres.centres_kD.shape[1]}, as the centres have"
        )
    if not 1 <= top <= len(centres):
        raise InvalidArgumentError("top", top, f"1 to {len(centres)}, the centres")
    search = Search(centres, near)
    team = joined_team()
    rows = Rows(store, centres.spherical, chunk_rows)
    check_rows(rows, team)
    found = []
    with torch.inference_mode():
        for _, x_BD in rows.each(team):
            found.append(search.top(x_BD, top))
            if tick:
                tick(len(x_BD))
        parts = [part for of_rank in team.gather(found) for part in of_rank]
        labels, scores = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        facts: dict[str, Any] = {"search": search.words, "made_by": dict(store.made_by)}
        if search.tree is not None:
            facts["recall"] = _recall(rows, centres, labels)
    return LabelTable(
        ids=tuple(store.ids()),
        labels_nP=labels.astype(np.int32),
        scores_nP=scores,
        classes=len(centres),
        provenance=facts,
    )


class Search:
    """The nearest centres of prepared rows. Raises InvalidArgumentError: ``near`` without parents, or below 1."""

    def __init__(self, centres: Centres, near: int | None) -> None:
        self.centres_kD = torch.tensor(centres.centres_kD)
        self.spherical = centres.spherical
        self.half_k = None if centres.spherical else self.centres_kD.square().sum(1) / 2
        self.tree: TreeSearch | None = None
        self.words = "all centres"
        if near is not None:
            if near < 1:
                raise InvalidArgumentError("near", near, "at least 1 parent, or None: all centres")
            if centres.parents_jD is None or centres.child_bounds is None:
                raise InvalidArgumentError("near", near, "None: these centres have no parents")
            parents, bounds = torch.tensor(centres.parents_jD), torch.tensor(centres.child_bounds)
            self.tree = TreeSearch(self.centres_kD, parents, bounds, near=near, spherical=centres.spherical)
            self.words = f"children of the {self.tree.near} nearest of {len(parents)} parents"

    def top(self, x_BD: Tensor, count: int) -> Found:
        """Int64 [B, P] and float32 [B, P]: cosines, or minus squared distances; best first, of equals the first."""
        if self.tree is not None:
            labels_BP, scores_BP = self.tree.top(x_BD, count)
        else:
            labels_BP, scores_BP = self._exact(x_BD, count)
        if not self.spherical:
            scores_BP = (2 * scores_BP - x_BD.square().sum(1)[:, None]).clamp_(max=0)
        return labels_BP.numpy(), scores_BP.numpy()

    def _exact(self, x_BD: Tensor, count: int) -> tuple[Tensor, Tensor]:
        labels_BP = torch.empty(len(x_BD), 0, dtype=torch.int64)
        scores_BP = torch.empty(len(x_BD), 0)
        for j in range(0, len(self.centres_kD), CENTRES):
            score_Bk = x_BD @ self.centres_kD[j : j + CENTRES].T
            if self.half_k is not None:
                score_Bk -= self.half_k[j : j + CENTRES]
            best = score_Bk.topk(min(count, score_Bk.shape[1]), 1)
            labels_BP = torch.cat([labels_BP, best.indices + j], 1)
            scores_BP = torch.cat([scores_BP, best.values], 1)
            order = np.lexsort((labels_BP.numpy(), -scores_BP.numpy()), axis=1)[:, :count]
            keep = torch.from_numpy(np.ascontiguousarray(order))
            labels_BP, scores_BP = labels_BP.gather(1, keep), scores_BP.gather(1, keep)
        return labels_BP, scores_BP


def _recall(rows: Rows, centres: Centres, labels_nP: NDArray[np.int64]) -> dict[str, float]:
    """Share of the exact labels that were found, of a sample of rows evenly spread."""
    at = np.unique(np.linspace(0, rows.count - 1, CHECKED_ROWS).astype(np.int64))
    top = labels_nP.shape[1]
    truth, _ = Search(centres, None).top(rows.take(at), top)
    shared = [len(np.intersect1d(a, b)) for a, b in zip(truth, labels_nP[at], strict=True)]
    return {
        "rows": len(at),
        "first": float((truth[:, 0] == labels_nP[at, 0]).mean()),
        f"top {top}": float(np.sum(shared) / truth.size),
    }
