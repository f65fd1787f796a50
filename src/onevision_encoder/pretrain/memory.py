"""Bytes that training needs on each rank, counted from shapes.

Axes: N tokens of a rank's micro-batch, S segments, C width, I width of the MLP, D numbers of a patch, H heads, R ranks.

What autograd keeps is counted term by term; ``tests/pretrain/test_dry_run.py`` holds the count to what torch really
saves. What comes and goes within one operator, the allocator's rounding and the libraries themselves are not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from onevision_encoder.pretrain.config import ParallelConfig

FLOAT32, BFLOAT16 = 4, 2


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes of one rank; every part is a peak of its own and ``total`` their sum."""

    weights: int
    """float32 masters."""
    low_precision_weights: int
    """bfloat16 copies that products read."""
    gradients: int
    optimizer: int
    bank_rows: int
    bank_optimizer: int
    bank_gradients: int
    """Of the sampled rows."""
    bank_gathered: int
    """Embeddings and labels of all ranks, their gradient, one chunk of logits."""
    activations: int

    @property
    def total(self) -> int:
        return sum(asdict(self).values())


def saved_by_block(config: Any, tokens: int, *, bfloat16: bool, autocast: bool, mixed: bool) -> int:
    """Bytes that autograd keeps of one block: inputs of both norms and their two numbers a token, in float32; what the
    norms give, q, k, v, the mixture and both sides of the activation, in the products' precision; one number a head.

    autocast: the products' inputs are cast one by one, so that q, k and v keep three copies of theirs. mixed: segments
    of several lengths are attended to in turn, and what they give is copied together.
    """
    C, I, H = config.hidden_size, config.intermediate_size, config.num_attention_heads  # noqa: E741
    wide, low = FLOAT32, BFLOAT16 if bfloat16 else FLOAT32
    copies = (2 * C if bfloat16 and autocast else 0) + (C if mixed else 0)
    return int(tokens * (wide * 2 * C + low * (6 * C + copies + 2 * I) + 2 * 2 * wide + wide * H))


def saved_outside_blocks(config: Any, tokens: int, segments: int, *, bfloat16: bool) -> int:
    """Bytes that autograd keeps of the embedding, the outer norms, RoPE's table and the pooling head."""
    C, I = config.hidden_size, config.intermediate_size  # noqa: E741
    D, head_dim = 3 * config.patch_size**2, C // config.num_attention_heads
    low = BFLOAT16 if bfloat16 else FLOAT32
    table = 4 * head_dim // 2 * FLOAT32
    a_token = low * D + FLOAT32 * 2 * C + 2 * 2 * FLOAT32 + table + low * (C + 2 * C)
    a_segment = FLOAT32 * 2 * C + low * (2 * C + 2 * I)
    return int(tokens * a_token + segments * a_segment)


def activations(config: Any, lengths: Sequence[int], parallel: ParallelConfig, *, sharded: bool) -> int:
    """Bytes kept for the way back, at their peak."""
    N, S = sum(lengths), len(lengths)
    low = parallel.precision == "bfloat16"
    block = saved_by_block(config, N, bfloat16=low, autocast=not sharded, mixed=len(set(lengths)) > 1)
    rest = saved_outside_blocks(config, N, S, bfloat16=low)
    if parallel.activation_checkpointing:  # the inputs of all blocks, and one block in full while it goes back
        return int(config.num_hidden_layers * N * config.hidden_size * FLOAT32 + block + rest)
    return int(config.num_hidden_layers * block + rest)


def encoder_memory(parameters: int, largest_block: int, parallel: ParallelConfig, world: int) -> dict[str, int]:
    """Bytes of weights, gradients and AdamW states of one rank."""
    sharded = parallel.mode == "fsdp2"
    share = -(-parameters // world) if sharded else parameters
    low = parallel.precision == "bfloat16"
    whole_at_once = 2 * largest_block if sharded else parameters  # a block and the next one on their way
    return {
        "weights": FLOAT32 * share,
        "low_precision_weights": BFLOAT16 * whole_at_once if low else (FLOAT32 * whole_at_once if sharded else 0),
        "gradients": FLOAT32 * share,
        "optimizer": 2 * FLOAT32 * share,
    }


def bank_memory(classes: int, width: int, sampled_share: float, batch: int, labels: int, world: int) -> dict[str, int]:
    """Bytes of one bank on one rank. batch: samples of all ranks. labels: of each sample."""
    rows = -(-classes // world)
    touched = min(rows, int(rows * sampled_share) + batch * labels)
    chunk = 4096
    return {
        "bank_rows": FLOAT32 * rows * width,
        "bank_optimizer": 2 * FLOAT32 * rows * width + FLOAT32 * rows,
        "bank_gradients": FLOAT32 * touched * width,
        "bank_gathered": batch * (2 * FLOAT32 * width + 8 * labels) + FLOAT32 * batch * min(chunk, touched) * 3,
    }
