"""The whole way on a laptop: media -> corpora -> features -> banks -> stage 1 -> stage 2 -> a probed checkpoint.

Nothing here knows a label: pictures are grouped by edges and colours, clips by how they move (``handmade.py``), and
these groups are what the encoder learns to tell apart. Every part goes on where an earlier call stopped.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from onevision_encoder.checks import counted
from onevision_encoder.errors import CorpusError, InvalidArgumentError
from onevision_encoder.evaluate import ProbeConfig, embed_set, load_dataset, make_token_set, run_probe
from onevision_encoder.model import LoadedEncoder, load_encoder
from onevision_encoder.model.precision import native_bf16_unit
from onevision_encoder.pretrain.attached_labels import attach_labels
from onevision_encoder.pretrain.config import ParallelConfig, PretrainConfig
from onevision_encoder.pretrain.corpus import Corpus
from onevision_encoder.pretrain.corpus_build import build_corpus
from onevision_encoder.pretrain.corpus_config import CorpusConfig
from onevision_encoder.pretrain.corpus_sources import Item
from onevision_encoder.pretrain.handmade import EdgesAndColours, MotionHistograms
from onevision_encoder.pretrain.parallel import device_of
from onevision_encoder.pretrain.recipes import tiny_stage1_image, tiny_stage2_video
from onevision_encoder.pretrain.run_folder import BANKS
from onevision_encoder.pretrain.settings import with_setting
from onevision_encoder.pretrain.start import RunResult, pretrain
from onevision_encoder.pretrain.tiny_media import find_media, procedural_clips
from onevision_encoder.pretrain.train_state import first_encoder
from onevision_encoder.tokens import TokenizeConfig
from onevision_encoder.tokens.files import write_atomically

FRAMES, PATCHES, BUDGET = 16, 64, 128
"""Of a clip, of a frame (112 x 112 pixels), and of those that the probe reads."""
POSITIVES = 3
"""Nearest groups of a sample that are its labels."""


@dataclass(frozen=True, kw_only=True)
class TinyPlan:
    """How much is done. The defaults take some minutes on two cores."""

    clips_per_class: tuple[int, int, int] = (60, 0, 0)
    """Procedural clips to train on where no media are given: train, val, test of each class."""
    probe_clips: tuple[int, int, int] = (20, 0, 15)
    """Procedural clips to probe with, of another seed."""
    stills_per_clip: int = 2
    """Frames of clips that serve as pictures where there are none."""
    items_per_group: int = 12
    """A bank has one group for so many pictures or clips."""
    most_groups: tuple[int, int] = (256, 64)
    """The most groups of pictures, and of clips, however many there are."""
    workers: int = 1
    """Processes and threads that make and read media; with more than one the script that calls needs
    ``if __name__ == "__main__":``. What is made does not depend on it."""
    say: Callable[[str], object] = lambda words: tqdm.write(f"ove: {words}", file=sys.stderr)


def run_tiny(
    out: Path,
    *,
    media: Path | None = None,
    settings: Sequence[str] = (),
    device: str = "auto",
    quiet: bool = False,
    plan: TinyPlan | None = None,
) -> RunResult:
    """Make everything in ``out``: media/, probe/, corpora/, banks/, stage1/, stage2/ and report.json.

    Args:
        media: pictures and videos to learn from. None: clips of the motion suite, made from a seed of their own.
        settings: ``stage1.steps=100``, ``stage2.optimizer.lr=1e-4``: what differs in the stages.
    Returns:
        The result of stage 2. ``report.json`` says what the probe found before training, after stage 1 and after
        stage 2: nearest neighbours on the motion suite, which is made from another seed than the training media.
    Raises:
        What the parts raise.
    """
    plan = plan or TinyPlan()
    if quiet:
        plan = replace(plan, say=lambda words: None)
    out.mkdir(parents=True, exist_ok=True)
    labelled = procedural_clips(out / "probe", seed=1, counts=plan.probe_clips, workers=plan.workers, say=plan.say)
    data = prepare_tiny(out, media, plan)
    first, second = tiny_stages(data, out / "stage1", settings)
    plan.say(f"stage 1: {first.steps} steps on {data.pictures} pictures")
    before = pretrain(first, out / "stage1", device=device, quiet=quiet)
    plan.say(f"stage 2: {second.steps} steps on pictures and {data.clips} clips")
    after = pretrain(second, out / "stage2", device=device, quiet=quiet)
    encoders = {
        "random": _random(first, device),
        "stage1": load_encoder(before.encoder, dtype=torch.float32, device=device),
        "stage2": load_encoder(after.encoder, dtype=torch.float32, device=device),
    }
    found = _probed(labelled, encoders, plan.workers)
    report = {"probe": found, "pictures": data.pictures, "clips": data.clips, "groups": dict(data.groups)}
    write_atomically(out / "report.json", (json.dumps(report, indent=2) + "\n").encode())
    plan.say(f"nearest neighbours: {found} -> {out / 'report.json'}")
    return after


@dataclass(frozen=True, kw_only=True)
class TinyData:
    """Corpora with their groups attached: ``corpora``/images and ``corpora``/videos.

    Attributes:
        groups: bank -> how many groups k-means made. pictures, clips: how many samples.
    """

    corpora: Path
    groups: Mapping[str, int]
    pictures: int
    clips: int


def prepare_tiny(out: Path, media: Path | None, plan: TinyPlan) -> TinyData:
    """Media, corpora, features and banks in ``out``; what is there is kept.

    Raises:
        What the parts raise.
    """
    place = media or procedural_clips(
        out / "media", seed=0, counts=plan.clips_per_class, workers=plan.workers, say=plan.say
    )
    clips, pictures = find_media(out, place, plan.stills_per_clip, plan.say)
    images, videos = _corpora(out / "corpora", clips, pictures, plan)
    most = plan.most_groups
    groups = {
        "object": _bank(out / "banks/object", pictures, EdgesAndColours(), most[0], plan, images),
        "motion": _bank(out / "banks/motion", clips, MotionHistograms(), most[1], plan, videos),
    }
    held = [sum(1 for _ in corpus.samples()) for corpus in (images, videos)]
    return TinyData(corpora=out / "corpora", groups=groups, pictures=held[0], clips=held[1])


def tiny_reading() -> TokenizeConfig:
    """How clips are read for corpora and for features."""
    return TokenizeConfig.of(num_frames=FRAMES, max_patches=PATCHES)


def _corpora(folder: Path, clips: Sequence[Item], pictures: Sequence[Item], plan: TinyPlan) -> tuple[Corpus, Corpus]:
    """(of pictures, of clips)."""
    plan.say(f"corpora of {len(pictures)} pictures and {len(clips)} clips -> {folder}")
    config = CorpusConfig(reading=tiny_reading(), image_side=144, frame_levels=("6.25%", "12.5%", "25%"))
    for name, items in (("images", pictures), ("videos", clips)):
        roots = sorted({_root(item) for item in items})
        report = build_corpus([str(root) for root in roots], folder / name, config, workers=plan.workers)
        if report.interrupted:  # what it has is no whole corpus to train on
            raise KeyboardInterrupt
        if report.failed:
            first = report.failed[0]
            what = f"{counted(len(report.failed), 'file')} of {len(items)} left out of {name}, the first: {first}"
            if len(report.failed) == len(items):
                raise CorpusError(folder / name, what)
            plan.say(f"{what}; all are listed in {folder / name / 'failures.jsonl'}")
    return Corpus(folder / "images"), Corpus(folder / "videos")


def _root(item: Item) -> Path:
    """The folder that an item was found in, whose name its id begins with."""
    return item.path.parents[len(Path(item.id).parts) - 2]


def _bank(folder: Path, items: Sequence[Item], backbone: Any, most: int, plan: TinyPlan, corpus: Corpus) -> int:
    """Group items, attach the groups to the corpus; the number of groups."""
    from onevision_encoder.pretrain import KMeansConfig, extract_features, kmeans
    from onevision_encoder.pretrain.feature_extract import items_of
    from onevision_encoder.pretrain.labels import label_features

    plan.say(f"bank of {backbone.name} -> {folder}")
    sources = [source for item in items for source in items_of(item)]
    store = extract_features(sources, backbone, folder / "features", reading=tiny_reading())
    k = max(2, min(most, store.rows // plan.items_per_group))
    centres = kmeans(store, KMeansConfig(k=k, iterations=30, init="k-means++"), work=folder / "work")
    centres.save(folder)
    table = label_features(store, centres, top=min(POSITIVES, k))
    table.save(folder)
    attach_labels(corpus, table.without(), folder.name, missing="none")
    return k


def tiny_stages(data: TinyData, stage1: Path, settings: Sequence[str] = ()) -> tuple[PretrainConfig, PretrainConfig]:
    """The two stages on prepared corpora; the second goes on from the folder of the first. Products are in bfloat16
    where the processor has a unit for them.

    Raises:
        InvalidArgumentError: a setting that is none of ``stage1.NAME=VALUE`` and ``stage2.NAME=VALUE``.
    """
    parallel = ParallelConfig(precision="bfloat16" if native_bf16_unit() else "float32")
    first, second = (replace(stage, parallel=parallel) for stage in (tiny_stage1_image(), tiny_stage2_video()))
    paths = (str(data.corpora / "images"), str(data.corpora / "videos"))
    images, videos = (replace(of, path=path) for of, path in zip(second.data.sources, paths, strict=True))
    sized = {name: replace(second.banks[name], classes=k) for name, k in data.groups.items()}
    first = replace(
        first,
        banks={"object": sized["object"]},
        data=replace(first.data, sources=(images,), missing_labels="none"),
    )
    second = replace(
        second,
        banks=sized,
        encoder=replace(second.encoder, init=str(stage1 / "encoder")),
        bank_init={"object": str(stage1 / BANKS / "object.safetensors")},
        data=replace(second.data, sources=(images, videos), missing_labels="none"),
    )
    for setting in settings:
        stage, _, rest = setting.partition(".")
        if stage not in ("stage1", "stage2"):
            raise InvalidArgumentError("set", setting, "stage1.NAME=VALUE or stage2.NAME=VALUE with recipe tiny-cpu")
        first, second = (
            (with_setting(first, rest), second) if stage == "stage1" else (first, with_setting(second, rest))
        )
    return first, second


def _random(config: PretrainConfig, device: str) -> LoadedEncoder:
    """The encoder that the first stage begins with."""
    model = first_encoder(config).eval()
    torch.nn.Module.to(model, device_of(device))
    return LoadedEncoder(model=model, weights="random", pretrained=False, provenance={})


def _probed(labelled: Path, encoders: Mapping[str, LoadedEncoder], workers: int) -> dict[str, float]:
    """Share of the probe's clips that their nearest neighbours name rightly, by embeddings of ``BUDGET`` codec patches
    of each."""
    data = load_dataset(labelled)
    reading = TokenizeConfig.of(budget=BUDGET, num_frames=FRAMES, max_patches=PATCHES)
    tokens = make_token_set(data.examples, reading, data=data.name, workers=workers)
    head = ProbeConfig(head="knn", seeds=1, resamples=1)
    reports = {name: run_probe(data, embed_set(name, one, tokens), head).report for name, one in encoders.items()}
    return {name: float(report["results"]["top1"]["mean"]) for name, report in reports.items()}
