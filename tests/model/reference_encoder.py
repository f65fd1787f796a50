"""An encoder written a second time, in numpy float64, one token and one pair of channels at a time where it matters.

It shares no code with the library: the truth of the tests that need no files.
"""

from __future__ import annotations

import math

import numpy as np

erf = np.vectorize(math.erf)


def rope_reference(x_D, position, mode, theta=10000.0):
    """Turn one head of one token by the written-out formula; channels stay where they are."""
    D = len(x_D)
    unit = D // 32
    angles = [
        position[axis] * theta ** (-j / size)
        for axis, size in enumerate((4 * unit, 6 * unit, 6 * unit))
        for j in range(size)
    ]
    y = np.zeros(D)
    if mode == "rotary":
        for j, f in enumerate(angles):
            a, b = x_D[j], x_D[j + D // 2]
            y[j], y[j + D // 2] = a * math.cos(f) - b * math.sin(f), b * math.cos(f) + a * math.sin(f)
    else:
        doubled = angles + angles
        for i in range(D // 2):
            a, b = x_D[2 * i], x_D[2 * i + 1]
            fa, fb = doubled[2 * i], doubled[2 * i + 1]
            y[2 * i], y[2 * i + 1] = a * math.cos(fa) - b * math.sin(fa), b * math.cos(fb) + a * math.sin(fb)
    return y


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class ReferenceEncoder:
    def __init__(self, model):
        self.config = model.config
        self.w = {name: t.detach().double().numpy() for name, t in model.state_dict().items()}

    def norm(self, x, name, kind=None):
        eps = self.config.layer_norm_eps
        if (kind or self.config.layer_norm_type) == "rms_norm":
            return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * self.w[f"{name}.weight"]
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
        return scaled * self.w[f"{name}.weight"] + self.w[f"{name}.bias"]

    def linear(self, x, name):
        return x @ self.w[f"{name}.weight"].T + self.w[f"{name}.bias"]

    def mlp(self, x, name):
        h = self.linear(x, f"{name}.fc1")
        return self.linear(h * 0.5 * (1 + erf(h / math.sqrt(2))), f"{name}.fc2")

    def attention(self, x, positions, name, allowed_LL=None):
        H = self.config.num_attention_heads
        q, k, v = (self.linear(x, f"{name}.{p}_proj").reshape(len(x), H, -1) for p in "qkv")
        mode, theta = self.config.rope_mode, self.config.rope_theta
        for t in (q, k):
            for n in range(len(x)):
                for head in range(H):
                    t[n, head] = rope_reference(t[n, head], positions[n], mode, theta)
        scores = np.einsum("qhd,khd->hqk", q, k) / math.sqrt(q.shape[-1])
        if allowed_LL is not None:
            scores = np.where(allowed_LL, scores, -np.inf)
        return self.linear(np.einsum("hqk,khd->qhd", softmax(scores), v).reshape(x.shape), f"{name}.out_proj")

    def pool(self, x):
        C, H = x.shape[1], self.config.num_attention_heads
        weight, bias = self.w["head.attention.in_proj_weight"], self.w["head.attention.in_proj_bias"]
        q = (self.w["head.probe"][0] @ weight[:C].T + bias[:C]).reshape(1, H, -1)
        k = (x @ weight[C : 2 * C].T + bias[C : 2 * C]).reshape(len(x), H, -1)
        v = (x @ weight[2 * C :].T + bias[2 * C :]).reshape(len(x), H, -1)
        weights = softmax(np.einsum("qhd,khd->hqk", q, k) / math.sqrt(q.shape[-1]))
        a = self.linear(np.einsum("hqk,khd->qhd", weights, v).reshape(1, C), "head.attention.out_proj")
        return (a + self.mlp(self.norm(a, "head.norm", "rms_norm"), "head.mlp"))[0]

    def __call__(self, patches_ND, positions_N3, allowed_LL=None):
        """One segment -> (hidden states, last hidden state [N, C], pooled [C] or None), float64.

        ``allowed_LL``: True where a token (row) may see another (column); None = everywhere.
        """
        kernel = self.w["embeddings.patch_embedding.weight"]
        x = self.norm(patches_ND @ kernel.reshape(len(kernel), -1).T, "layernorm_pre")
        states = [x]
        for i in range(self.config.num_hidden_layers):
            name = f"encoder.layers.{i}"
            x = x + self.attention(self.norm(x, f"{name}.layer_norm1"), positions_N3, f"{name}.self_attn", allowed_LL)
            x = x + self.mlp(self.norm(x, f"{name}.layer_norm2"), f"{name}.mlp")
            states.append(x)
        if not self.config.use_head:
            return states, x, None
        last = self.norm(x, "layernorm_post")
        return states, last, self.pool(last)
