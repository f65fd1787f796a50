"""What each of two processes runs: python two_ranks.py FEATURES OUT (started with torchrun's environment)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from onevision_encoder.evaluate import joined
from onevision_encoder.pretrain import FeatureStoreError, KMeansConfig, kmeans, label_features


def main(features: Path, out: Path) -> None:
    with joined() as team:
        for levels in (1, 2):
            config = KMeansConfig(k=24, iterations=4, levels=levels, chunk_rows=200, memory_mb=0)
            work = out / f"work{levels}"
            found = kmeans(features, config, work=work)
            table = label_features(features, found, top=4, chunk_rows=200)
            if team.leads:
                found.save(out / f"{levels}")
                table.save(out / f"{levels}")
            again = kmeans(features, config, work=work)  # from what the first rank has kept
            assert again.centres_kD.tobytes() == found.centres_kD.tobytes()
        try:
            kmeans(features.with_name("broken.npy"), KMeansConfig(k=4, chunk_rows=200))
        except FeatureStoreError as error:
            np.save(out / f"said{team.rank}.npy", np.array(str(error)))
        team.gather(None)
        if team.world > 1:
            os._exit(0)  # taking gloo apart can lock up


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
