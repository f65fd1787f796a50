"""The stream of a run's corpora, as its configuration names them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from onevision_encoder.pretrain.config import TEXT, PretrainConfig
from onevision_encoder.pretrain.parallel import Ranks
from onevision_encoder.pretrain.stream import MixedStream
from onevision_encoder.pretrain.stream_config import CorpusShare, StreamConfig, TextBank


def stream_config(config: PretrainConfig, world: int, image_size: int) -> StreamConfig:
    """What a stream is told, for one rank of ``world``."""
    data = config.data
    text = None if data.vocabulary is None else TextBank(vocabulary=Path(data.vocabulary), name=TEXT)
    return StreamConfig(
        corpora=tuple(CorpusShare(folder=Path(source.path), weight=source.weight) for source in data.sources),
        modes=cast(Any, {mode: weight for mode, weight in data.modes.items() if weight > 0}),
        batch_samples=config.rank_batch(world),
        budget=data.budget,
        image_size=image_size,
        patch=config.encoder_config().patch_size,
        augment=data.augment,
        banks=tuple(name for name in config.banks if text is None or name != TEXT),
        missing_labels=data.missing_labels,
        text=text,
        window=data.window,
        seed=config.seed,
    )


def mixed_stream(config: PretrainConfig, ranks: Ranks, image_size: int) -> MixedStream:
    """The stream of one rank at its first batch. Raises what :class:`MixedStream` raises."""
    return MixedStream(
        stream_config(config, ranks.world, image_size), rank=ranks.rank, world=ranks.world, workers=config.data.workers
    )
