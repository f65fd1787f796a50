"""The centres of a bank in one file, with how even their clusters are.

Axes: k centres, D width, j parents.

``centres.safetensors`` holds ``centres`` float32 [k, D], ``sizes`` int64 [k] (rows whose nearest centre it is) and, of
two levels, ``parents`` float32 [j, D] and ``child_bounds`` int64 [j + 1]: the children of parent j are the centres
child_bounds[j]:child_bounds[j + 1]. The metadata say how they were made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.checks import freeze, require, require_dtypes, require_finite, short_repr
from onevision_encoder.errors import MediaNotFoundError, OneVisionError
from onevision_encoder.pretrain.feature_store import write_tensors
from onevision_encoder.tokens.described import Form

FILE = "centres.safetensors"
METRICS = {True: "cosine", False: "euclidean"}


class CentresFileError(OneVisionError):
    """A file of centres is not one of ours, is cut short, or contradicts itself."""


FORM = Form(
    noun="a file of centres",
    error=CentresFileError,
    schema=1,
    tensors={"centres": np.float32, "sizes": np.int64},
    optional={"parents": np.float32, "child_bounds": np.int64},
    fields={"metric": str, "provenance": dict},
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Centres:
    """Centres of a bank.

    Attributes:
        centres_kD: float32. sizes_k: int64, rows whose nearest centre it is.
        parents_jD, child_bounds: of two levels, else None.
        spherical: centres have length 1 and cosine is what counts.
        provenance: JSON-able: features, options, inertia after every update, balance.
    Raises:
        ShapeError: arrays that do not fit each other, or numbers that are not finite.
    """

    centres_kD: NDArray[np.float32]
    sizes_k: NDArray[np.int64]
    spherical: bool = True
    parents_jD: NDArray[np.float32] | None = None
    child_bounds: NDArray[np.int64] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        dtypes = {"centres_kD": np.float32, "sizes_k": np.int64, "parents_jD": np.float32, "child_bounds": np.int64}
        require_dtypes(self, dtypes)
        shape = self.centres_kD.shape
        require(len(shape) == 2 and 0 not in shape, "centres_kD", shape, "[k, D]")
        require_finite(self, "centres_kD", "parents_jD")
        require(self.sizes_k.shape == shape[:1], "sizes_k", self.sizes_k.shape, f"[{shape[0]}]")
        require((self.parents_jD is None) == (self.child_bounds is None), "child_bounds", None, "beside parents_jD")
        if self.parents_jD is not None and self.child_bounds is not None:
            bounds = self.child_bounds
            fits = self.parents_jD.ndim == 2 and self.parents_jD.shape[1] == shape[1]
            require(fits, "parents_jD", self.parents_jD.shape, f"[j, {shape[1]}]")
            rising = len(bounds) == len(self.parents_jD) + 1 and bool((np.diff(bounds) > 0).all())
            require(rising and (bounds[0], bounds[-1]) == (0, shape[0]), "child_bounds", bounds, f"0 ... {shape[0]}")
        freeze(self)

    def __repr__(self) -> str:
        return short_repr(self)

    def __len__(self) -> int:
        return len(self.centres_kD)

    def save(self, path: str | Path) -> Path:
        """Write the file, or ``centres.safetensors`` in a folder, whole or not at all. Raises WriteError."""
        path = Path(path)
        path = path if path.suffix == ".safetensors" else path / FILE
        arrays: dict[str, NDArray[Any] | None] = {
            "centres": self.centres_kD,
            "sizes": self.sizes_k,
            "parents": self.parents_jD,
            "child_bounds": self.child_bounds,
        }
        described = {"schema": FORM.schema, "metric": METRICS[self.spherical], "provenance": dict(self.provenance)}
        write_tensors(path, {name: a for name, a in arrays.items() if a is not None}, described)
        return path

    @classmethod
    def load(cls, path: str | Path) -> Centres:
        """Read a file, or a folder's ``centres.safetensors``. Raises MediaNotFoundError, CentresFileError."""
        path = Path(path)
        path = path / FILE if path.is_dir() else path
        if not path.is_file():
            raise MediaNotFoundError(path, "no such file of centres")
        described, arrays = FORM.read(path)
        try:
            return cls(
                centres_kD=arrays["centres"],
                sizes_k=arrays["sizes"],
                spherical=described["metric"] == METRICS[True],
                parents_jD=arrays.get("parents"),
                child_bounds=arrays.get("child_bounds"),
                provenance=described["provenance"],
            )
        except ValueError as error:
            raise CentresFileError(f"{path}: {error}") from error


def balance(sizes_k: NDArray[np.int64]) -> dict[str, Any]:
    """How even clusters are: empty ones, spread of sizes, Gini coefficient (0 = all equal), and how many equal clusters
    would be as hard to guess (the exponential of the entropy), as a share of k."""
    sizes = np.sort(sizes_k).astype(np.float64)
    k, n = len(sizes), float(sizes.sum())
    share = sizes[sizes > 0] / n
    return {
        "clusters": k,
        "empty": int((sizes_k == 0).sum()),
        "smallest": int(sizes[0]),
        "median": float(np.median(sizes)),
        "mean": n / k,
        "largest": int(sizes[-1]),
        "largest_share": float(sizes[-1] / n),
        "percentiles": {str(p): float(np.percentile(sizes, p)) for p in (1, 10, 90, 99)},
        "gini": float(2 * (np.arange(1, k + 1) * sizes).sum() / (k * n) - (k + 1) / k),
        "effective_share": float(np.exp(-(share * np.log(share)).sum()) / k),
    }
