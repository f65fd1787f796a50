"""Checkpoint folders as they are published: tiny weights, the original's files, and remote code that must not run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers

from onevision_encoder import OneVisionEncoderConfig, OneVisionEncoderModel

ORIGINAL_IMAGES = {
    "crop_size": {"height": 448, "width": 448},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 448},
}

AUTO_MAPS = {
    "config.json": {"AutoConfig": "poison.PoisonConfig", "AutoModel": "poison.PoisonModel"},
    "preprocessor_config.json": {"AutoImageProcessor": "poison.PoisonImages", "AutoProcessor": "poison.Poison"},
    "processor_config.json": {"AutoProcessor": "poison.Poison", "AutoImageProcessor": "poison.PoisonImages"},
}


def pillow_clip() -> type:
    """CLIP's image processor on Pillow, as the original used it: transformers 5 prefers torchvision's where it is."""
    return getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)


def tiny_model(**overrides: Any) -> OneVisionEncoderModel:
    fields = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1}
    torch.manual_seed(0)
    model = OneVisionEncoderModel(OneVisionEncoderConfig(**(fields | overrides))).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))  # initial weights hide what attention and RoPE do
    return model


def original_folder(folder: Path, **overrides: Any) -> Path:
    """What the published repository holds, with tiny random weights."""
    tiny_model(**overrides).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(ORIGINAL_IMAGES), encoding="utf-8")
    return folder


def poison(folder: Path) -> Path:
    """Name remote code in every file there is; returns the file that the code leaves behind if it runs."""
    marker = folder / "remote_code_ran"
    code = f"from pathlib import Path\nPath({str(marker)!r}).touch()\nraise RuntimeError('remote code ran')\n"
    (folder / "poison.py").write_text(code, encoding="utf-8")
    for name, entry in AUTO_MAPS.items():
        if (folder / name).is_file():
            edit_json(folder / name, auto_map=entry)
    return marker


def edit_json(file: Path, **entries: Any) -> None:
    write_json(file, {**json.loads(file.read_text(encoding="utf-8")), **entries})


def write_json(file: Path, settings: dict[str, Any]) -> None:
    file.write_text(json.dumps(settings), encoding="utf-8")
