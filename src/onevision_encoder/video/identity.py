"""Which content is this? Told without decoding a video, so that finished work can be recognised."""

from __future__ import annotations

from onevision_encoder.video.config import Source
from onevision_encoder.video.images import is_still_image, read_image
from onevision_encoder.video.index import probe


def fingerprint(source: Source) -> str:
    """What ``FrameSequence.source.fingerprint`` of this source is, without decoding a video.

    Raises:
        MediaError: the source cannot be opened.
    """
    if is_still_image(source):
        return read_image(source).source.fingerprint
    return probe(source).source.fingerprint
