"""What a training run is: stage, data, steps. JSON-ready, so that a run that goes on can be told from another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from onevision_encoder.errors import InvalidArgumentError

Stage = Literal["projector", "full", "lora"]
Broken = Literal["refuse", "leave-out"]
RATES: dict[str, float] = {"projector": 1e-3, "full": 1e-5, "lora": 2e-4}
"""First learning rates by stage: LLaVA's usual ones."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How to train. Loss is counted on answers only, its mean is over the answers' tokens of the whole step.

    Raises:
        InvalidArgumentError: a value out of range.
    """

    stage: Stage = "projector"
    """projector: merger and projector alone. full: everything. lora: adapters in the language model's linear layers,
    and merger and projector whole."""
    freeze_encoder: bool = False
    """With full: leave the encoder as it is."""
    lora_rank: int = 16
    """Rank of the adapters."""
    lora_alpha: float = 32.0
    """Adapters are scaled by alpha / rank."""
    lora_dropout: float = 0.0
    """Share of the adapters' inputs dropped."""
    epochs: float = 1.0
    """Passes over the data."""
    steps: int | None = None
    """Steps of the optimiser, in place of epochs."""
    batch: int = 4
    """Rows a device reads at once."""
    accumulate: int = 1
    """Batches a step."""
    pack: int | None = None
    """Fill rows with several samples, up to so many tokens; they do not see each other."""
    learning_rate: float | None = None
    """None = 1e-3 for projector, 1e-5 for full, 2e-4 for lora."""
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    """Of the learning rate."""
    warmup: int = 0
    """Steps in which it rises."""
    weight_decay: float = 0.0
    """AdamW's."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    bf16: bool = False
    """Compute in bfloat16; the weights stay as they are loaded."""
    checkpoint_gradients: bool = False
    """Compute activations anew in the backward pass: less memory, more time."""
    seed: int = 0
    """Of order, packing, adapters."""
    exact: bool = False
    """On a GPU: the same bits each time, slower. A CPU gives them anyway."""
    save_every: int = 500
    """Steps between checkpoints."""
    keep: int = 2
    """Checkpoints to keep."""
    log_every: int = 10
    """Steps between lines of the log."""
    workers: int = 0
    """Processes that read samples; 0 = the training process."""
    max_tokens: int | None = None
    """Longest sample; longer ones are broken. None = the language model's own limit."""
    broken: Broken = "refuse"
    """Samples whose media cannot be read, or that are too long: refuse to train, or leave-out and list them."""

    def __post_init__(self) -> None:
        for name, choices in (("stage", Stage), ("broken", Broken)):
            if getattr(self, name) not in get_args(choices):
                raise InvalidArgumentError(name, getattr(self, name), f"one of {get_args(choices)}")
        least = {"lora_rank": 1, "batch": 1, "accumulate": 1, "save_every": 1, "keep": 1, "log_every": 1}
        least |= {"warmup": 0, "workers": 0, "seed": 0}
        least |= {name: 1 for name in ("steps", "pack", "max_tokens") if getattr(self, name) is not None}
        for name, lowest in least.items():
            value = getattr(self, name)
            if type(value) is not int or value < lowest:
                raise InvalidArgumentError(name, value, f"an integer of at least {lowest}")
        above = ["epochs", "lora_alpha", "clip", *(["learning_rate"] if self.learning_rate is not None else [])]
        for name in above:
            if not getattr(self, name) > 0:
                raise InvalidArgumentError(name, getattr(self, name), "a number above 0")
        if not 0 <= self.lora_dropout < 1:
            raise InvalidArgumentError("lora_dropout", self.lora_dropout, "0 <= p < 1")
        if self.weight_decay < 0:
            raise InvalidArgumentError("weight_decay", self.weight_decay, "at least 0")
        if self.freeze_encoder and self.stage != "full":
            raise InvalidArgumentError("freeze_encoder", True, f"False: stage {self.stage} leaves it as it is anyway")

    @property
    def rate(self) -> float:
        """The first learning rate."""
        return RATES[self.stage] if self.learning_rate is None else self.learning_rate
