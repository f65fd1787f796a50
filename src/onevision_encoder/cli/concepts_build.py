"""`ove concepts build FEATURES_OR_MEDIA --k N --out DIR`: centres of a bank of concepts."""

from __future__ import annotations

import json
import shutil
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tqdm import tqdm

from onevision_encoder.checks import counted
from onevision_encoder.cli.batch import FAILED, INTERRUPTED
from onevision_encoder.cli.concepts import write_bank
from onevision_encoder.cli.results import prepare
from onevision_encoder.errors import InvalidArgumentError, RandomWeightsWarning
from onevision_encoder.pretrain.corpus_sources import find_items
from onevision_encoder.pretrain.kmeans_config import KMeansConfig
from onevision_encoder.selection.config import PolicyName

if TYPE_CHECKING:
    from onevision_encoder.pretrain import Centres, FeatureStore


@dataclass(frozen=True, kw_only=True)
class ConceptsBuild:
    """Cluster features into the centres of a bank of concepts.

    Takes features (a store, .npy or .safetensors, or a folder of these), or media, which a frozen encoder turns into
    features first. Start it with torchrun to divide the work: the centres stay the same. The same command goes on where
    an earlier one stopped.
    """

    inputs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FEATURES_OR_MEDIA")]
    """One place of features; or videos, images and folders of them (then --model is needed)."""
    kmeans: KMeansConfig
    out: Path
    """Folder for centres.safetensors, bank.json and, of media, features/."""
    model: str | None = None
    """Of media: a checkpoint folder, a hub id, or a preset with random weights."""
    pool: Literal["mean", "pooled"] = "mean"
    """Of media: the mean of a source's tokens, or the model's own summary."""
    policy: PolicyName = "uniform"
    """Of media: which patches our own encoder reads."""
    budget: str = "100%"
    """Of media: how many, a number or a percentage."""
    num_frames: int = 8
    """Of media: frames of a video."""
    max_patches: int = 256
    """Of media: patches of a frame at most."""
    device: str = "auto"
    """Of media: auto (a GPU if there is one), cpu, cuda, mps, ..."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        from onevision_encoder.evaluate import joined

        prepare(self.out)
        try:
            with joined() as team:
                quiet = self.json or not team.leads
                store = self._store(quiet=quiet)
                centres = self._centres(store, quiet=quiet)
                if not team.leads:
                    return FAILED if store.failures else 0
        except KeyboardInterrupt:
            print("ove: interrupted; the same command goes on where this one stopped", file=sys.stderr)
            return INTERRUPTED
        centres.save(self.out)
        facts = {**dict(centres.provenance), "failures": dict(store.failures)}
        write_bank(self.out, store.path, facts)
        shutil.rmtree(self._work, ignore_errors=True)  # the centres are safe
        self._tell(store, centres, facts)
        return FAILED if store.failures else 0

    @property
    def _work(self) -> Path:
        return self.out / "work"

    def _store(self, *, quiet: bool) -> FeatureStore:
        from onevision_encoder.pretrain import open_features

        if self.model is None:
            if len(self.inputs) != 1:
                allowed = "one place of features; media need --model"
                raise InvalidArgumentError("inputs", list(self.inputs), allowed)
            return open_features(self.inputs[0])
        return self._extract(self.model, quiet=quiet)

    def _extract(self, model: str, *, quiet: bool) -> FeatureStore:
        from onevision_encoder.evaluate import load_backbone
        from onevision_encoder.pretrain import extract_features
        from onevision_encoder.pretrain.feature_extract import items_of
        from onevision_encoder.tokens import TokenizeConfig

        reading = TokenizeConfig.of(
            policy=self.policy,
            budget=int(self.budget) if self.budget.isdecimal() else self.budget,
            num_frames=self.num_frames,
            max_patches=self.max_patches,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RandomWeightsWarning)  # bank.json says it
            backbone = load_backbone(model, device=self.device)
        items = [item for found in find_items(self.inputs) for item in items_of(found)]
        hidden = True if quiet else None
        with tqdm(desc="features", unit="file", total=len(items), disable=hidden, file=sys.stderr) as bar:
            return extract_features(
                items, backbone, self.out / "features", reading=reading, pool=self.pool, tick=bar.update
            )

    def _centres(self, store: FeatureStore, *, quiet: bool) -> Centres:
        from onevision_encoder.pretrain import kmeans

        total = self.kmeans.iterations + 1 if self.kmeans.levels == 1 else None
        with tqdm(desc="k-means", unit="look", total=total, disable=True if quiet else None, file=sys.stderr) as bar:

            def tick(stage: str, inertia: float) -> None:
                bar.update()
                bar.set_postfix_str(f"{stage}, inertia {inertia:.6g}")

            return kmeans(store, self.kmeans, work=self._work, tick=tick)

    def _tell(self, store: FeatureStore, centres: Centres, facts: dict[str, Any]) -> None:
        even = facts["balance"]
        if self.json:
            told = {"out": str(self.out), "rows": store.rows, "inertia": facts["inertia"], "balance": even}
            print(json.dumps({**told, "converged": facts["converged"], "failed": facts["failures"]}, indent=2))
        else:
            spread = f"{even['smallest']} to {even['largest']} rows, median {even['median']:g}, {even['empty']} empty"
            updates = counted(len(facts["history"]), "update")
            print(f"{counted(len(centres), 'centre')} of {counted(store.rows, 'row')} after {updates}: {spread}")
            print(f"inertia {facts['inertia']:.6g}, Gini {even['gini']:.3f} -> {self.out}")
        for name, why in sorted(store.failures.items()):
            print(f"ove: {name}: {why}", file=sys.stderr)
        if store.failures:
            print(f"ove: {counted(len(store.failures), 'source')} could not be read, left out", file=sys.stderr)
