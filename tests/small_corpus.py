"""A small corpus to draw from: pictures of every common kind and short videos, made here."""

from __future__ import annotations

from pathlib import Path

from clips import moving_square, textured, write_video
from PIL import Image

from onevision_encoder.pretrain import CorpusConfig, build_corpus
from onevision_encoder.tokens.pipeline import TokenizeConfig

KINDS = ("png", "jpg", "webp", "bmp", "tif", "ppm")


def write_pictures(folder: Path, count: int, *, height: int = 40, width: int = 48) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        picture = Image.fromarray(textured(height + 2 * n, width + n, n))
        picture.save(folder / f"p{n:02d}.{KINDS[n % len(KINDS)]}", lossless=True)
    return folder


def write_videos(folder: Path, count: int, *, frames: int = 8, side: int = 56) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        clip = moving_square(frames, side, side, side=14, step=2 + n % 3, seed=n)
        write_video(folder / f"v{n:02d}.mp4", clip)
    return folder


def small_config(**options: object) -> CorpusConfig:
    """Budgets that clips of 8 frames of 16 patches can meet."""
    told: dict[str, object] = {
        "low": "12.5%",
        "high": "50%",
        "steps": 13,
        "frame_levels": ("12.5%", "25%", "50%"),
        "shard_samples": 5,
        **options,
    }
    return CorpusConfig(**told)  # type: ignore[arg-type]


def picture_corpus(folder: Path, count: int = 13) -> Path:
    build_corpus([write_pictures(folder / "pictures", count)], folder / "of-pictures", small_config())
    return folder / "of-pictures"


def video_corpus(folder: Path, count: int = 6, **reading: object) -> Path:
    config = small_config(shard_samples=2, reading=TokenizeConfig.of(**reading))
    report = build_corpus([write_videos(folder / "videos", count)], folder / "of-videos", config)
    assert not report.failed
    return folder / "of-videos"
