"""`model.encode_video` and `model.encode_image` are tokenize and embed_tokens, for whatever is given."""

from __future__ import annotations

import io

import numpy as np
import pytest
from clips import moving_square, write_video
from encoders import scaled_model
from PIL import Image

from onevision_encoder import embed_tokens, pack, tokenize
from onevision_encoder.errors import InvalidArgumentError, MediaError


@pytest.fixture(scope="module")
def model():
    return scaled_model(patch_size=14)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    file = tmp_path_factory.mktemp("media") / "clip.mp4"
    write_video(file, moving_square(frames=8))
    return file


def test_a_video_in_every_form(model, path):
    wanted = embed_tokens(model, tokenize(path, budget=40), return_tokens=True)
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), [path]):
        found = model.encode_video(source, budget=40, return_tokens=True)
        np.testing.assert_array_equal(found.pooled_SC, wanted.pooled_SC)
        np.testing.assert_array_equal(found.tokens_NC, wanted.tokens_NC)
    assert model.encode_video(path, budget=40).tokens_NC is None


def test_arrays_frames_and_several_clips(model, path):
    video = moving_square(frames=8)
    one = embed_tokens(model, tokenize(video, budget=40))
    for source in (video, list(video), [Image.fromarray(frame) for frame in video]):
        np.testing.assert_array_equal(model.encode_video(source, budget=40).pooled_SC, one.pooled_SC)
    several = model.encode_video([video, video[:3]], budget=40)
    wanted = embed_tokens(model, pack([tokenize(video, budget=40), tokenize(video[:3], budget=40)]))
    assert several.cu_seqlens.tolist() == [0, 40, 80]
    np.testing.assert_array_equal(several.pooled_SC, wanted.pooled_SC)
    mixed = model.encode_video([path, str(path)], budget=40)
    np.testing.assert_array_equal(mixed.pooled_SC[0], mixed.pooled_SC[1])


def test_images(model, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (56, 84, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    one = model.encode_image(pixels)
    assert one.cu_seqlens.tolist() == [0, 24]
    np.testing.assert_array_equal(one.pooled_SC, embed_tokens(model, tokenize(pixels)).pooled_SC)
    data = (tmp_path / "image.png").read_bytes()
    many = model.encode_image([tmp_path / "image.png", data, Image.fromarray(pixels), pixels[:28]], return_tokens=True)
    assert many.cu_seqlens.tolist() == [0, 24, 48, 72, 84]
    for row in range(3):
        np.testing.assert_allclose(many.pooled_SC[row], one.pooled_SC[0], atol=1e-5)


def test_wrong_sources(model, path, tmp_path):
    with pytest.raises(InvalidArgumentError, match="encode_video"):
        model.encode_image(path)
    with pytest.raises(InvalidArgumentError, match="at least one image"):
        model.encode_image([])
    with pytest.raises(MediaError, match="nothing"):
        model.encode_video(tmp_path / "nothing.mp4")
    with pytest.raises(InvalidArgumentError, match="bugdet"):
        model.encode_video(path, bugdet=40)


def test_the_patch_is_the_models(path):
    found = scaled_model(patch_size=8).encode_video(path, budget=40)
    assert found.pooled_SC.shape == (1, 128)
