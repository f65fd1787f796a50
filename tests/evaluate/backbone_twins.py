"""Tiny random models of transformers, saved as their authors publish the real ones, with the pixels that transformers'
own processors (or formulas written out by hand, where these need torchvision) make of the same frames."""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image

from onevision_encoder.types import FrameSequence, SourceInfo

CLIP_NORM = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
STEPS = {"do_normalize": True, "do_rescale": True, "do_resize": True, "rescale_factor": 1 / 255}
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
TEXT = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "vocab_size": 30}
TEXT |= {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}


def made_frames(T: int = 5, H: int = 44, W: int = 56, seed: int = 0) -> FrameSequence:
    rgb = np.random.default_rng(seed).integers(0, 256, (T, H, W, 3), dtype=np.uint8)
    info = SourceInfo(name=f"made-{seed}", fingerprint=f"{seed:064x}", codec="raw", width=W, height=H, num_frames=T)
    times = np.arange(T)
    return FrameSequence(
        rgb_THW3=rgb,
        luma_THW=rgb[..., 1],
        frame_index_T=times.astype(np.int64),
        pts_seconds_T=times * 0.04,
        keyframe_T=times == 0,
        patch=4,
        source=info,
    )


def scramble(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Initial weights are so small that attention and biases hardly show: draw wider ones."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(parameter + 0.15 * noise)
    return model.eval()


@dataclass(frozen=True, kw_only=True, eq=False)
class Twin:
    """``whole`` is what is saved, ``tower`` the part that sees; ``pixels`` are the reference's, of uint8 frames."""

    whole: Any
    tower: Any
    files: dict[str, dict[str, Any]]
    pixels: Callable[[np.ndarray], Any]

    def save(self, folder: Path) -> Path:
        self.whole.save_pretrained(folder)
        for name, fields in self.files.items():
            (folder / name).write_text(json.dumps(fields), encoding="utf-8")
        return folder


def by_processor(name: str, fields: dict[str, Any]) -> Callable[[np.ndarray], Any]:
    """Pixel values [T, 3, H, W] by the image processor of transformers, in the form that runs on Pillow."""

    def pixels(rgb_THW3: np.ndarray) -> torch.Tensor:
        processor_class = getattr(transformers, f"{name}Pil", None) or getattr(transformers, name)
        pictures = [Image.fromarray(rgb) for rgb in rgb_THW3]
        return processor_class(**fields)(pictures, return_tensors="pt")["pixel_values"]

    return pixels


def image_twin(name: str, fields: dict[str, Any], whole: Any, tower: Any = None) -> Twin:
    stored = {**fields, "image_processor_type": name}
    scramble(whole)
    return Twin(
        whole=whole,
        tower=whole if tower is None else tower(whole),
        files={"preprocessor_config.json": stored},
        pixels=by_processor(name, fields),
    )


def siglip() -> Twin:
    config = transformers.SiglipConfig(
        vision_config={**SMALL, "image_size": 32, "patch_size": 8}, text_config={**TEXT, "projection_size": 32}
    )
    fields = {**STEPS, **HALF, "resample": 2, "size": {"height": 32, "width": 32}}
    return image_twin("SiglipImageProcessor", fields, transformers.SiglipModel(config), lambda m: m.vision_model)


def clip() -> Twin:
    config = transformers.CLIPConfig(
        vision_config={**SMALL, "image_size": 32, "patch_size": 8}, text_config=TEXT, projection_dim=16
    )
    # as the files of 2021 are: integers, no rescale_factor, another name of the class
    fields = {**CLIP_NORM, "resample": 3, "crop_size": 32, "size": 32, "do_center_crop": True, "do_normalize": True}
    stored = {**fields, "feature_extractor_type": "CLIPFeatureExtractor", "do_resize": True}
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    twin = image_twin(
        "CLIPImageProcessor", {**fields, **sizes}, transformers.CLIPModel(config), lambda m: m.vision_model
    )
    return Twin(whole=twin.whole, tower=twin.tower, files={"preprocessor_config.json": stored}, pixels=twin.pixels)


def metaclip2() -> Twin:
    config = transformers.MetaClip2Config(
        vision_config={**SMALL, "image_size": 32, "patch_size": 8}, text_config=TEXT, projection_dim=16
    )
    fields = {**STEPS, **CLIP_NORM, "resample": 3, "do_center_crop": True}
    fields |= {"size": {"shortest_edge": 36}, "crop_size": {"height": 32, "width": 32}}
    return image_twin("CLIPImageProcessor", fields, transformers.MetaClip2Model(config), lambda m: m.vision_model)


def aimv2() -> Twin:
    config = transformers.Aimv2VisionConfig(**SMALL, image_size=32, patch_size=8, is_native=True, use_head=False)
    fields = {**STEPS, **CLIP_NORM, "resample": 3, "do_center_crop": True}
    fields |= {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 40}}
    return image_twin("CLIPImageProcessor", fields, transformers.Aimv2VisionModel(config))


