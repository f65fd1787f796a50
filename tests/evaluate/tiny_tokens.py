"""Token sets made of numbers, without a video."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onevision_encoder.evaluate.token_sets import TokenSet
from onevision_encoder.evaluate.tuning_config import TuneConfig
from onevision_encoder.tokens import TokenizeConfig
from onevision_encoder.types import ClipInfo

PATCH, FRAMES = 4, 4
FAST = TuneConfig(
    width=32, layers=1, heads=1, steps=60, batch_size=16, lr=1e-2, warmup_share=0.1, init_std=0.02, place_waves=0
)


def bright_patch(clips: int, seed: int, *, lengths: tuple[int, ...] = (8,), first: int = 0) -> TokenSet:
    """Class 0: the bright patch is in the first half of the clip. The pixels alone do not tell, nor do the positions:
    every clip has the same ones."""
    generator = np.random.default_rng(seed)
    parts, positions, sizes = [], [], []
    labels = generator.integers(0, 2, clips)
    for i, label in enumerate(labels):
        K = lengths[i % len(lengths)]
        t = np.arange(K) * FRAMES // K
        patches = generator.integers(60, 120, (K, 3 * PATCH * PATCH))
        patches[generator.choice(np.flatnonzero((t >= FRAMES // 2) == label))] += 130
        parts.append(patches)
        positions.append(np.stack([t, np.zeros(K), np.arange(K)], 1))
        sizes.append(K)
    info = ClipInfo(
        name="made",
        patch=PATCH,
        grid=(1, max(lengths)),
        frame_index_T=np.arange(FRAMES),
        pts_seconds_T=np.arange(FRAMES) / 25,
        model_time_T=np.arange(FRAMES, dtype=np.float32),
    )
    places = np.concatenate(positions)
    ids = tuple(f"clip{first + i:04d}" for i in range(clips))
    return TokenSet(
        patches_ND=np.concatenate(parts).astype(np.uint8),
        positions_N3=places.astype(np.int32),
        model_positions_N3=places.astype(np.float32),
        score_N=np.zeros(len(places), np.float32),
        kind_N=np.ones(len(places), np.uint8),
        cu_seqlens=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        clips=(info,) * clips,
        ids=ids,
        videos=ids,
        labels=labels.astype(np.int64),
        decode_ms_S=np.ones(clips, np.float32),
        select_ms_S=np.ones(clips, np.float32),
        config=TokenizeConfig(),
    )


def toned(clips: int, seed: int) -> TokenSet:
    """Class 1 is brighter than class 0, all over."""
    tokens = bright_patch(clips, seed)
    added_S = np.where(tokens.labels == 1, 40, 0).astype(np.int64)
    added_N1 = np.repeat(added_S, tokens.lengths_S)[:, None]
    return replace(tokens, patches_ND=np.clip(tokens.patches_ND + added_N1, 0, 255).astype(np.uint8))
