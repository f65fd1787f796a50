"""The same block, evaluated tile by tile: what inference on a CPU runs.

Axes: N tokens of the pack, C width, H heads, D head width, 3 = (q, k, v).

A block written as whole-pack operations makes a dozen temporaries of N x C or N x 4C. On a CPU they leave the cache,
and the allocator hands their pages back and faults them in again in every layer, which can cost more time than the
matrix products. Here temporaries are a few hundred tokens long, q, k, v live in one buffer that all layers share,
attention writes over the queries it has read, and the residual stream is updated in place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from onevision_encoder.model.attention import AttentionPlan, SelfAttention
from onevision_encoder.model.block import EncoderLayer
from onevision_encoder.model.layers import LayerNorm, Mlp, RMSNorm
from onevision_encoder.model.rope import RopeTable
from onevision_encoder.model.segments import Segments

TOKENS = 512
"""Rows of a token-wise tile: a hidden MLP tile of ViT-L is 4 MB in bfloat16."""
QUERIES = 2048
"""Query rows of an attention tile: enough to repay packing the keys, 4 MB of output in bfloat16."""


_FORWARD = {kind: kind.forward for kind in (EncoderLayer, SelfAttention, LayerNorm, RMSNorm, Mlp, nn.Linear)}
"""The modules that a block is made of, each with the computation that tiles reproduce."""
_ACTIVATIONS = ("torch.nn.modules.activation", "transformers.activations")
"""Where element-wise activations are defined."""


class TiledRunner:
    """Runs blocks on one residual stream. Not thread-safe; one object for each forward pass.

    Args:
        plan: of implementation ``sdpa``. rope: table of all N tokens.
    """

    def __init__(self, plan: AttentionPlan, rope: RopeTable) -> None:
        self._plan, self._rope = plan, rope
        self._qkv_3NHD: Tensor | None = None

    @staticmethod
    def applies(x_NC: Tensor, plan: AttentionPlan, blocks: Iterable[nn.Module]) -> bool:
        """Whether results may be had this way: on a CPU, without gradients, compilation or attention weights.

        And only if nobody looks on or takes part: no hooks, no replaced ``forward``, no module of another class.
        Tiles go around the ``forward`` of blocks and would show a part's hook a few hundred tokens at a time.
        """
        return (
            plan.implementation == "sdpa"
            and isinstance(plan.segments, Segments)
            and x_NC.device.type == "cpu"
            and not torch.is_grad_enabled()
            and not torch.compiler.is_compiling()
            and not torch_module._has_any_global_hook()
            and all(_is_plain(part) for block in blocks for part in block.modules())
        )

    def run(self, block: EncoderLayer, x_NC: Tensor) -> None:
        """Apply ``block`` to the residual stream, in place."""
        self._project(block, x_NC)
        self._attend(block.self_attn)
        assert self._qkv_3NHD is not None
        mixed_NC = self._qkv_3NHD[0].flatten(1)
        for rows in _row_tiles(len(x_NC)):
            x = x_NC[rows]
            x += block.self_attn.out_proj(mixed_NC[rows])
            x += block.mlp(block.layer_norm2(x))

    def _project(self, block: EncoderLayer, x_NC: Tensor) -> None:
        for rows in _row_tiles(len(x_NC)):
            qkv = block.self_attn.project(block.layer_norm1(x_NC[rows]), self._rope.rows(rows.start, rows.stop))
            if self._qkv_3NHD is None:  # the first tile knows the dtype (autocast may choose it)
                self._qkv_3NHD = qkv[0].new_empty((3, len(x_NC), *qkv[0].shape[1:]))
            for i, part in enumerate(qkv):
                self._qkv_3NHD[i, rows] = part

    def _attend(self, attention: SelfAttention) -> None:
        assert self._qkv_3NHD is not None
        assert isinstance(self._plan.segments, Segments)
        q_NHD, k_NHD, v_NHD = self._qkv_3NHD
        for tile in self._plan.segments.tiles(QUERIES):
            q = q_NHD[tile.rows].view(tile.count, tile.queries, *q_NHD.shape[1:])
            k, v = (t[tile.seen_rows].view(tile.count, tile.keys, *t.shape[1:]) for t in (k_NHD, v_NHD))
            mixed, _ = attention.attend(q, k, v, self._plan)
            q.copy_(mixed.view_as(q))


def _is_plain(part: nn.Module) -> bool:
    """Whether calling ``part`` does what its class as we know it does, and nothing besides."""
    kind = type(part)
    known = kind.forward is _FORWARD[kind] if kind in _FORWARD else kind.__module__.startswith(_ACTIVATIONS)
    return (
        known
        and "forward" not in vars(part)
        and not part._forward_hooks
        and not part._forward_pre_hooks
        and part._compiled_call_impl is None
    )


def _row_tiles(num_tokens: int) -> Iterator[slice]:
    for start in range(0, num_tokens, TOKENS):
        yield slice(start, min(start + TOKENS, num_tokens))
