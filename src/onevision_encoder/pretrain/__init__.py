"""The pretraining room: concept banks, their loss and their optimiser. Names load torch when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onevision_encoder.lazy import lazy_names

if TYPE_CHECKING:
    from onevision_encoder.pretrain.bank import BankLoss as BankLoss
    from onevision_encoder.pretrain.bank import ConceptBank as ConceptBank
    from onevision_encoder.pretrain.bank_config import BankConfig as BankConfig
    from onevision_encoder.pretrain.clipping import clip_global_norm as clip_global_norm
    from onevision_encoder.pretrain.row_optimizer import RowAdamW as RowAdamW

_HOME = {
    "BankConfig": "bank_config",
    "BankLoss": "bank",
    "ConceptBank": "bank",
    "RowAdamW": "row_optimizer",
    "clip_global_norm": "clipping",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
