"""The published quick start with only path, device and attention name changed: image, video, source install."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from clips import moving_square, textured
from hub_folders import original_folder
from PIL import Image
from transformers import AutoImageProcessor, AutoModel, CLIPImageProcessor
from transformers.utils import is_torchvision_available

from onevision_encoder import OneVisionEncoderConfig, OneVisionEncoderModel, OneVisionEncoderProcessor

DEVICE = "cpu"
FRAMES_OF_THE_GRID = 64
NEAR = 0.05 if is_torchvision_available() else 0.0
"""torchvision's bicubic, which transformers prefers where it is installed, is not Pillow's to the last grey level."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    narrow = {"hidden_size": 32, "num_hidden_layers": 1}
    return original_folder(tmp_path_factory.mktemp("hub") / "onevision-encoder-large", **narrow)


def quick_start_positions(num_frames: int, side: int, patch: int = 14) -> torch.Tensor:
    """[1, T*h*w, 3] as the quick start computes them: frames spread over a grid of 64, patches in raster order."""
    grid = side // patch
    frame_t = torch.linspace(0, FRAMES_OF_THE_GRID - 1, num_frames).long()
    t = frame_t[:, None].repeat(1, grid * grid).reshape(-1)
    inside = torch.arange(grid * grid).repeat(num_frames)
    return torch.stack([t, inside // grid, inside % grid], dim=-1).unsqueeze(0)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_image(checkpoint: Path, attention: str) -> None:
    model = AutoModel.from_pretrained(checkpoint, trust_remote_code=True, attn_implementation=attention)
    model = model.to(DEVICE).eval()
    preprocessor = AutoImageProcessor.from_pretrained(checkpoint, trust_remote_code=True)
    image = Image.fromarray(textured(480, 640))
    pixel_values = preprocessor(images=image, return_tensors="pt")["pixel_values"].to(DEVICE)
    assert pixel_values.shape == (1, 3, 448, 448)
    with torch.no_grad():
        outputs = model(pixel_values)
    assert outputs.last_hidden_state.shape == (1, 1024, 32)
    assert outputs.pooler_output.shape == (1, 32)
    ours = OneVisionEncoderProcessor.from_pretrained(checkpoint)(images=image)
    assert (ours["pixel_values"] - pixel_values).abs().max() <= NEAR


@pytest.mark.parametrize("num_frames", [3, pytest.param(16, marks=pytest.mark.slow)])
def test_video(checkpoint: Path, num_frames: int) -> None:
    model = AutoModel.from_pretrained(checkpoint, trust_remote_code=True, attn_implementation="sdpa").to(DEVICE).eval()
    preprocessor = CLIPImageProcessor.from_pretrained(checkpoint)
    array = moving_square(frames=num_frames, height=120, width=160)
    frames = [Image.fromarray(frame) for frame in array]
    pixel_values = preprocessor(images=frames, return_tensors="pt")["pixel_values"]
    video = pixel_values.unsqueeze(0).permute(0, 2, 1, 3, 4).to(DEVICE)
    assert video.shape == (1, 3, num_frames, 448, 448)
    patch_positions = quick_start_positions(num_frames, 448).to(DEVICE)
    with torch.no_grad():
        outputs = model(video, patch_positions=patch_positions)
    assert outputs.last_hidden_state.shape == (1, num_frames * 1024, 32)

    # The same in one line of ours: equal tensors, equal output, and packed too.
    processor = OneVisionEncoderProcessor.from_pretrained(checkpoint)
    options = {"video_backend": "frames", "num_frames": num_frames, "recipe": "image448"}
    dense, packed = processor(videos=array, layout="dense", **options), processor(videos=array, **options)
    assert (dense["pixel_values"] - video).abs().max() <= NEAR
    assert np.array_equal(dense["patch_positions"].numpy(), patch_positions.numpy())
    with torch.no_grad():
        ours = model(**dense).pooler_output
        assert (ours - outputs.pooler_output).abs().max() <= NEAR
        assert torch.allclose(model(**packed).pooler_output, ours, atol=1e-5)


def test_source_install(checkpoint: Path) -> None:
    config = OneVisionEncoderConfig.from_pretrained(checkpoint)
    assert OneVisionEncoderModel(config).config.hidden_size == 32
    model = OneVisionEncoderModel.from_pretrained(checkpoint, trust_remote_code=True, attn_implementation="sdpa")
    pixel_values = torch.rand(1, 3, 112, 112)
    auto = AutoModel.from_pretrained(checkpoint)
    assert torch.equal(model(pixel_values).pooler_output, auto(pixel_values).pooler_output)
    visible = model(torch.rand(1, 3, 4, 56, 56), visible_indices=torch.tensor([[0, 5, 17, 40]]))  # the model card's
    assert visible.last_hidden_state.shape == (1, 4, 32)
