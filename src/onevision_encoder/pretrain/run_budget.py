"""What a run would need, before anything is started: built on torch's meta device, which has shapes and no numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.pretrain.config import MOTION, TEXT, PretrainConfig
from onevision_encoder.pretrain.flops import bank_flops, forward_flops, training_flops
from onevision_encoder.pretrain.memory import Memory, activations, bank_memory, encoder_memory
from onevision_encoder.selection.budget import parse_budget

VIDEO_FRAMES, VIDEO_SIDE = 64, 224
"""Frames of a clip that a budget is a share of, and their sides in pixels."""
LABELS = {TEXT: 100}
"""Labels of a sample in a bank; 10 in others."""


@dataclass(frozen=True, kw_only=True)
class DryRun:
    """The budget of a run.

    Attributes:
        parameters: of the encoder. bank_parameters: of all ranks' rows, by bank.
        tokens: of a rank's micro-batch at the largest budget and picture. memory: of a rank.
        step_flops: of one update, all ranks, encoder and banks. total_flops: of the whole run at that size.
    """

    name: str
    world: int
    parameters: int
    bank_parameters: dict[str, int]
    samples_per_rank: int
    accumulate: int
    tokens: int
    memory: Memory
    step_flops: float
    total_flops: float
    steps: int

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "memory": {**asdict(self.memory), "total": self.memory.total}}


def dry_run(config: PretrainConfig, world: int = 1) -> DryRun:
    """Count parameters, memory of a rank and operations; touches no data and allocates nothing.

    The sample that is counted is the largest the data can give: a picture of the largest side, or a clip of 64 frames
    of 224 x 224 pixels at the largest budget, whichever source has it.

    Raises:
        InvalidArgumentError: the configuration does not fit ``world`` ranks, or a setting of the encoder is wrong.
    """
    if world < 1:
        raise InvalidArgumentError("world", world, "a whole number of at least 1")
    shape, lengths = config.encoder_config(), sample_lengths(config, config.rank_batch(world))
    parameters, largest = meta_parameters(shape)
    sharded = config.parallel.mode == "fsdp2"
    parts = {**encoder_memory(parameters, largest, config.parallel, world)}
    parts["activations"] = activations(shape, lengths, config.parallel, sharded=sharded)
    forward = world * forward_flops(shape, lengths)
    for name, bank in config.banks.items():
        batch = config.data.batch_size
        labels = LABELS.get(name, 10)
        needs = bank_memory(bank.classes, shape.hidden_size, bank.sample_rate, batch, labels, world)
        parts = {part: parts.get(part, 0) + needs.get(part, 0) for part in {*parts, *needs}}
        forward += bank_flops(batch, int(bank.classes * bank.sample_rate), shape.hidden_size)
    step = config.optimizer.accumulate * training_flops(forward)
    return DryRun(
        name=config.name,
        world=world,
        parameters=parameters,
        bank_parameters={name: bank.classes * shape.hidden_size for name, bank in config.banks.items()},
        samples_per_rank=len(lengths),
        accumulate=config.optimizer.accumulate,
        tokens=sum(lengths),
        memory=Memory(**parts),
        step_flops=step,
        total_flops=step * config.steps,
        steps=config.steps,
    )


def sample_lengths(config: PretrainConfig, samples: int) -> list[int]:
    """Tokens of each sample of a rank's micro-batch, at most: pictures and clips in proportion to their sources."""
    patch = config.encoder_config().patch_size
    picture = (max(side for _, side in config.data.size_schedule()) // patch) ** 2
    most, dense = parse_budget(config.data.budget_range[1]), VIDEO_FRAMES * (VIDEO_SIDE // patch) ** 2
    clip = most if isinstance(most, int) else round(most * dense)
    shares = [(source.weight, clip if source.kind == "video" else picture) for source in config.data.sources]
    shares = shares or [(1.0, max(picture, clip) if MOTION in config.banks else picture)]
    whole = sum(share for share, _ in shares)
    lengths: list[int] = []
    for i, (share, length) in enumerate(shares):
        last = i == len(shares) - 1
        lengths += [length] * (samples - len(lengths) if last else round(samples * share / whole))
    return lengths[:samples]


def meta_parameters(shape: Any) -> tuple[int, int]:
    """Parameters of the encoder, and of its largest block."""
    from onevision_encoder.model import OneVisionEncoderModel

    with torch.device("meta"):
        model = OneVisionEncoderModel(shape)
    blocks = [*model.encoder.layers, model.head]
    return _count(model), max(_count(block) for block in blocks if block is not None)


def describe_run(found: DryRun) -> str:
    """A table for people."""
    memory = asdict(found.memory)
    rows = [(name.replace("_", " "), size) for name, size in memory.items()]
    lines = [
        f"{found.name}: {found.parameters:,} parameters, "
        + ", ".join(f"bank {name} {count:,}" for name, count in found.bank_parameters.items()),
        f"{found.world} ranks, {found.samples_per_rank} samples and {found.tokens:,} tokens a rank and micro-batch, "
        f"{found.accumulate} of them a step, {found.steps:,} steps",
        "",
        "memory of a rank",
        *(f"  {name:<24}{size / 2**30:>10.3f} GiB" for name, size in rows if size),
        f"  {'total':<24}{found.memory.total / 2**30:>10.3f} GiB  (without the allocator's and libraries' own)",
        "",
        f"a step {found.step_flops:.3e} floating point operations, the run {found.total_flops:.3e}",
        *_times(found),
    ]
    return "\n".join(lines)


def _times(found: DryRun, shares: Sequence[float] = (0.4,)) -> list[str]:
    peak = 989.4e12
    return [
        f"at {share:.0%} of an H200's bfloat16 peak on each rank: "
        f"{found.step_flops / (found.world * peak * share):.3g} s a step, "
        f"{found.total_flops / (found.world * peak * share) / 86400:.3g} days"
        for share in shares
    ]


def _count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
