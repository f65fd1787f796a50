"""A concept bank: one row per class, spread over ranks, and the loss of embeddings against it.

Axes: B samples of this rank, P labels of a sample, D width, L rows of this rank, C classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from onevision_encoder.errors import InvalidArgumentError, OneVisionError, ShapeError
from onevision_encoder.pretrain.bank_config import BankConfig as BankConfig
from onevision_encoder.pretrain.bank_files import read_rows
from onevision_encoder.pretrain.loss import EPS, Batch, ClusterDiscrimination
from onevision_encoder.pretrain.row_group import RowGroup
from onevision_encoder.pretrain.rows import first_rows, sampled_rows, split_rows


@dataclass(frozen=True, kw_only=True, eq=False)
class BankLoss:
    """What a bank says of one step; the same numbers on every rank.

    Attributes:
        loss: scalar with gradients, the mean over the labelled samples of all ranks; not yet times ``config.weight``.
            0 where no rank has one.
        accuracy: scalar without, the share of labelled samples that are nearer to one of their positives than to
            every other sampled class (also those that the filter leaves out of the loss); NaN where there are none.
        labelled: samples of all ranks that have a label.
        loss_B: without gradient, the loss of each sample of this rank; NaN where it has no label.
    """

    loss: Tensor
    accuracy: Tensor
    labelled: int
    loss_B: Tensor


class ConceptBank(nn.Module):
    """The rows of one bank that this rank owns, as the float32 parameter ``rows`` [L, D].

    **Who gets which gradient.** ``loss`` is the mean L over all ranks' labelled samples. Backward gives each rank's
    embeddings ``world`` times dL / d embeddings, and its rows exactly dL / d rows. So where DDP or FSDP averages the
    encoder's gradients over the same ranks, each parameter gets dL / d parameter, as one process with all samples
    and all rows would give it; the rows must not be averaged (keep the bank out of the DDP or FSDP module).
    Every rank must call forward and backward, in the same order of banks, also with no samples of its own, and scale
    the loss by the same factor.

    ``rows.grad`` is a sparse tensor of the touched rows (sampled, or a positive) where ``sample_rate`` is below 1,
    and dense where it is 1. :class:`~onevision_encoder.pretrain.row_optimizer.RowAdamW` takes both.

    Args:
        name: of the bank; with ``seed`` it names the first rows and the samples of each step.
        width: D of the embeddings.
        group: ranks that share the bank. None: torch's default group where it is initialised, else alone.
        device: of the rows. ``"meta"`` makes none, for counting.
    """

    rows: nn.Parameter

    def __init__(
        self,
        name: str,
        config: BankConfig,
        width: int,
        *,
        group: dist.ProcessGroup | None = None,
        seed: int = 0,
        device: torch.device | str | None = None,
    ) -> None:
        super().__init__()
        if width < 1:
            raise InvalidArgumentError("width", width, "at least 1")
        self.name, self.config, self.width, self.seed = name, config, width, seed
        self.group = RowGroup.of(group)
        start, stop = self.row_range
        if torch.device(device or "cpu").type == "meta":
            self.rows = nn.Parameter(torch.empty(stop - start, width, device="meta"))
        else:
            self.rows = nn.Parameter(first_rows(seed, name, start, stop, width).to(device or "cpu"))

    @property
    def row_range(self) -> tuple[int, int]:
        """``(start, stop)`` of the classes whose rows this rank owns."""
        return split_rows(self.config.classes, self.group.world, self.group.rank)

    def extra_repr(self) -> str:
        start, stop = self.row_range
        return f"{self.name!r}, rows {start} to {stop} of {self.config.classes}, width {self.width}"

    def forward(self, embeddings_BD: Tensor, labels_BP: Tensor, *, step: int) -> BankLoss:
        """The loss of this step. All ranks call it together.

        Args:
            embeddings_BD: floats of any precision; normalised here, in the dtype of the rows. B may be 0.
            labels_BP: int64 classes, -1 = none; a class that is there twice counts once.
            step: decides, with seed and name, which classes are sampled; the same on every rank.
        Raises:
            ShapeError: shapes or dtypes that do not fit.
            InvalidArgumentError: a label below -1 or not below ``classes``; ranks at different steps. It is raised on
                every rank, so that none waits for one that has left.
        """
        labels_BP, counts, columns = self._agreed(embeddings_BD, labels_BP, step)
        there_B, total = (labels_BP >= 0).any(1), sum(counts)
        with torch.autocast(self.rows.device.type, enabled=False):
            unit_BD = functional.normalize(embeddings_BD[there_B].to(self.rows.dtype), dim=1, eps=EPS)
        if total == 0:
            nan = torch.full((), torch.nan, dtype=self.rows.dtype, device=self.rows.device)
            loss = unit_BD.sum()  # of no rows: 0, and still of the graph
            return BankLoss(loss=loss, accuracy=nan, labelled=0, loss_B=nan.expand(len(labels_BP)))
        mine_BP = functional.pad(labels_BP[there_B], (0, columns - labels_BP.shape[1]), value=-1)
        batch = Batch(
            config=self.config,
            group=self.group,
            labels_NP=self.group.gather(mine_BP, counts),
            sizes=counts,
            rows=self.row_range,
            sampled_S=self.sampled(step),
        )
        loss, accuracy, loss_N = ClusterDiscrimination.apply(unit_BD, self.rows, batch)  # type: ignore[no-untyped-call]
        start = sum(counts[: self.group.rank])
        loss_B = loss_N.new_full((len(labels_BP),), torch.nan)
        loss_B[there_B] = loss_N[start : start + counts[self.group.rank]]
        return BankLoss(loss=loss, accuracy=accuracy, labelled=total, loss_B=loss_B)

    def sampled(self, step: int) -> Tensor | None:
        """Rows of this rank that are sampled in a step, ascending int64 [S] from 0; None = all of them."""
        rate = self.config.sample_rate
        if rate == 1:
            return None
        return sampled_rows(self.seed, self.name, step, *self.row_range, rate, self.rows.device)

    def _agreed(self, embeddings_BD: Tensor, labels_BP: Tensor, step: int) -> tuple[Tensor, list[int], int]:
        """Labels with each class once in a row; the labelled samples of each rank; the most label columns of any.

        An error of one rank is one of all.
        """
        fault = self._fault(embeddings_BD, labels_BP)
        mine = [1, 0, 0, step]
        if fault is None:
            labels_BP = labels_BP.to(self.rows.device).sort(dim=1, descending=True).values
            twice_BP = labels_BP[:, 1:] == labels_BP[:, :-1]
            labels_BP = torch.cat([labels_BP[:, :1], labels_BP[:, 1:].masked_fill(twice_BP, -1)], dim=1)
            mine = [0, int((labels_BP >= 0).any(1).sum()), labels_BP.shape[1], step]
        faulty, counts, columns, steps = zip(*self.group.exchange(mine, self.rows.device), strict=True)
        if fault is not None:
            raise fault
        if any(faulty):
            raise InvalidArgumentError("batch", f"that of rank {faulty.index(1)}", "see the error of that rank")
        if len(set(steps)) > 1:
            raise InvalidArgumentError("step", steps, "the same step on every rank: it decides what is sampled")
        return labels_BP, list(counts), max(columns)

    def _fault(self, embeddings_BD: Tensor, labels_BP: Tensor) -> OneVisionError | None:
        if self.rows.dtype not in (torch.float32, torch.float64):
            return ShapeError("rows.dtype", self.rows.dtype, "float32, or float64: a bank is its own master copy")
        if embeddings_BD.ndim != 2 or embeddings_BD.shape[1] != self.width or not embeddings_BD.is_floating_point():
            found = (tuple(embeddings_BD.shape), embeddings_BD.dtype)
            return ShapeError("embeddings", found, f"floats [B, {self.width}], the width of bank {self.name!r}")
        if labels_BP.ndim != 2 or len(labels_BP) != len(embeddings_BD) or labels_BP.dtype != torch.int64:
            found = (tuple(labels_BP.shape), labels_BP.dtype)
            return ShapeError("labels", found, f"int64 [{len(embeddings_BD)}, P]")
        if labels_BP.numel():
            low, high = (int(x) for x in torch.stack(labels_BP.aminmax()).tolist())
            if low < -1 or high >= self.config.classes:
                allowed = f"-1 (none), or 0 to {self.config.classes - 1}: the classes of bank {self.name!r}"
                return InvalidArgumentError("labels", high if high >= self.config.classes else low, allowed)
        return None

    def load_rows(self, source: Path | str | Tensor) -> None:
        """Take this rank's part of rows that were made elsewhere: k-means centres, or a whole bank.

        Args:
            source: floats [classes, width], or a safetensors file of one such tensor (or one named ``rows`` or
                ``centres``), of which only this rank's part is read.
        Raises:
            CheckpointError: not such a file; another width or number of rows; rows that are zero or not finite.
        """
        rows_LD = read_rows(source, self.config.classes, self.width, self.row_range)
        with torch.no_grad():
            self.rows.copy_(rows_LD)

    def full_state(self) -> dict[str, Tensor]:
        """``{"rows": [C, D]}`` on the CPU of the group's rank 0, ``{}`` elsewhere. All ranks call it together.

        The whole bank in one process; a checkpoint of a large one writes each rank's ``rows`` with its ``row_range``.
        """
        spans = [split_rows(self.config.classes, self.group.world, rank) for rank in range(self.group.world)]
        whole = self.group.collect(self.rows.detach(), [stop - start for start, stop in spans])
        return {} if whole is None else {"rows": whole}
