"""What generation must know of media: they are read once, where the text that holds their placeholders is read.

Axes: B batch, L tokens of a text, M visual tokens, C width of the language model.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationMixin

from onevision_encoder.lmm.placeholders import segments_after, tokens_per_item
from onevision_encoder.lmm.units import UnitPlan
from onevision_encoder.lmm.vision_inputs import VISION_KEYS, VisionInput, take_vision, vision_input


class VisionGeneration(GenerationMixin):
    """Generation of transformers 4.57 and 5 with the media of a batch, whose first axis is no batch."""

    def placeholders(self, input_ids_BL: Tensor) -> Tensor:
        """See :class:`OneVisionForConditionalGeneration`."""
        raise NotImplementedError

    def plan_units(self, given: VisionInput) -> UnitPlan:
        """See :class:`OneVisionForConditionalGeneration`."""
        raise NotImplementedError

    def encode_media(self, given: VisionInput, plan: UnitPlan) -> Tensor:
        """See :class:`OneVisionForConditionalGeneration`."""
        raise NotImplementedError

    def prepare_inputs_for_generation(  # type: ignore[override]
        self, input_ids: Tensor, past_key_values: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """As in transformers; pixels are read where their placeholders are not in the cache yet, and only there."""
        media = {name: kwargs.pop(name) for name in VISION_KEYS if kwargs.get(name) is not None}
        theirs: Any = super()
        inputs: dict[str, Any] = theirs.prepare_inputs_for_generation(
            input_ids, past_key_values=past_key_values, **kwargs
        )
        seen = 0 if past_key_values is None else int(past_key_values.get_seq_length())
        if not seen:
            inputs.update(media)
        elif media and input_ids.shape[1] - seen > 1:  # one new token is what the model wrote
            inputs.update(self._unseen(input_ids, media, seen))
        return inputs

    def _unseen(self, input_ids_BL: Tensor, media: Mapping[str, Any], seen: int) -> dict[str, Any]:
        """The media whose placeholders the cache of ``seen`` tokens does not hold (a conversation goes on)."""
        mask_BL = self.placeholders(input_ids_BL)
        if "vision_features" in media:
            return {"vision_features": media["vision_features"][mask_BL.nonzero()[:, 1] >= seen]}
        given = vision_input(**media)
        return take_vision(given, segments_after(mask_BL, self.plan_units(given).per_segment, seen))

    def _expand_inputs_for_generation(  # type: ignore[override]
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: Tensor | None = None,
        **model_kwargs: Any,
    ) -> tuple[Tensor | None, dict[str, Any]]:
        """Beams and several samples of a prompt share its media: they are encoded once, before it is repeated."""
        media = {name: model_kwargs.pop(name) for name in VISION_KEYS if model_kwargs.get(name) is not None}
        if expand_size > 1 and media and input_ids is not None:
            media = {"vision_features": self._repeated(input_ids, media, expand_size)}
        theirs: Any = super()
        ids, rest = theirs._expand_inputs_for_generation(
            expand_size=expand_size, is_encoder_decoder=is_encoder_decoder, input_ids=input_ids, **model_kwargs
        )
        return ids, {**rest, **media}

    def _repeated(self, input_ids_BL: Tensor, media: Mapping[str, Any], times: int) -> Tensor:
        """Visual tokens of each item ``times`` over, [times * M, C]."""
        mask_BL = self.placeholders(input_ids_BL)
        features_MC = media.get("vision_features")
        if features_MC is None:
            given = vision_input(**media)
            plan = self.plan_units(given)
            counts = tokens_per_item(mask_BL, plan.per_segment)
            features_MC = self.encode_media(given, plan)
        else:
            counts = mask_BL.sum(1).tolist()
        ends = torch.tensor([0, *counts]).cumsum(0).tolist()
        return torch.cat([features_MC[a:b] for a, b in pairwise(ends) for _ in range(times)])
