"""What tuning is told to do. Light: no torch, so that a command line can be parsed with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

from onevision_encoder.errors import InvalidArgumentError

Init = Literal["scratch", "weights"]
Pool = Literal["head", "mean", "attentive"]
Augmentation = Literal["shift", "colour", "noise", "drop"]
Attention = Literal["auto", "sdpa", "eager"]
Precision = Literal["float32", "bfloat16"]
Rope = Literal["pairwise", "rotary"]
USUAL_LR: Mapping[Init, float] = {"scratch": 3e-3, "weights": 1e-4}
USUAL_STEPS, USUAL_EPOCHS = 1200, 30.0
"""From scratch, where a small set needs steps rather than passes; from weights."""
SMALLEST = {"mite": (64, 3, 2)}
"""Name -> (width, layers, heads) of a size for training on a CPU, beside the presets of the encoder."""
FRESH = ("preset", "width", "layers", "heads", "rope_mode", "rope_theta", "init_std", "place_waves", "place_std")
"""Fields of TuneConfig that shape a fresh encoder and mean nothing to a loaded one."""


@dataclass(frozen=True, kw_only=True)
class TuneConfig:
    """How an encoder and its classifier are trained together: AdamW, a warm-up from 0, then half a cosine to 0.

    Raises:
        InvalidArgumentError: a value out of range, or one that nothing reads.
    """

    init: Init = "scratch"
    """scratch: a fresh encoder of preset. weights: the encoder that was loaded goes on learning."""
    preset: str = "mite"
    """Size of a fresh encoder: mite (64 wide, 3 layers, 2 heads), tiny, small, base, large, huge."""
    width: int | None = None
    """Of a fresh encoder, instead of the preset's: a multiple of 32 times heads."""
    layers: int | None = None
    """Of a fresh encoder, instead of the preset's."""
    heads: int | None = None
    """Of a fresh encoder, instead of the preset's."""
    rope_mode: Rope = "rotary"
    """Of a fresh encoder. rotary: a true rotation. pairwise: the operator of the published weights."""
    rope_theta: float = 10000.0
    """Of a fresh encoder: base of the frequencies of positions."""
    init_std: float = 0.08
    """Of a fresh encoder: standard deviation of its first weights."""
    place_waves: int = 12
    """Of a fresh encoder. So many waves of each token's t, h and w, through a learned map, are added to its embedded
    patch. 0: positions are RoPE's alone, as in the published model."""
    place_std: float = 1.0
    """Of a fresh encoder: standard deviation of the first weights of that map."""
    pool: Pool = "head"
    """What the classifier reads. head: the encoder's attention pooling. mean: of all tokens. attentive: the head of the
    paper's probe, new, on all tokens."""
    steps: int | None = None
    """Steps of training. None: as epochs says."""
    epochs: float | None = None
    """Passes over the training clips. Give this or steps; neither: 1200 steps from scratch, 30 passes from weights."""
    batch_size: int = 32
    """Clips of a step."""
    lr: float | None = None
    """Highest learning rate. None: 3e-3 from scratch, 1e-4 from weights."""
    weight_decay: float = 0.05
    """Of matrices; norms, biases and learned queries do not decay."""
    warmup_share: float = 0.05
    """Share of the steps in which the rate rises."""
    betas: tuple[float, float] = (0.9, 0.98)
    """Of AdamW."""
    clip_norm: float = 1.0
    """Gradients of a step are scaled down to this norm."""
    label_smoothing: float = 0.1
    """Of the cross entropy; a multi-label set has none."""
    augment: tuple[Augmentation, ...] = ()
    """What happens to a training clip. shift: its places move by up to 4 patches, vertically and horizontally. colour:
    gain and offset of each channel. noise: grey levels of sd 5. drop: one token in ten is left out."""
    precision: Precision = "float32"
    """bfloat16: matrix products in bfloat16, weights stay float32."""
    attention: Attention = "auto"
    """eager keeps every L x L matrix. auto: eager for bfloat16 on a CPU, whose fused backward pass is slower, where
    clips have at most 512 tokens; sdpa elsewhere."""

    def __post_init__(self) -> None:
        kinds = {"init": Init, "pool": Pool, "precision": Precision, "attention": Attention, "rope_mode": Rope}
        for name, kind in kinds.items():
            if getattr(self, name) not in get_args(kind):
                raise InvalidArgumentError(name, getattr(self, name), f"one of {', '.join(get_args(kind))}")
        known = get_args(Augmentation)
        if len(set(self.augment)) != len(self.augment) or not set(self.augment) <= set(known):
            raise InvalidArgumentError("augment", self.augment, f"different names among {', '.join(known)}")
        self._check_numbers()
        if self.steps is not None and self.epochs is not None:
            raise InvalidArgumentError("steps, epochs", (self.steps, self.epochs), "one of the two")
        if self.init == "weights":
            self._refuse_sizes()

    def _check_numbers(self) -> None:
        for name in ("width", "layers", "heads", "steps", "batch_size"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise InvalidArgumentError(name, value, "an integer of at least 1")
        for name in ("epochs", "lr", "clip_norm", "rope_theta", "init_std", "place_std"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InvalidArgumentError(name, value, "a number above 0")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise InvalidArgumentError("weight_decay", self.weight_decay, "a number of at least 0")
        if type(self.place_waves) is not int or self.place_waves < 0:
            raise InvalidArgumentError("place_waves", self.place_waves, "an integer of at least 0")
        for name in ("warmup_share", "label_smoothing"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidArgumentError(name, getattr(self, name), "at least 0 and below 1")
        if len(self.betas) != 2 or any(not 0 <= beta < 1 for beta in self.betas):
            raise InvalidArgumentError("betas", self.betas, "two numbers, at least 0 and below 1")

    def _refuse_sizes(self) -> None:
        usual = {f.name: f.default for f in fields(self)}
        for name in FRESH:
            if getattr(self, name) != usual[name]:
                allowed = "only init='scratch' reads it; a loaded encoder has its own"
                raise InvalidArgumentError(name, getattr(self, name), allowed)

    @property
    def peak(self) -> float:
        """The highest learning rate."""
        return USUAL_LR[self.init] if self.lr is None else self.lr

    def total_steps(self, clips: int) -> int:
        """Steps of training on so many clips."""
        if self.steps is not None:
            return self.steps
        if self.epochs is None and self.init == "scratch":
            return USUAL_STEPS
        return max(1, math.ceil((self.epochs or USUAL_EPOCHS) * clips / self.batch_size))

    def rate(self, step: int, total: int) -> float:
        """Learning rate of step 0 <= ``step`` < ``total``: up to ``peak`` over the first ``warmup_share`` of the steps,
        then down as half a cosine, to 0 at ``total``. A pure function of the step."""
        warm = math.ceil(self.warmup_share * total)
        if step < warm:
            return self.peak * (step + 1) / warm
        share = (step - warm) / max(1, total - warm)
        return self.peak * (1 + math.cos(math.pi * share)) / 2
