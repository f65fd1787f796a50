"""The vision tower of LLaVA-OneVision-2 written a second time, from its published description.

Packed patches [N, D] in block order, each with its (t, h, w); fused q, k, v; attention inside windows; no norm after
the last block. It works on a plain dictionary of tensors under the tower's own names and shares no code with the
library.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch.nn import functional


def block_order(T, h, w, side):
    """Rows of the raster (t, h, w) in the order of side x side blocks: t, block row, block column, inside."""
    return [
        (t * h + row * side + dy) * w + column * side + dx
        for t in range(T)
        for row in range(h // side)
        for column in range(w // side)
        for dy in range(side)
        for dx in range(side)
    ]


def window_bounds(frames, per_frame, window):
    """Bounds of groups of ``window`` frames (or canvases); up to ``window`` frames are one group."""
    bounds = [0]
    while bounds[-1] < frames * per_frame:
        bounds.append(min(bounds[-1] + window * per_frame, frames * per_frame))
    return bounds


def angles(positions_N3, head_dim, theta):
    """[N, head_dim]: a quarter, three and three eighths of half a head for t, h and w, the whole written twice."""
    eighth = head_dim // 16
    columns = []
    for axis, size in enumerate((2 * eighth, 3 * eighth, 3 * eighth)):
        frequency = 1 / theta ** (torch.arange(size).float() / size)  # in float32, as there: t goes into the hundreds
        columns.append(positions_N3[:, axis, None].float() * frequency)
    half = torch.cat(columns, 1)
    return torch.cat([half, half], 1)


def turn(x_NHD, angles_ND):
    """x cos + (-x1, x0, -x3, x2, ...) sin, in float32."""
    x = x_NHD.float()
    swapped = torch.empty_like(x)
    swapped[..., 0::2], swapped[..., 1::2] = -x[..., 1::2], x[..., 0::2]
    return (x * angles_ND.cos()[:, None] + swapped * angles_ND.sin()[:, None]).to(x_NHD.dtype)


class Tower:
    def __init__(self, tensors, heads, eps=1e-6, theta=10000.0):
        self.tensors, self.heads, self.eps, self.theta = tensors, heads, eps, theta

    def linear(self, x, name):
        return functional.linear(x, self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"])

    def norm(self, x, name):
        mean = x.mean(-1, keepdim=True)
        scaled = (x - mean) / ((x - mean).pow(2).mean(-1, keepdim=True) + self.eps).sqrt()
        return scaled * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]

    def attend(self, x, name, table, bounds):
        N, C = x.shape
        q, k, v = self.linear(x, f"{name}.qkv").reshape(N, 3, self.heads, C // self.heads).unbind(1)
        q, k = turn(q, table), turn(k, table)
        out = torch.empty_like(v)
        for start, stop in pairwise(bounds):
            scores = torch.einsum("qhd,khd->hqk", q[start:stop], k[start:stop]) * (C // self.heads) ** -0.5
            out[start:stop] = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v[start:stop])
        return self.linear(out.reshape(N, C), f"{name}.proj")

    def __call__(self, patches_ND, positions_N3, bounds):
        """Hidden states [N, C] in the order of the patches."""
        kernel = self.tensors["embeddings.patch_embedding.weight"]
        side = kernel.shape[-1]
        images = patches_ND.reshape(-1, 3, side, side)
        x = self.norm(functional.conv2d(images, kernel, stride=side).flatten(1), "layernorm_pre")
        table = angles(positions_N3, x.shape[1] // self.heads, self.theta)
        layers = {int(name.split(".")[2]) for name in self.tensors if name.startswith("encoder.layers.")}
        for i in sorted(layers):
            name = f"encoder.layers.{i}"
            x = x + self.attend(self.norm(x, f"{name}.layer_norm1"), f"{name}.self_attn", table, bounds)
            hidden = self.linear(self.norm(x, f"{name}.layer_norm2"), f"{name}.mlp.fc1")
            x = x + self.linear(functional.gelu(hidden), f"{name}.mlp.fc2")
        return x


def random_tower(width=128, layers=2, hidden=192, patch=4, seed=0, merge=2, llm=96):
    """Tensors of a tower and its merger: outputs of size 1, queries and keys wide enough for positions to show."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape, scale=0.1, around=0.0):
        return around + scale * torch.randn(shape, generator=generator)

    state = {"embeddings.patch_embedding.weight": draw(width, 3, patch, patch)}

    def norm(name, size=width):
        state[f"{name}.weight"], state[f"{name}.bias"] = draw(size, around=1.0), draw(size)

    def linear(name, rows, columns, scale=0.04):
        state[f"{name}.weight"], state[f"{name}.bias"] = draw(rows, columns, scale=scale), draw(rows)

    norm("layernorm_pre")
    for i in range(layers):
        name = f"encoder.layers.{i}"
        norm(f"{name}.layer_norm1")
        linear(f"{name}.self_attn.qkv", 3 * width, width, scale=0.15)
        linear(f"{name}.self_attn.proj", width, width)
        norm(f"{name}.layer_norm2")
        linear(f"{name}.mlp.fc1", hidden, width)
        linear(f"{name}.mlp.fc2", width, hidden)
    norm("merger.ln_q")
    linear("merger.mlp.0", width * merge**2, width * merge**2)
    linear("merger.mlp.2", llm, width * merge**2)
    return state


def vision_config(width=128, layers=2, hidden=192, patch=4, heads=2, **overrides):
    return {
        "model_type": "llava_onevision2",
        "hidden_size": width,
        "intermediate_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_channels": 3,
        "image_size": 448,
        "patch_size": patch,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-6,
        "layer_norm_type": "layer_norm",
        "attention_dropout": 0.0,
        "initializer_range": 0.02,
        "rope_theta": 10000.0,
        "use_head": False,
        "out_hidden_size": 96,
        "spatial_merge_size": 2,
        "frame_windows_size": 4,
    } | overrides
