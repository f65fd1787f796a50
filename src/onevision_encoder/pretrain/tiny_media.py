"""What a tiny run learns from: the videos and pictures of a folder, or procedural clips."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from onevision_encoder.errors import InvalidArgumentError, MediaError
from onevision_encoder.pretrain.corpus_sources import Item, find_items
from onevision_encoder.video.suffixes import is_video_name


def procedural_clips(
    folder: Path, *, seed: int, counts: tuple[int, int, int], workers: int, say: Callable[[str], object]
) -> Path:
    """The folder, with clips of the motion suite: ``counts`` of each class to train, validate and test on, made by
    ``workers`` processes."""
    from onevision_encoder.evaluate import MotionSuite, make_suite

    if not (folder / "labels.jsonl").is_file():
        say(f"procedural clips -> {folder}")
        suite = MotionSuite(seed=seed, clips_per_class=counts, frames=(32, 40), codecs=("h264",))
        make_suite(folder, suite, workers=workers)
    return folder


def find_media(
    out: Path, place: Path, stills_per_clip: int, say: Callable[[str], object]
) -> tuple[list[Item], list[Item]]:
    """(clips, pictures) of a folder; where it holds no pictures, frames of the clips serve.

    Raises:
        InvalidArgumentError: a folder without videos.
    """
    found = find_items([place])
    clips: list[Item] = []
    pictures: list[Item] = []
    for item in found:
        (clips if is_video_name(item.path) else pictures).append(item)
    if clips and pictures:  # a corpus is built of folders: each kind gets one
        clips, pictures = (_linked(out / name, items) for name, items in (("clips", clips), ("pictures", pictures)))
    if not clips:
        raise InvalidArgumentError("media", str(place), "a folder with at least one video")
    if not pictures:
        say(f"no pictures among the media: frames of the clips serve -> {out / 'stills'}")
        pictures = _stills(out / "stills", clips, stills_per_clip, say)
    return clips, pictures


def _linked(folder: Path, items: Sequence[Item]) -> list[Item]:
    """The same files in a folder of their own: hard links, or copies where there can be none."""
    for item in items:
        target = folder / item.id
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                target.hardlink_to(item.path.resolve())
            except OSError:
                shutil.copyfile(item.path, target)
    return find_items([folder])


def _stills(folder: Path, clips: Sequence[Item], count: int, say: Callable[[str], object]) -> list[Item]:
    """Raises InvalidArgumentError where not one clip can be read."""
    from onevision_encoder.video import Sampling, read_video

    folder.mkdir(exist_ok=True)
    for number, clip in enumerate(clips):
        names = [folder / f"{number:05d}-{i}.png" for i in range(count)]
        if all(name.is_file() for name in names):
            continue
        try:
            frames = read_video(clip.path, sampling=Sampling(num_frames=count))
        except MediaError as error:
            say(f"left out: {error}")
            continue
        for name, rgb_HW3 in zip(names, frames.rgb_THW3, strict=False):
            part = name.with_suffix(".part")
            Image.fromarray(np.ascontiguousarray(rgb_HW3)).save(part, "PNG")
            part.replace(name)
    return find_items([folder])
