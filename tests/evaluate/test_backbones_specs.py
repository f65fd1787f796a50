"""What is read from processors' files, and the size rules against those of transformers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from backbone_twins import CLIP_NORM, HALF, IMAGENET, QWEN, STEPS, made_frames, qwen2_module
from PIL import Image

from onevision_encoder.errors import CheckpointError, ShapeError
from onevision_encoder.evaluate.backbone_pixels import merged_patches, pixel_values
from onevision_encoder.evaluate.backbone_sizes import ExactSize, PatchCount, PixelBudget, ShortSide
from onevision_encoder.evaluate.backbone_specs import read_preprocessing

CROP224 = {"do_center_crop": True, "crop_size": {"height": 224, "width": 224}}
BUDGET = {"unit": 28, "tubelet": 2, "min_pixels": 3136, "max_pixels": 12845056}

# file, its fields as published checkpoints have them -> size rule, crop, filter
PUBLISHED = {
    "siglip2-base-patch16-256": (
        "preprocessor_config.json",
        {
            **STEPS,
            **HALF,
            "image_processor_type": "SiglipImageProcessor",
            "resample": 2,
            "size": {"height": 256, "width": 256},
        },
        (ExactSize(height=256, width=256), None, 2),
    ),
    "siglip2-so400m-patch16-naflex": (
        "preprocessor_config.json",
        {
            **STEPS,
            **HALF,
            "image_processor_type": "Siglip2ImageProcessor",
            "resample": 2,
            "patch_size": 16,
            "max_num_patches": 256,
        },
        (PatchCount(patch=16, max_patches=256), None, 2),
    ),
    "clip-vit-large-patch14": (
        "preprocessor_config.json",
        {**CLIP_NORM, "feature_extractor_type": "CLIPFeatureExtractor", "crop_size": 224, "size": 224, "resample": 3}
        | {"do_center_crop": True, "do_normalize": True, "do_resize": True},
        (ShortSide(pixels=224), (224, 224), 3),
    ),
    "dinov2-large": (
        "preprocessor_config.json",
        {**STEPS, **IMAGENET, **CROP224, "image_processor_type": "BitImageProcessor", "resample": 3}
        | {"size": {"shortest_edge": 256}},
        (ShortSide(pixels=256), (224, 224), 3),
    ),
    "dinov3-vitl16": (
        "preprocessor_config.json",
        {
            **STEPS,
            **IMAGENET,
            "image_processor_type": "DINOv3ViTImageProcessorFast",
            "resample": 2,
            "do_center_crop": None,
        }
        | {"crop_size": None, "size": {"height": 224, "width": 224}},
        (ExactSize(height=224, width=224), None, 2),
    ),
    "vjepa2-vitl-fpc64-256": (
        "video_preprocessor_config.json",
        {**STEPS, **IMAGENET, "video_processor_type": "VJEPA2VideoProcessor", "resample": 2, "do_center_crop": True}
        | {"crop_size": {"height": 256, "width": 256}, "size": {"shortest_edge": 292}},
        (ShortSide(pixels=292), (256, 256), 2),
    ),
    "videomae-base": (
        "preprocessor_config.json",
        {**STEPS, **IMAGENET, **CROP224, "feature_extractor_type": "VideoMAEFeatureExtractor", "size": 224},
        (ShortSide(pixels=224), (224, 224), 2),
    ),
    "qwen2.5-vl": (
        "preprocessor_config.json",
        {**CLIP_NORM, "image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 3136, "max_pixels": 12845056}
        | {"patch_size": 14, "temporal_patch_size": 2, "merge_size": 2},
        (PixelBudget(**BUDGET, whole_clip=False), None, 3),
    ),
    "qwen3-vl": (
        "video_preprocessor_config.json",
        {
            **HALF,
            "video_processor_type": "Qwen3VLVideoProcessor",
            "size": {"longest_edge": 25165824, "shortest_edge": 4096},
        }
        | {"patch_size": 16, "temporal_patch_size": 2, "merge_size": 2},
        (PixelBudget(unit=32, tubelet=2, min_pixels=4096, max_pixels=25165824, whole_clip=True), None, 3),
    ),
}


def written(folder: Path, name: str, fields: object) -> Path:
    (folder / name).write_text(json.dumps(fields), encoding="utf-8")
    return folder


@pytest.mark.parametrize("model", PUBLISHED)
def test_files_of_published_checkpoints(model: str, tmp_path) -> None:
    name, fields, (size, crop, resample) = PUBLISHED[model]
    spec = read_preprocessing(written(tmp_path, name, fields), video=name.startswith("video") or model == "qwen2.5-vl")
    assert (spec.size, spec.crop, spec.resample, spec.file) == (size, crop, resample, name)
    assert spec.mean == tuple(fields["image_mean"])
    assert spec.std == tuple(fields["image_std"])
    assert spec.rescale == pytest.approx(1 / 255)
    assert spec.float_resize == ("dinov3" in model)
    assert json.loads(json.dumps(spec.as_dict()))["size"]["rule"] == type(size).__name__


def test_a_nested_processor_file_of_transformers_5(tmp_path) -> None:
    image, video = PUBLISHED["qwen2.5-vl"][1], PUBLISHED["qwen3-vl"][1]
    written(tmp_path, "processor_config.json", {"image_processor": image, "video_processor": video})
    assert read_preprocessing(tmp_path, video=True).processor == "Qwen3VLVideoProcessor"
    assert read_preprocessing(tmp_path, video=False).processor == "Qwen2VLImageProcessor"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_processor_type": "PizzaImageProcessor"}, r"'PizzaImageProcessor'; known are BitImageProcessor, CLIP"),
        ({"image_mean": None}, "image_mean=None: three numbers"),
        ({"size": {"longest_edge": 20}}, "size=.*longest_edge.*accepted are"),
        ({"do_center_crop": True, "crop_size": [3]}, r"crop_size=\[3\]"),
        ({"do_pad": True}, "do_pad=True"),
    ],
)
def test_what_is_not_known_is_told_with_the_file(change, message: str, tmp_path) -> None:
    fields = {**PUBLISHED["siglip2-base-patch16-256"][1], **change}
    with pytest.raises(CheckpointError, match="preprocessor_config.json: .*" + message):
        read_preprocessing(written(tmp_path, "preprocessor_config.json", fields), video=False)


def test_no_file_and_no_json(tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"holds none of .* preprocessor_config\.json"):
        read_preprocessing(tmp_path, video=False)
    (tmp_path / "preprocessor_config.json").write_text("[1]")
    with pytest.raises(CheckpointError, match="holds list, not a JSON object"):
        read_preprocessing(tmp_path, video=True)


def test_naflex_sizes_are_the_processors() -> None:
    from transformers.models.siglip2 import image_processing_siglip2 as fallback

    try:
        from transformers.models.siglip2.image_processing_pil_siglip2 import get_image_size_for_max_num_patches as own
    except ImportError:
        own = fallback.get_image_size_for_max_num_patches
    rng = np.random.default_rng(0)
    for H, W in rng.integers(1, 2000, (200, 2)).tolist():
        for patch, most in ((16, 256), (14, 64), (16, 1024)):
            assert PatchCount(patch=patch, max_patches=most).resized(3, H, W) == own(H, W, patch, most)


def test_qwen_sizes_are_the_processors() -> None:
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import smart_resize as of_clip

    of_frame = qwen2_module().smart_resize
    rng = np.random.default_rng(1)
    for H, W, T in rng.integers(8, 1500, (300, 3)).tolist():
        T = T % 40 + 2
        for least, most in ((3136, 50176), (100352, 602112)):
            args = {"unit": 28, "tubelet": 2, "min_pixels": least, "max_pixels": most}
            frame = PixelBudget(**args, whole_clip=False).resized(T, H, W)
            assert frame == of_frame(H, W, factor=28, min_pixels=least, max_pixels=most)
            clip = PixelBudget(**args, whole_clip=True).resized(T, H, W)
            try:
                assert clip == of_clip(T, H, W, temporal_factor=2, factor=28, min_pixels=least, max_pixels=most)
            except ValueError:
                assert min(H, W) < 28  # transformers 4 refuses them, 5 enlarges them
    with pytest.raises(ShapeError, match="at most 200"):
        PixelBudget(**args, whole_clip=False).resized(1, 8, 1700)


def test_qwen_patches_of_a_still_are_the_processors(tmp_path) -> None:
    """transformers' own processor shows a picture to both frames of a tubelet."""
    fields = {**QWEN, **CLIP_NORM, "min_pixels": 1024, "max_pixels": 2304}
    module = qwen2_module()
    own_class = getattr(module, "Qwen2VLImageProcessorPil", None) or module.Qwen2VLImageProcessor
    still = made_frames(T=1, H=60, W=44).rgb_THW3
    own = own_class(**fields)([Image.fromarray(still[0])], return_tensors="pt")
    spec = read_preprocessing(
        written(tmp_path, "preprocessor_config.json", {**fields, "image_processor_type": "Qwen2VLImageProcessor"}),
        video=True,
    )
    x = pixel_values(np.repeat(still, 2, 0), spec)
    patches, grid = merged_patches(x, patch=4, tubelet=2, merge=2)
    assert [list(grid)] == own["image_grid_thw"].tolist()
    torch.testing.assert_close(patches, own["pixel_values"].to(torch.float32), rtol=1e-5, atol=1e-5)


def test_a_crop_larger_than_the_picture_is_refused(tmp_path) -> None:
    fields = {**PUBLISHED["dinov2-large"][1], "size": {"shortest_edge": 20}, "crop_size": {"height": 24, "width": 20}}
    spec = read_preprocessing(written(tmp_path, "preprocessor_config.json", fields), video=False)
    with pytest.raises(ShapeError, match=r"crop_size=\(24, 20\) .* at most \(20, 40\)"):
        pixel_values(made_frames(T=1, H=20, W=40).rgb_THW3, spec)
