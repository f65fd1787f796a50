"""The configuration of a training run: frozen dataclasses, checked where they are made, written beside the results.

A recipe (``recipes.py``) is a function that returns one; ``settings.py`` reads them from JSON and from command lines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.pretrain.augment import AugmentConfig
from onevision_encoder.pretrain.bank_config import BankConfig
from onevision_encoder.pretrain.schedule import ScheduleConfig
from onevision_encoder.selection.budget import parse_budget

ParallelMode = Literal["auto", "ddp", "fsdp2"]
Precision = Literal["float32", "bfloat16"]
VIDEO_MODES = ("codec", "frames", "tiled")
TEXT, MOTION = "text", "motion"
"""Names of the banks whose classes are words, and what happens in videos."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Which encoder is trained, and from what it starts."""

    preset: str = "tiny"
    """tiny, small, base, large or huge: the sizes that have a name."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Fields of OneVisionEncoderConfig that differ from the preset's, ``{"num_hidden_layers": 2}`` say."""
    init: str | None = None
    """Folder or hub id whose weights are the first ones. None: random ones of the run's seed."""


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """One corpus of shards (see ``ove corpus build``)."""

    path: str
    """Folder of the corpus."""
    weight: float = 1.0
    """How often it is drawn from, relative to the others."""
    kind: Literal["image", "video"] = "image"
    """What it holds; only the dry run looks at it, which has no corpus to look into."""

    def __post_init__(self) -> None:
        _require_finite("weight", self.weight, above=0)
        if self.kind not in ("image", "video"):
            raise InvalidArgumentError("kind", self.kind, "image or video")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """What a batch is made of."""

    sources: tuple[SourceConfig, ...] = ()
    batch_size: int = 32
    """Samples of a micro-batch over all ranks; a whole number for each rank."""
    modes: Mapping[str, float] = field(default_factory=lambda: {"codec": 0.5, "frames": 0.375, "tiled": 0.125})
    """How often a video is read in each mode, relative to the others."""
    budget: str | int | tuple[str | int, str | int] = "12.5%"
    """Patches that are read of a clip: a share of all ("3.1%" to "25%" in the paper), a number, or two of a kind to
    draw between for every batch."""
    image_sizes: Mapping[str, int] = field(default_factory=lambda: {"0": 224})
    """Side of pictures in pixels, from which share of the run on: {"0": 224, "0.8": 448} ends at 448."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """What is changed at random."""
    vocabulary: str | None = None
    """File of the words that are the classes of bank text; its labels then follow the crop. None: labels of bank text
    are read like any other's."""
    missing_labels: Literal["error", "none"] = "error"
    """A sample without labels in a corpus that has labels of the bank. none: it counts as unlabelled."""
    window: int = 4
    """Shards of a corpus that are shuffled together."""
    workers: int = 0
    """Threads of a rank that read ahead; 0 reads between steps. Changes nothing but the time."""

    def __post_init__(self) -> None:
        _require_whole("batch_size", self.batch_size)
        unknown = sorted(set(self.modes) - set(VIDEO_MODES))
        if unknown or not self.modes or min(self.modes.values()) < 0 or sum(self.modes.values()) <= 0:
            raise InvalidArgumentError("modes", dict(self.modes), f"proportions of {', '.join(VIDEO_MODES)}")
        for budget in self.budget_range:
            parse_budget(budget)
        self.size_schedule()

    @property
    def budget_range(self) -> tuple[str | int, str | int]:
        return self.budget if isinstance(self.budget, tuple) else (self.budget, self.budget)

    def size_schedule(self) -> list[tuple[float, int]]:
        """(share of the run from which on, side in pixels), sorted; the first begins at 0."""
        allowed = 'sides in pixels by the share of the run they begin at, {"0": 224, "0.8": 448} say'
        try:
            pairs = sorted((float(share), int(side)) for share, side in self.image_sizes.items())
        except (TypeError, ValueError) as error:
            raise InvalidArgumentError("image_sizes", dict(self.image_sizes), allowed) from error
        if not pairs or pairs[0][0] != 0 or pairs[-1][0] >= 1 or min(side for _, side in pairs) < 1:
            raise InvalidArgumentError("image_sizes", dict(self.image_sizes), allowed)
        return pairs

    def image_size(self, step: int, steps: int) -> int:
        """Side of pictures at a step counted from 0."""
        return [side for share, side in self.size_schedule() if step >= math.ceil(share * steps)][-1]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """AdamW of the encoder and of the banks' rows, which learn at the same rate times their ``lr_scale``."""

    lr: float = 1e-3
    weight_decay: float = 0.2
    """Of the encoder's matrices. Norms, biases and the pooling head's probe are never decayed."""
    bank_weight_decay: float = 0.0
    """Of bank rows; their length means nothing to the loss."""
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    clip_norm: float | None = 5.0
    """Of all gradients together, encoder and banks of all ranks. None: not clipped."""
    accumulate: int = 1
    """Micro-batches of a step."""

    def __post_init__(self) -> None:
        _require_finite("lr", self.lr, above=0)
        _require_finite("weight_decay", self.weight_decay, least=0)
        _require_finite("bank_weight_decay", self.bank_weight_decay, least=0)
        _require_finite("eps", self.eps, above=0)
        _require_whole("accumulate", self.accumulate)
        if self.clip_norm is not None:
            _require_finite("clip_norm", self.clip_norm, above=0)
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise InvalidArgumentError("betas", self.betas, "two numbers, 0 <= beta < 1")


