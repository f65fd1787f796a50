"""Whether a checkpoint fits the model it was loaded into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from onevision_encoder.errors import CheckpointError

HEAD_PREFIXES = ("head.", "layernorm_post.")


def check_loading_info(source: object, info: Mapping[str, Any], *, use_head: bool) -> None:
    """Raise :class:`~onevision_encoder.errors.CheckpointError` unless every tensor was found and used.

    Args:
        info: what ``from_pretrained(output_loading_info=True)`` returns. use_head: of the model.
    """
    missing = sorted(info["missing_keys"])
    unexpected = sorted(key for key in info["unexpected_keys"] if use_head or not key.startswith(HEAD_PREFIXES))
    faults = [
        f"{len(keys)} {what} ({_some(keys)})"
        for what, keys in (
            ("tensors are missing", missing),
            ("tensors have no place in the model", unexpected),
            ("tensors have another shape", sorted(str(key) for key in info["mismatched_keys"])),
        )
        if keys
    ]
    if faults:
        raise CheckpointError(source, "the weights do not fit the configuration: " + "; ".join(faults))


def _some(keys: Iterable[str], most: int = 4) -> str:
    keys = list(keys)
    return ", ".join(keys[:most]) + (", ..." if len(keys) > most else "")
