"""What the nouns of :mod:`onevision_encoder.types` share: checks, read-only arrays, short ``repr``, counted words; and
what all options have in common: which of them another one must ask for, and what a wrong name was meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from onevision_encoder.errors import InvalidArgumentError, ShapeError

_CODEC = dict.fromkeys(
    ("anchor_share", "anchors", "camera", "interval", "min_per_frame", "provider", "scope", "score"),
    ("policy", "codec"),
)
READER: Mapping[str, tuple[str, str]] = {
    **_CODEC,
    "bin_frame": ("pattern", "bins"),
    "chunk_frames": ("scope", "chunk"),
    "frame_seed": ("bin_frame", "random"),
    "seed": ("policy", "random"),
    "side": ("recipe", "letterbox"),
    "ticks_per_second": ("time", "seconds"),
}
"""Option -> the option and the value of it without which nothing reads the first."""

MEANT: Mapping[str, str] = {
    "crop_size": "recipe",
    "frames": "num_frames",
    "max_pixels": "max_patches",
    "max_tokens": "budget",
    "num_tokens": "budget",
    "patch_size": "patch",
    "size": "recipe or max_patches",
    "video_fps": "fps",
}
"""What other libraries call an option, where the letters do not give it away."""


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


def is_read(name: str, values: Mapping[str, Any]) -> bool:
    """Whether anything reads an option (see ``READER``), given the values of all; what is not in ``values`` agrees."""
    place, needed = READER.get(name, (name, ""))
    return place == name or place not in values or (values[place] == needed and is_read(place, values))


def unread(*configs: Any) -> dict[str, Any]:
    """Options of dataclasses that are not at their default although nothing reads them."""
    values = {f.name: getattr(config, f.name) for config in configs for f in fields(config)}
    usual = {f.name: f.default for config in configs for f in fields(config)}
    return {name: value for name, value in values.items() if value != usual[name] and not is_read(name, values)}


def refuse_unread(*configs: Any) -> None:
    """Raise InvalidArgumentError for an option that is set although nothing would read it."""
    for name, value in unread(*configs).items():
        place, needed = READER[name]
        raise InvalidArgumentError(name, value, f"only {place}={needed!r} reads it; leave it out or add that")


def meant(name: str, accepted: Iterable[str], others: Mapping[str, str] = MEANT) -> str:
    """``", did you mean budget?"``, or nothing where no accepted name comes near."""
    near = [others[name]] if name in others else difflib.get_close_matches(name, sorted(accepted), n=2)
    return f", did you mean {' or '.join(near)}?" if near else ""
