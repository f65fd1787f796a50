"""Self-attention over packed tokens, through the attention interface of transformers.

Axes: N tokens of the pack, C width, H heads, D head width, B segments of one length, L that length.

Clips never see each other, by whichever way the chosen implementation has for it:

- ``sdpa`` (the default), ``eager`` and functions registered by others: one batched call for each run of
  neighbouring segments of one length. No mask and, but for ``eager``, no L x L matrix.
- ``flash_attention_*``: one variable-length call with ``cu_seq_lens`` and ``max_length``.
- ``flex_attention``: one call with a block mask.

In a compiled or exported graph whose bounds are a tensor, those that are not variable-length make one call with a
mask of N x N booleans (see ``marked.py``).

A dense batch is a single run, which all of them take as an ordinary batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.model.configuration import OneVisionEncoderConfig
from onevision_encoder.model.marked import MarkedSegments
from onevision_encoder.model.rope import RopeTable, apply_rope
from onevision_encoder.model.segments import Segments

EAGER_TOKENS = 512
"""Up to this length the L x L matrices of every head are cheap to keep."""


def eager_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """softmax(q k^T / sqrt(D)) v with every matrix in memory: the reference, and the one that returns weights.

    Args:
        query, key, value: [B, H, L, D]. Returns: [B, L, H, D] and the weights [B, H, L, L].
    """
    scores = query @ key.transpose(-1, -2) * scaling
    if attention_mask is not None and attention_mask.dtype == torch.bool:  # True = may see
        scores = scores.masked_fill(~attention_mask, -torch.inf)
    elif attention_mask is not None:
        scores = scores + attention_mask
    wide = torch.promote_types(scores.dtype, torch.float32)
    weights = torch.softmax(scores, dim=-1, dtype=wide).to(value.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights


def attention_function(name: str) -> Callable[..., tuple[Tensor, Tensor | None]]:
    """The function of an implementation, ours for ``eager`` and transformers' for the others.

    Raises:
        InvalidArgumentError: nobody registered that name.
    """
    if name == "eager":
        return eager_attention
    if name not in ALL_ATTENTION_FUNCTIONS:
        raise InvalidArgumentError("attn_implementation", name, accepted())
    function: Callable[..., tuple[Tensor, Tensor | None]] = ALL_ATTENTION_FUNCTIONS[name]
    return function


def accepted(cause: Exception | None = None) -> str:
    """The names that may be given, in words, and what transformers says about the one that was."""
    known = ("eager", *(name for name in ALL_ATTENTION_FUNCTIONS.valid_keys() if not name.startswith("paged|")))
    easy = 'attn_implementation="sdpa" needs nothing else'
    words = f"one of {known} that can run here, or a kernel of the Hub as owner/name; {easy}"
    return words if cause is None else f"{words}; transformers says: {cause}"


def attention_for_training(name: str, *, device: torch.device, bfloat16: bool, longest: int) -> str:
    """Name of an implementation, or what ``auto`` stands for.

    On a CPU the fused backward pass in bfloat16 is slower than plain products: for clips of 128 tokens a whole step
    takes 1.5 times as long, for pictures of 16 tokens 1.7 times.

    Args:
        longest: tokens of the longest segment.
    """
    if name != "auto":
        return name
    return "eager" if device.type == "cpu" and bfloat16 and longest <= EAGER_TOKENS else "sdpa"


def check_gradients(implementation: str, x_NC: Tensor) -> None:
    """Raise InvalidArgumentError where an implementation has no backward pass."""
    if implementation == "flex_attention" and x_NC.device.type == "cpu" and x_NC.requires_grad:
        allowed = 'without gradients on a CPU (torch.no_grad(), inference_mode()); to train there say "sdpa"'
        raise InvalidArgumentError("attn_implementation", implementation, allowed)


@dataclass(frozen=True, kw_only=True)
class AttentionPlan:
    """What every layer of one forward pass needs to know about segments.

    ``whole``: call once over the whole pack with ``mask`` and ``extra`` instead of once for each run.
    """

    implementation: str
    segments: Segments | MarkedSegments
    whole: bool = False
    mask: Any = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def plan_attention(
    implementation: str, segments: Segments | MarkedSegments, num_tokens: int, device: torch.device
) -> AttentionPlan:
    """Prepare, once for each forward pass, how ``implementation`` keeps the segments apart."""
    if isinstance(segments, Segments) and len(segments.runs) == 1:
        return AttentionPlan(implementation=implementation, segments=segments)
    if "flash" in implementation:  # flash_attention_2, flash_attention_3, kernels of the hub
        bounds, longest = segments.cu_seqlens(device), segments.longest
        extra = {
            "cu_seq_lens_q": bounds,
            "cu_seq_lens_k": bounds,
            "max_length_q": longest,
            "max_length_k": longest,
        }
        return AttentionPlan(implementation=implementation, segments=segments, whole=True, extra=extra)
    if implementation == "flex_attention":
        mask = _block_mask(segments.segment_N(device), num_tokens)
        return AttentionPlan(implementation=implementation, segments=segments, whole=True, mask=mask)
    if isinstance(segments, MarkedSegments):
        mask = segments.mask_NN()[None, None]
        return AttentionPlan(implementation=implementation, segments=segments, whole=True, mask=mask)
    return AttentionPlan(implementation=implementation, segments=segments)


def _block_mask(segment_N: Tensor, num_tokens: int) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    def same_segment(_b: Tensor, _h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return segment_N[q] == segment_N[k]

    return create_block_mask(
        same_segment, B=None, H=None, Q_LEN=num_tokens, KV_LEN=num_tokens, device=str(segment_N.device)
    )


def _sizes_compiled_apart(implementation: str, device: torch.device) -> AbstractContextManager[Any]:
    """On a CPU, torch's flex attention does not compile for open sizes (2.13: C++ that does not build)."""
    if implementation != "flex_attention" or device.type != "cpu" or torch.compiler.is_compiling():
        return nullcontext()
    from torch._dynamo import config

    patched: AbstractContextManager[Any] = config.patch(automatic_dynamic_shapes=False)
    return patched


