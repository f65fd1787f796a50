"""A tiny language model, tokenizer and encoder, made here: nothing is downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from clips import moving_square, textured
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config

from onevision_encoder import OneVisionEncoderConfig
from onevision_encoder.lmm import OneVisionForConditionalGeneration

WORDS = (
    *("what", "is", "this", "a", "b", "c", "d", "e", "which", "way", "does", "the", "object", "move", "and", "compare"),
    *("left", "right", "up", "down", "still", "yes", "no", "red", "green", "blue", "system", "user", "assistant"),
)
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + ' ' + message['content'] + '<|im_end|>' + ' ' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant ' }}{% endif %}"
)


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """Words, and single characters for all else (a timestamp, say)."""
    pieces = ["<unk>", "<pad>", "<|im_start|>", "<|im_end|>", *WORDS, *"<>.s0123456789?"]
    words = Tokenizer(models.WordLevel({word: i for i, word in enumerate(dict.fromkeys(pieces))}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=True)]
    )
    words.decoder = decoders.WordPiece(prefix="")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words,
        unk_token="<unk>",
        pad_token="<pad>",
        eos_token="<|im_end|>",
        additional_special_tokens=["<|im_start|>"],
    )
    tokenizer.chat_template = CHATML
    return tokenizer


def tiny_text_config(**overrides: Any) -> Qwen3Config:
    fields: dict[str, Any] = {
        "vocab_size": 96,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 12,
        "max_position_embeddings": 4096,
    }
    return Qwen3Config(**(fields | overrides))


def tiny_encoder_config(**overrides: Any) -> OneVisionEncoderConfig:
    fields = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    return OneVisionEncoderConfig(**(fields | overrides))


def tiny_model(merger: str = "2x2", *, text: dict[str, Any] | None = None, **options: Any) -> tuple[Any, Any]:
    """(model, processor) whose random weights are large enough for pictures to matter."""
    model, processor = OneVisionForConditionalGeneration.from_parts(
        tiny_encoder_config(), tiny_text_config(**(text or {})), tokenizer=tiny_tokenizer(), merger=merger, **options
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return model, processor


def still(height: int = 56, width: int = 84, seed: int = 0) -> np.ndarray:
    return textured(height, width, seed)


def clip(frames: int = 8, seed: int = 0, **options: Any) -> np.ndarray:
    return moving_square(frames=frames, height=84, width=84, side=28, seed=seed, **options)


def user(*parts: Any) -> list[dict[str, Any]]:
    """One user message; strings are text parts."""
    content = [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts]
    return [{"role": "user", "content": content}]


def image(seed: int = 0, height: int = 56, width: int = 84, **options: Any) -> dict[str, Any]:
    return {"type": "image", "image": still(height, width, seed), **options}


def video(seed: int = 0, frames: int = 8, **options: Any) -> dict[str, Any]:
    return {"type": "video", "video": clip(frames, seed), **options}
