"""Token rows of several texts and the media of all of them as one batch of tensors.

Axes: B texts, L tokens of the longest, N patches, S media, M visual tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from onevision_encoder.errors import InvalidArgumentError, PlaceholderError
from onevision_encoder.hub.features import Modality, Normalization, packed_inputs
from onevision_encoder.lmm.conversation import PLACEHOLDER
from onevision_encoder.lmm.outputs import MediumRecord, VLInputs
from onevision_encoder.lmm.reading import Merging, Reading
from onevision_encoder.types import PatchTokens


@dataclass(frozen=True, kw_only=True)
class TokenRow:
    """Ids of one text, unpadded; ``answer``: 1 where the token is an assistant's, or None."""

    ids: list[int]
    answer: list[int] | None


def token_row(
    tokenizer: Any, text: str, spans: Sequence[tuple[int, int]] | None, options: Mapping[str, Any]
) -> TokenRow:
    """Tokenise one text whose placeholders are written out.

    Raises:
        PlaceholderError: fewer placeholders after than before: the text was cut, or the tokenizer does not know them.
        InvalidArgumentError: spans, with a tokenizer that cannot say where its tokens are.
    """
    if spans is not None and not tokenizer.is_fast:
        raise InvalidArgumentError("tokenizer", type(tokenizer).__name__, "a fast one for return_assistant_tokens_mask")
    encoded = tokenizer(
        text,
        add_special_tokens=options.get("add_special_tokens", True),
        truncation=options.get("truncation", False),
        max_length=options.get("max_length"),
        return_offsets_mapping=spans is not None,
        return_attention_mask=False,
        verbose=False,
    )
    ids: list[int] = encoded["input_ids"]
    for modality, token in PLACEHOLDER.items():
        found, wanted = ids.count(tokenizer.convert_tokens_to_ids(token)), text.count(token)
        if found != wanted:
            raise PlaceholderError(found, wanted, _why(modality, token, tokenizer, options))
    if spans is None:
        return TokenRow(ids=ids, answer=None)
    answer = [
        int(stop > start and any(low <= start and stop <= high for low, high in spans))
        for start, stop in encoded["offset_mapping"]
    ]
    return TokenRow(ids=ids, answer=answer)


def _why(modality: Modality, token: str, tokenizer: Any, options: Mapping[str, Any]) -> str:
    if token not in tokenizer.get_vocab():
        return f"the tokenizer does not know {token}; see add_vision_tokens"
    limit = options.get("max_length", tokenizer.model_max_length)
    return f"truncation to max_length={limit} cuts {modality} tokens; raise it, or take a smaller budget"


def batch_inputs(
    tokenizer: Any,
    rows: Sequence[TokenRow],
    readings: Sequence[Sequence[Reading]],
    *,
    normalize: Normalization,
    merging: Merging,
    options: Mapping[str, Any],
    return_tensors: str,
) -> VLInputs:
    """Everything that the model takes, and the record of every medium. Raises InvalidArgumentError if padding is
    needed and refused, or the tokenizer has no token for it."""
    data: dict[str, Any] = _padded(tokenizer, rows, options)
    flat = [(i, reading) for i, sample in enumerate(readings) for reading in sample]
    metadata = None
    if flat:
        parts: list[tuple[Modality, PatchTokens]] = [(reading.medium.modality, reading.tokens) for _, reading in flat]
        vision = packed_inputs(parts, normalize, return_tensors="pt", metadata=True)
        data.update(vision)
        metadata = vision.metadata
        if merging.merger == "attention":
            ends = accumulate((n for _, reading in flat for n in reading.unit_lengths), initial=0)
            data["unit_cu_seqlens"] = torch.tensor(list(ends), dtype=torch.int32)
        for name in ("image_grid_thw", "video_grid_thw"):
            grid = getattr(metadata, name)
            if grid is not None:
                data[name] = torch.from_numpy(grid)
    kept = data if return_tensors == "pt" else {name: value.numpy() for name, value in data.items()}
    return VLInputs(kept, metadata=metadata, media=[_record(i, reading) for i, reading in flat])


def _record(sample: int, reading: Reading) -> MediumRecord:
    return MediumRecord(
        sample=sample,
        modality=reading.medium.modality,
        path=reading.path,
        patches=len(reading.tokens),
        tokens=len(reading.unit_lengths),
        seconds=None if reading.groups is None else tuple(seconds for seconds, _ in reading.groups),
        clip=reading.tokens.clips[0],
    )


def _padded(tokenizer: Any, rows: Sequence[TokenRow], options: Mapping[str, Any]) -> dict[str, Tensor]:
    longest = max(len(row.ids) for row in rows)
    padding, side = options.get("padding", True), options.get("padding_side", "left")
    if padding == "max_length":
        longest = max(longest, options.get("max_length") or longest)
    if side not in ("left", "right"):
        raise InvalidArgumentError("padding_side", side, "left or right")
    lacking = any(len(row.ids) < longest for row in rows)
    if lacking and padding in (False, "do_not_pad"):
        raise InvalidArgumentError("padding", padding, "True for texts of different lengths")
    if lacking and tokenizer.pad_token_id is None:
        raise InvalidArgumentError("tokenizer.pad_token", None, "a token to pad with, e.g. tokenizer.eos_token")

    def stacked(values: Sequence[Sequence[int]], fill: int) -> Tensor:
        return torch.tensor([_filled(list(row), fill, longest, side) for row in values], dtype=torch.int64)

    data = {
        "input_ids": stacked([row.ids for row in rows], tokenizer.pad_token_id if lacking else 0),
        "attention_mask": stacked([[1] * len(row.ids) for row in rows], 0),
    }
    if rows[0].answer is not None:
        data["assistant_masks"] = stacked([row.answer or [] for row in rows], 0)
    return data


def _filled(row: list[int], fill: int, length: int, side: str) -> list[int]:
    extra = [fill] * (length - len(row))
    return extra + row if side == "left" else row + extra