def dinov2() -> Twin:
    small = {k: v for k, v in SMALL.items() if k != "intermediate_size"}
    config = transformers.Dinov2Config(**small, mlp_ratio=2, image_size=70, patch_size=14)
    fields = {**STEPS, **IMAGENET, "resample": 3, "do_center_crop": True}
    fields |= {"size": {"shortest_edge": 48}, "crop_size": {"height": 42, "width": 42}}
    return image_twin("BitImageProcessor", fields, transformers.Dinov2Model(config))


def dinov2_registers() -> Twin:
    small = {k: v for k, v in SMALL.items() if k != "intermediate_size"}
    config = transformers.Dinov2WithRegistersConfig(
        **small, mlp_ratio=2, image_size=70, patch_size=14, num_register_tokens=4
    )
    fields = {**STEPS, **IMAGENET, "resample": 3, "do_center_crop": True}
    fields |= {"size": {"shortest_edge": 48}, "crop_size": {"height": 42, "width": 42}}
    return image_twin("BitImageProcessor", fields, transformers.Dinov2WithRegistersModel(config))


def dinov3() -> Twin:
    config = transformers.DINOv3ViTConfig(**SMALL, image_size=32, patch_size=8, num_register_tokens=4)
    stored = {**STEPS, **IMAGENET, "resample": 2, "size": {"height": 32, "width": 40}, "do_center_crop": None}
    stored |= {"crop_size": None, "image_processor_type": "DINOv3ViTImageProcessorFast"}

    def pixels(rgb_THW3: np.ndarray) -> torch.Tensor:
        """Rescaled first, then resized as floats: Pillow's 32-bit mode, one channel at a time."""
        mean, std = (np.array(IMAGENET[key], dtype=np.float32) for key in ("image_mean", "image_std"))
        frames = []
        for rgb in rgb_THW3.astype(np.float32) / 255:
            planes = [Image.fromarray(rgb[..., c]).resize((40, 32), Image.Resampling.BILINEAR) for c in range(3)]
            frames.append([(np.asarray(plane) - mean[c]) / std[c] for c, plane in enumerate(planes)])
        return torch.tensor(np.array(frames))

    whole = scramble(transformers.DINOv3ViTModel(config))
    return Twin(whole=whole, tower=whole, files={"preprocessor_config.json": stored}, pixels=pixels)


IMAGE_TWINS = {
    "siglip": siglip,
    "clip": clip,
    "metaclip2": metaclip2,
    "aimv2": aimv2,
    "dinov2": dinov2,
    "dinov2-registers": dinov2_registers,
    "dinov3": dinov3,
}


