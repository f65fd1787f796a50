"""What the nouns of :mod:`onevision_encoder.types` share: checks, read-only arrays, short ``repr``, counted words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from onevision_encoder.errors import ShapeError


def require(ok: bool, name: str, value: object, allowed: str) -> None:
    """Raise ShapeError unless ``ok``."""
    if not ok:
        raise ShapeError(name, value, allowed)


def require_dtypes(noun: object, dtypes: Mapping[str, DTypeLike]) -> None:
    """Raise ShapeError unless each named field is None or an array of its dtype."""
    for name, dtype in dtypes.items():
        array = getattr(noun, name)
        if array is not None:
            require(array.dtype == dtype, f"{name}.dtype", str(array.dtype), str(np.dtype(dtype)))


def require_finite(noun: object, *names: str) -> None:
    """Raise ShapeError if an array field holds NaN or infinity."""
    for name in names:
        array: NDArray[Any] | None = getattr(noun, name)
        if array is not None and not np.isfinite(array).all():
            bad = int((~np.isfinite(array)).sum())
            raise ShapeError(name, f"{bad} values that are not finite", "finite numbers")


def freeze(noun: object) -> None:
    """Replace every array field by a read-only view, so that the caller's own array stays writable."""
    for name, value in vars(noun).items():
        if isinstance(value, np.ndarray):
            view = value.view()
            view.flags.writeable = False
            object.__setattr__(noun, name, view)


def short_repr(noun: object) -> str:
    """One line: arrays by dtype and shape, sources by name, clips by number, no provenance."""
    parts = (f"{name}={_short(value)}" for name, value in vars(noun).items() if "provenance" not in name)
    return f"{type(noun).__name__}({', '.join(parts)})"


def _short(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}[{', '.join(map(str, value.shape))}]"
    if isinstance(value, tuple) and any(hasattr(item, "__dataclass_fields__") for item in value):
        return f"<{len(value)} {type(value[0]).__name__}>"
    if hasattr(value, "__dataclass_fields__"):
        return f"<{type(value).__name__} {getattr(value, 'name', '')!r}>"
    return repr(value)


def counted(number: int, noun: str, plural: str = "") -> str:
    """'1 frame', '2 frames'; ``plural`` where it is not the noun and an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or noun + 's'}"
