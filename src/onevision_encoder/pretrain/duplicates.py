"""Near-duplicates: rows whose cosine is at least a threshold, found inside clusters, grouped, all but one dropped.

Axes: n rows, m rows of a cluster, D width.

Two rows are compared if they share a cluster: one of the first ``columns`` labels of each. Groups are the connected
components of the pairs; of each the first row is kept. A pair that shares no cluster is not seen; more columns see
more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onevision_encoder.errors import InvalidArgumentError, MediaNotFoundError, ShapeError
from onevision_encoder.evaluate.distributed import Team
from onevision_encoder.pretrain.feature_store import FeatureStore, open_features
from onevision_encoder.pretrain.kmeans_rows import Rows, check_rows
from onevision_encoder.pretrain.labels import InvertedIndex, LabelTable
from onevision_encoder.tokens.files import write_atomically

FILE = "duplicates.json"
BLOCK = 2048
"""Rows of a block of cosines."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Duplicates:
    """What was found.

    Attributes:
        keep_n: bool, rows that stay. groups: rows of each group of two and more, ascending; the first one stays.
        nearest: dropped row -> cosine to the nearest row of its group that it was compared with.
        threshold, columns: as asked.
    """

    keep_n: NDArray[np.bool_]
    groups: tuple[tuple[int, ...], ...]
    nearest: dict[int, float]
    threshold: float
    columns: int

    @property
    def dropped(self) -> list[int]:
        """Rows that go, ascending."""
        return np.flatnonzero(~self.keep_n).tolist()

    def as_dict(self, ids: tuple[str, ...]) -> dict[str, Any]:
        """JSON-able, with every dropped id and the one that is kept instead."""
        listed = [
            {"dropped": ids[row], "kept": ids[group[0]], "cosine": round(self.nearest[row], 6)}
            for group in self.groups
            for row in group[1:]
        ]
        counts = {"rows": len(self.keep_n), "groups": len(self.groups), "dropped": len(listed)}
        return {"threshold": self.threshold, "columns": self.columns, **counts, "duplicates": listed}

    def save(self, folder: str | Path, ids: tuple[str, ...]) -> Path:
        """Write ``duplicates.json``, whole or not at all. Raises WriteError."""
        path = Path(folder) / FILE
        write_atomically(path, (json.dumps(self.as_dict(ids), indent=1) + "\n").encode())
        return path


def dropped_ids(folder: str | Path) -> frozenset[str]:
    """The ids that ``duplicates.json`` in a folder says to drop. Raises MediaNotFoundError, InvalidArgumentError."""
    path = Path(folder) / FILE
    try:
        return frozenset(str(row["dropped"]) for row in json.loads(path.read_text(encoding="utf-8"))["duplicates"])
    except FileNotFoundError as error:
        raise MediaNotFoundError(path, "no such list of duplicates: ove concepts label writes it") from error
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise InvalidArgumentError("duplicates", str(path), f"a file of ove concepts label ({error!r})") from error


def find_duplicates(
    features: FeatureStore | str | Path,
    labels: LabelTable,
    *,
    threshold: float = 0.95,
    columns: int = 2,
    memory_mb: int = 1024,
    tick: Callable[[int], object] | None = None,
) -> Duplicates:
    """Groups of rows of cosine ``threshold`` and above.

    Args:
        columns: labels of a row by which it is compared. memory_mb: rows of clusters that are held at once.
        tick: called with the clusters done since the last call.
    Raises:
        InvalidArgumentError: a threshold outside 0 to 1 (0 excluded), columns that the labels do not have.
        ShapeError: labels of other rows. FeatureStoreError: rows that cannot be read or have no direction.
    """
    store = features if isinstance(features, FeatureStore) else open_features(features)
    if not 0 < threshold <= 1:
        raise InvalidArgumentError("threshold", threshold, "above 0, at most 1")
    if not 1 <= columns <= labels.labels_nP.shape[1]:
        raise InvalidArgumentError("columns", columns, f"1 to {labels.labels_nP.shape[1]}, the labels of a row")
    if len(labels) != store.rows:
        raise ShapeError("labels", f"of {len(labels)} rows", f"of the {store.rows} rows of {store.path}")
    rows = Rows(store, True, 4096, memory_mb << 20)
    check_rows(rows, Team())
    index = labels.index(columns)
    groups = _Groups(store.rows)
    nearest = np.full(store.rows, -1.0, np.float32)
    # float32 says of equal rows that they are apart by this much
    least = np.float32(threshold - 1e-6)
    for clusters in _together(index, max(BLOCK, (memory_mb << 20) // (4 * store.width))):
        members = np.unique(np.concatenate([index.of(c) for c in clusters]))
        x_mD = rows.take(members)
        for c in clusters:
            own = np.sort(index.of(c))
            for a, b, cosine in _pairs(x_mD[torch.from_numpy(np.searchsorted(members, own))], least):
                groups.join(own[a], own[b])
                np.maximum.at(nearest, own[a], cosine)
                np.maximum.at(nearest, own[b], cosine)
        if tick:
            tick(len(clusters))
    found = groups.found()
    keep_n = np.ones(store.rows, np.bool_)
    keep_n[[row for group in found for row in group[1:]]] = False
    return Duplicates(
        keep_n=keep_n,
        groups=found,
        nearest={row: min(1.0, float(nearest[row])) for group in found for row in group[1:]},
        threshold=threshold,
        columns=columns,
    )


def _together(index: InvertedIndex, most: int) -> Iterator[list[int]]:
    """Clusters of two rows and more, in groups of at most ``most`` rows, at least one cluster each."""
    group: list[int] = []
    held = 0
    for c, size in enumerate(np.diff(index.bounds).tolist()):
        if size < 2:
            continue
        if group and held + size > most:
            yield group
            group, held = [], 0
        group.append(c)
        held += size
    if group:
        yield group


def _pairs(
    x_mD: Tensor, least: np.float32
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]]:
    """(a, b, cosine) of pairs a < b at or above ``least``, a block of cosines at a time."""
    m = len(x_mD)
    for i in range(0, m, BLOCK):
        for j in range(i, m, BLOCK):
            cosine = (x_mD[i : i + BLOCK] @ x_mD[j : j + BLOCK].T).numpy()
            a, b = np.nonzero(np.triu(cosine >= least, 1) if i == j else cosine >= least)
            if len(a):
                yield a + i, b + j, cosine[a, b]


class _Groups:
    """Union-find with path halving; the root of a group is its first row."""

    def __init__(self, rows: int) -> None:
        self.parent = list(range(rows))

    def root(self, row: int) -> int:
        parent = self.parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def join(self, ones: NDArray[np.int64], others: NDArray[np.int64]) -> None:
        for a, b in zip(ones.tolist(), others.tolist(), strict=True):
            first, second = self.root(a), self.root(b)
            if first != second:
                self.parent[max(first, second)] = min(first, second)

    def found(self) -> tuple[tuple[int, ...], ...]:
        """Groups of two rows and more, by their first row."""
        root_n = np.array([self.root(row) for row in range(len(self.parent))], np.int64)
        order = np.argsort(root_n, kind="stable")
        starts = np.flatnonzero(np.r_[True, root_n[order][1:] != root_n[order][:-1]])
        parts = np.split(order, starts[1:])
        return tuple(tuple(part.tolist()) for part in parts if len(part) > 1)
