"""Labels beside the shards, one file a shard and bank, so that a new bank needs no new shards.

``shard-000012.object.labels.safetensors`` holds ``labels`` int32 [n, P], row i those of sample i of the shard, -1 where
there is none, and in its metadata the ``keys`` of the rows, the ``bank`` and its number of ``classes``, and digests of
the ``shard`` that they belong to and of the ``table`` that they come from.

Axes: n samples, P labels of a sample.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.checks import counted, require
from onevision_encoder.errors import CorpusError, InvalidArgumentError, OneVisionError
from onevision_encoder.pretrain.corpus import Corpus
from onevision_encoder.pretrain.shards import Shard
from onevision_encoder.tokens.described import Form

Missing = Literal["error", "none"]
NONE = -1
"""The label of nothing."""
_BANK = re.compile(r"[a-z0-9][a-z0-9_-]*")


class LabelFileError(OneVisionError):
    """A file of labels is missing, is none of ours, or does not fit its shard."""


FORM = Form(
    noun="a file of labels",
    error=LabelFileError,
    schema=2,
    tensors={"labels": np.int32},
    optional={},
    fields={"bank": str, "classes": int, "keys": list, "shard": str, "table": str},
)


@dataclass(frozen=True, kw_only=True, eq=False)
class AttachedLabels:
    """Classes of samples in one bank.

    Attributes:
        ids: names of the samples, as facts of a corpus call them (``id``).
        labels_NP: integers [N, P], -1 = no label. classes: of the bank; all labels lie below it.
    Raises:
        ShapeError, InvalidArgumentError: other counts, a label outside -1 .. classes - 1, an id twice.
    """

    ids: Sequence[str]
    labels_NP: NDArray[np.integer]
    classes: int

    def __post_init__(self) -> None:
        labels = self.labels_NP
        fits = labels.ndim == 2 and len(labels) == len(self.ids) and np.issubdtype(labels.dtype, np.integer)
        require(fits, "labels_NP", (labels.shape, str(labels.dtype)), f"integers [{len(self.ids)}, P]")
        if labels.size and not (labels.min() >= NONE and labels.max() < self.classes):
            found = f"{labels.min()} to {labels.max()}"
            raise InvalidArgumentError("labels_NP", found, f"classes 0 to {self.classes - 1} of the bank, or -1")
        if len(set(self.ids)) < len(self.ids):
            raise InvalidArgumentError("ids", f"{len(self.ids)} rows", "every id once")

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of all of it."""
        whole = hashlib.blake2b(f"{self.classes} {self.labels_NP.shape}".encode(), digest_size=8)
        whole.update(self.labels_NP.astype(np.int64).tobytes())
        whole.update("\n".join(self.ids).encode())
        return whole.hexdigest()


def attach_labels(corpus: Corpus, label_table: AttachedLabels, bank: str, *, missing: Missing = "error") -> int:
    """Write the labels of every shard of a corpus; those of an earlier call for the bank are replaced.

    Args:
        missing: what to do about samples that the table does not have: refuse, or give them no label.
    Returns:
        The number of samples that got a row of the table.
    Raises:
        CorpusError: a sample without a row. InvalidArgumentError: an unusable name of a bank. WriteError.
    """
    if not _BANK.fullmatch(bank):
        raise InvalidArgumentError("bank", bank, "a name of a-z, 0-9, _ and -")
    row_of = {name: row for row, name in enumerate(label_table.ids)}
    width, given = label_table.labels_NP.shape[1], 0
    tables: list[tuple[Shard, NDArray[np.int32]]] = []
    for number in range(len(corpus.shards)):
        shard = corpus.shard(number)
        rows = np.array([row_of.get(str(entry.facts["id"]), NONE) for entry in shard.entries], np.int64)
        lacking = np.flatnonzero(rows == NONE)
        if len(lacking) and missing == "error":
            first = shard.entries[lacking[0]].facts["id"]
            cause = f"{counted(len(lacking), 'sample')} of it without labels, {first!r} first; missing='none' allows it"
            raise CorpusError(shard.path, cause)
        labels = np.full((len(rows), width), NONE, np.int32)
        labels[rows != NONE] = label_table.labels_NP[rows[rows != NONE]]
        given += len(rows) - len(lacking)
        tables.append((shard, labels))
    told = {"bank": bank, "classes": label_table.classes, "table": label_table.digest}
    for shard, labels in tables:  # only once all of them are known to be complete
        keys = [entry.key for entry in shard.entries]
        FORM.write(labels_path(shard.path, bank), {"labels": labels}, keys=keys, shard=shard.digest, **told)
    return given


def labels_path(shard: Path, bank: str) -> Path:
    """``shard-000012.object.labels.safetensors`` beside ``shard-000012.tar``."""
    return shard.with_suffix(f".{bank}.labels.safetensors")


def attached_banks(corpus: Corpus) -> list[str]:
    """Names of the banks that any shard has labels of, sorted."""
    found = corpus.folder.glob("shard-*.*.labels.safetensors")
    return sorted({path.name.split(".")[1] for path in found})


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardLabels:
    """Labels of one shard in one bank. ``table``: digest of what they come from, one for all shards of a corpus."""

    path: Path
    row_of: Mapping[str, int]
    labels_NP: NDArray[np.int32]
    classes: int
    table: str

    def row(self, key: str, missing: Missing) -> NDArray[np.int32]:
        """int32 [P]. Raises LabelFileError for a key that the file lacks, unless that counts as no label."""
        if key in self.row_of:
            row: NDArray[np.int32] = self.labels_NP[self.row_of[key]]
            return row
        if missing == "none":
            return np.full(self.labels_NP.shape[1], NONE, np.int32)
        raise LabelFileError(f"{self.path}: no labels of sample {key!r}: attach them again, or allow missing='none'")


def load_labels(shard: Path, bank: str, digest: str) -> ShardLabels:
    """Read the labels of a shard whose digest is ``digest``. Raises LabelFileError, also for those of another shard."""
    path = labels_path(shard, bank)
    if not path.is_file():
        raise LabelFileError(f"{path}: no labels of bank {bank!r} beside the shard: attach_labels() writes them")
    described, arrays = FORM.read(path)
    keys, labels = described["keys"], arrays["labels"]
    if labels.ndim != 2 or len(keys) != len(labels):
        raise LabelFileError(f"{path}: {len(keys)} keys for labels of shape {labels.shape}: attach them again")
    if labels.size and not (labels.min() >= NONE and labels.max() < described["classes"]):
        found = f"{labels.min()} to {labels.max()}"
        raise LabelFileError(f"{path}: labels {found} for a bank of {described['classes']} classes: attach them again")
    if described["shard"] != digest:
        raise LabelFileError(f"{path}: labels of what {shard.name} held before it was made anew: attach them again")
    rows = {str(key): row for row, key in enumerate(keys)}
    classes, table = described["classes"], described["table"]
    return ShardLabels(path=path, row_of=rows, labels_NP=labels, classes=classes, table=table)
