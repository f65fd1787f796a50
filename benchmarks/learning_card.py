"""The package's default weights and their card, out of what bench_learning.py trained and measured."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from onevision_encoder.model import default_weights, load_encoder, write_model_card

CLIP_SIDE = 112
"""Pixels of a clip's frame, by tiny-cpu's corpora."""
WORDS = """Trained from scratch, without labels, by `benchmarks/bench_learning.py` (its second chain, seed {seed}; every
setting is in it).

Data:

- the {pictures:,} training pictures of Fashion-MNIST (Zalando SE, MIT licence), without their labels;
- {clips:,} procedural clips of this project's motion suite;
- {real:,} windows, 40 frames each, of real videos: Big Buck Bunny ((c) Blender Foundation, CC-BY 3.0), a sample of
  Intel's person detection (CC-BY 4.0), a film of Chaplin and one of NASA (public domain), OpenCV's `vtest.avi` (Apache
  2.0), W3C's counting test and a sample of torchcodec (BSD 3-clause), and every other clip of fight_256 ((c) 2020
  Seymanur Akti, MIT licence), without its class.

Pictures were read at 56 x 56 pixels, clips at {side} x {side}. Clothes in grey and some hundred scenes are all that
this encoder has seen of the world: these weights make the commands mean something offline; for real work load a
published checkpoint.

Frozen, probed on held-out data (accuracy in %; random: the same encoder untrained; half of the clips of fight_256 were
among the media, without their class):

| data | head | reads | random | these weights |
|---|---|---|---|---|
"""


def ship(seed: int, encoder: Path, rows: Iterable[Mapping[str, Any]], name: str, media: Mapping[str, int]) -> None:
    """Write the encoder in float16 and its card.

    Args:
        rows: what was measured of all encoders. name: what they call this one. media: how many of each kind.
    """
    target = default_weights()
    loaded = load_encoder(encoder, dtype=torch.float16, device="cpu")
    loaded.model.config.image_size = CLIP_SIDE
    shutil.rmtree(target, ignore_errors=True)
    loaded.model.save_pretrained(str(target))
    (target / "model.safetensors").chmod(0o644)
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for row in rows:
        if row["seed"] == seed and row["encoder"] in ("random", name):
            found.setdefault((row["task"], row["head"], row["input"]), {})[row["encoder"]] = 100 * row["top1"]
    lines = [
        f"| {' | '.join(what)} | {top1['random']:.1f} | {top1[name]:.1f} |"
        for what, top1 in sorted(found.items())
        if len(top1) == 2
    ]
    words = WORDS.format(seed=seed, side=CLIP_SIDE, **media) + "\n".join(lines)
    write_model_card(loaded.model, target, name="default", license="apache-2.0", weights=words, overwrite=True)
