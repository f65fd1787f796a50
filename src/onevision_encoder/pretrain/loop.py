"""The training loop: one step at a time, each a function of the state and the data, so that a run that was stopped
anywhere and goes on from its last checkpoint ends with the very same weights.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from onevision_encoder.pretrain.clipping import clip_global_norm
from onevision_encoder.pretrain.config import PretrainConfig
from onevision_encoder.pretrain.failures import DivergedError, InterruptedRunError
from onevision_encoder.pretrain.feed import Feed
from onevision_encoder.pretrain.flops import bank_flops, forward_flops, peak_flops
from onevision_encoder.pretrain.metrics import StepMetrics
from onevision_encoder.pretrain.parallel import Ranks, named_losses
from onevision_encoder.pretrain.progress_probe import probe_now
from onevision_encoder.pretrain.run_folder import RunFolder
from onevision_encoder.pretrain.run_log import RunLog
from onevision_encoder.pretrain.schedule import rate_share
from onevision_encoder.pretrain.train_state import TrainState


@dataclass(kw_only=True)
class Trainer:
    """A run that is under way. ``step`` is the next one to do."""

    config: PretrainConfig
    folder: RunFolder
    ranks: Ranks
    state: TrainState
    feed: Feed
    log: RunLog
    step: int = 0

    def train(self) -> None:
        """Do all steps that are left, save, probe.

        Raises:
            DivergedError, RankLostError, WriteError: the last good checkpoint is still there.
            InterruptedRunError: after ctrl-C or SIGTERM, and after the state was saved.
        """
        config = self.config
        with stop_requests() as asked:
            while self.step < config.steps:
                with named_losses(self.ranks, self.step, self.folder.hint):
                    self._one_step()
                    stop = self.ranks.agree(float(asked.is_set())) > 0
                    if self.step % config.checkpoint.every == 0 or self.step == config.steps or stop:
                        self.save()
                    if stop and self.step < config.steps:
                        self.folder.store.wait()
                        raise InterruptedRunError(self.step, self.folder.hint)
                    self._maybe_probe()
            self.folder.store.wait()

    def save(self) -> None:
        """Write a checkpoint of what is done so far, and draw the metrics."""
        self.folder.save(self.step, self.state.tensors(), self.feed.state_dict())
        self.log.plot()

    def _one_step(self) -> None:
        config, step, started = self.config, self.step, time.perf_counter()
        lr = config.optimizer.lr * rate_share(config.schedule, step, config.steps)
        self.state.set_rate(lr)
        waited = self.feed.seconds
        metrics, total, seen = self._backward()
        clip = config.optimizer.clip_norm
        norm = clip_global_norm(self.state.parameters, self.state.banks.values(), clip or math.inf)
        self._refuse_nonsense(float(total), float(norm), seen)
        self.state.step()
        self.step += 1
        if step % config.log.every == 0 or self.step == config.steps:
            metrics.wait_seconds = self.feed.seconds - waited
            peak = peak_flops(_device_name(self.ranks.device), config.log.peak_tflops)
            row = metrics.row(self.ranks, time.perf_counter() - started, peak)
            size = {"image_size": self.feed.size}
            self.log.write({"step": step, "loss": float(total), "lr": lr, "grad_norm": float(norm), **row, **size})
        self.log.tick(float(total))

    def _backward(self) -> tuple[StepMetrics, Tensor, list[tuple[tuple[str, ...], Tensor]]]:
        """Gradients of one step, over its micro-batches.

        The loss of a step is the mean over micro-batches of the sum over banks of weight times loss; each bank's is the
        mean over the labelled samples of all ranks. Returns the metrics, that loss, and for each micro-batch its ids
        with which embeddings are finite.
        """
        count, banks = self.config.optimizer.accumulate, self.state.banks
        metrics = StepMetrics(list(banks))
        total = torch.zeros((), device=self.ranks.device)
        seen: list[tuple[tuple[str, ...], Tensor]] = []
        for micro in range(count):
            batch = self.feed.next(self.step)
            with self.state.encoder.micro_step(last=micro == count - 1):
                embeddings_SC = self.state.encoder.embed(batch.patches_ND, batch.positions_N3, batch.bounds)
                loss = embeddings_SC.new_zeros(())
                for name, bank in banks.items():
                    found = bank(embeddings_SC, batch.labels[name], step=self.step)
                    loss = loss + bank.config.weight * found.loss / count
                    metrics.add_loss(name, found, batch.modes)
                loss.backward()  # type: ignore[no-untyped-call, unused-ignore]
            total += loss.detach()
            seen.append((batch.ids, embeddings_SC.detach().isfinite().all(1)))
            metrics.tokens += batch.bounds[-1]
            metrics.samples += len(batch.ids)
            metrics.forward_flops += self._flops(batch.lengths)
        return metrics, total, seen

    def _flops(self, lengths: Sequence[int]) -> float:
        """Of this rank's forward pass: its encoder, its rows against the samples of all ranks."""
        shape = self.state.encoder.model.config
        rows = sum(len(b.rows) * b.config.sample_rate for b in self.state.banks.values())
        samples = len(lengths) * self.ranks.world
        return forward_flops(shape, lengths) + bank_flops(samples, int(rows), shape.hidden_size)

    def _refuse_nonsense(self, loss: float, norm: float, seen: Sequence[tuple[tuple[str, ...], Tensor]]) -> None:
        """Raise DivergedError on every rank where the loss or the norm is not finite; both are the same on all."""
        if math.isfinite(loss) and math.isfinite(norm):
            return
        self.state.forget_gradients()
        mine = [(name, bool(fine)) for ids, fine_S in seen for name, fine in zip(ids, fine_S.tolist(), strict=True)]
        everyone = [pair for part in self.ranks.gather(mine) for pair in part]
        ids = [name for name, fine in everyone if not fine] or [name for name, _ in everyone]
        what, value = ("gradient norm", norm) if math.isfinite(loss) else ("loss", loss)
        self.folder.store.wait()
        raise DivergedError(self.step, what, value, ids, self.folder.diverged_hint)

    def _maybe_probe(self) -> None:
        probe = self.config.probe
        if probe is not None and (self.step % probe.every == 0 or self.step == self.config.steps):
            self.log.write({"step": self.step - 1, **probe_now(self.state.encoder, probe, self.config)})


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM set the event instead of tearing a step apart; a second ctrl-C does tear it."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked  # signals go to the main thread
        return

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
