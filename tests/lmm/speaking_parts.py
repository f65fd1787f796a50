"""A tiny model that knows the letters A to E, saved once, with a clip to ask about."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from clips import moving_square, write_video
from PIL import Image
from tiny_parts import still, tiny_encoder_config, tiny_text_config, tiny_tokenizer
from tokenizers import decoders

from onevision_encoder.lmm import OneVisionForConditionalGeneration

LETTERS = tuple("ABCDE")


def speaking_model() -> tuple[Any, Any]:
    """(model, processor); the tokenizer has a token for each letter, and writes spaces between words."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens(list(LETTERS))
    tokenizer.backend_tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    model, processor = OneVisionForConditionalGeneration.from_parts(
        tiny_encoder_config(), tiny_text_config(), tokenizer=tokenizer, merger="2x2"
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():  # so large that it says more than one word
            parameter.add_(0.22 * torch.randn(parameter.shape, generator=generator))
    return model.eval(), processor


def media_folder(folder: Path) -> Path:
    """clip.mp4, other.mp4, broken.mp4 (no video at all) and still.png."""
    for seed, name in enumerate(("clip.mp4", "other.mp4")):
        write_video(folder / name, moving_square(frames=8, height=84, width=84, side=28, seed=seed))
    (folder / "broken.mp4").write_bytes(b"this is no video")
    Image.fromarray(still()).save(folder / "still.png")
    return folder


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


ROWS: list[dict[str, Any]] = [
    {
        "id": "q1",
        "question": "which way",
        "video": "clip.mp4",
        "options": ["left", "right"],
        "answer": "right",
        "group": "way",
    },
    {
        "id": "q2",
        "question": "what is this",
        "image": "still.png",
        "options": ["a", "b", "c"],
        "answer": 0,
        "group": "what",
    },
    {
        "id": "q3",
        "question": "which way",
        "video": "broken.mp4",
        "options": ["left", "right"],
        "answer": "A",
        "group": "way",
    },
    {"id": "q4", "question": "what is this", "image": "still.png", "answer": ["red", "blue"], "metric": "anls"},
    {"id": "q5", "question": "yes", "options": ["yes", "no"], "answer": "B", "group": "what"},
]