class SelfAttention(nn.Module):
    """Multi-head attention with biases on q, k, v and out, and RoPE on q and k."""

    is_causal = False  # read by the functions of transformers

    def __init__(self, config: OneVisionEncoderConfig, layer_idx: int) -> None:
        super().__init__()
        width = config.hidden_size
        self.config = config
        self.layer_idx = layer_idx
        self.num_heads = config.num_attention_heads
        self.head_dim = width // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def project(self, x_NC: Tensor, rope: RopeTable) -> tuple[Tensor, Tensor, Tensor]:
        """Queries and keys, turned, and values: each [N, H, D]."""
        x = x_NC.to(self.q_proj.weight.dtype)
        q, k, v = (
            torch.unflatten(proj(x), -1, (self.num_heads, -1)) for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        return apply_rope(q, rope), apply_rope(k, rope), v

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, plan: AttentionPlan, mask: Any = None, **extra: Any
    ) -> tuple[Tensor, Tensor | None]:
        """One call of the implementation. query, key, value: [B, L, H, D] (key and value may be longer).

        Returns:
            [B, L, C] and the weights [B, H, L, L], or None where the implementation has none.
        """
        with _sizes_compiled_apart(plan.implementation, query.device):
            output, weights = attention_function(plan.implementation)(
                self,
                query.transpose(1, 2),
                key.transpose(1, 2),
                value.transpose(1, 2),
                mask,
                scaling=self.scaling,
                dropout=self.config.attention_dropout if self.training else 0.0,
                is_causal=False,
                **extra,
            )
        return output.flatten(2), weights

    def forward(self, x_NC: Tensor, rope: RopeTable, plan: AttentionPlan) -> tuple[Tensor, Tensor | None]:
        """Attention of a pack.

        Returns:
            [N, C], and the weights [B, H, L, L] where the implementation gives them and the pack is one run.
        """
        packed = self.project(x_NC, rope)
        if plan.whole:
            q, k, v = (t[None] for t in packed)
            mixed, _ = self.attend(q, k, v, plan, plan.mask, **plan.extra)
            return self.out_proj(mixed[0]), None
        assert isinstance(plan.segments, Segments)
        outputs, weights = [], None
        for run in plan.segments.runs:
            q, k, v = (torch.unflatten(t[run.rows], 0, (run.count, run.length)) for t in packed)
            mixed, weights = self.attend(q, k, v, plan)
            outputs.append(mixed.flatten(0, 1))
        mixed_NC = outputs[0] if len(outputs) == 1 else torch.cat(outputs)
        return self.out_proj(mixed_NC), weights if len(outputs) == 1 else None
