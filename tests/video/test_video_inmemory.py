"""Frames in memory: arrays, PIL images, lists of them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from clips import moving_square, textured
from PIL import Image

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.video import Sampling, Sizing, fingerprint, frames_from_array, is_in_memory, read_media

CLIP = moving_square(9, 112, 112)


@pytest.mark.parametrize("kind", ["array", "list of arrays", "tuple of arrays", "PIL", "mixed"])
def test_a_sequence_in_memory(kind: str) -> None:
    pil = [Image.fromarray(rgb) for rgb in CLIP]
    source: Any = {
        "array": CLIP,
        "list of arrays": list(CLIP),
        "tuple of arrays": tuple(CLIP),
        "PIL": pil,
        "mixed": [*pil[:4], *CLIP[4:]],
    }[kind]
    frames = read_media(source)
    np.testing.assert_array_equal(frames.rgb_THW3, CLIP)
    np.testing.assert_array_equal(frames.frame_index_T, np.arange(9))
    assert (frames.source.is_image, frames.source.timestamps, frames.source.num_frames) == (False, "none", 9)
    assert frames.source.fingerprint == fingerprint(source) == frames_from_array(CLIP).source.fingerprint
    some = read_media(source, sampling=Sampling(num_frames=4), sizing=Sizing(max_patches=16))
    assert some.frame_index_T.tolist() == [0, 2, 5, 8]  # trunc(linspace(0, 8, 4))
    np.testing.assert_array_equal(some.pts_seconds_T, [0, 2, 5, 8])
    assert some.source.num_frames == 9
    expected = frames_from_array(CLIP[[0, 2, 5, 8]], sizing=Sizing(max_patches=16))
    np.testing.assert_array_equal(some.rgb_THW3, expected.rgb_THW3)
    assert is_in_memory(source)


def test_one_image_in_memory() -> None:
    picture = textured(140, 210)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    from_file = read_media(file.getvalue())
    for source in (picture, Image.fromarray(picture)):
        frames = read_media(source, sampling=Sampling(fps=2))  # no meaning for an image, as for a file's
        assert (frames.num_frames, frames.source.is_image) == (1, True)
        np.testing.assert_array_equal(frames.rgb_THW3, from_file.rgb_THW3)
        assert frames.source.fingerprint == from_file.source.fingerprint == fingerprint(source)
    one = read_media([picture])
    assert (one.num_frames, one.source.is_image) == (1, False)


def test_pil_images_are_treated_like_image_files() -> None:
    picture = Image.fromarray(textured(56, 84))
    picture.getexif()[0x0112] = 6
    np.testing.assert_array_equal(read_media(picture).rgb_THW3[0], np.rot90(textured(56, 84), -1))
    frames = read_media([Image.fromarray(textured(56, 84)).convert("RGBA"), textured(56, 84)])
    assert (frames.source.pixel_format, frames.provenance["alpha"]) == ("RGBA, rgb24", "dropped")


@pytest.mark.parametrize(
    "sampling", [Sampling(fps=2), Sampling(start_seconds=1), Sampling(end_seconds=1)], ids=["fps", "start", "end"]
)
def test_memory_carries_no_times(sampling: Sampling) -> None:
    with pytest.raises(InvalidArgumentError, match="carry no times: sample them before, or give a file"):
        read_media(CLIP, sampling=sampling)


@pytest.mark.parametrize(
    "source",
    [
        CLIP.astype(np.float32),
        CLIP[0].astype(np.float64) / 255,
        CLIP[..., 0],
        CLIP[0, :, :, 0],
        CLIP[:0],
        CLIP[0, :0],
        CLIP[None],
        np.dstack([CLIP[0], CLIP[0, :, :, :1]]),
        [],
        [CLIP[0], CLIP[1, :56]],
        [CLIP[0], "frame.png"],
        [CLIP[0].astype(np.float32)],
        Image.new("F", (28, 28)),
        [Image.new("I", (28, 28))],
    ],
)
def test_what_is_no_frames(source: Any) -> None:
    with pytest.raises(ShapeError) as caught:
        read_media(source)
    assert any(word in str(caught.value) for word in ("uint8 RGB array", "frames of one size", "known white"))


def test_floats_and_tensors_are_to_be_converted() -> None:
    torch = pytest.importorskip("torch")
    for source in (torch.zeros(2, 28, 28, 3), torch.zeros(2, 28, 28, 3, dtype=torch.uint8), [torch.zeros(28, 28, 3)]):
        with pytest.raises(ShapeError, match="convert to uint8"):
            read_media(source)
    with pytest.raises(ShapeError, match="convert to uint8"):
        read_media(CLIP / 255)


def test_an_observer_has_nothing_to_see() -> None:
    class Observer:
        export_motion_vectors = False

        def __call__(self, frame: object, *, frame_index: int, sampled: bool) -> None:
            raise AssertionError

    with pytest.raises(InvalidArgumentError, match="observer"):
        read_media(CLIP, observer=Observer())
    assert read_media(CLIP[0], observer=Observer()).num_frames == 1
