"""Still images, arrays, and telling images from videos by content."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from clips import moving_square, textured, write_video
from numpy.typing import NDArray
from PIL import Image

from onevision_encoder.errors import (
    InvalidArgumentError,
    MediaError,
    MediaNotFoundError,
    ShapeError,
    UnreadableMediaError,
)
from onevision_encoder.video import Sizing, frames_from_array, is_still_image, luma_from_rgb, read_image, read_media


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("size", [(448, 448), (720, 1280), (640, 360), (449, 600), (300, 217), (1001, 333)])
def test_image448_equals_clip_image_processor(size: tuple[int, int]) -> None:
    """Pixel for pixel before rescaling and normalisation (the original's preprocessor_config: bicubic, 448)."""
    from transformers.models.clip import CLIPImageProcessor

    try:
        from transformers.models.clip import CLIPImageProcessorPil as Processor  # transformers 5
    except ImportError:
        Processor = CLIPImageProcessor
    picture = Image.fromarray(textured(*size))
    processor = Processor(
        size={"shortest_edge": 448},
        crop_size={"height": 448, "width": 448},
        resample=3,
        do_rescale=False,
        do_normalize=False,
    )
    expected = np.asarray(processor(picture, return_tensors="np")["pixel_values"][0]).transpose(1, 2, 0)
    frames = read_image(encoded(picture, "PNG"), sizing=Sizing(recipe="image448"))
    np.testing.assert_array_equal(frames.rgb_THW3[0], expected)


def test_crop224_is_pillows_bicubic() -> None:
    picture = Image.fromarray(textured(300, 500))
    resized = np.asarray(picture.resize((373, 224), Image.Resampling.BICUBIC))
    frames = read_image(encoded(picture, "PNG"), sizing=Sizing(recipe="crop224"))
    np.testing.assert_array_equal(frames.rgb_THW3[0], resized[:, 74 : 74 + 224])


def test_video_recipes_resize_from_full_resolution(tmp_path: Path) -> None:
    """The same frame read as a video and, from its own full-resolution RGB, as an array."""
    from video_reference import plain_frames

    from onevision_encoder.video import read_video
    from onevision_encoder.video.color import RgbConverter

    path = write_video(tmp_path / "clip.mp4", textured(300, 500)[None], options={"preset": "veryfast"})
    full = RgbConverter().full(plain_frames(path)[0])
    for recipe in ("crop224", "image448"):
        sizing = Sizing(recipe=recipe)  # type: ignore[arg-type]
        expected = frames_from_array(full[None], sizing=sizing)
        np.testing.assert_array_equal(read_video(path, sizing=sizing).rgb_THW3, expected.rgb_THW3)


def test_a_still_image_is_one_frame() -> None:
    picture = textured(140, 210)
    frames = read_image(encoded(Image.fromarray(picture), "PNG"))
    assert frames.num_frames == 1
    assert frames.source.is_image
    assert (frames.source.width, frames.source.height) == (210, 140)
    np.testing.assert_array_equal(frames.rgb_THW3[0], picture)  # 10 x 15 patches: its own size
    np.testing.assert_array_equal(frames.luma_THW, luma_from_rgb(frames.rgb_THW3))


def test_exif_orientation_is_applied() -> None:
    picture = textured(140, 210)
    for tag, turn in ((3, lambda p: np.rot90(p, 2)), (6, lambda p: np.rot90(p, -1)), (2, lambda p: p[:, ::-1])):
        exif = Image.Exif()
        exif[0x0112] = tag
        frames = read_image(encoded(Image.fromarray(picture), "PNG", exif=exif))
        np.testing.assert_array_equal(frames.rgb_THW3[0], turn(picture))


def test_modes() -> None:
    picture = textured(56, 56)
    alpha = np.dstack([picture, np.tile(np.arange(56, dtype=np.uint8), (56, 1))])
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(alpha), "PNG")).rgb_THW3[0], picture)
    grey = picture[..., 0]
    np.testing.assert_array_equal(
        read_image(encoded(Image.fromarray(grey), "PNG")).rgb_THW3[0], np.repeat(grey[..., None], 3, 2)
    )
    palette = Image.fromarray(picture).quantize(16)
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(read_image(encoded(palette, "PNG")).rgb_THW3[0], expected)


def animation(kind: str, clip: NDArray[np.uint8]) -> bytes:
    first, *rest = (Image.fromarray(rgb) for rgb in clip)
    return encoded(first, kind, save_all=True, append_images=rest, duration=100, loop=0)


def test_media_are_told_apart_by_content(tmp_path: Path) -> None:
    clip = moving_square(6, 112, 112)
    video = write_video(tmp_path / "clip.mp4", clip)
    disguised = tmp_path / "video.png"
    disguised.write_bytes(video.read_bytes())
    picture = tmp_path / "picture.mp4"
    for kind in ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF"):
        picture.write_bytes(encoded(Image.fromarray(clip[0]), kind))
        assert is_still_image(picture), kind
        read = read_media(picture)
        assert (read.num_frames, read.source.is_image) == (1, True), kind
    assert not is_still_image(disguised)
    for source in (disguised, video.read_bytes(), io.BytesIO(video.read_bytes())):
        read = read_media(source)
        assert (read.num_frames, read.source.is_image) == (6, False)


@pytest.mark.parametrize("kind", ["GIF", "PNG"])
def test_animations_are_videos(kind: str) -> None:
    clip = moving_square(6, 112, 112)
    frames = read_media(animation(kind, clip))
    assert not frames.source.is_image
    assert frames.num_frames == 6
    np.testing.assert_allclose(frames.pts_seconds_T, np.arange(6) * 0.1, atol=1e-6)
    assert np.abs(frames.rgb_THW3.astype(int) - clip).mean() < (12 if kind == "GIF" else 1)  # a palette of 256


