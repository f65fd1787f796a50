"""How files of videos and of pictures are called: what a search of a folder takes. What a file is, its bytes decide."""

from __future__ import annotations

import functools
from pathlib import Path

_VIDEOS = """
.264 .265 .3gp .avi .flv .gif .h264 .h265 .hevc .ivf .m2ts .m4v .mkv .mov .mp4 .mpeg .mpg .mts .obu .ogv .ts .vob .webm
.wmv .y4m
"""
VIDEO_SUFFIXES = frozenset(_VIDEOS.split())


def is_video_name(path: Path) -> bool:
    """Whether a file is called as videos are, in letters of either case; .gif is one of them."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def is_picture_name(path: Path) -> bool:
    """Whether a file is called as what Pillow reads, and not as a video."""
    return path.suffix.lower() in _readable() and not is_video_name(path)


@functools.cache
def _readable() -> frozenset[str]:
    from PIL import Image

    Image.init()
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in Image.OPEN)