def naflex() -> Twin:
    config = transformers.Siglip2Config(
        vision_config={**SMALL, "num_patches": 16, "patch_size": 8}, text_config={**TEXT, "projection_size": 32}
    )
    fields = {**STEPS, **HALF, "resample": 2, "patch_size": 8, "max_num_patches": 20}

    def inputs(rgb_THW3: np.ndarray) -> Any:
        name = "Siglip2ImageProcessor"
        processor_class = getattr(transformers, f"{name}Pil", None) or getattr(transformers, name)
        return processor_class(**fields)([Image.fromarray(rgb) for rgb in rgb_THW3], return_tensors="pt")

    whole = scramble(transformers.Siglip2Model(config))
    stored = {**fields, "image_processor_type": "Siglip2ImageProcessor"}
    return Twin(whole=whole, tower=whole.vision_model, files={"preprocessor_config.json": stored}, pixels=inputs)


def vjepa2() -> Twin:
    small = {k: v for k, v in SMALL.items() if k != "intermediate_size"} | {"hidden_size": 48}
    config = transformers.VJEPA2Config(
        **small,
        patch_size=16,
        crop_size=32,
        frames_per_clip=4,
        mlp_ratio=2,
        pred_hidden_size=24,
        pred_num_attention_heads=2,
        pred_num_hidden_layers=1,
        num_pooler_layers=1,
    )
    stored = {**STEPS, **IMAGENET, "resample": 2, "do_center_crop": True, "size": {"shortest_edge": 36}}
    stored |= {"crop_size": {"height": 32, "width": 32}, "video_processor_type": "VJEPA2VideoProcessor"}

    def pixels(rgb_THW3: np.ndarray) -> torch.Tensor:
        """Short side to int(32 * 256 / 224) = 36, centre 32 x 32, (x / 255 - mean) / std."""
        _, H, W, _ = rgb_THW3.shape
        size = (36, int(36 * H / W)) if W < H else (int(36 * W / H), 36)
        frames = []
        for rgb in rgb_THW3:
            picture = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR), dtype=np.float64)
            top, left = (picture.shape[0] - 32) // 2, (picture.shape[1] - 32) // 2
            cut = picture[top : top + 32, left : left + 32] / 255
            frames.append(((cut - IMAGENET["image_mean"]) / IMAGENET["image_std"]).transpose(2, 0, 1))
        return torch.tensor(np.array(frames), dtype=torch.float32)[None]

    whole = scramble(transformers.VJEPA2Model(config))
    return Twin(whole=whole, tower=whole, files={"video_preprocessor_config.json": stored}, pixels=pixels)


