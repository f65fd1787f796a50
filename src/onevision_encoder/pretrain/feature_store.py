"""Features on disk, larger than memory: a folder of safetensors chunks with an index, or one raw array.

Axes: n rows (images, clips), D width.

A chunk holds ``features`` float32 or float16 [n, D], ``id_bytes`` uint8 and ``id_bounds`` int64 [n + 1] (names, end to
end, UTF-8), and ``source_bytes``, ``source_bounds`` likewise where the media are known. ``index.json`` lists the chunks
and says what made them. Raw arrays (.npy, or .safetensors with one matrix or one named ``features``) are read as they
are; their ids are row numbers.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from onevision_encoder.errors import InvalidArgumentError, MediaNotFoundError, OneVisionError, ShapeError
from onevision_encoder.tokens.files import atomic_path, write_atomically

SCHEMA = 1
INDEX = "index.json"
_FLOATS = {"F32": "float32", "F16": "float16"}


class FeatureStoreError(OneVisionError):
    """Features on disk are not of a kind that is read, are cut short, or contradict their index."""


class _Piece(Protocol):
    """One file of features."""

    @property
    def path(self) -> Path: ...
    @property
    def rows(self) -> int: ...
    @property
    def width(self) -> int: ...

    def read(self, start: int, stop: int) -> NDArray[np.floating[Any]]: ...

    def names(self, column: str) -> list[str] | None: ...


@dataclass(frozen=True)
class _Tensor:
    """A matrix in a safetensors file."""

    path: Path
    key: str
    rows: int
    width: int

    def read(self, start: int, stop: int) -> NDArray[np.floating[Any]]:
        with _opened(self.path) as file:
            found: NDArray[np.floating[Any]] = file.get_slice(self.key)[start:stop]
            return found

    def names(self, column: str) -> list[str] | None:
        with _opened(self.path) as file:
            if f"{column}_bounds" not in file.keys():  # noqa: SIM118
                return None
            return split_names(file.get_tensor(f"{column}_bytes"), file.get_tensor(f"{column}_bounds"))


@dataclass(frozen=True)
class _Npy:
    """A .npy file, mapped into memory."""

    path: Path
    rows: int
    width: int

    def read(self, start: int, stop: int) -> NDArray[np.floating[Any]]:
        return np.array(np.load(self.path, mmap_mode="r", allow_pickle=False)[start:stop])

    def names(self, column: str) -> list[str] | None:
        return None


@dataclass(frozen=True, eq=False)
class FeatureStore:
    """Rows of features, read in stretches. Made by :func:`open_features`.

    Attributes:
        path: folder or file. made_by: what made the features (``backbone.describe()`` ...), {} of a raw array.
        failures: id -> why it has no row.
    """

    path: Path
    pieces: Sequence[_Piece]
    made_by: Mapping[str, Any] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        return sum(piece.rows for piece in self.pieces)

    @property
    def width(self) -> int:
        return self.pieces[0].width

    @property
    def bounds(self) -> list[int]:
        """First row of each file, and the end."""
        return list(accumulate((piece.rows for piece in self.pieces), initial=0))

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """Float32 [stop - start, D]. Raises FeatureStoreError, naming the file."""
        bounds, parts = self.bounds, []
        at = max(bisect_right(bounds, start) - 1, 0)
        for piece, (first, last) in zip(self.pieces[at:], list(pairwise(bounds))[at:], strict=True):
            if first >= stop:
                break
            part = piece.read(max(start - first, 0), min(stop, last) - first)
            if part.shape != (min(stop, last) - max(start, first), self.width):
                raise FeatureStoreError(f"{piece.path}: holds {part.shape} of the rows that were asked for")
            parts.append(part.astype(np.float32, copy=False))
        if not parts:
            return np.empty((0, self.width), np.float32)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def ids(self) -> list[str]:
        """Name of every row: the row number where the features carry none."""
        return self._names("id") or [str(row) for row in range(self.rows)]

    def sources(self) -> list[str] | None:
        """Path of the media of every row, None where they are not known."""
        return self._names("source")

    def identity(self) -> dict[str, Any]:
        """JSON-able: enough to tell whether this is the same store as before."""
        stats = [piece.path.stat() for piece in self.pieces]
        listed = [[p.path.name, p.rows, s.st_size, s.st_mtime_ns] for p, s in zip(self.pieces, stats, strict=True)]
        digest = hashlib.blake2b(json.dumps(listed).encode(), digest_size=16).hexdigest()
        return {"rows": self.rows, "width": self.width, "files": digest}

    def _names(self, column: str) -> list[str] | None:
        found: list[str] = []
        for piece in self.pieces:
            names = piece.names(column)
            if names is None:
                return None
            if len(names) != piece.rows:
                raise FeatureStoreError(f"{piece.path}: {len(names)} {column}s for {piece.rows} rows")
            found += names
        return found


def open_features(path: str | Path) -> FeatureStore:
    """Open a store, a .npy matrix, a .safetensors matrix, or a folder of such matrices (sorted by name).

    Raises:
        MediaNotFoundError: no such file or folder.
        FeatureStoreError: no features there, an unknown schema, files of other widths than the index says, or cut.
    """
    path = Path(path)
    if not path.exists():
        raise MediaNotFoundError(path, "no such features")
    if path.is_file():
        return FeatureStore(path, [_raw(path)])
    if (path / INDEX).is_file():
        return _open_index(path)
    files = sorted(p for p in path.iterdir() if p.suffix in (".npy", ".safetensors") and not p.name.startswith("."))
    if not files:
        raise FeatureStoreError(f"{path}: holds neither {INDEX} nor .npy or .safetensors files of features")
    pieces = [_raw(file) for file in files]
    for piece in pieces:
        if piece.width != pieces[0].width:
            raise FeatureStoreError(f"{piece.path}: width {piece.width}, {pieces[0].path.name} has {pieces[0].width}")
    return FeatureStore(path, pieces)


def _open_index(path: Path) -> FeatureStore:
    try:
        index = json.loads((path / INDEX).read_text(encoding="utf-8"))
        schema, width, chunks = index["schema"], index["width"], index["chunks"]
    except (ValueError, KeyError, TypeError) as error:
        raise FeatureStoreError(f"{path / INDEX}: not an index of features ({error})") from error
    if schema != SCHEMA:
        raise FeatureStoreError(f"{path / INDEX}: schema {schema!r}; this version reads schema {SCHEMA}")
    pieces: list[_Piece] = []
    for chunk in chunks:
        piece = _raw(path / chunk["file"])
        if (piece.rows, piece.width) != (chunk["rows"], width):
            stated = f"{chunk['rows']} x {width}"
            raise FeatureStoreError(f"{piece.path}: features {piece.rows} x {piece.width}, the index says {stated}")
        pieces.append(piece)
    if not pieces:
        raise FeatureStoreError(f"{path / INDEX}: lists no chunk: not one source could be read")
    return FeatureStore(path, pieces, index.get("made_by") or {}, index.get("failures") or {})


def _raw(path: Path) -> _Piece:
    """A file of features by its suffix."""
    if not path.is_file():
        raise FeatureStoreError(f"{path}: is missing")
    if path.suffix == ".npy":
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise FeatureStoreError(f"{path}: not a readable .npy file: {error}") from error
        _check_matrix(path, str(array.dtype), array.shape)
        return _Npy(path, *array.shape)
    if path.suffix != ".safetensors":
        raise FeatureStoreError(f"{path}: features are .npy or .safetensors")
    with _opened(path) as file:
        names = list(file.keys())
        matrices = [name for name in names if len(file.get_slice(name).get_shape()) == 2]
        key = "features" if "features" in names else matrices[0] if len(matrices) == 1 else None
        if key is None:
            raise FeatureStoreError(f"{path}: holds {names}; accepted is a tensor 'features', or one matrix")
        found = file.get_slice(key)
        _check_matrix(path, _FLOATS.get(found.get_dtype(), found.get_dtype()), tuple(found.get_shape()))
        return _Tensor(path, key, *found.get_shape())


def _check_matrix(path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    if dtype not in _FLOATS.values() or len(shape) != 2 or 0 in shape:
        raise FeatureStoreError(f"{path}: features are {dtype} {list(shape)}; accepted is float32 or float16 [n, D]")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A safetensors file, whose faults are FeatureStoreErrors."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise FeatureStoreError(f"{path}: not a readable safetensors file: {error}") from error


def join_names(names: Sequence[str]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Names end to end as UTF-8, uint8, and their bounds, int64 [len + 1]."""
    coded = [name.encode("utf-8", "surrogateescape") for name in names]
    bounds = np.concatenate([[0], np.cumsum([len(name) for name in coded])]).astype(np.int64)
    return np.frombuffer(b"".join(coded), np.uint8), bounds


