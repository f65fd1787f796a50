"""Small language models with random weights and a tokenizer of bytes: to try everything with nothing to download."""

from __future__ import annotations

from types import MappingProxyType

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config

LANGUAGE_PRESETS = MappingProxyType({"tiny": (128, 2, 4)})
"""Name -> (width, layers, heads) of a Qwen3; what it writes means nothing until it is trained."""

_PAD, _START, _END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def language_preset(name: str) -> tuple[Qwen3Config, PreTrainedTokenizerFast]:
    """(configuration, tokenizer) of a preset. Raises KeyError where there is none of that name."""
    width, layers, heads = LANGUAGE_PRESETS[name]
    tokenizer = byte_tokenizer()
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        head_dim=width // heads,
        max_position_embeddings=32768,
    )
    return config, tokenizer


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A token a byte of UTF-8, and the chat template of Qwen (ChatML)."""
    pieces = [_PAD, _START, _END, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    bytes_alone = Tokenizer(models.BPE(vocab={piece: i for i, piece in enumerate(pieces)}, merges=[]))
    bytes_alone.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bytes_alone.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bytes_alone, pad_token=_PAD, eos_token=_END, additional_special_tokens=[_START]
    )
    tokenizer.chat_template = _CHATML
    return tokenizer
