"""Features of examples: read, encoded by a frozen backbone, remembered, shared among processes.

Axes: L tokens of one clip, N tokens of a batch, C width.

Each clip goes through the backbone by itself, so that its features do not depend on its neighbours: the same bits
come out in any order, from any process, and from the cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onevision_encoder import __version__
from onevision_encoder.checks import require
from onevision_encoder.errors import OneVisionError, UnreadableMediaError
from onevision_encoder.evaluate.backbone import Backbone, TooFewFramesError
from onevision_encoder.evaluate.datasets import Example
from onevision_encoder.evaluate.distributed import Team
from onevision_encoder.evaluate.feature_cache import FeatureCache
from onevision_encoder.tokens import ClipReading, TokenizeConfig, read_clip
from onevision_encoder.video import fingerprint

FRAME_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


@dataclass
class FeatureReader:
    """Features of one example at a time.

    Attributes:
        pool: keep only the mean of a clip's tokens (what linear and nearest-neighbour heads look at).
        memory_bytes: features up to this size are kept in memory between epochs.
        workers: threads that decode ahead within a batch.
        failures: id -> why the example cannot be read. It is left out, never replaced.
    """

    backbone: Backbone
    reading: TokenizeConfig
    pool: bool = False
    cache: FeatureCache | None = None
    memory_bytes: int = 2 << 30
    workers: int = 1
    failures: dict[str, str] = field(default_factory=dict)
    computed: int = 0
    _kept: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    _kept_bytes: int = 0

    def read(self, examples: Sequence[Example]) -> dict[str, NDArray[np.float32]]:
        """Float32 [L, C] by id of those that can be read; the others are in ``failures``.

        Raises:
            ShapeError: the backbone's tokens are not of its width, or not finite.
        """
        out: dict[str, NDArray[np.float32]] = {}
        keys: dict[str, Mapping[str, Any]] = {}
        todo: list[Example] = []
        for e in examples:
            known = self._known(e, keys)
            if known is not None:
                out[e.id] = known
            elif e.id not in self.failures:
                todo.append(e)
        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            readings = pool.map(self._open, todo) if self.workers > 1 else map(self._open, todo)
            for e, clip in zip(todo, readings, strict=True):
                if isinstance(clip, OneVisionError):
                    self.failures[e.id] = f"{type(clip).__name__}: {clip}"
                    continue
                try:
                    out[e.id] = self._encode(clip)
                except TooFewFramesError as error:
                    self.failures[e.id] = f"{type(error).__name__}: {error}"
                    continue
                self._keep(e.id, out[e.id])
                if self.cache is not None:
                    self.cache.put(keys[e.id], out[e.id])
        return out

    def _known(self, e: Example, keys: dict[str, Mapping[str, Any]]) -> NDArray[np.float32] | None:
        """Features from memory or the cache; notes the key of what must be computed."""
        if e.id in self._kept or e.id in self.failures:
            return self._kept.get(e.id)
        if self.cache is None:
            return None
        try:
            keys[e.id] = self._key(e)
        except OneVisionError as error:
            self.failures[e.id] = f"{type(error).__name__}: {error}"
            return None
        features = self.cache.get(keys[e.id])
        if features is not None:
            self._keep(e.id, features)
        return features

    def _key(self, e: Example) -> Mapping[str, Any]:
        return {
            "version": __version__,
            "source": fingerprint(source_of(e.path)),
            "window": [e.start_seconds, e.end_seconds],
            "reading": self.reading.as_dict(),
            "backbone": self.backbone.describe(),
            "pool": self.pool,
        }

    def _open(self, e: Example) -> ClipReading | OneVisionError:
        config = self.reading
        if e.start_seconds is not None or e.end_seconds is not None:
            window = replace(config.sampling, start_seconds=e.start_seconds, end_seconds=e.end_seconds)
            config = replace(config, sampling=window)
        try:
            return read_clip(source_of(e.path), config)
        except OneVisionError as error:
            return error

    def _encode(self, clip: ClipReading) -> NDArray[np.float32]:
        encoded = self.backbone.encode([clip])
        tokens_LC = encoded.tokens_NC
        require(
            tokens_LC.ndim == 2 and tokens_LC.shape[1] == self.backbone.width and len(tokens_LC) > 0,
            f"tokens of {self.backbone.name}",
            tuple(tokens_LC.shape),
            f"[L, {self.backbone.width}]",
        )
        if self.pool:
            tokens_LC = tokens_LC.float().mean(0, keepdim=True)
        features: NDArray[np.float32] = tokens_LC.to("cpu", torch.float32).numpy()
        finite = bool(np.isfinite(features).all())
        require(finite, f"tokens of {self.backbone.name}", "values that are not finite", "finite numbers")
        self.computed += 1
        return features

    def _keep(self, id: str, features: NDArray[np.float32]) -> None:
        if self._kept_bytes + features.nbytes <= self.memory_bytes:
            self._kept[id] = features
            self._kept_bytes += features.nbytes


def source_of(path: Path) -> Any:
    """The path; of a folder of frames, its pictures in the order of their names.

    Raises:
        UnreadableMediaError: the folder holds no picture, or one that cannot be read.
    """
    if not path.is_dir():
        return path
    from PIL import Image

    files = sorted(p for p in path.iterdir() if p.suffix.lower() in FRAME_SUFFIXES)
    pictures = []
    for file in files:
        try:
            with Image.open(file) as picture:
                pictures.append(picture.convert("RGB"))
        except OSError as error:
            raise UnreadableMediaError(file, f"is no readable picture ({error})") from error
    if not pictures:
        raise UnreadableMediaError(path, "a folder without pictures")
    return pictures


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Features of examples that could be read, in the order that was asked for.

    Attributes:
        x_NC: float32, on the device of the heads. cu_seqlens: bounds of the examples in it.
    """

    examples: tuple[Example, ...]
    x_NC: Tensor
    cu_seqlens: list[int]


