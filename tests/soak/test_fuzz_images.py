"""Damaged image files, thousands of times: each call gives frames or a typed error that names the file.

Pictures and animations of every common format, written by Pillow, with bytes flipped, cut out, repeated or cut off.
"""

from __future__ import annotations

import faulthandler
import io
import os
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from clips import moving_square
from PIL import Image
from test_fuzz_media import SECONDS_PER_CALL, damage

from onevision_encoder.errors import OneVisionError
from onevision_encoder.video import fingerprint, read_media

SECONDS = float(os.environ.get("SOAK_SECONDS", "60"))
KINDS = {
    "png": ("PNG", {}),
    "apng": ("PNG", {"save_all": True, "duration": 100}),
    "jpg": ("JPEG", {"quality": 90}),
    "progressive.jpg": ("JPEG", {"progressive": True}),
    "gif": ("GIF", {}),
    "animated.gif": ("GIF", {"save_all": True, "duration": 100}),
    "undelayed.gif": ("GIF", {"save_all": True}),
    "tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "pages.tiff": ("TIFF", {"save_all": True}),
    "webp": ("WEBP", {}),
    "animated.webp": ("WEBP", {"save_all": True, "duration": 100}),
    "bmp": ("BMP", {}),
    "ppm": ("PPM", {}),
    "mjpeg": ("JPEG", {}),
}


def whole_file(name: str, path: Path) -> bytes:
    kind, options = KINDS[name]
    first, *rest = (Image.fromarray(rgb) for rgb in moving_square(4))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    if kind in ("PNG", "JPEG", "WEBP"):
        options = {**options, "exif": exif}
    if options.get("save_all"):
        options = {**options, "append_images": rest}
    first.save(path, kind, **options)
    data = path.read_bytes()
    for picture in rest if name == "mjpeg" else []:
        file = io.BytesIO()
        picture.save(file, kind, **options)
        data += file.getvalue()
    return data


@pytest.mark.soak
@pytest.mark.parametrize("name", KINDS)
def test_damaged_images_give_frames_or_a_typed_error(tmp_path: Path, name: str) -> None:
    whole = whole_file(name, tmp_path / f"whole.{name}")
    target = tmp_path / f"damaged.{name}"
    target.write_bytes(whole)
    if name != "animated.webp":  # most builds of FFmpeg do not decode it
        several = name in ("apng", "mjpeg", "animated.gif", "undelayed.gif")
        assert read_media(target).num_frames == (4 if several else 1)
    rng, outcomes = np.random.default_rng(0), Counter[str]()
    end = time.monotonic() + SECONDS / len(KINDS)
    while time.monotonic() < end:
        target.write_bytes(damage(whole, rng))
        faulthandler.dump_traceback_later(SECONDS_PER_CALL, exit=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.filterwarnings("ignore", module="PIL")  # Pillow's own words about the damage
                frames = read_media(target)
                assert frames.source.fingerprint == fingerprint(target)
            outcomes["image" if frames.source.is_image else "video"] += 1
        except OneVisionError as error:
            if str(target) not in str(error):
                pytest.fail(f"the error does not name the file: {error}")
            outcomes[type(error).__name__] += 1
        finally:
            faulthandler.cancel_dump_traceback_later()
    print(f"{name}: {dict(outcomes)}")
    assert sum(outcomes.values()) >= 20
