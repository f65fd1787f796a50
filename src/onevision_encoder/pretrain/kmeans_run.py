"""Spherical or plain k-means of features on disk: any number of ranks gives the same bits."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from onevision_encoder import __version__
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.evaluate.distributed import team as joined_team
from onevision_encoder.pretrain.centres import Centres, balance
from onevision_encoder.pretrain.feature_store import FeatureStore, open_features
from onevision_encoder.pretrain.kmeans_config import KMeansConfig
from onevision_encoder.pretrain.kmeans_flat import Flat, Tick, cluster
from onevision_encoder.pretrain.kmeans_levels import Tree, cluster_levels
from onevision_encoder.pretrain.kmeans_nearest import screens
from onevision_encoder.pretrain.kmeans_rows import Rows, check_rows
from onevision_encoder.pretrain.kmeans_state import Progress


def kmeans(
    features: FeatureStore | str | Path,
    config: KMeansConfig,
    *,
    work: str | Path | None = None,
    tick: Tick | None = None,
) -> Centres:
    """Centres of the features.

    Rows are read in chunks and may be more than memory holds. Under torchrun (joined by
    :func:`onevision_encoder.evaluate.joined`) each rank looks at a share of the chunks; every rank returns the centres,
    the same bits as from one process with as many threads.

    Args:
        work: folder that keeps progress: the same call goes on after the last iteration that was finished.
        tick: called with (stage, inertia) after every look at the rows.
    Raises:
        InvalidArgumentError: k above the number of rows, or ``work`` of another run.
        FeatureStoreError: rows that are not finite, or without direction (spherical); files that cannot be read.
        WriteError: progress cannot be kept.
    """
    store = features if isinstance(features, FeatureStore) else open_features(features)
    if config.k > store.rows:
        raise InvalidArgumentError("k", config.k, f"at most {store.rows}, the rows of {store.path}")
    team = joined_team()
    screened = screens(config.screening, store.width, spherical=config.spherical)
    if screened and not config.spherical:
        raise InvalidArgumentError("screening", config.screening, "'auto' or 'none' of plain k-means: no lengths of 1")
    key = {"config": config.deciding(), "features": store.identity(), "screened": screened}
    progress = Progress(folder=Path(work) if work else None, key=key, team=team)
    rows = Rows(store, config.spherical, config.chunk_rows, config.memory_mb << 20)
    checked = progress.load("checked")
    longest = checked[1]["longest"] if checked else check_rows(rows, team)
    progress.save("checked", {"nothing": np.zeros(1, np.float32)}, longest=longest)
    with torch.inference_mode():
        if config.levels == 1:
            found: Flat | Tree = cluster(rows, config, team, longest=longest, progress=progress, tick=tick)
        else:
            found = cluster_levels(rows, config, team, longest=longest, progress=progress, tick=tick)
    return _centres(found, config, store, screened)


def _centres(found: Flat | Tree, config: KMeansConfig, store: FeatureStore, screened: bool) -> Centres:
    sizes_k = found.sizes_k.numpy()
    provenance: dict[str, Any] = {
        "version": __version__,
        "config": asdict(config),
        "screening": "bf16, decided in float32" if screened else "none",
        "features": {"rows": store.rows, "width": store.width, "made_by": dict(store.made_by)},
        "inertia": found.inertia,
        "inertia_per_row": found.inertia / store.rows,
        "converged": found.converged,
        "history": found.history,
        "balance": balance(sizes_k),
    }
    tree = found if isinstance(found, Tree) else None
    return Centres(
        centres_kD=found.centres_kD.numpy(),
        sizes_k=sizes_k,
        spherical=config.spherical,
        parents_jD=tree.parents_jD.numpy() if tree else None,
        child_bounds=tree.child_bounds.numpy() if tree else None,
        provenance=provenance,
    )