def videomae() -> Twin:
    decoder = {"decoder_hidden_size": 24, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
    config = transformers.VideoMAEConfig(
        **SMALL, **decoder, image_size=32, patch_size=8, num_frames=4, use_mean_pooling=False
    )
    fields = {**STEPS, **IMAGENET, "resample": 2, "do_center_crop": True}
    fields |= {"size": {"shortest_edge": 34}, "crop_size": {"height": 32, "width": 32}}
    whole = scramble(transformers.VideoMAEForPreTraining(config))
    stored = {**fields, "image_processor_type": "VideoMAEImageProcessor"}
    pixels = by_processor("VideoMAEImageProcessor", fields)
    return Twin(whole=whole, tower=whole.videomae, files={"preprocessor_config.json": stored}, pixels=pixels)


QWEN = {**STEPS, "patch_size": 4, "temporal_patch_size": 2, "merge_size": 2}


def merged_pixels(rgb_T3HW: np.ndarray, h: int, w: int) -> torch.Tensor:
    """Patches of 2 frames x 4 x 4 pixels, in 2 x 2 blocks, written out as loops."""
    rows = []
    for t in range(0, len(rgb_T3HW), 2):
        for block_y in range(0, h, 2):
            for block_x in range(0, w, 2):
                for y in (block_y, block_y + 1):
                    for x in (block_x, block_x + 1):
                        cut = rgb_T3HW[t : t + 2, :, y * 4 : y * 4 + 4, x * 4 : x * 4 + 4]
                        rows.append(cut.transpose(1, 0, 2, 3).ravel())
    return torch.tensor(np.array(rows), dtype=torch.float32)


def qwen_pixels(norm: dict[str, Any], size: Callable[[int, int, int], tuple[int, int]]) -> Callable[[np.ndarray], Any]:
    def pixels(rgb_THW3: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        T, H, W, _ = rgb_THW3.shape
        rows, cols = size(T, H, W)
        resized = [Image.fromarray(rgb).resize((cols, rows), Image.Resampling.BICUBIC) for rgb in rgb_THW3]
        scaled = (np.stack(resized) / 255 - norm["image_mean"]) / norm["image_std"]
        patches = merged_pixels(scaled.transpose(0, 3, 1, 2), rows // 4, cols // 4)
        return patches, torch.tensor([[T // 2, rows // 4, cols // 4]])

    return pixels


def qwen2_module() -> Any:
    """Where transformers keeps the processor of Qwen2-VL that runs on Pillow: version 5, version 4."""
    places = ("image_processing_pil_qwen2_vl", "image_processing_qwen2_vl")
    package = "transformers.models.qwen2_vl"
    place = next(p for p in places if importlib.util.find_spec(f"{package}.{p}"))
    return importlib.import_module(f"{package}.{place}")


def qwen25() -> Twin:
    """The tower inside a whole language model, with the one file of an early release (a budget for each frame)."""
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLForConditionalGeneration

    vision = {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "out_hidden_size": 24}
    vision |= {"patch_size": 4, "window_size": 16, "fullatt_block_indexes": [1]}
    text = {**TEXT, "hidden_size": 24, "num_key_value_heads": 1, "max_position_embeddings": 64}
    text["rope_scaling"] = {"type": "default", "rope_type": "default", "mrope_section": [2, 2, 2]}
    config = transformers.Qwen2_5_VLConfig(vision_config=vision, text_config=text)
    stored = {
        **QWEN,
        **CLIP_NORM,
        "min_pixels": 1024,
        "max_pixels": 1600,
        "image_processor_type": "Qwen2VLImageProcessor",
    }
    whole = scramble(Qwen2_5_VLForConditionalGeneration(config))

    def size(T: int, H: int, W: int) -> tuple[int, int]:
        return qwen2_module().smart_resize(H, W, factor=8, min_pixels=1024, max_pixels=1600)

    return Twin(
        whole=whole,
        tower=whole.model.visual,
        files={"preprocessor_config.json": stored},
        pixels=qwen_pixels(CLIP_NORM, size),
    )


def qwen3() -> Twin:
    """The tower alone, with a video processor's file (a budget for the whole clip)."""
    from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLVisionModel
    from transformers.models.qwen3_vl.video_processing_qwen3_vl import smart_resize

    vision = {"depth": 2, "hidden_size": 32, "num_heads": 2, "intermediate_size": 48, "out_hidden_size": 24}
    vision |= {"patch_size": 4, "num_position_embeddings": 36, "deepstack_visual_indexes": [0]}
    config = Qwen3VLVisionModel.config_class(**vision)
    stored = {**QWEN, **HALF, "size": {"shortest_edge": 1024, "longest_edge": 6400}}
    image = {
        **stored,
        "size": {"shortest_edge": 64, "longest_edge": 64},
        "image_processor_type": "Qwen2VLImageProcessorFast",
    }
    whole = scramble(Qwen3VLVisionModel(config))

    def size(T: int, H: int, W: int) -> tuple[int, int]:
        return smart_resize(T, H, W, temporal_factor=2, factor=8, min_pixels=1024, max_pixels=6400)

    files = {
        "video_preprocessor_config.json": {**stored, "video_processor_type": "Qwen3VLVideoProcessor"},
        "preprocessor_config.json": image,
    }
    return Twin(whole=whole, tower=whole, files=files, pixels=qwen_pixels(HALF, size))
