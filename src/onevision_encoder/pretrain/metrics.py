"""Numbers of a step, added up over micro-batches and ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from onevision_encoder.pretrain.parallel import Ranks

MODES = ("image", "codec", "frames", "tiled")


class StepMetrics:
    """What one step was like. Tensors stay on their device until :meth:`row`, so that nothing waits for it."""

    def __init__(self, banks: Sequence[str]) -> None:
        self.banks = tuple(banks)
        self.losses: dict[str, list[tuple[Tensor, Tensor, int]]] = {name: [] for name in self.banks}
        self.by_mode: list[tuple[str, Tensor, Tensor]] = []
        self.tokens = self.samples = 0
        self.forward_flops = 0.0
        self.wait_seconds = 0.0

    def add_loss(self, bank: str, found: Any, modes: Sequence[str]) -> None:
        """A bank's BankLoss of a micro-batch, whose samples have these modes."""
        self.losses[bank].append((found.loss.detach(), found.accuracy.detach(), found.labelled))
        kinds_B = torch.tensor([MODES.index(mode) for mode in modes], device=found.loss_B.device)
        self.by_mode.append((bank, kinds_B, found.loss_B))

    def row(self, ranks: Ranks, seconds: float, peak_flops: float | None) -> dict[str, Any]:
        """The step's numbers over all ranks; every rank calls it. ``seconds``: how long the step took here."""
        sums, counts = self._mode_sums()
        mine = torch.tensor([self.tokens, self.samples, self.forward_flops, self.wait_seconds], dtype=torch.float64)
        whole = ranks.add_up(torch.cat([mine, sums.flatten(), counts.flatten()]))
        tokens, samples, flops, wait = whole[:4].tolist()
        sums, counts = (part.view(len(self.banks), len(MODES)) for part in whole[4:].chunk(2))
        out: dict[str, Any] = {}
        for i, name in enumerate(self.banks):
            labelled = sum(count for _, _, count in self.losses[name])
            parts = [(float(loss), float(right), count) for loss, right, count in self.losses[name] if count]
            out[f"loss/{name}"] = sum(loss * n for loss, _, n in parts) / labelled if labelled else None
            out[f"accuracy/{name}"] = sum(right * n for _, right, n in parts) / labelled if labelled else None
            out[f"labelled/{name}"] = labelled
            for j, mode in enumerate(MODES):
                if counts[i, j]:
                    out[f"loss/{name}/{mode}"] = float(sums[i, j] / counts[i, j])
        out |= {
            "tokens": int(tokens),
            "samples": int(samples),
            "seconds": seconds,
            "tokens_per_second": tokens / seconds,
            "data_wait": wait / ranks.world / seconds,
            "mfu": None if peak_flops is None else 3 * flops / (seconds * ranks.world * peak_flops),
        }
        return out

    def _mode_sums(self) -> tuple[Tensor, Tensor]:
        """Losses of this rank's labelled samples, added up by bank and mode, and how many they are."""
        sums, counts = (torch.zeros(len(self.banks), len(MODES), dtype=torch.float64) for _ in range(2))
        for name, kinds_B, loss_B in self.by_mode:
            there_B = loss_B.isfinite()
            i, kinds = self.banks.index(name), kinds_B[there_B].cpu()
            sums[i].index_add_(0, kinds, loss_B[there_B].double().cpu())
            counts[i].index_add_(0, kinds, torch.ones(len(kinds), dtype=torch.float64))
        return sums, counts