@dataclass
class SharedFeatures:
    """The backbone's work divided among processes: each example has one owner, every process gets the whole batch."""

    reader: FeatureReader
    team: Team
    owner: Mapping[str, int]
    device: torch.device

    @classmethod
    def of(cls, reader: FeatureReader, team: Team, examples: Sequence[Example], device: torch.device) -> SharedFeatures:
        ids = sorted(e.id for e in examples)
        owner = {name: i % team.world for i, name in enumerate(ids)}
        return cls(reader=reader, team=team, owner=owner, device=device)

    def batch(self, examples: Sequence[Example]) -> Batch | None:
        """None where not one of the examples can be read."""
        mine = [e for e in examples if self.owner[e.id] == self.team.rank]
        found = self.reader.read(mine)
        said = self.team.gather(
            (
                [(e.id, len(found[e.id])) for e in mine if e.id in found],
                {e.id: self.reader.failures[e.id] for e in mine if e.id in self.reader.failures},
            )
        )
        width = self.reader.backbone.width
        local = np.concatenate([found[e.id] for e in mine if e.id in found] or [np.zeros((0, width), np.float32)])
        sizes = [sum(length for _, length in rows) for rows, _ in said]
        parts = self.team.gather_tensor(torch.from_numpy(local), sizes)
        pieces: dict[str, Tensor] = {}
        for part, (rows, failures) in zip(parts, said, strict=True):
            self.reader.failures.update(failures)
            pieces |= zip((name for name, _ in rows), part.split([length for _, length in rows]), strict=True)
        return self._join([e for e in examples if e.id in pieces], pieces)

    def own(self, examples: Sequence[Example]) -> Batch | None:
        """The batch of this process alone, without traffic."""
        found = self.reader.read(examples)
        pieces = {name: torch.from_numpy(features) for name, features in found.items()}
        return self._join([e for e in examples if e.id in pieces], pieces)

    def _join(self, examples: list[Example], pieces: Mapping[str, Tensor]) -> Batch | None:
        if not examples:
            return None
        lengths = [len(pieces[e.id]) for e in examples]
        bounds = np.concatenate([[0], np.cumsum(lengths)]).tolist()
        x_NC = torch.cat([pieces[e.id] for e in examples]).to(self.device)
        return Batch(examples=tuple(examples), x_NC=x_NC, cu_seqlens=bounds)
