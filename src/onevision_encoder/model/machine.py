"""What the machine at hand has for the encoder: devices, the dtype that inference takes there, kinds of attention."""

from __future__ import annotations

import platform

import torch

from onevision_encoder.model.precision import inference_dtype, native_bf16_unit

_ATTENTION = {
    "flex_attention": "is_torch_flex_attn_available",
    "flash_attention_2": "is_flash_attn_2_available",
    "flash_attention_3": "is_flash_attn_3_available",
}
"""Implementation -> the question of transformers whether it can be used; an old transformers does not know each."""


def devices() -> dict[str, dict[str, str]]:
    """Device -> its name, the dtype inference takes by itself, and why. The first one is what ``auto`` takes."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = {f"cuda:{i}": torch.cuda.get_device_name(i) for i in range(count)}
    names["cpu"] = _cpu_name()
    if torch.backends.mps.is_available():
        names["mps"] = "Apple GPU"
    found = {}
    for device, name in names.items():
        choice = inference_dtype(device)
        dtype = str(choice.dtype).removeprefix("torch.")
        found[device] = {"name": name, "dtype": dtype, "reason": choice.reason}
    return found


def cpu_features() -> dict[str, str | int | None]:
    """What of the CPU decides speed and dtype, as torch sees it."""
    return {
        "machine": platform.machine(),
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "bfloat16": native_bf16_unit(),
        "threads": torch.get_num_threads(),
    }


def attention_implementations() -> dict[str, bool]:
    """Attention implementation -> whether its library is there. ``sdpa`` is the default."""
    return {"sdpa": True, "eager": True} | {name: _can(question) for name, question in _ATTENTION.items()}


def _can(question: str) -> bool:
    from transformers import utils  # here: devices can be told without

    asked = getattr(utils, question, None)
    return bool(asked()) if asked is not None else False


def _cpu_name() -> str:
    return platform.processor() or platform.machine() or "CPU"
