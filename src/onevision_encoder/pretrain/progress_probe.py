"""How good the embeddings are while training: nearest neighbours among labelled videos or pictures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from onevision_encoder.pretrain.config import PretrainConfig, ProbeConfig
from onevision_encoder.pretrain.parallel import SpreadEncoder


def probe_now(encoder: SpreadEncoder, probe: ProbeConfig, config: PretrainConfig) -> dict[str, float]:
    """``{"probe/top1": ..., "probe/seconds": ...}``; every rank calls it and does its share of the clips.

    Raises:
        What reading the folder raises; a clip that cannot be read is left out and counted in ``probe/broken``.
    """
    from onevision_encoder.evaluate import FeatureReader, load_dataset, run_probe
    from onevision_encoder.evaluate import ProbeConfig as HeadConfig
    from onevision_encoder.model import LoadedEncoder
    from onevision_encoder.pretrain.pooled_backbone import PooledBackbone

    with whole_encoder(encoder, config) as model:
        loaded = LoadedEncoder(model=model, weights="in training", pretrained=True, provenance={})
        backbone = PooledBackbone("in training", loaded, None)
        reader = FeatureReader(backbone=backbone, reading=reading_of(probe), pool=True)
        result = run_probe(load_dataset(Path(probe.data)), reader, HeadConfig(head="knn", seeds=1, resamples=1))
    report = result.report
    values = {f"probe/{name}": float(found["mean"]) for name, found in report["results"].items()}
    return {**values, "probe/broken": len(report["broken"]), "probe/seconds": float(result.run["seconds"])}


def reading_of(probe: ProbeConfig) -> Any:
    """Which tokens of a clip the probe reads: all patches of some frames, or a budget that the codec policy spends."""
    from onevision_encoder.selection import SelectionConfig
    from onevision_encoder.tokens import TokenizeConfig
    from onevision_encoder.video import Sampling, Sizing

    selection = SelectionConfig(policy="dense") if probe.budget is None else SelectionConfig(budget=probe.budget)
    return TokenizeConfig(
        selection=selection, sampling=Sampling(num_frames=probe.frames), sizing=Sizing(max_patches=probe.max_patches)
    )


@contextmanager
def whole_encoder(encoder: SpreadEncoder, config: PretrainConfig) -> Iterator[Any]:
    """The encoder in one piece: itself, or under FSDP2 a copy of which every rank holds one."""
    if not encoder.sharded:
        yield encoder.model
        return
    from onevision_encoder.model import OneVisionEncoderModel

    whole = {name: value.full_tensor() for name, value in encoder.model.state_dict().items()}
    with torch.device(encoder.ranks.device):
        copy = OneVisionEncoderModel(config.encoder_config())
    copy.load_state_dict(whole)
    yield copy
