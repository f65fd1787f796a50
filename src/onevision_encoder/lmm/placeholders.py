"""Where vision goes into text: every placeholder token takes one visual token, in order.

Media stand in the pack in the order of their placeholders: batch item by batch item, from left to right.

Axes: B batch, L tokens of an item, M visual tokens, C the language model's width, S segments.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from onevision_encoder.errors import PlaceholderError


def placeholder_mask(input_ids_BL: Tensor, token_ids: Sequence[int]) -> Tensor:
    """bool [B, L]: where visual tokens go."""
    return torch.isin(input_ids_BL, torch.tensor(list(token_ids), device=input_ids_BL.device))


def scatter_features(embeds_BLC: Tensor, mask_BL: Tensor, features_MC: Tensor) -> Tensor:
    """The embeddings with visual tokens at the placeholders.

    Raises:
        PlaceholderError: another number of placeholders than of visual tokens.
    """
    if not torch.compiler.is_compiling():  # reading values would break the graph
        found = int(mask_BL.sum())
        if found != len(features_MC):
            per_item = mask_BL.sum(1).tolist()
            raise PlaceholderError(found, len(features_MC), f"{per_item} in the items of the batch")
    return embeds_BLC.masked_scatter(mask_BL[..., None], features_MC.to(embeds_BLC.dtype))


def tokens_per_item(mask_BL: Tensor, per_segment: Sequence[int]) -> list[int]:
    """Placeholders of each item, after a check that no medium is spread over two items.

    Raises:
        PlaceholderError: the placeholders of an item are not those of whole media.
    """
    counts: list[int] = mask_BL.sum(1).tolist()
    ends, total = {0}, 0
    for tokens in per_segment:
        total += tokens
        ends.add(total)
    reached = 0
    for item, count in enumerate(counts):
        reached += count
        if reached not in ends:
            cause = f"item {item} ends inside a medium: media have {list(per_segment)} tokens, items {counts}"
            raise PlaceholderError(sum(counts), total, cause)
    if reached != total:
        raise PlaceholderError(reached, total, f"{counts} in the items of the batch")
    return counts


def segments_after(mask_BL: Tensor, per_segment: Sequence[int], seen: int) -> list[int]:
    """Indices of the media whose placeholders all stand at column ``seen`` or later: those that a cache lacks.

    Raises:
        PlaceholderError: a medium is half in the cache, or placeholders and media do not fit.
    """
    tokens_per_item(mask_BL, per_segment)
    columns_M = mask_BL.nonzero()[:, 1]
    kept, first = [], 0
    for index, tokens in enumerate(per_segment):
        later = int((columns_M[first : first + tokens] >= seen).sum())
        if 0 < later < tokens:
            raise PlaceholderError(later, tokens, f"medium {index} is half in the cache of {seen} tokens")
        if later:
            kept.append(index)
        first += tokens
    return kept
