"""video/: any video or image to sized frames with a place in time. One library (PyAV) opens everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onevision_encoder.lazy import lazy_names

if TYPE_CHECKING:
    from onevision_encoder.video.arrays import frames_from_array as frames_from_array
    from onevision_encoder.video.arrays import is_in_memory as is_in_memory
    from onevision_encoder.video.before import FramesBefore as FramesBefore
    from onevision_encoder.video.color import luma_from_rgb as luma_from_rgb
    from onevision_encoder.video.config import FrameObserver as FrameObserver
    from onevision_encoder.video.config import OnDamage as OnDamage
    from onevision_encoder.video.config import Sampling as Sampling
    from onevision_encoder.video.config import Sizing as Sizing
    from onevision_encoder.video.config import Source as Source
    from onevision_encoder.video.decode import decode_frames as decode_frames
    from onevision_encoder.video.images import is_still_image as is_still_image
    from onevision_encoder.video.images import read_image as read_image
    from onevision_encoder.video.index import MediaFacts as MediaFacts
    from onevision_encoder.video.index import probe as probe
    from onevision_encoder.video.media import fingerprint as fingerprint
    from onevision_encoder.video.media import read_media as read_media
    from onevision_encoder.video.reader import read_video as read_video
    from onevision_encoder.video.resize import resize_frames as resize_frames
    from onevision_encoder.video.sidedata import side_data as side_data

_HOME = {
    "FrameObserver": "config",
    "FramesBefore": "before",
    "MediaFacts": "index",
    "OnDamage": "config",
    "Sampling": "config",
    "Sizing": "config",
    "Source": "config",
    "decode_frames": "decode",
    "fingerprint": "media",
    "frames_from_array": "arrays",
    "is_in_memory": "arrays",
    "is_still_image": "images",
    "luma_from_rgb": "color",
    "probe": "index",
    "read_image": "images",
    "read_media": "media",
    "read_video": "reader",
    "resize_frames": "resize",
    "side_data": "sidedata",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