def test_animated_webp_is_read_whole_or_refused() -> None:
    """Most builds of FFmpeg do not decode it: all frames or a typed error, never the first frame alone."""
    data = animation("WEBP", moving_square(6, 112, 112))
    try:
        frames = read_media(data)
    except MediaError:
        return
    assert frames.num_frames == 6


def test_broken_images(tmp_path: Path) -> None:
    whole = encoded(Image.fromarray(textured(300, 300)), "JPEG")
    for name, data in (("cut.jpg", whole[: len(whole) // 2]), ("text.png", b"no picture")):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(UnreadableMediaError, match=name):
            read_image(path)
    with pytest.raises(MediaNotFoundError):
        read_image(tmp_path / "missing.png")


def test_arrays() -> None:
    clip = moving_square(5, 112, 112)
    frames = frames_from_array(clip, fps=10, name="camera")
    np.testing.assert_array_equal(frames.rgb_THW3, clip)
    np.testing.assert_allclose(frames.pts_seconds_T, np.arange(5) / 10)
    assert (frames.source.name, frames.source.timestamps) == ("camera", "frame_rate")
    untimed = frames_from_array(clip)
    np.testing.assert_array_equal(untimed.pts_seconds_T, np.arange(5))
    assert untimed.source.timestamps == "none"
    assert untimed.source.fingerprint == frames.source.fingerprint != frames_from_array(clip[1:]).source.fingerprint
    half = frames_from_array(clip, sizing=Sizing(max_patches=16))
    np.testing.assert_allclose(half.rgb_THW3, clip.reshape(5, 56, 2, 56, 2, 3).mean((2, 4)), atol=0.51)


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 14, 14), np.uint8), np.zeros((2, 14, 14, 3)), np.zeros((0, 14, 14, 3), np.uint8)],
)
def test_arrays_of_the_wrong_kind(array: NDArray[np.uint8]) -> None:
    with pytest.raises(ShapeError):
        frames_from_array(array)
    with pytest.raises(InvalidArgumentError):
        frames_from_array(np.zeros((1, 14, 14, 3), np.uint8), fps=0)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled(kind: str) -> None:
    for value, expected in ((40000, 156), (65535, 255), (0, 0), (128, 0), (129, 1)):
        data = encoded(Image.fromarray(np.full((28, 28), value, np.uint16)), kind)
        frames = read_image(data)
        assert np.unique(frames.rgb_THW3).tolist() == [expected]
        assert frames.source.pixel_format.startswith("I;16")
    ramp = np.tile(np.arange(0, 56 * 1100, 1100, dtype=np.uint16), (28, 1))
    exif = Image.Exif()
    exif[0x0112] = 3
    turned = read_image(encoded(Image.fromarray(ramp), kind, exif=exif)).rgb_THW3[0, :, :, 0]
    assert np.abs(turned - ramp[::-1, ::-1] / 257).max() <= 0.5


@pytest.mark.parametrize("mode", ["F", "I"])
def test_pixels_without_a_known_white_are_refused(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "depth.tiff"
    Image.fromarray(np.full((28, 28), 5, np.float32 if mode == "F" else np.int32)).save(path)
    with pytest.raises(UnreadableMediaError, match=rf"depth\.tiff: has pixels of mode='{mode}'"):
        read_media(path)


@pytest.mark.parametrize(
    ("mode", "kind", "alpha"),
    [
        ("RGBA", "PNG", True),
        ("LA", "PNG", True),
        ("L", "PNG", False),
        ("P", "PNG", False),
        ("P", "GIF", False),
        ("1", "PNG", False),
        ("RGB", "BMP", False),
        ("CMYK", "TIFF", False),
        ("CMYK", "JPEG", False),
        ("L", "JPEG", False),
        ("RGBA", "WEBP", True),
    ],
)
def test_the_files_own_mode_is_recorded(mode: str, kind: str, alpha: bool) -> None:
    picture = Image.fromarray(textured(56, 56))
    picture.putalpha(77)
    frames = read_image(encoded(picture.convert(mode) if "A" in mode else picture.convert("RGB").convert(mode), kind))
    assert frames.source.pixel_format == mode
    assert frames.provenance.get("alpha") == ("dropped" if alpha else None)


def test_pages_are_counted(tmp_path: Path) -> None:
    pages = [Image.fromarray(textured(56, 56, seed)) for seed in range(4)]
    path = tmp_path / "scan.tiff"
    pages[0].save(path, save_all=True, append_images=pages[1:])
    frames = read_media(path)
    np.testing.assert_array_equal(frames.rgb_THW3[0], textured(56, 56))
    assert (frames.provenance["pages"], frames.provenance["read"]) == (4, 1)
    pages[0].save(path)
    assert "pages" not in read_media(path).provenance


@pytest.mark.parametrize("error", [IndexError, TypeError, struct.error, EOFError, Image.DecompressionBombError])
def test_whatever_pillow_raises_is_an_unreadable_image(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    data = encoded(Image.fromarray(textured(56, 56)), "PNG")

    def broken(*_: object, **__: object) -> None:
        raise error("broken")

    monkeypatch.setattr(Image, "open", broken)
    assert is_still_image(data) == (error is Image.DecompressionBombError)
    with pytest.raises(UnreadableMediaError, match="broken"):
        read_image(data)


def test_images_too_large_for_pillow_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadableMediaError, match="exceeds limit"):
        read_media(encoded(Image.fromarray(textured(56, 56)), "PNG"))