@dataclass(frozen=True, kw_only=True)
class ParallelConfig:
    """How the encoder is spread over processes, and in what precision it computes. Banks are always sharded by rows."""

    mode: ParallelMode = "auto"
    """ddp: a copy a process. fsdp2: its parameters are sharded too. auto: ddp, or nothing at all where one is alone."""
    precision: Precision = "float32"
    """Of the encoder's matrix products. Weights, gradients that are kept and optimiser states are float32 in both."""
    attention: str = "auto"
    """sdpa, eager, flash_attention_2 or another that transformers knows. auto: sdpa, and eager for bfloat16 on a CPU,
    whose fused backward pass is slower, in packs without a sample of more than 512 tokens."""
    activation_checkpointing: bool = False
    """Keep only the input of each block and compute the block again on the way back."""
    compile: bool = False
    """torch.compile of each block. Pays off where packs keep their shapes."""
    timeout_seconds: float = 1800.0
    """How long a collective may take before the other process counts as lost."""

    def __post_init__(self) -> None:
        if self.mode not in get_args(ParallelMode):
            raise InvalidArgumentError("mode", self.mode, f"one of {', '.join(get_args(ParallelMode))}")
        if self.precision not in get_args(Precision):
            raise InvalidArgumentError("precision", self.precision, f"one of {', '.join(get_args(Precision))}")
        _require_finite("timeout_seconds", self.timeout_seconds, above=0)


@dataclass(frozen=True, kw_only=True)
class CheckpointConfig:
    """When the state is saved. It is also saved at the end and when somebody stops the run."""

    every: int = 1000
    """Steps between two."""
    keep: int = 3
    """How many are kept."""
    background: bool = False
    """Write while training goes on: costs a copy of the state in memory."""

    def __post_init__(self) -> None:
        _require_whole("every", self.every)
        _require_whole("keep", self.keep)


