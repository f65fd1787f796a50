"""Small banks and batches, and what a dense autograd says of them. The reference shares no code with the package: it
loops over samples, holds all cosines, and computes who is sampled with Python's integers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import torch
from torch.nn import functional

from onevision_encoder.pretrain import BankConfig, ConceptBank

WIDTH = 8


@dataclass(frozen=True)
class Case:
    config: BankConfig
    sizes: tuple[int, ...]
    """Samples of each rank, as many ranks as there are."""
    columns: int = 4
    step: int = 3
    unlabelled: tuple[int, ...] = field(default=())
    """Ranks of which no sample has a label."""

    def batch(self, rank):
        """Embeddings float64 [B, D] of any length, labels [B, P] with fillers, twins and whole rows of -1."""
        generator = torch.Generator().manual_seed(100 + rank)
        count = self.sizes[rank]
        embeddings = 3 * torch.randn(count, WIDTH, generator=generator, dtype=torch.float64)
        labels = torch.randint(0, self.config.classes, (count, self.columns), generator=generator)
        labels[torch.rand(labels.shape, generator=generator) < 0.3] = -1
        labels[::3, -1] = labels[::3, 0]
        labels[1::4] = -1
        if rank in self.unlabelled:
            labels[:] = -1
        return embeddings, labels


def cases(world):
    """Name -> case, for a number of ranks. 53 classes: no number of ranks divides them."""
    even, uneven = (6,) * world, tuple(9 - 2 * rank for rank in range(world))
    last_empty = (*uneven[:-1], 0)

    def config(**options):
        return BankConfig(**({"classes": 53, "sample_rate": 1.0, "scale": 12.0, "chunk": 7} | options))

    return {
        "all classes": Case(config(), even),
        "all classes, filter": Case(config(filter=0.2), uneven),
        "sampled 0.1": Case(config(sample_rate=0.1), uneven),
        "sampled 0.4, filter": Case(config(sample_rate=0.4, filter=0.1, margin=0.0), uneven),
        "scale 64, margin 0.3": Case(config(scale=64.0, sample_rate=0.4), uneven),
        "last rank empty": Case(config(sample_rate=0.4), last_empty),
        "first rank unlabelled": Case(config(filter=0.3), uneven, unlabelled=(0,) if world > 1 else ()),
        "nobody labelled": Case(config(), even, unlabelled=tuple(range(world))),
        "one label, one chunk": Case(config(sample_rate=0.4, chunk=None), uneven, columns=1),
        "fewer classes than ranks": Case(config(classes=3, margin=0.5), uneven, columns=2),
        "nothing sampled": Case(config(classes=9, sample_rate=1e-9), uneven),
    }


def make_bank(case, *, group=None):
    return ConceptBank("object", case.config, WIDTH, seed=5, group=group).double()


def sampled_by_hand(case, seed=5, name="object"):
    """SplitMix64 as its authors publish it, with Python's integers."""
    mask = (1 << 64) - 1
    key = int.from_bytes(hashlib.sha256(f"sample\0{seed}\0{name}\0{case.step}".encode()).digest()[:8], "little")
    chosen = []
    for number in range(case.config.classes):
        z = (key + (number + 1) * 0x9E3779B97F4A7C15) & mask
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        z ^= z >> 31
        if (z >> 11) < case.config.sample_rate * 2**53:
            chosen.append(number)
    return chosen


def dense_losses(case, embeddings, rows, labels, chosen):
    """The formula, sample by sample, positive by positive; None where a sample has no label."""
    cosines = functional.normalize(embeddings, dim=1) @ functional.normalize(rows, dim=1).T
    scale, margin, tau = case.config.scale, case.config.margin, case.config.filter
    losses = []
    for cosine, row in zip(cosines, labels.tolist(), strict=True):
        positives = {label for label in row if label >= 0}
        if not positives:
            losses.append(None)
            continue
        negatives = [n for n in chosen if n not in positives and (tau is None or cosine[n].item() <= tau)]
        parts = []
        for positive in positives:
            own = (scale * (cosine[positive] - margin)).exp()
            parts.append(-(own / (own + (scale * cosine[negatives]).exp().sum())).log())
        losses.append(torch.stack(parts).mean())
    return losses


def dense_loss(case, embeddings, rows, labels, chosen):
    losses = [loss for loss in dense_losses(case, embeddings, rows, labels, chosen) if loss is not None]
    return torch.stack(losses).mean() if losses else 0 * embeddings.sum()


def dense_accuracy(embeddings, rows, labels, chosen):
    cosines = functional.normalize(embeddings, dim=1) @ functional.normalize(rows, dim=1).T
    right = []
    for cosine, row in zip(cosines.tolist(), labels.tolist(), strict=True):
        positives = {label for label in row if label >= 0}
        if positives:
            right.append(max(positives.union(chosen), key=lambda n: cosine[n]) in positives)
    return sum(right) / len(right) if right else float("nan")


def dense_truth(case):
    """Loss, accuracy, labelled samples, gradients of all ranks' embeddings and of all rows, from one process."""
    batches = [case.batch(rank) for rank in range(len(case.sizes))]
    embeddings = torch.cat([e for e, _ in batches]).requires_grad_()
    labels = torch.cat([labels for _, labels in batches])
    rows = make_bank(case).rows.detach().clone().requires_grad_()
    chosen = sampled_by_hand(case)
    loss = dense_loss(case, embeddings, rows, labels, chosen)
    loss.backward()
    with torch.no_grad():
        each = [torch.nan if x is None else x for x in dense_losses(case, embeddings, rows, labels, chosen)]
    return {
        "loss": loss.detach(),
        "each": torch.tensor(each, dtype=torch.float64).split(list(case.sizes)),
        "accuracy": dense_accuracy(embeddings.detach(), rows.detach(), labels, chosen),
        "labelled": int((labels >= 0).any(1).sum()),
        "embeddings": embeddings.grad.split(list(case.sizes)),
        "rows": torch.zeros_like(rows) if rows.grad is None else rows.grad,
        "touched": sorted({*chosen, *labels[labels >= 0].tolist()}) if (labels >= 0).any() else [],
    }
