"""Conversations as training reads them: tokens, labels on the answers alone, patches; one after another or packed.

A row of a batch holds one sample, or several end to end. Packed samples do not see each other: their positions begin
anew, and there is no attention mask; transformers then attends within each run of positions (``masking_utils``, and
FlashAttention by the same positions). Padding at the end is a run of its own.

Axes: B rows, L tokens of a row, N patches, S media, M visual tokens, D = 3*p*p, 3 = (t, h, w).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.lmm.conversation import plain_messages
from onevision_encoder.lmm.outputs import MediumRecord
from onevision_encoder.lmm.processing import OneVisionVLProcessor
from onevision_encoder.lmm.samples import Sample
from onevision_encoder.lmm.token_cache import MediaReader, TokenCache

IGNORED = -100
"""The label of what is not learned from."""
_ENDS = ("cu_seqlens", "unit_cu_seqlens")


@dataclass(frozen=True, kw_only=True, eq=False)
class EncodedSample:
    """``input_ids`` and ``labels`` int64 [L]; ``vision``: the model's inputs about media, {} for text alone; ``media``:
    how each was read."""

    input_ids: Tensor
    labels: Tensor
    vision: dict[str, Tensor]
    media: tuple[MediumRecord, ...]


class SampleEncoder:
    """Samples to tensors by a processor, media through a cache (None = read anew each time)."""

    def __init__(self, processor: OneVisionVLProcessor, cache: TokenCache | None = None) -> None:
        self.processor = processor
        self.reader = MediaReader(processor, cache)

    def __call__(self, sample: Sample) -> EncodedSample:
        """Raises MediaError and what else reading raises; InvalidArgumentError for a chat template that cannot tell
        where the answers are."""
        _, media = plain_messages(sample.messages)
        tokens = iter(self.reader.read(media))
        messages = [
            {**message, "content": [_made(part, tokens) for part in message["content"]]} for message in sample.messages
        ]
        inputs = self.processor.apply_chat_template(
            messages, tokenize=True, return_assistant_tokens_mask=True, request_budget=None
        )
        labels = inputs["input_ids"][0].masked_fill(inputs["assistant_masks"][0] == 0, IGNORED)
        labels[0] = IGNORED  # nothing comes before it; in a pack, another sample would
        if (labels == IGNORED).all():
            raise InvalidArgumentError("answer", sample.messages[-1]["content"], "words that the tokenizer knows")
        names = ("pixel_values", "patch_positions", *_ENDS)
        return EncodedSample(
            input_ids=inputs["input_ids"][0],
            labels=labels,
            vision={name: inputs[name] for name in names if name in inputs},
            media=inputs.media,
        )


def _made(part: dict[str, Any], tokens: Any) -> dict[str, Any]:
    return part if part["type"] == "text" else {"type": part["type"], part["type"]: next(tokens)}


class Rows(Dataset[list[EncodedSample]]):
    """Rows of samples, encoded when they are asked for."""

    def __init__(self, samples: Sequence[Sample], rows: Sequence[Sequence[int]], encode: SampleEncoder) -> None:
        self.samples, self.rows, self.encode = samples, rows, encode

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> list[EncodedSample]:
        return [self.encode(self.samples[i]) for i in self.rows[row]]


def pack_rows(lengths: Sequence[int], capacity: int, *, seed: int = 0) -> list[list[int]]:
    """Samples in rows of at most ``capacity`` tokens: in an order drawn from ``seed``, each into the fullest row that
    has room for it.

    Raises:
        InvalidArgumentError: a sample longer than a row.
    """
    if lengths and max(lengths) > capacity:
        raise InvalidArgumentError("capacity", capacity, f"at least {max(lengths)}, the longest sample")
    rows: list[list[int]] = []
    rooms: list[tuple[int, int]] = []  # (tokens left, row), sorted
    for i in np.random.default_rng(seed).permutation(len(lengths)).tolist():
        place = bisect_left(rooms, (lengths[i], -1))
        room, row = rooms.pop(place) if place < len(rooms) else (capacity, len(rows))
        if row == len(rows):
            rows.append([])
        rows[row].append(i)
        insort(rooms, (room - lengths[i], row))
    return rows


@dataclass(frozen=True, kw_only=True)
class Collator:
    """Rows of samples to the model's inputs.

    Attributes:
        pad: id to fill rows with. packed: whether rows may hold several samples.
    """

    pad: int
    packed: bool

    def __call__(self, rows: Sequence[Sequence[EncodedSample]]) -> dict[str, Any]:
        """``input_ids``, ``labels`` int64 [B, L], padded at the end; ``attention_mask``, or of packs ``position_ids``
        (and ``use_cache=False``: with a cache transformers looks for no packs); ``pixel_values`` [N, D],
        ``patch_positions`` [N, 3], ``cu_seqlens`` [S + 1], ``unit_cu_seqlens`` [M + 1] of all media."""
        if not self.packed and any(len(row) != 1 for row in rows):
            raise InvalidArgumentError("rows", [len(row) for row in rows], "one sample a row unless packed")
        samples = [sample for row in rows for sample in row]
        batch: dict[str, Any] = {
            "input_ids": _stacked([torch.cat([s.input_ids for s in row]) for row in rows], self.pad),
            "labels": _stacked([torch.cat([s.labels for s in row]) for row in rows], IGNORED),
        }
        lengths = [[len(s.input_ids) for s in row] for row in rows]
        if self.packed:
            longest = batch["input_ids"].shape[1]
            runs = [[*row, longest - sum(row)] for row in lengths]
            batch["position_ids"] = torch.stack([torch.cat([torch.arange(n) for n in row]) for row in runs])
            batch["use_cache"] = False
        else:
            batch["attention_mask"] = _stacked([torch.ones(sum(row), dtype=torch.int64) for row in lengths], 0)
        seen = [sample.vision for sample in samples if sample.vision]
        if seen:
            for name in ("pixel_values", "patch_positions"):
                batch[name] = torch.cat([vision[name] for vision in seen])
            for name in _ENDS:
                if name in seen[0]:
                    batch[name] = _ends([vision[name] for vision in seen])
        return batch


def _stacked(rows: Sequence[Tensor], fill: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=fill)


def _ends(parts: Sequence[Tensor]) -> Tensor:
    """Bounds of packs end to end."""
    lengths = torch.cat([part.diff() for part in parts])
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]).to(torch.int32)


@torch.no_grad()
def check_packing(model: Any) -> None:
    """See with two short samples that the language model keeps packed ones apart.

    Raises:
        InvalidArgumentError: what comes before a sample in its row changes the sample.
    """
    device = next(model.parameters()).device
    ids = torch.arange(2, 10, device=device).remainder(model.config.text_config.vocab_size)
    packed = torch.stack([ids, torch.cat([ids[:4].flip(0), ids[4:]])])  # the second sample is the same in both rows
    ids_BL = packed.masked_fill(model.placeholders(packed), 0)
    positions = torch.arange(4, device=device).repeat(2, 2)
    was, _ = model.training, model.train(False)
    logits = model(input_ids=ids_BL, position_ids=positions, use_cache=False).logits[:, 4:].float()
    model.train(was)
    exact = next(model.parameters()).dtype in (torch.float32, torch.float64)
    if not torch.allclose(logits[0], logits[1], rtol=0, atol=float(logits.abs().max()) * (1e-5 if exact else 1e-2)):
        kind = model.config.text_config.model_type
        raise InvalidArgumentError("pack", True, f"False: {kind} lets packed samples see each other")
