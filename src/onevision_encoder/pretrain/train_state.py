"""Everything that training changes, and how it goes into a checkpoint and comes back on any number of ranks.

Axes: L rows of this rank, C classes, D width.

Names of tensors: ``encoder/NAME``, ``adamw/NAME/exp_avg`` (whole, or DTensors that PyTorch cuts),
``bank/NAME/rows[a:b]`` and the same of its optimiser (a block of rows, written by the rank that owns them),
``random/cpu/RANK``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from onevision_encoder.pretrain.bank import ConceptBank
from onevision_encoder.pretrain.checkpoint import Checkpoint, load_tensors, stored
from onevision_encoder.pretrain.config import PretrainConfig
from onevision_encoder.pretrain.failures import ResumeError
from onevision_encoder.pretrain.parallel import Ranks, SpreadEncoder, parameter_groups
from onevision_encoder.pretrain.row_optimizer import RowAdamW

BLOCK = 1 << 16
_BLOCK_NAME = re.compile(r"(?P<what>bank/.+)\[(?P<start>\d+):(?P<stop>\d+)\]")


@dataclass(kw_only=True)
class TrainState:
    """Encoder, banks and their optimisers."""

    encoder: SpreadEncoder
    optimizer: torch.optim.AdamW
    banks: dict[str, ConceptBank]
    row_optimizer: RowAdamW
    ranks: Ranks

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Of the encoder."""
        return list(self.encoder.model.parameters())

    def set_rate(self, lr: float) -> None:
        """Of the coming step."""
        for optimizer in (self.optimizer, self.row_optimizer):
            for group in optimizer.param_groups:
                group["lr"] = lr

    def step(self) -> None:
        """Move the weights by their gradients, and forget these."""
        self.optimizer.step()
        self.row_optimizer.step()
        self.forget_gradients()

    def forget_gradients(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        self.row_optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint holds: this rank's part. The tensors are those that training goes on to change."""
        return {
            **self._whole(),
            **{
                f"{what}[{a}:{b}]": x[a - start : b - start]
                for what, start, x in self._rows()
                for a, b in _blocks(start, x)
            },
            **self._random(),
        }

    def load(self, checkpoint: Checkpoint) -> None:
        """Take everything from a checkpoint, written by any number of ranks.

        Random states come back on the same number of ranks only; on another one they stay those of the seed. Nothing
        in training draws from them.

        Raises:
            ResumeError: something is not there or has another shape.
        """
        there = stored(checkpoint)
        whole = self._whole()
        random = self._random() if checkpoint.state["ranks"] == self.ranks.world else {}
        wanted, patches = self._row_blocks(checkpoint, there)
        for name, tensor in whole.items():
            if there.get(name) != tuple(tensor.shape):
                raise ResumeError(checkpoint.path, f"{name} is {there.get(name)}, this run's is {tuple(tensor.shape)}")
        random = {name: tensor for name, tensor in random.items() if name in there}
        load_tensors(checkpoint, {**whole, **random, **wanted}, self.ranks)
        for target, source in patches:
            target.copy_(source)
        if f"random/cpu/{self.ranks.rank}" in random:
            torch.set_rng_state(random[f"random/cpu/{self.ranks.rank}"])
        if f"random/cuda/{self.ranks.rank}" in random:
            torch.cuda.set_rng_state(random[f"random/cuda/{self.ranks.rank}"], self.ranks.device)

    def _whole(self) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for name, parameter in self.encoder.model.named_parameters():
            found[f"encoder/{name}"] = parameter.detach()
            state = self.optimizer.state[parameter]
            if not state:  # before the first step
                state["step"] = torch.zeros((), dtype=torch.float32)
                state["exp_avg"] = torch.zeros_like(parameter.detach())
                state["exp_avg_sq"] = torch.zeros_like(parameter.detach())
            found |= {f"adamw/{name}/{what}": value for what, value in state.items()}
        return found

    def _rows(self) -> Iterator[tuple[str, int, Tensor]]:
        """(name, first row, this rank's rows of it) of all that has the banks' first axis."""
        for name, bank in self.banks.items():
            state: dict[str, Any] = self.row_optimizer.state[bank.rows]
            if not state:
                state["step"] = torch.zeros(len(bank.rows), dtype=torch.int32, device=bank.rows.device)
                state["exp_avg"], state["exp_avg_sq"] = (torch.zeros_like(bank.rows.detach()) for _ in range(2))
            start = bank.row_range[0]
            yield f"bank/{name}/rows", start, bank.rows.detach()
            for what, value in state.items():
                yield f"bank/{name}/{what}", start, value

    def _random(self) -> dict[str, Tensor]:
        states = {f"random/cpu/{self.ranks.rank}": torch.get_rng_state()}
        if self.ranks.device.type == "cuda":
            states[f"random/cuda/{self.ranks.rank}"] = torch.cuda.get_rng_state(self.ranks.device)
        return states

    def _row_blocks(
        self, checkpoint: Checkpoint, there: dict[str, tuple[int, ...]]
    ) -> tuple[dict[str, Tensor], list[tuple[Tensor, Tensor]]]:
        """Stored blocks that this rank needs: tensors to fill, and (its part, part of a block) to copy afterwards.

        A block that lies within this rank's rows is read where it belongs; only those across a border are copied.
        """
        blocks: dict[str, list[tuple[int, int]]] = {}
        for name in there:
            if found := _BLOCK_NAME.fullmatch(name):
                blocks.setdefault(found["what"], []).append((int(found["start"]), int(found["stop"])))
        wanted: dict[str, Tensor] = {}
        patches: list[tuple[Tensor, Tensor]] = []
        for what, start, rows in self._rows():
            stop = start + len(rows)
            spans = sorted(blocks.get(what, []))
            classes = self.banks[what.split("/")[1]].config.classes
            ends = [0, *(b for _, b in spans)]
            if [a for a, _ in spans] != ends[:-1] or ends[-1] != classes:
                raise ResumeError(checkpoint.path, f"{what} is there for rows {spans}, this run has {classes}")
            for a, b in spans:
                if b <= start or a >= stop:
                    continue
                name = f"{what}[{a}:{b}]"
                if there[name][1:] != tuple(rows.shape[1:]):
                    raise ResumeError(
                        checkpoint.path, f"{name} is {there[name]}, rows of this run {tuple(rows.shape[1:])}"
                    )
                if start <= a and b <= stop:
                    wanted[name] = rows[a - start : b - start]
                    continue
                whole = torch.empty(b - a, *rows.shape[1:], dtype=rows.dtype)
                low, high = max(a, start), min(b, stop)
                wanted[name] = whole
                patches.append((rows[low - start : high - start], whole[low - a : high - a]))
        return wanted, patches


_SHAPE = (
    *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "patch_size", "hidden_act"),
    *("layer_norm_type", "layer_norm_eps", "rope_mode", "rope_theta", "rope_temporal_size", "window_frames"),
    *("place_waves", "place_size"),
)
"""Fields of an encoder that its weights do not say, or that they must fit."""


