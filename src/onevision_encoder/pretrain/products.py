"""Products of embeddings and rows, with float32 (or float64) sums, in the precision that a bank asks for.

Axes: M, N rows of either side, D what is summed over, K rows of a chunk.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.model.precision import native_bf16_unit
from onevision_encoder.pretrain.bank_config import Precision


@contextmanager
def plain_products(device: torch.device, precision: Precision) -> Iterator[None]:
    """Products inside are those of :func:`product`: no autocast, and no float32 precision that someone set globally.

    torch can let a CPU's matrix unit round float32 inputs to bfloat16 and give float32 sums, which is what bfloat16
    asks for. Its setting is put back at the end.
    """
    units = precision == "bfloat16" and device.type == "cpu" and native_bf16_unit() is not None
    with torch.autocast(device.type, enabled=False), _float32_products(device, units):
        yield


@contextmanager
def _float32_products(device: torch.device, units: bool) -> Iterator[None]:
    backend = {"cpu": torch.backends.mkldnn, "cuda": torch.backends.cuda}.get(device.type)
    matmul: Any = getattr(backend, "matmul", None)
    if hasattr(matmul, "fp32_precision"):  # torch 2.9; once someone has used it the older functions may refuse
        before = matmul.fp32_precision
        matmul.fp32_precision = "bf16" if units else "ieee"
        try:
            yield
        finally:
            matmul.fp32_precision = before
        return
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium" if units else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)


def product(a_MD: Tensor, b_DN: Tensor, precision: Precision, out: Tensor | None = None) -> Tensor:
    """``a @ b``, in the dtype of ``a``; ``out`` is overwritten.

    float32: as torch multiplies. bfloat16: both sides are rounded to bfloat16 and sums stay float32. On a GPU that is
    one product with float32 results. On a CPU ``plain_products`` lets the matrix unit do it; where there is none the
    rounding is done here, which costs more than float32 does and is there for comparison.
    """
    if precision == "float32" or a_MD.dtype == torch.float64:
        return torch.mm(a_MD, b_DN, out=out) if out is not None else torch.mm(a_MD, b_DN)
    if a_MD.device.type == "cuda":
        result = _cuda_product(a_MD.bfloat16(), b_DN.bfloat16())
        return out.copy_(result) if out is not None else result
    if native_bf16_unit() is None:
        a_MD, b_DN = a_MD.bfloat16().float(), b_DN.bfloat16().float()
    return torch.mm(a_MD, b_DN, out=out) if out is not None else torch.mm(a_MD, b_DN)


def _cuda_product(a_MD: Tensor, b_DN: Tensor) -> Tensor:
    try:
        return torch.mm(a_MD, b_DN, out_dtype=torch.float32)  # type: ignore[call-overload, no-any-return, unused-ignore]
    except TypeError as error:
        allowed = "float32: this torch has no bfloat16 products with float32 results (2.8 and later do)"
        raise InvalidArgumentError("precision", "bfloat16", allowed) from error