@dataclass(frozen=True, kw_only=True)
class ProbeConfig:
    """Nearest neighbours in a labelled folder, now and then."""

    data: str
    """Folder of labelled videos or pictures, as ``ove eval probe`` takes it."""
    every: int = 1000
    """Steps between two; there is one at the end too."""
    budget: int | None = None
    """Tokens of a clip. None: all its patches."""
    frames: int = 8
    """Frames of a clip."""
    max_patches: int = 256
    """Patches of a frame, at most."""

    def __post_init__(self) -> None:
        for name in ("every", "frames", "max_patches"):
            _require_whole(name, getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class LogConfig:
    """What is written down while training."""

    every: int = 1
    """Steps between two lines of metrics.jsonl."""
    tensorboard: bool = False
    """Also for TensorBoard, in the folder ``tensorboard``; needs the package tensorboard."""
    trackio: str | None = None
    """Also to trackio, under this project's name; needs the package trackio."""
    peak_tflops: float | None = None
    """Of one device, for the share of it that is used (MFU). None: known for some GPUs, else MFU is left out."""

    def __post_init__(self) -> None:
        _require_whole("every", self.every)
        if self.peak_tflops is not None:
            _require_finite("peak_tflops", self.peak_tflops, above=0)


@dataclass(frozen=True, kw_only=True)
class PretrainConfig:
    """Everything that decides a run. The same configuration, data, seed and number of ranks give the same weights."""

    name: str = "run"
    steps: int = 1000
    """Updates of the weights."""
    seed: int = 0
    """Of the first weights, the sampled classes and the order of the data."""
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    banks: Mapping[str, BankConfig] = field(default_factory=dict)
    """By name: object, motion, text. A sample is judged by every bank it has labels for."""
    bank_init: Mapping[str, str] = field(default_factory=dict)
    """Bank -> centres.safetensors whose rows are its first ones."""
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    parallel: ParallelConfig = field(default_factory=ParallelConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    probe: ProbeConfig | None = None
    log: LogConfig = field(default_factory=LogConfig)

    def __post_init__(self) -> None:
        _require_whole("steps", self.steps)
        if not self.banks:
            raise InvalidArgumentError("banks", dict(self.banks), 'at least one bank, {"object": BankConfig(...)} say')
        for name in self.banks:
            if not name.isidentifier():
                raise InvalidArgumentError("banks", name, "names of letters, digits and _")
        if foreign := sorted(set(self.bank_init) - set(self.banks)):
            raise InvalidArgumentError("bank_init", foreign, f"banks of this run: {', '.join(self.banks)}")
        if self.data.vocabulary is not None and TEXT not in self.banks:
            raise InvalidArgumentError("data.vocabulary", self.data.vocabulary, f"None without a bank named {TEXT}")
        self.encoder_config()

    def encoder_config(self) -> Any:
        """The OneVisionEncoderConfig. Raises InvalidArgumentError: a preset or field that there is not."""
        from onevision_encoder.model import OneVisionEncoderConfig, preset_config

        known = OneVisionEncoderConfig().to_dict()
        if unknown := sorted(set(self.encoder.overrides) - set(known)):
            raise InvalidArgumentError("encoder.overrides", unknown, "fields of OneVisionEncoderConfig")
        config = preset_config(self.encoder.preset, **self.encoder.overrides)
        if not config.use_head:
            raise InvalidArgumentError("encoder.overrides.use_head", False, "True: the loss reads the pooling head")
        return config

    def rank_batch(self, world: int) -> int:
        """Samples of a rank's micro-batch. Raises InvalidArgumentError where that is no whole number."""
        if self.data.batch_size % world:
            raise InvalidArgumentError(
                "data.batch_size", self.data.batch_size, f"a multiple of the number of processes, {world}"
            )
        return self.data.batch_size // world

    def require_sources(self) -> None:
        """Raise InvalidArgumentError where there is nothing to train on."""
        if not self.data.sources:
            raise InvalidArgumentError("data.sources", (), "at least one corpus of shards; ove corpus build makes one")
        for source in self.data.sources:
            if not Path(source.path).is_dir():
                raise InvalidArgumentError("data.sources.path", source.path, "a folder of shards that exists")


def _require_whole(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise InvalidArgumentError(name, value, "a whole number of at least 1")


def _require_finite(name: str, value: float, *, above: float | None = None, least: float | None = None) -> None:
    ok = math.isfinite(value) and (above is None or value > above) and (least is None or value >= least)
    if not ok:
        raise InvalidArgumentError(
            name, value, f"a number {f'above {above:g}' if least is None else f'from {least:g}'}"
        )
