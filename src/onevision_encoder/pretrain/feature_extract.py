"""Features of media by a frozen encoder, in a store: one row for every source that can be read.

Work is cut into chunks of sources. A chunk is a file that appears whole; what is there already is not done again, so
that a run goes on after a kill, and ranks share the chunks.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError, safe_open

from onevision_encoder import __version__
from onevision_encoder.errors import InvalidArgumentError, MediaError, OneVisionError, UnreadableMediaError
from onevision_encoder.evaluate.backbone import Backbone
from onevision_encoder.evaluate.distributed import team as joined_team
from onevision_encoder.evaluate.features import source_of
from onevision_encoder.pretrain.corpus_sources import Item
from onevision_encoder.pretrain.feature_store import FeatureStore, open_features, write_chunk, write_index
from onevision_encoder.pretrain.idx_archive import is_idx, is_picture, picture_numbers, read_picture
from onevision_encoder.tokens import TokenizeConfig, read_clip
from onevision_encoder.tokens.files import write_atomically

Pool = Literal["mean", "pooled"]


class _NoSummaryError(InvalidArgumentError):
    """The encoder has no pooling head."""


def items_of(item: Item) -> list[Item]:
    """The item, or of an IDX archive one for each of its pictures, with the ids that a corpus gives them.

    An archive that cannot be read stays one item: whoever reads it (``medium_of``) says why it cannot be.
    """
    if not is_idx(item.path):
        return [item]
    try:
        return [Item(id=item.id + n, path=Path(f"{item.path}{n}")) for n in picture_numbers(item.path)]
    except MediaError:
        return [item]


def medium_of(path: Path) -> Any:
    """What ``read_clip`` and ``read_media`` take for the path of a source.

    Raises:
        MediaNotFoundError, UnreadableMediaError: a folder or an archive that does not give it.
    """
    if is_picture(path):
        return [Image.fromarray(read_picture(path))]
    if is_idx(path):
        count = len(picture_numbers(path))
        raise UnreadableMediaError(path, f"an archive of {count} pictures; name one: {path.name}#0")
    return source_of(path)


def extract_features(
    sources: Sequence[Item],
    backbone: Backbone,
    out: str | Path,
    *,
    reading: TokenizeConfig | None = None,
    pool: Pool = "mean",
    half: bool = False,
    chunk: int = 1024,
    tick: Callable[[int], object] | None = None,
) -> FeatureStore:
    """A store of one row for each source, in order; what cannot be read is left out and listed in ``failures``.

    Args:
        reading: frames, size and tokens of a source. pool: ``mean`` of the tokens, or the model's own summary.
        half: keep float16. chunk: sources of a file. tick: called with the sources done since the last call.
    Raises:
        InvalidArgumentError: no source, ids that are not unique, a backbone without a summary (``pooled``), or a folder
            that holds features of other sources or by another encoder.
        FeatureStoreError: not one source could be read. WriteError.
    """
    out, reading = Path(out), reading or TokenizeConfig()
    if pool not in get_args(Pool):
        raise InvalidArgumentError("pool", pool, f"one of {get_args(Pool)}")
    if chunk < 1:
        raise InvalidArgumentError("chunk", chunk, "at least 1 source")
    ids = [item.id for item in sources]
    if not ids or len(set(ids)) != len(ids):
        raise InvalidArgumentError(
            "sources", f"{len(ids)} of {len(set(ids))} ids", "at least one, each with its own id"
        )
    described = {"backbone": backbone.describe(), "reading": reading.as_dict(), "pool": pool, "version": __version__}
    made_by = json.loads(json.dumps(described, default=str))
    team = joined_team()
    parts = [sources[i : i + chunk] for i in range(0, len(sources), chunk)]
    mine: list[tuple[int, str, int, dict[str, str]]] = []
    for number in team.mine(range(len(parts))):
        path = out / f"features-{number:06d}.safetensors"
        key = _digest([made_by, half, [[item.id, str(item.path)] for item in parts[number]]])
        known = _known(path, key)
        if known is None:
            known = _work(path, key, parts[number], backbone, reading, pool, half, tick)
        elif tick:
            tick(len(parts[number]))
        mine.append((number, path.name, *known))
    listed = sorted(entry for part in team.gather(mine) for entry in part)
    if team.leads:
        failures = {name: why for *_, failed in listed for name, why in failed.items()}
        chunks = [(name, rows) for _, name, rows, _ in listed if rows]
        write_index(out, chunks, backbone.width, made_by, failures)
    team.gather(None)  # the index is there
    return open_features(out)


def _work(
    path: Path,
    key: str,
    part: Sequence[Item],
    backbone: Backbone,
    reading: TokenizeConfig,
    pool: Pool,
    half: bool,
    tick: Callable[[int], object] | None,
) -> tuple[int, dict[str, str]]:
    """Encode the sources of a chunk; (rows, failures)."""
    rows, ids, paths, failures = [], [], [], {}
    for item in part:
        try:
            rows.append(_feature(item, backbone, reading, pool))
            ids.append(item.id)
            paths.append(str(item.path))
        except _NoSummaryError:
            raise  # of the call, not of this source
        except OneVisionError as error:
            failures[item.id] = f"{type(error).__name__}: {error}"
        if tick:
            tick(1)
    if rows:
        features = np.stack(rows).astype(np.float16 if half else np.float32)
        write_chunk(path, features, ids, paths, {"key": key, "failures": failures})
    else:  # a chunk of failures alone has no rows to keep
        write_atomically(path.with_suffix(".json"), json.dumps({"key": key, "failures": failures}).encode())
    return len(rows), failures


def _feature(item: Item, backbone: Backbone, reading: TokenizeConfig, pool: Pool) -> NDArray[np.float32]:
    encoded = backbone.encode([read_clip(medium_of(item.path), reading)])
    if pool == "pooled":
        if encoded.pooled_SC is None:
            raise _NoSummaryError("pool", pool, f"'mean': {backbone.name} has no summary of its own")
        feature_D = encoded.pooled_SC[0]
    else:
        feature_D = encoded.tokens_NC.float().mean(0)
    found: NDArray[np.float32] = feature_D.to("cpu", torch.float32).numpy()
    if not np.isfinite(found).all():
        raise OneVisionError(f"{item.path}: {backbone.name} gives values that are not finite")
    return found


def _known(path: Path, key: str) -> tuple[int, dict[str, str]] | None:
    """(rows, failures) of a chunk that is there; None where it is not.

    Raises:
        InvalidArgumentError: it is of other sources or by another encoder, and must not be replaced by accident.
    """
    try:
        if path.with_suffix(".json").is_file():
            facts, rows = json.loads(path.with_suffix(".json").read_text(encoding="utf-8")), 0
        elif path.is_file():
            with safe_open(str(path), framework="numpy") as file:
                facts = json.loads((file.metadata() or {})["onevision_encoder"])
                rows = file.get_slice("features").get_shape()[0]
        else:
            return None
        if facts["key"] == key:
            return rows, facts["failures"]
    except (SafetensorError, KeyError, ValueError) as error:
        raise InvalidArgumentError("out", str(path), f"a chunk that can be read ({error}); or remove it") from error
    allowed = "a folder without features of other sources, options or encoders; name another or remove it"
    raise InvalidArgumentError("out", str(path), allowed)


def _digest(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True, default=str).encode(), digest_size=16).hexdigest()
