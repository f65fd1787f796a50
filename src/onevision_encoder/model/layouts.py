"""Names of one encoder's tensors in every layout it is published in. Values change hands bit for bit.

Axes: C width, D = 3*p*p numbers of a patch, p patch side.

======== ========================================== ==================================================
layout   whose                                      differs from ours in
======== ========================================== ==================================================
ours     this library                               -
original the published OneVision-Encoder            nothing
ov2      the vision tower of LLaVA-OneVision-2      ``self_attn.qkv`` [q; k; v] rows, ``self_attn.proj``, no
                                                    ``layernorm_post``, no ``head``, a ``merger`` behind it
mage     Mage-ViT, the vision tower of Mage-VL      as ov2 (another ``model_type``, patch 16)
======== ========================================== ==================================================

A tower is found by its patch embedding, whatever stands before that name: ``module.``, ``model.visual.``,
``model.vision_tower.vision_tower.`` ... A patch embedding stored as a linear map [C, D], D in (channel, y, x) order,
is the same numbers as the convolution's [C, 3, p, p].
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import isqrt
from typing import Literal

import torch
from torch import Tensor

from onevision_encoder.errors import CheckpointError

WeightLayout = Literal["ours", "original", "ov2", "mage"]
FUSED_LAYOUTS = ("ov2", "mage")

PATCH = "embeddings.patch_embedding.weight"
WRAPPERS = frozenset({"_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module"})
"""Parts of names that torch.compile, activation checkpointing and FSDP put in."""

_TENSOR = re.compile(
    r"embeddings\.patch_embedding\.weight"
    r"|(layernorm_pre|layernorm_post)\.(weight|bias)"
    r"|encoder\.layers\.\d+\.(layer_norm[12]|mlp\.fc[12])\.(weight|bias)"
    r"|encoder\.layers\.\d+\.self_attn\.((q|k|v|out)_proj|qkv|proj)\.(weight|bias)"
    r"|head\.(probe|norm\.weight|mlp\.fc[12]\.(weight|bias))"
    r"|head\.attention\.(in_proj_weight|in_proj_bias|out_proj\.(weight|bias))"
)
_FUSED = re.compile(r"(encoder\.layers\.\d+\.self_attn\.)qkv\.(weight|bias)")
_FUSED_OUT = re.compile(r"(encoder\.layers\.\d+\.self_attn\.)proj\.(weight|bias)")
_SEPARATE = re.compile(r"(encoder\.layers\.\d+\.self_attn\.)([qkv]|out)_proj\.(weight|bias)")
HEAD = ("head.", "layernorm_post.")


@dataclass(frozen=True, kw_only=True)
class Tower:
    """Where an encoder sits among the tensors of a checkpoint.

    Attributes:
        prefix: what stands before its names. fused: q, k and v are one tensor.
        names: name without prefix and wrappers -> name in the checkpoint.
        left_out: what is not of the encoder, by kind, with the number of tensors.
    """

    prefix: str
    fused: bool
    names: Mapping[str, str]
    left_out: Mapping[str, int]


def find_tower(source: object, names: Iterable[str]) -> Tower:
    """Find the encoder among tensor names.

    Raises:
        CheckpointError: no encoder, more than one, or a tensor inside it that it has no place for.
    """
    plain: dict[str, str] = {}
    for stored in names:
        name = ".".join(part for part in stored.split(".") if part not in WRAPPERS)
        if name in plain:
            raise CheckpointError(source, f"holds {name} twice, as {plain[name]} and as {stored}")
        plain[name] = stored
    prefixes = [name.removesuffix(PATCH) for name in plain if name == PATCH or name.endswith("." + PATCH)]
    if len(prefixes) != 1:
        what = f"{len(prefixes)} encoders, under {sorted(prefixes)}" if prefixes else "no encoder"
        raise CheckpointError(source, f"holds {what}; exactly one tensor named ...{PATCH} is wanted")
    prefix = prefixes[0]
    inside = {name.removeprefix(prefix): stored for name, stored in plain.items() if name.startswith(prefix)}
    kinds = {name: _kind(name) for name in inside}
    unknown = sorted(name for name, kind in kinds.items() if kind == "unknown")
    if unknown:
        shown = ", ".join(unknown[:4]) + (", ..." if len(unknown) > 4 else "")
        raise CheckpointError(source, f"{len(unknown)} tensors have no place in the encoder: {shown}")
    left_out = Counter(kind for kind in kinds.values() if kind != "encoder")
    left_out.update(_outside(name) for name in plain if not name.startswith(prefix))
    tensors = {name: stored for name, stored in inside.items() if kinds[name] == "encoder"}
    fused = any(_FUSED.fullmatch(name) for name in tensors)
    return Tower(prefix=prefix, fused=fused, names=tensors, left_out=dict(sorted(left_out.items())))


def _kind(name: str) -> str:
    if _TENSOR.fullmatch(name):
        return "encoder"
    if name.startswith("merger."):
        return "merger"
    return "computed buffers" if name.startswith("video_rope.") else "unknown"


def _outside(name: str) -> str:
    """``model.language_model.layers.3...`` -> ``model.language_model``."""
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "model" and len(parts) > 2 else parts[0]


def to_ours(tensors: Iterable[tuple[str, Tensor]], source: object = "tensors") -> Iterator[tuple[str, Tensor]]:
    """Rename and split: any layout -> the names of :class:`OneVisionEncoderModel`.

    Raises:
        CheckpointError: a shape that cannot be split or folded, no dense floats, one weight under two names.
    """
    seen: set[str] = set()
    for name, tensor in _renamed(tensors, source):
        if name in seen:
            raise CheckpointError(source, f"holds {name} twice: as it is, and in a fused tensor or under another name")
        seen.add(name)
        yield name, tensor


def _renamed(tensors: Iterable[tuple[str, Tensor]], source: object) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in tensors:
        if tensor.layout != torch.strided or tensor.ndim == 0 or not tensor.is_floating_point():
            found = f"{tensor.layout} {tensor.dtype} {tuple(tensor.shape)}".replace("torch.", "")
            raise CheckpointError(source, f"{name} is {found}; a dense tensor of floats with axes is wanted")
        fused, out = _FUSED.fullmatch(name), _FUSED_OUT.fullmatch(name)
        if fused:
            if len(tensor) % 3:
                raise CheckpointError(source, f"{name} has {len(tensor)} rows, not three times the width")
            for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                yield f"{fused[1]}{letter}_proj.{fused[2]}", part.contiguous()
        elif out:
            yield f"{out[1]}out_proj.{out[2]}", tensor
        elif name == PATCH:
            yield name, _as_convolution(tensor, source)
        else:
            yield name, tensor


def _as_convolution(tensor: Tensor, source: object) -> Tensor:
    """[C, D] or [C, 3, p, p] -> [C, 3, p, p]."""
    if tensor.ndim == 2:
        side = isqrt(tensor.shape[1] // 3)
        if 3 * side * side == tensor.shape[1]:
            return tensor.reshape(len(tensor), 3, side, side)
    if tensor.ndim == 4 and tensor.shape[1] == 3 and tensor.shape[2] == tensor.shape[3]:
        return tensor
    raise CheckpointError(source, f"{PATCH} is {tuple(tensor.shape)}; [C, 3, p, p] or [C, 3 * p * p] is wanted")


def to_fused(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our names -> those of ov2 and mage: q, k, v become one tensor; layernorm_post and head have no place there."""
    fused: dict[str, Tensor] = {}
    for name, tensor in state.items():
        match = _SEPARATE.fullmatch(name)
        if name.startswith(HEAD):
            continue
        if match is None:
            fused[name] = tensor
        elif match[2] == "out":
            fused[f"{match[1]}proj.{match[3]}"] = tensor
        elif match[2] == "q":
            parts = [state[f"{match[1]}{letter}_proj.{match[3]}"] for letter in "qkv"]
            fused[f"{match[1]}qkv.{match[3]}"] = torch.cat(parts)
    return fused
