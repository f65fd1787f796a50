"""What a stranger writes first: it works, or the message says what to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from clips import moving_square, textured, write_video
from hub_folders import original_folder
from PIL import Image
from transformers import AutoModel, AutoProcessor

import onevision_encoder
from onevision_encoder import OneVisionEncoderProcessor, read_media, tokenize
from onevision_encoder.errors import BudgetError, InvalidArgumentError, MediaNotFoundError, ShapeError
from onevision_encoder.hub import OneVisionEncoderImageProcessor

FRAMES = moving_square(frames=8)
PICTURE = Image.fromarray(textured(60, 80))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reader's folder: a checkpoint, two videos of different length, an image."""
    place = tmp_path_factory.mktemp("stranger")
    original_folder(place)
    write_video(place / "x.mp4", moving_square(frames=20))
    write_video(place / "y.mp4", moving_square(frames=9, height=84, width=140))
    PICTURE.save(place / "photo.png")
    return place


def test_the_five_guesses(folder: Path) -> None:
    model, processor = AutoModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder)
    assert model(torch.rand(2, 3, 56, 56)).pooler_output.shape == (2, 64)
    assert model(torch.rand(2, 3, 4, 56, 56)).pooler_output.shape == (2, 64)
    positions = torch.zeros(10, 3)
    assert model(torch.rand(10, 588), patch_positions=positions).pooler_output.shape == (1, 64)
    assert model(**processor(videos=str(folder / "x.mp4"))).pooler_output.shape == (1, 64)
    two = processor(videos=[str(folder / "x.mp4"), str(folder / "y.mp4")])
    assert model(**two).pooler_output.shape == (2, 64)
    assert model(**processor(PICTURE)).pooler_output.shape == (1, 64)
    assert isinstance(processor, onevision_encoder.OneVisionEncoderProcessor)
    with pytest.raises(InvalidArgumentError, match=r"patch_positions=None .* \[N, 3\]"):
        model(torch.rand(10, 588))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({}, r"images=\.\.\., videos="),
        ({"images": "x.mp4"}, r"x\.mp4.*write videos="),
        ({"videos": "photo.png"}, r"photo\.png.*write images="),
        ({"videos": PICTURE}, "images="),
        ({"videos": FRAMES[0]}, "write images="),
        ({"text": "a dog"}, "language model"),
        ({"audio": np.zeros(3)}, "language model"),
        ({"video": "x.mp4"}, "did you mean videos"),
        ({"image": PICTURE}, "did you mean images"),
        ({"videos": FRAMES, "num_frame": 3}, "did you mean num_frames"),
        ({"videos": FRAMES, "max_pixels": 3}, "did you mean max_patches"),
        ({"videos": FRAMES, "truncation": True}, "Accepted are"),
        ({"videos": FRAMES / 255.0}, r"uint8.*x \* 255"),
        ({"videos": torch.rand(2, 3, 8, 8)}, r"uint8.*x \* 255"),
        ({"videos": []}, "at least one video"),
        ({"videos": [None]}, "a path, URL"),
        ({"videos": 5}, "a path, URL"),
        ({"videos": [PICTURE, FRAMES]}, "one or the other"),
        ({"videos": FRAMES, "video_backend": "decord"}, "'codec', 'frames', 'tiled'"),
        ({"videos": FRAMES, "video_backend": "tiled", "policy": "codec"}, "leave one of the two out"),
        ({"videos": FRAMES, "policy": "best"}, "codec, uniform"),
        ({"videos": FRAMES, "layout": "dense"}, "'packed'"),
        ({"images": PICTURE, "videos": FRAMES, "video_backend": "frames", "layout": "dense"}, "together"),
        ({"videos": FRAMES, "layout": "flat"}, "'packed', 'dense'"),
        ({"videos": FRAMES, "return_tensors": "tf"}, "'pt'"),
        ({"images": PICTURE, "budget": 10}, "for videos only; an image takes .*max_patches"),
        ({"videos": FRAMES, "side": 112}, "side=112 .*for recipe='letterbox' only; here it is 'native'"),
        ({"images": PICTURE, "videos": FRAMES, "side": 112}, "for recipe='letterbox' only; here it is 'native'"),
        ({"videos": FRAMES, "max_patches": 9, "recipe": "crop224"}, "max_patches=9 .*here it is 'crop224'"),
        ({"images": PICTURE, "videos": FRAMES, "max_patches": 9, "recipe": "crop224"}, "recipe='native' only"),
        ({"images": PICTURE, "video_backend": "codec"}, "for videos only"),
        ({"images": read_media(FRAMES)}, "videos=FrameSequence"),
        ({"videos": tokenize(FRAMES), "budget": 10}, "without budget"),
        ({"videos": read_media(FRAMES), "num_frames": 4}, "without num_frames"),
    ],
)
def test_mistakes_say_what_to_write(
    call: dict[str, Any], message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(InvalidArgumentError, match=message):
        OneVisionEncoderProcessor()(**call)


def test_an_option_that_matters_to_one_of_images_and_videos_is_taken() -> None:
    letterbox = OneVisionEncoderProcessor(OneVisionEncoderImageProcessor(recipe="letterbox"))
    both = letterbox(images=PICTURE, videos=FRAMES, side=56, max_patches=20, return_metadata=True)
    assert [clip.grid for clip in both.metadata.clips] == [(4, 4), (4, 4)]  # a 4 x 4 square; at most 20 of the videos
    with pytest.raises(InvalidArgumentError, match="here it is 'letterbox'"):
        letterbox(images=PICTURE, max_patches=20)
    with pytest.raises(InvalidArgumentError, match="here it is 'native'"):
        letterbox(videos=FRAMES, side=56)
    videos = OneVisionEncoderProcessor(OneVisionEncoderImageProcessor(), recipe="letterbox")
    assert videos(videos=FRAMES, side=56, return_metadata=True).metadata.clips[0].grid == (4, 4)
    mixed = {"images": PICTURE, "videos": FRAMES, "return_metadata": True}
    assert [clip.grid for clip in videos(**mixed, side=56).metadata.clips] == [(4, 6), (4, 4)]


def test_other_errors_keep_their_types(folder: Path) -> None:
    processor = OneVisionEncoderProcessor()
    with pytest.raises(MediaNotFoundError, match=r"nope\.mp4"):
        processor(videos="nope.mp4")
    with pytest.raises(BudgetError, match="512"):
        processor(videos=FRAMES, budget=100_000)
    with pytest.raises(ShapeError, match="packed"):
        processor(videos=[FRAMES, FRAMES[:4]], policy="dense", layout="dense")
    with pytest.raises(ShapeError, match="14, that of this processor"):
        processor(videos=tokenize(FRAMES, patch=16))
    with pytest.raises(InvalidArgumentError, match="return_metadata"):
        processor(videos=FRAMES).metadata  # noqa: B018
    with pytest.raises(AttributeError):
        processor(videos=FRAMES).no_such_input  # noqa: B018


def test_mistakes_in_the_making_are_named_too(folder: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="did you mean budget"):
        OneVisionEncoderProcessor(bugdet=1)
    with pytest.raises(InvalidArgumentError, match="did you mean budget"):
        AutoProcessor.from_pretrained(folder, bugdet=1)
    with pytest.raises(BudgetError, match="budget"):
        OneVisionEncoderProcessor(budget="many")
    with pytest.raises(InvalidArgumentError, match="video_backend"):
        OneVisionEncoderProcessor(video_backend="best")
    with pytest.raises(InvalidArgumentError, match="leave one of the two out"):
        OneVisionEncoderProcessor(video_backend="tiled", policy="codec")
    with pytest.raises(InvalidArgumentError, match="needs no torchvision"):
        AutoProcessor.from_pretrained(folder, use_fast=True)
    with pytest.raises(InvalidArgumentError, match="processor_class"):
        OneVisionEncoderProcessor.from_args_and_dict([None], {"processor_class": "CLIPProcessor"})