def build_state(config: PretrainConfig, ranks: Ranks, *, fresh: bool = True) -> TrainState:
    """New weights of a run's seed, or those the configuration starts from, spread over the ranks.

    Args:
        fresh: False: a checkpoint will replace all of them, so what the configuration starts from is not read.

    Raises:
        CheckpointError: weights or centres that cannot be loaded or do not fit.
    """
    if not fresh:
        config = replace(config, encoder=replace(config.encoder, init=None), bank_init={})
    model = first_encoder(config)
    encoder = SpreadEncoder(model, config.parallel, ranks)
    settings = config.optimizer
    optimizer = torch.optim.AdamW(
        parameter_groups(encoder.model, settings.weight_decay), lr=settings.lr, betas=settings.betas, eps=settings.eps
    )
    width = int(model.config.hidden_size)
    banks = {
        name: ConceptBank(name, bank, width, seed=config.seed, device=ranks.device)
        for name, bank in config.banks.items()
    }
    for name, path in config.bank_init.items():
        banks[name].load_rows(path)
    rows = RowAdamW(
        banks.values(),
        lr=settings.lr,
        betas=settings.betas,
        eps=settings.eps,
        weight_decay=settings.bank_weight_decay,
    )
    return TrainState(encoder=encoder, optimizer=optimizer, banks=banks, row_optimizer=rows, ranks=ranks)


def first_encoder(config: PretrainConfig) -> Any:
    """The encoder with its first weights, float32 on the CPU, the same on every rank."""
    from onevision_encoder.model import OneVisionEncoderModel, load_encoder

    if config.encoder.init is not None:
        model = load_encoder(config.encoder.init, dtype=torch.float32, device="cpu").model
        wanted, found = config.encoder_config(), model.config
        for name in _SHAPE:
            if getattr(wanted, name) != getattr(found, name):
                cause = f"{name} is {getattr(found, name)}, the configuration says {getattr(wanted, name)}"
                raise ResumeError(config.encoder.init, cause, f"encoder.{name}")
        return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return OneVisionEncoderModel(config.encoder_config())


def _blocks(start: int, rows: Tensor) -> Iterator[tuple[int, int]]:
    """Pieces of this rank's rows, by their places in the whole bank."""
    stop = start + len(rows)
    for low in range(start, stop, BLOCK):
        yield low, min(low + BLOCK, stop)
