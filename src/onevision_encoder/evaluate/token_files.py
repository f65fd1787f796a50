"""Token sets on disk, found again by what they were made of.

A set is two files: ``NAME.patches``, the uint8 patches [N, D] as they are, which are mapped and never read whole into
memory, and ``NAME.safetensors`` with everything else and the digest of both, written last. NAME is a digest of the key:
the content of every source, the stretches, labels and ids, the whole configuration, what was done afterwards, and this
version. A set that is cut short, altered or of another key is never used: it is made again, and noted.

Axes: N tokens, S clips, T frames of all clips end to end, D = 3*p*p.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import OneVisionError, WriteError
from onevision_encoder.evaluate.token_sets import Broken, TokenSet
from onevision_encoder.tokens import TokenizeConfig
from onevision_encoder.tokens.described import Form
from onevision_encoder.tokens.keyed_folder import KeyedFolder, canonical
from onevision_encoder.types import ClipInfo


class TokenSetFileError(OneVisionError):
    """A file of a token set is not what its name says."""


_TENSORS: Mapping[str, type[np.generic]] = {
    "positions_N3": np.int32,
    "model_positions_N3": np.float32,
    "score_N": np.float32,
    "kind_N": np.uint8,
    "cu_seqlens": np.int64,
    "labels": np.int64,
    "decode_ms_S": np.float32,
    "select_ms_S": np.float32,
    "frame_index_T": np.int64,
    "pts_seconds_T": np.float64,
    "model_time_T": np.float32,
    "cu_frames": np.int64,
}
FORM = Form(
    noun="a token set",
    error=TokenSetFileError,
    schema=1,
    tensors=_TENSORS,
    optional={},
    fields={"key": dict, "fingerprint": str, "ids": list, "videos": list, "clips": list, "broken": list, "data": str},
)


class TokenSetCache(KeyedFolder):
    """A folder of token sets; ``path`` is the file that is written last, the patches lie beside it."""

    def get(self, key: Mapping[str, Any], config: TokenizeConfig) -> TokenSet | None:
        """The set of that key, its patches mapped; None: not there, or unusable (then noted in ``corrupt``)."""
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            tokens = _read(path, key, config)
        except (TokenSetFileError, ValueError, OSError, TypeError, KeyError) as error:
            self.corrupt.append(f"{path}: {error}")
            return None
        self.found += 1
        return tokens

    def put(
        self,
        key: Mapping[str, Any],
        patches: Path,
        width: int,
        make: Callable[[NDArray[np.uint8]], TokenSet],
    ) -> TokenSet:
        """Keep a set.

        Args:
            patches: file of this folder with uint8 [N, width], which is moved. make: makes the set of it, mapped.
        Raises:
            WriteError: a file cannot be written.
        """
        path = self.path(key)
        final = path.with_suffix(".patches")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            patches.replace(final)  # before it is mapped: some systems rename no mapped file
        except OSError as error:
            raise WriteError(final, error.strerror or str(error)) from error
        tokens = make(np.memmap(final, np.uint8, "r").reshape(-1, width))
        FORM.write(path, _arrays(tokens), **_described(tokens, key))
        self.stored += 1
        return tokens

    def spool(self) -> Path:
        """Name of a new file to spool patches to."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WriteError(self.folder, error.strerror or str(error)) from error
        return self.folder / f".{secrets.token_hex(8)}.part"


def _arrays(tokens: TokenSet) -> dict[str, NDArray[Any]]:
    clips = tokens.clips
    frames = np.concatenate([[0], np.cumsum([len(c.frame_index_T) for c in clips])])
    return {
        **{name: getattr(tokens, name) for name in _TENSORS if hasattr(tokens, name)},
        "frame_index_T": np.concatenate([c.frame_index_T for c in clips]),
        "pts_seconds_T": np.concatenate([c.pts_seconds_T for c in clips]),
        "model_time_T": np.concatenate([c.model_time_T for c in clips]),
        "cu_frames": frames,
    }


def _described(tokens: TokenSet, key: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": dict(key),
        "fingerprint": tokens.fingerprint,
        "data": tokens.data,
        "change": tokens.change,
        "multi_label": tokens.multi_label,
        "ids": list(tokens.ids),
        "videos": list(tokens.videos),
        "clips": [[c.name, c.patch, *c.grid, c.layout, c.order] for c in tokens.clips],
        "broken": [[b.id, b.cause] for b in tokens.broken],
    }


def _read(path: Path, key: Mapping[str, Any], config: TokenizeConfig) -> TokenSet:
    described, arrays = FORM.read(path)
    if canonical(described["key"]) != canonical(key):
        raise TokenSetFileError("holds a set of something else")
    clips = _clips(described["clips"], arrays)
    width = 3 * clips[0].patch ** 2
    N = int(arrays["cu_seqlens"][-1])
    file = path.with_suffix(".patches")
    if not file.is_file() or file.stat().st_size != N * width:
        raise TokenSetFileError(f"{file.name} is not there or is no {N} x {width} bytes")
    labels: NDArray[Any] = arrays["labels"]
    tokens = TokenSet(
        patches_ND=np.memmap(file, np.uint8, "r", shape=(N, width)),
        **{name: arrays[name] for name in ("positions_N3", "model_positions_N3", "score_N", "kind_N", "cu_seqlens")},
        clips=clips,
        ids=tuple(described["ids"]),
        videos=tuple(described["videos"]),
        labels=labels.astype(np.bool_) if described["multi_label"] else labels,
        decode_ms_S=arrays["decode_ms_S"],
        select_ms_S=arrays["select_ms_S"],
        config=config,
        data=described["data"],
        change=described["change"],
        broken=tuple(Broken(id=name, cause=cause) for name, cause in described["broken"]),
    )
    if tokens.fingerprint != described["fingerprint"]:
        raise TokenSetFileError("the tokens are not those that were stored")
    return tokens


def _clips(rows: Sequence[Sequence[Any]], arrays: Mapping[str, NDArray[Any]]) -> tuple[ClipInfo, ...]:
    bounds = list(pairwise(arrays["cu_frames"].tolist()))
    return tuple(
        ClipInfo(
            name=name,
            patch=patch,
            grid=(h, w),
            frame_index_T=arrays["frame_index_T"][start:stop],
            pts_seconds_T=arrays["pts_seconds_T"][start:stop],
            model_time_T=arrays["model_time_T"][start:stop],
            layout=layout,
            order=order,
        )
        for (name, patch, h, w, layout, order), (start, stop) in zip(rows, bounds, strict=True)
    )
