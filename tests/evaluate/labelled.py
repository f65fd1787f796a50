"""Small labelled data sets on disk, and a backbone whose features are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clips import write_video

from onevision_encoder.evaluate.backbone import Features
from onevision_encoder.tokens import ClipReading

TONES = {"dark": 60, "bright": 190}


def write_tone(path: Path, tone: int, seed: int, frames: int = 3) -> Path:
    """A 28 x 28 clip of grey noise around ``tone``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-40, 41, (frames, 28, 28, 3))
    return write_video(path, np.clip(tone + noise, 0, 255).astype(np.uint8), codec="mpeg4")


def folder_of_classes(root: Path, clips: int = 8, *, splits: bool = True) -> Path:
    """``[train|test/]dark|bright/NNN.mp4``: ``clips`` of each class in train, half as many in test."""
    seed = 0
    for split, number in (("train", clips), ("test", clips // 2)) if splits else (("", clips),):
        for name, tone in TONES.items():
            for i in range(number):
                seed += 1
                write_tone(root / split / name / f"{split or 'clip'}{i:03d}.mp4", tone, seed)
    return root


@dataclass
class ToneBackbone:
    """Tokens: each frame's mean of each colour, centred, and a zero. Counts what it is asked."""

    width: int = 4
    name: str = "tone"
    asked: list[str] = field(default_factory=list)
    salt: int = 0

    def describe(self) -> dict[str, Any]:
        return {"model": "tone", "salt": self.salt, "pretrained": True}

    def encode(self, clips: Sequence[ClipReading]) -> Features:
        rows, lengths = [], []
        for clip in clips:
            self.asked.append(clip.frames.source.name)
            mean_T3 = clip.frames.rgb_THW3.mean((1, 2)) / 128 - 1
            rows.append(np.concatenate([mean_T3, np.zeros((len(mean_T3), 1))], 1))
            lengths.append(len(mean_T3))
        bounds = torch.tensor([0, *np.cumsum(lengths).tolist()], dtype=torch.int32)
        return Features(tokens_NC=torch.tensor(np.concatenate(rows), dtype=torch.float32), cu_seqlens=bounds)
