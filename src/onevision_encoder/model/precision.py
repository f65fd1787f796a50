"""Which dtype inference runs in: the fastest one of the machine that is exact enough, found by asking, not timing."""

from __future__ import annotations

import platform
from dataclasses import dataclass

import torch

from onevision_encoder.errors import InvalidArgumentError

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, kw_only=True)
class DtypeChoice:
    """A dtype and, in words, why it was taken."""

    dtype: torch.dtype
    reason: str


def inference_dtype(device: torch.device | str) -> DtypeChoice:
    """The default dtype of inference on ``device``.

    bfloat16 where the hardware multiplies it natively, float32 elsewhere. Sums, norms, softmax, RoPE and the
    residual stream are float32 in both, which keeps outputs at a cosine of at least 0.999 to float32
    (``benchmarks/bench_encoder.py`` measures it).
    """
    device = torch.device(device)
    if device.type == "cuda":
        # 8.0 is Ampere; ROCm builds report gfx9 and later, which have bfloat16 too
        if torch.cuda.get_device_capability(device) >= (8, 0):
            return DtypeChoice(dtype=torch.bfloat16, reason="the GPU multiplies bfloat16 natively")
        return DtypeChoice(dtype=torch.float32, reason="the GPU has no native bfloat16 products")
    if device.type == "cpu":
        unit = native_bf16_unit()
        if unit is not None:
            return DtypeChoice(dtype=torch.bfloat16, reason=f"the CPU multiplies bfloat16 natively ({unit})")
        return DtypeChoice(dtype=torch.float32, reason="the CPU has no native bfloat16 products")
    return DtypeChoice(dtype=torch.float32, reason=f"nothing else was measured on {device.type}")


def native_bf16_unit() -> str | None:
    """Name of the CPU's bfloat16 matrix or dot-product unit that torch can use, or None.

    ``mkldnn`` alone also says yes where it would emulate bfloat16 on AVX-512, which is slower than float32;
    so on x86 the instructions themselves are asked for.
    """
    if not torch.backends.mkldnn.is_available():
        return None
    if platform.machine().lower() in ("x86_64", "amd64"):
        for probe, name in (("_is_amx_tile_supported", "AMX"), ("_is_avx512_bf16_supported", "AVX512_BF16")):
            if getattr(torch.cpu, probe, bool)():  # absent in old torch: bool() is False
                return name
        return None
    supported = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", bool)
    return f"{platform.machine()} bfloat16" if supported() else None


def resolve_dtype(dtype: torch.dtype | str, device: torch.device) -> DtypeChoice:
    """``"auto"``, a torch dtype or its name.

    Raises:
        InvalidArgumentError: anything else.
    """
    if dtype == "auto":
        return inference_dtype(device)
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise InvalidArgumentError("dtype", dtype, f"'auto' or one of {DTYPES}")
    return DtypeChoice(dtype=getattr(torch, name), reason="asked for")


def resolve_device(device: torch.device | str) -> torch.device:
    """``"auto"`` = the first CUDA device if there is one, else the CPU; or a device by name.

    Raises:
        InvalidArgumentError: torch knows no such device, it is not there, or it computes nothing (``meta``).
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InvalidArgumentError("device", device, "'auto' or a device as torch names it") from error
    if found.type == "meta":
        raise InvalidArgumentError("device", device, "a device that computes; 'meta' holds no numbers")
    try:
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, ImportError, AttributeError) as error:  # each backend has its own
        cause = (str(error).splitlines() or [type(error).__name__])[0]
        raise InvalidArgumentError("device", device, f"a device that torch can use here; it says: {cause}") from error
    return found
