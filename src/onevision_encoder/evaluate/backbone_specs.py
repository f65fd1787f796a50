"""What a model's own processor does to pixels, read from the files beside its weights.

transformers' video processors and some image processors do not load without torchvision, so the JSON is read here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onevision_encoder.errors import CheckpointError
from onevision_encoder.evaluate.backbone_sizes import ExactSize, PatchCount, PixelBudget, ShortSide, SizeRule

BILINEAR, BICUBIC = 2, 3

# Processor class -> what it resamples with where its file does not say (the class's own default in transformers).
_RESAMPLE = {
    "BitImageProcessor": BICUBIC,
    "CLIPImageProcessor": BICUBIC,
    "DINOv3ViTImageProcessor": BILINEAR,
    "Qwen2VLImageProcessor": BICUBIC,
    "Qwen2VLVideoProcessor": BICUBIC,
    "Qwen3VLVideoProcessor": BICUBIC,
    "SiglipImageProcessor": BICUBIC,
    "Siglip2ImageProcessor": BILINEAR,
    "VideoMAEImageProcessor": BILINEAR,
    "VideoMAEVideoProcessor": BILINEAR,
    "VJEPA2VideoProcessor": BILINEAR,
}


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """How frames become pixel values.

    Attributes:
        size: rule of the resize; None = the frames' own size. crop: centre (height, width) taken of it.
        resample: Pillow's number of the filter. rescale: factor on 0..255; None = none. mean, std: for each channel.
        float_resize: pixels are rescaled first and resized as floats (DINOv3); else resized as uint8 by Pillow.
        processor: class that the file names. file: where this was read.
    """

    size: SizeRule | None
    crop: tuple[int, int] | None
    resample: int
    rescale: float | None
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    float_resize: bool
    processor: str
    file: str

    @property
    def output(self) -> tuple[int, int] | None:
        """The size that every picture ends up with, or None where it depends on the picture."""
        if self.crop is not None:
            return self.crop
        return (self.size.height, self.size.width) if isinstance(self.size, ExactSize) else None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        rule = None if self.size is None else {"rule": type(self.size).__name__, **asdict(self.size)}
        how = "torch antialiased, on floats" if self.float_resize else "pillow, on uint8"
        return {**asdict(self), "size": rule, "resized_by": how}


def read_preprocessing(folder: Path, *, video: bool) -> Preprocessing:
    """The spec of the processor whose configuration lies in ``folder``.

    Args:
        video: prefer the video processor's file, where there is one.
    Raises:
        CheckpointError: no file, an unknown processor, or a step that is not known here.
    """
    file, fields = _processor_fields(folder, video=video)
    processor = _class_name(file, fields)
    normalize = fields.get("do_normalize") is not False
    rescale = float(fields.get("rescale_factor") or 1 / 255) if fields.get("do_rescale") is not False else None
    for name in ("do_pad", "cap_pixels_per_frame"):
        if fields.get(name):
            raise CheckpointError(file, f"{name}={fields[name]!r}: such a step is not known here")
    resample = fields.get("resample")
    return Preprocessing(
        size=_size(file, processor, fields),
        crop=_crop(file, fields),
        resample=_RESAMPLE[processor] if resample is None else int(resample),
        rescale=rescale,
        mean=_channels(file, fields, "image_mean") if normalize else None,
        std=_channels(file, fields, "image_std") if normalize else None,
        float_resize=processor == "DINOv3ViTImageProcessor",
        processor=processor,
        file=file.name,
    )


def _processor_fields(folder: Path, *, video: bool) -> tuple[Path, Mapping[str, Any]]:
    names = ["preprocessor_config.json", "processor_config.json"]
    parts = ["image_processor"]
    if video:
        names, parts = (
            ["video_preprocessor_config.json", "processor_config.json", names[0]],
            ["video_processor", *parts],
        )
    for name in dict.fromkeys(names):
        file = folder / name
        if not file.is_file():
            continue
        fields = read_json(file)
        if name != "processor_config.json":
            return file, fields
        for part in parts:
            if isinstance(fields.get(part), dict):
                return file, fields[part]
    raise CheckpointError(folder, f"holds none of the files that say how pixels are prepared: {', '.join(names)}")


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object. Raises CheckpointError for anything else."""
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(file, f"cannot be read: {error}") from error
    if not isinstance(fields, dict):
        raise CheckpointError(file, f"holds {type(fields).__name__}, not a JSON object")
    return fields


