"""The whole way on a laptop: media -> corpora -> features -> banks -> stage 1 -> stage 2 -> a probed checkpoint.

Nothing here knows a label: pictures are grouped by edges and colours, clips by how they move (``handmade.py``), and
these groups are what the encoder learns to tell apart. Every part goes on where an earlier call stopped.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from onevision_encoder.checks import counted
from onevision_encoder.errors import CorpusError, InvalidArgumentError
from onevision_encoder.pretrain.attached_labels import AttachedLabels, attach_labels
from onevision_encoder.pretrain.config import PretrainConfig, ProbeConfig, SourceConfig
from onevision_encoder.pretrain.corpus import Corpus
from onevision_encoder.pretrain.corpus_build import build_corpus
from onevision_encoder.pretrain.corpus_config import CorpusConfig
from onevision_encoder.pretrain.corpus_sources import VIDEO_SUFFIXES, Item, find_items
from onevision_encoder.pretrain.handmade import EdgesAndColours, MotionAndEdges
from onevision_encoder.pretrain.recipes import tiny_stage1_image, tiny_stage2_video
from onevision_encoder.pretrain.run_folder import export_bank
from onevision_encoder.pretrain.settings import with_setting
from onevision_encoder.pretrain.start import RunResult, pretrain
from onevision_encoder.tokens import TokenizeConfig
from onevision_encoder.tokens.files import write_atomically

FRAMES, PATCHES = 16, 64
"""Of a clip, and of a frame: 112 x 112 pixels."""
POSITIVES = 3
"""Nearest groups of a sample that are its labels."""


@dataclass(frozen=True, kw_only=True)
class TinyPlan:
    """How much is done. The defaults take some minutes on two cores."""

    clips_per_class: tuple[int, int, int] = (24, 0, 8)
    """Procedural clips to train on where no media are given: train, val, test of each class."""
    probe_clips: tuple[int, int, int] = (8, 0, 4)
    """Procedural clips to probe with, of another seed."""
    stills_per_clip: int = 2
    """Frames of clips that serve as pictures where there are none."""
    items_per_group: int = 12
    """The banks have as many groups as this makes, 256 of pictures and 64 of clips at most."""
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
    say = (lambda words: None) if quiet else plan.say
    out.mkdir(parents=True, exist_ok=True)
    labelled = _suite(out / "probe", seed=1, counts=plan.probe_clips, say=say)
    clips, pictures = _media(out, media, plan, say)
    corpora = _corpora(out / "corpora", clips, pictures, say)
    groups = {
        "object": _bank(out / "banks/object", pictures, EdgesAndColours(), 256, plan, corpora["images"], say),
        "motion": _bank(out / "banks/motion", clips, MotionAndEdges(), 64, plan, corpora["videos"], say),
    }
    probe = ProbeConfig(data=str(labelled), frames=FRAMES, max_patches=PATCHES)
    first, second = _stages(out, groups, settings)
    say(f"stage 1: {first.steps} steps on {len(pictures)} pictures")
    before = pretrain(first, out / "stage1", device=device, quiet=quiet)
    export_bank(before.out, "object", before.out / "banks/object.safetensors")
    say(f"stage 2: {second.steps} steps on pictures and {len(clips)} clips")
    after = pretrain(second, out / "stage2", device=device, quiet=quiet)
    report = {
        "probe": {
            "random": _probed(first, None, probe, device),
            "stage1": _probed(first, before.encoder, probe, device),
            "stage2": _probed(second, after.encoder, probe, device),
        },
        "pictures": len(pictures),
        "clips": len(clips),
        "groups": groups,
    }
    write_atomically(out / "report.json", (json.dumps(report, indent=2) + "\n").encode())
    say(f"nearest neighbours: {report['probe']} -> {out / 'report.json'}")
    return after


def _suite(folder: Path, *, seed: int, counts: tuple[int, int, int], say: Callable[[str], object]) -> Path:
    from onevision_encoder.evaluate import MotionSuite, make_suite

    if not (folder / "labels.jsonl").is_file():
        say(f"procedural clips -> {folder}")
        make_suite(folder, MotionSuite(seed=seed, clips_per_class=counts, frames=(32, 40), codecs=("h264",)))
    return folder


def _media(
    out: Path, media: Path | None, plan: TinyPlan, say: Callable[[str], object]
) -> tuple[list[Item], list[Item]]:
    """(clips, pictures) to learn from."""
    place = media or _suite(out / "media", seed=0, counts=plan.clips_per_class, say=say)
    found = find_items([place])
    clips = [item for item in found if item.path.suffix.lower() in VIDEO_SUFFIXES.split()]
    pictures = [item for item in found if item not in clips]
    if clips and pictures:  # a corpus is built of folders: each kind gets one
        clips, pictures = (_linked(out / name, items) for name, items in (("clips", clips), ("pictures", pictures)))
    if not clips:
        raise InvalidArgumentError("media", str(place), "a folder with at least one video")
    if not pictures:
        say(f"no pictures among the media: frames of the clips serve -> {out / 'stills'}")
        pictures = _stills(out / "stills", clips, plan.stills_per_clip)
    return clips, pictures


def _linked(folder: Path, items: Sequence[Item]) -> list[Item]:
    """The same files in a folder of their own: hard links, or copies where there can be none."""
    for item in items:
        target = folder / item.id
        if not target.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                target.hardlink_to(item.path.resolve())
            except OSError:
                shutil.copyfile(item.path, target)
    return find_items([folder])


def _stills(folder: Path, clips: Sequence[Item], count: int) -> list[Item]:
    from onevision_encoder.video import Sampling, read_video

    folder.mkdir(exist_ok=True)
    for number, clip in enumerate(clips):
        names = [folder / f"{number:05d}-{i}.png" for i in range(count)]
        if all(name.is_file() for name in names):
            continue
        frames = read_video(clip.path, sampling=Sampling(num_frames=count))
        for name, rgb_HW3 in zip(names, frames.rgb_THW3, strict=False):
            part = name.with_suffix(".part")
            Image.fromarray(np.ascontiguousarray(rgb_HW3)).save(part, "PNG")
            part.replace(name)
    return find_items([folder])


def _reading() -> TokenizeConfig:
    return TokenizeConfig.of(num_frames=FRAMES, max_patches=PATCHES)


def _corpora(
    folder: Path, clips: Sequence[Item], pictures: Sequence[Item], say: Callable[[str], object]
) -> dict[str, Corpus]:
    say(f"corpora of {len(pictures)} pictures and {len(clips)} clips -> {folder}")
    config = CorpusConfig(reading=_reading(), image_side=144, frame_levels=("6.25%", "12.5%", "25%"))
    for name, items in (("images", pictures), ("videos", clips)):
        roots = sorted({_root(item) for item in items})
        report = build_corpus([str(root) for root in roots], folder / name, config)
        if report.failed:
            first = report.failed[0]
            what = f"{counted(len(report.failed), 'file')} of {len(items)} left out of {name}, the first: {first}"
            if len(report.failed) == len(items):
                raise CorpusError(folder / name, what)
            say(f"{what}; all are listed in {folder / name / 'failures.jsonl'}")
    return {name: Corpus(folder / name) for name in ("images", "videos")}


def _root(item: Item) -> Path:
    """The folder that an item was found in, whose name its id begins with."""
    return item.path.parents[len(Path(item.id).parts) - 2]


def _bank(
    folder: Path,
    items: Sequence[Item],
    backbone: Any,
    most: int,
    plan: TinyPlan,
    corpus: Corpus,
    say: Callable[[str], object],
) -> int:
    """Group items, attach the groups to the corpus; the number of groups."""
    from onevision_encoder.pretrain import KMeansConfig, extract_features, kmeans
    from onevision_encoder.pretrain.feature_extract import items_of
    from onevision_encoder.pretrain.labels import label_features

    say(f"bank of {backbone.name} -> {folder}")
    sources = [source for item in items for source in items_of(item.id, item.path)]
    store = extract_features(sources, backbone, folder / "features", reading=_reading())
    k = max(2, min(most, store.rows // plan.items_per_group))
    centres = kmeans(store, KMeansConfig(k=k, iterations=30, init="k-means++"), work=folder / "work")
    centres.save(folder)
    table = label_features(store, centres, top=min(POSITIVES, k))
    table.save(folder)
    labels = AttachedLabels(ids=table.ids, labels_NP=table.labels_nP, classes=table.classes)
    attach_labels(corpus, labels, folder.name, missing="none")
    return k


def _stages(out: Path, groups: dict[str, int], settings: Sequence[str]) -> tuple[PretrainConfig, PretrainConfig]:
    corpora = out / "corpora"
    first, second = tiny_stage1_image(), tiny_stage2_video()
    images = SourceConfig(path=str(corpora / "images"))
    videos = SourceConfig(path=str(corpora / "videos"), kind="video")
    sized = {name: replace(second.banks[name], classes=k) for name, k in groups.items()}
    first = replace(
        first,
        banks={"object": sized["object"]},
        data=replace(first.data, sources=(images,), missing_labels="none"),
    )
    second = replace(
        second,
        banks=sized,
        encoder=replace(second.encoder, init=str(out / "stage1/encoder")),
        bank_init={"object": str(out / "stage1/banks/object.safetensors")},
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


def _probed(config: PretrainConfig, encoder: Path | None, probe: ProbeConfig, device: str) -> float:
    """Share of the probe's clips that their nearest neighbours name rightly."""
    from onevision_encoder.pretrain.parallel import Ranks, SpreadEncoder, device_of
    from onevision_encoder.pretrain.progress_probe import probe_now
    from onevision_encoder.pretrain.train_state import first_encoder

    start = replace(config.encoder, init=None if encoder is None else str(encoder))
    model = first_encoder(replace(config, encoder=start))
    spread = SpreadEncoder(model, config.parallel, Ranks(device=device_of(device)))
    return probe_now(spread, probe, config)["probe/top1"]
