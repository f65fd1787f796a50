"""A run that takes a second: two-layer encoders, procedural pictures and clips, banks of a few classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from onevision_encoder.pretrain.bank_config import BankConfig
from onevision_encoder.pretrain.config import (
    CheckpointConfig,
    DataConfig,
    EncoderConfig,
    OptimizerConfig,
    PretrainConfig,
)
from onevision_encoder.types import ClipInfo, PatchTokens

SIDE = 4
PATCH = 4
SHAPE = {
    "hidden_size": 32,
    "num_attention_heads": 1,
    "num_hidden_layers": 2,
    "intermediate_size": 64,
    "patch_size": PATCH,
}


def small_config(**changes: Any) -> PretrainConfig:
    config = PretrainConfig(
        name="small",
        steps=8,
        seed=3,
        encoder=EncoderConfig(preset="tiny", overrides=SHAPE),
        banks={
            "object": BankConfig(classes=13, sample_rate=0.5, scale=16.0),
            "motion": BankConfig(classes=7, sample_rate=1.0, scale=16.0, weight=0.5, lr_scale=2.0),
        },
        data=DataConfig(batch_size=4, image_sizes={"0": 16}),
        optimizer=OptimizerConfig(lr=3e-3, accumulate=2, clip_norm=1.0),
        checkpoint=CheckpointConfig(every=3, keep=2),
    )
    return replace(config, **changes)


@dataclass(frozen=True)
class MadeBatch:
    tokens: PatchTokens
    labels: dict[str, Any]
    modes: tuple[str, ...]
    ids: tuple[str, ...]


class MadeStream:
    """Sample n is a function of n: a picture for even n (labels of bank object), a clip of two frames for odd n (bank
    motion). The batches of all ranks together do not depend on how many there are."""

    def __init__(self, batch: int, rank: int, world: int, image_size: int) -> None:
        self.batch, self.rank, self.world, self.image_size = batch, rank, world, image_size
        self.drawn = 0

    def __next__(self) -> MadeBatch:
        share = self.batch // self.world
        first = self.drawn + share * self.rank
        self.drawn += self.batch
        return batch_of(range(first, first + share), self.image_size // PATCH)

    def state_dict(self) -> dict[str, Any]:
        return {"drawn": self.drawn}

    def load_state_dict(self, state: Any) -> None:
        self.drawn = state["drawn"]


def batch_of(numbers: range, side: int) -> MadeBatch:
    labels = {"object": np.full((len(numbers), 2), -1), "motion": np.full((len(numbers), 1), -1)}
    patches, positions, infos = [], [], []
    for i, n in enumerate(numbers):
        rng = np.random.default_rng(n)
        kind, frames = rng.integers(0, 7), 1 + n % 2
        if frames == 1:
            labels["object"][i] = [kind, (kind + 6) % 13]
        else:
            labels["motion"][i] = [kind]
        grid = np.stack(np.meshgrid(range(frames), range(side), range(side), indexing="ij"), -1).reshape(-1, 3)
        noise = rng.integers(0, 60, (len(grid), 3 * PATCH**2))
        patches.append((noise + 20 * kind + 10 * kind * grid[:, :1] + 3 * grid[:, 2:]).clip(0, 255).astype(np.uint8))
        positions.append(grid.astype(np.float32))
        time = np.arange(frames)
        infos.append(
            ClipInfo(
                name=f"sample{n}",
                patch=PATCH,
                grid=(side, side),
                frame_index_T=time,
                pts_seconds_T=time.astype(float),
                model_time_T=time.astype(np.float32),
            )
        )
    counts = [len(part) for part in patches]
    whole = np.concatenate(positions)
    tokens = PatchTokens(
        patches_ND=np.concatenate(patches),
        positions_N3=whole.astype(np.int32),
        model_positions_N3=whole,
        score_N=np.zeros(len(whole), np.float32),
        kind_N=np.zeros(len(whole), np.uint8),
        cu_seqlens=np.cumsum([0, *counts]).astype(np.int32),
        clips=tuple(infos),
    )
    modes = tuple("image" if n % 2 == 0 else "codec" for n in numbers)
    return MadeBatch(tokens, labels, modes, tuple(f"sample{n}" for n in numbers))


def make_stream(config: PretrainConfig, ranks: Any, image_size: int) -> MadeStream:
    return MadeStream(config.data.batch_size, ranks.rank, ranks.world, image_size)


def weights_of(folder: Path) -> dict[str, Any]:
    """Everything that the newest checkpoint of a run holds, in numpy."""
    import torch
    import torch.distributed.checkpoint as dcp

    from onevision_encoder.pretrain.checkpoint import FOLDER, complete, load_tensors, read_checkpoint
    from onevision_encoder.pretrain.parallel import Ranks

    checkpoint = read_checkpoint(folder / FOLDER / complete(folder / FOLDER)[-1])
    entries = dcp.FileSystemReader(checkpoint.path).read_metadata().state_dict_metadata
    tensors = {name: torch.empty(entry.size, dtype=entry.properties.dtype) for name, entry in entries.items()}
    load_tensors(checkpoint, tensors, Ranks())
    return {name: tensor.numpy() for name, tensor in tensors.items()}