def split_names(coded: NDArray[np.uint8], bounds: NDArray[np.int64]) -> list[str]:
    """What :func:`join_names` joined."""
    whole = coded.tobytes()
    return [whole[a:b].decode("utf-8", "surrogateescape") for a, b in pairwise(bounds.tolist())]


def write_chunk(
    path: Path,
    features_nD: NDArray[Any],
    ids: Sequence[str],
    sources: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write one chunk, whole or not at all.

    Raises:
        ShapeError: no matrix of float32 or float16, or another number of ids or sources than of rows.
        WriteError: the file cannot be written.
    """
    rows = len(features_nD)
    if features_nD.ndim != 2 or str(features_nD.dtype) not in _FLOATS.values() or not features_nD.size:
        raise ShapeError("features", (str(features_nD.dtype), features_nD.shape), "float32 or float16 [n, D]")
    for name, listed in (("ids", ids), ("sources", sources)):
        if listed is not None and len(listed) != rows:
            raise ShapeError(name, len(listed), f"{rows}, one for each row")
    arrays: dict[str, NDArray[Any]] = {"features": np.ascontiguousarray(features_nD)}
    arrays["id_bytes"], arrays["id_bounds"] = join_names(ids)
    if sources is not None:
        arrays["source_bytes"], arrays["source_bounds"] = join_names(sources)
    write_tensors(path, arrays, metadata or {})


def write_tensors(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, Any]) -> None:
    """A safetensors file with JSON metadata, whole or not at all; not assembled in memory. Raises WriteError."""
    with atomic_path(path) as part:
        mode = part.stat().st_mode
        try:
            save_file(dict(arrays), str(part), metadata={"onevision_encoder": json.dumps(metadata, sort_keys=True)})
        except SafetensorError as error:  # it wraps the system's error
            raise OSError(str(error)) from error
        part.chmod(mode)  # it makes files that nobody else may read


def write_index(
    folder: Path,
    chunks: Sequence[tuple[str, int]],
    width: int,
    made_by: Mapping[str, Any],
    failures: Mapping[str, str] | None = None,
) -> None:
    """Write ``index.json``: (file, rows) of the chunks in order. Raises WriteError, InvalidArgumentError."""
    if len({name for name, _ in chunks}) != len(chunks):
        raise InvalidArgumentError("chunks", [name for name, _ in chunks], "files that differ")
    index = {
        "schema": SCHEMA,
        "width": width,
        "chunks": [{"file": name, "rows": rows} for name, rows in chunks],
        "made_by": dict(made_by),
        "failures": dict(failures or {}),
    }
    write_atomically(folder / INDEX, (json.dumps(index, indent=2, sort_keys=True) + "\n").encode())
