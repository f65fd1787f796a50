"""Our encoder as a backbone of one token a clip: the embedding of its pooling head, which is what banks train."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from onevision_encoder.evaluate import OurBackbone
from onevision_encoder.evaluate.backbone import Clip, Features
from onevision_encoder.types import PatchTokens


class PooledBackbone(OurBackbone):
    def encode(self, clips: Sequence[Clip | PatchTokens]) -> Features:
        """One token a clip. Raises as OurBackbone does."""
        pooled_SC = super().encode(clips).pooled_SC
        assert pooled_SC is not None, "an encoder in training has its head"
        bounds_S1 = torch.arange(len(pooled_SC) + 1, dtype=torch.int32, device=pooled_SC.device)
        return Features(tokens_NC=pooled_SC, cu_seqlens=bounds_S1)