def _class_name(file: Path, fields: Mapping[str, Any]) -> str:
    """The processor's class without the suffix of its implementation."""
    keys = ("video_processor_type", "image_processor_type", "feature_extractor_type")
    named = next((str(fields[key]) for key in keys if fields.get(key)), None)
    name = str(named).removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")
    if name not in _RESAMPLE:
        raise CheckpointError(file, f"the processor is {named!r}; known are {', '.join(sorted(_RESAMPLE))}")
    return name


def _size(file: Path, processor: str, fields: Mapping[str, Any]) -> SizeRule | None:
    if fields.get("do_resize") is False:
        return None
    if processor == "Siglip2ImageProcessor":
        return PatchCount(patch=fields.get("patch_size", 16), max_patches=fields.get("max_num_patches", 256))
    size = fields.get("size")
    if processor.startswith("Qwen"):
        return _pixel_budget(file, processor, fields, size if isinstance(size, dict) else {})
    if processor == "VJEPA2VideoProcessor":  # its class sets the size from the crop, whatever the file says
        crop = _crop(file, fields)
        return ShortSide(pixels=int((256 if crop is None else crop[0]) * 256 / 224))
    if isinstance(size, int):  # what older files write
        return ExactSize(height=size, width=size) if processor == "SiglipImageProcessor" else ShortSide(pixels=size)
    if isinstance(size, dict) and {"height", "width"} <= set(size):
        return ExactSize(height=size["height"], width=size["width"])
    if isinstance(size, dict) and set(size) == {"shortest_edge"}:
        return ShortSide(pixels=size["shortest_edge"])
    raise CheckpointError(file, f"size={size!r}: accepted are height and width, shortest_edge, or an integer")


def _pixel_budget(file: Path, processor: str, fields: Mapping[str, Any], size: Mapping[str, Any]) -> PixelBudget:
    least = fields.get("min_pixels") or size.get("shortest_edge") or size.get("min_pixels")
    most = fields.get("max_pixels") or size.get("longest_edge") or size.get("max_pixels")
    if not least or not most:
        raise CheckpointError(file, "names no budget of pixels: min_pixels and max_pixels, or both edges of size")
    for name in ("patch_size", "merge_size", "temporal_patch_size"):
        if not isinstance(fields.get(name), int):
            raise CheckpointError(file, f"{name}={fields.get(name)!r}: an integer is needed")
    return PixelBudget(
        unit=fields["patch_size"] * fields["merge_size"],
        min_pixels=int(least),
        max_pixels=int(most),
        whole_clip=processor == "Qwen3VLVideoProcessor",
        tubelet=fields["temporal_patch_size"],
    )


def _crop(file: Path, fields: Mapping[str, Any]) -> tuple[int, int] | None:
    crop = fields.get("crop_size")
    if not fields.get("do_center_crop") or crop is None:
        return None
    if isinstance(crop, int):
        return crop, crop
    if isinstance(crop, dict) and {"height", "width"} <= set(crop):
        return int(crop["height"]), int(crop["width"])
    raise CheckpointError(file, f"crop_size={crop!r}: accepted are height and width, or an integer")


def _channels(file: Path, fields: Mapping[str, Any], name: str) -> tuple[float, ...]:
    values = fields.get(name)
    if not isinstance(values, list) or len(values) != 3:
        raise CheckpointError(file, f"{name}={values!r}: three numbers are needed")
    return tuple(float(value) for value in values)
