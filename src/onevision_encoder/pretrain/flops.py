"""Floating point operations of a training step, counted from shapes, and what a device can do at most.

Axes: N tokens of a pack, L tokens of a segment, S segments, C width, I width of the MLP, D numbers of a patch.
A multiplication and an addition are two operations; norms, softmax and activations are not counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

PEAK_TFLOPS: Mapping[str, float] = {
    "H200": 989.4,
    "H100 PCIe": 756.0,
    "H100": 989.4,
    "A100": 311.9,
    "L40S": 362.05,
    "B200": 2250.0,
    "RTX 4090": 165.2,
}
"""Part of a CUDA device's name -> dense bfloat16 peak in 10^12 operations a second, from the makers' data sheets."""


def forward_flops(config: Any, lengths: Sequence[int]) -> float:
    """Of one forward pass of a OneVisionEncoderModel with a head over segments of these lengths."""
    C, I = config.hidden_size, config.intermediate_size  # noqa: E741
    N, S = sum(lengths), len(lengths)
    embed = 2 * N * 3 * config.patch_size**2 * C
    matrices = 2 * N * (4 * C * C + 2 * C * I)
    attention = sum(4 * L * L * C for L in lengths)
    head = 2 * N * 2 * C * C + 4 * N * C + 2 * C * C + S * (2 * C * C + 4 * C * I)
    return float(embed + config.num_hidden_layers * (matrices + attention) + head)


def bank_flops(batch: int, sampled: int, width: int) -> float:
    """Of one forward pass of a bank: each embedding against each sampled row."""
    return 2.0 * batch * sampled * width


def training_flops(forward: float) -> float:
    """Of a step: the way back costs twice the way there. What is computed again to save memory does not count."""
    return 3 * forward


def peak_flops(device_name: str, given_tflops: float | None = None) -> float | None:
    """Operations a second of one device: what was given, else what is known of its name, else None."""
    if given_tflops is not None:
        return given_tflops * 1e12
    for part, tflops in PEAK_TFLOPS.items():
        if part.lower() in device_name.lower():
            return tflops * 1e12
    return None
