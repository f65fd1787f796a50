"""One planned sample is read: its tokens, augmented, and its labels in every bank.

Axes: P labels of a sample, H W pixels, 3 = RGB.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import CorpusError, InvalidArgumentError, OneVisionError, ShardError
from onevision_encoder.pretrain.attached_labels import (
    NONE,
    LabelFileError,
    ShardLabels,
    attached_banks,
    labels_path,
    load_labels,
)
from onevision_encoder.pretrain.augment import augment, crop_box, crop_image, share_of
from onevision_encoder.pretrain.corpus import Corpus
from onevision_encoder.pretrain.counter_random import uniform
from onevision_encoder.pretrain.planning import SamplePlan
from onevision_encoder.pretrain.stored_video import load_stored
from onevision_encoder.pretrain.stream_config import StreamConfig
from onevision_encoder.pretrain.text import has_words, image_of, load_words
from onevision_encoder.pretrain.vocabulary import WHOLE, Box, Vocabulary, Word, text_labels
from onevision_encoder.tokens import model_positions, model_time, patchify
from onevision_encoder.types import ClipInfo, Kind, PatchTokens

Labels = dict[str, NDArray[np.int64]]
_KEPT = 64


class SampleReader:
    """Reads planned samples; any number of threads may.

    Attributes:
        widths: bank -> labels of a sample.
    Raises:
        InvalidArgumentError: a bank that no corpus has labels of, or that has another number of classes elsewhere.
        CorpusError: a vocabulary that cannot be read.
    """

    def __init__(self, config: StreamConfig, corpora: Sequence[Corpus]) -> None:
        self.config = config
        self._banks = [_banks_of(corpus, config) for corpus in corpora]
        digests = {corpus.folder / row.name: row.blake2b for corpus in corpora for row in corpus.shards}
        self._labels: _Cache[tuple[Path, str], ShardLabels] = _Cache(lambda key: load_labels(*key, digests[key[0]]))
        self._words: _Cache[Path, dict[str, tuple[Word, ...]]] = _Cache(lambda path: load_words(path, digests[path]))
        self._tables: dict[tuple[Path, str], ShardLabels] = {}
        self._vocabulary = None if config.text is None else Vocabulary.load(config.text.vocabulary)
        self._has_words = [config.text is not None and has_words(corpus) for corpus in corpora]
        if config.text is not None and not any(self._has_words):
            raise CorpusError(corpora[0].folder, "no words were read in any corpus: ove corpus words reads them")
        self.widths = self._widths(corpora)

    def _widths(self, corpora: Sequence[Corpus]) -> dict[str, int]:
        widths: dict[str, int] = {}
        classes: dict[str, int] = {}
        for corpus, banks in zip(corpora, self._banks, strict=True):
            for bank in banks:
                paths = [corpus.folder / row.name for row in corpus.shards]
                first = self._labels.get((next(p for p in paths if labels_path(p, bank).is_file()), bank))
                self._tables[corpus.folder, bank] = first
                if classes.setdefault(bank, first.classes) != first.classes:
                    allowed = f"{classes[bank]} classes as elsewhere, not {first.classes} ({first.path})"
                    raise InvalidArgumentError("banks", bank, allowed)
                widths[bank] = max(widths.get(bank, 0), first.labels_NP.shape[1])
        lacking = sorted(set(self.config.banks or ()) - set(widths))
        if lacking:
            raise InvalidArgumentError("banks", lacking, "banks that attach_labels() gave labels of to some corpus")
        if self.config.text is not None:
            widths[self.config.text.name] = self.config.text.slots
        return widths

    def read(self, plan: SamplePlan) -> tuple[PatchTokens, Labels]:
        """Tokens of one clip, and for each bank int64 [P], -1 where there is no label.

        Raises:
            ShardError: the shard or the sample in it is damaged. CorpusError, LabelFileError: labels are missing.
        """
        if plan.mode == "image":
            tokens, crop = self._image(plan)
        else:
            tokens, crop = self._video(plan), WHOLE
        labels = self._labels_of(plan)
        flip = self.config.augment.flip_images if plan.mode == "image" else self.config.augment.flip_videos
        if self.config.text is not None:
            labels[self.config.text.name] = row = self._text_of(plan, crop)
            flip = flip if (row == NONE).all() else 0.0
        tokens = augment(tokens, self.config.augment, seed=self.config.seed, position=plan.position, flip=flip)
        return tokens, labels

    def _image(self, plan: SamplePlan) -> tuple[PatchTokens, Box]:
        config = self.config
        try:
            rgb_HW3 = image_of(plan.shard, plan.entry)
        except OneVisionError as error:
            raise _damaged(plan, error) from error
        height, width = rgb_HW3.shape[:2]
        box = crop_box(width, height, config.augment, config.seed, plan.position)
        square = crop_image(rgb_HW3, box, config.image_size)
        facts = {"size": [width, height], "crop": list(box)}
        return image_tokens(square, config.patch, str(plan.entry.facts["id"]), facts), share_of(box, width, height)

    def _video(self, plan: SamplePlan) -> PatchTokens:
        member = plan.entry.facts["modes"][plan.mode]["member"]
        try:
            stored = load_stored(f"{plan.shard.path}: {plan.entry.key}.{member}", plan.shard.read(plan.entry, member))
        except OneVisionError as error:
            raise _damaged(plan, error) from error
        if stored.tokens.patch != self.config.patch:
            allowed = f"{stored.tokens.patch}, as the videos of {plan.shard.path} are stored"
            raise InvalidArgumentError("patch", self.config.patch, allowed)
        return stored.at(plan.budget, plan.mode)  # type: ignore[arg-type]  # not "image"

    def _labels_of(self, plan: SamplePlan) -> Labels:
        rows: Labels = {}
        for bank in self.widths:
            if self.config.text is not None and bank == self.config.text.name:
                continue
            row = np.full(self.widths[bank], NONE, np.int64)
            if bank in self._banks[plan.corpus] and self._expected(plan.shard.path, bank):
                found = self._of_one_table(plan.shard.path, bank).row(plan.entry.key, self.config.missing_labels)
                row[: len(found)] = found
            rows[bank] = row
        return rows

    def _of_one_table(self, shard: Path, bank: str) -> ShardLabels:
        found, first = self._labels.get((shard, bank)), self._tables[shard.parent, bank]
        if found.table != first.table:
            cause = f"from another table than {first.path.name}, as if attaching had been broken off"
            raise LabelFileError(f"{found.path}: labels {cause}: attach them again")
        return found

    def _expected(self, shard: Path, bank: str) -> bool:
        return self.config.missing_labels == "error" or labels_path(shard, bank).is_file()

    def _text_of(self, plan: SamplePlan, crop: Box) -> NDArray[np.int64]:
        text, vocabulary = self.config.text, self._vocabulary
        assert text is not None
        assert vocabulary is not None
        words: Sequence[Word] = ()
        if self._has_words[plan.corpus] and plan.mode == "image":
            words = self._words.get(plan.shard.path).get(plan.entry.key, ())
        draw = None
        if len(words) > text.slots:
            draw = uniform(self.config.seed, "text", plan.position, len(vocabulary))
        return text_labels(words, vocabulary, crop=crop, slots=text.slots, score=text.score, draw=draw)


def _banks_of(corpus: Corpus, config: StreamConfig) -> list[str]:
    found = attached_banks(corpus)
    if config.text is not None and config.text.name in found:
        raise InvalidArgumentError("text", config.text.name, f"a name that is none of a bank of {corpus.folder}")
    return [bank for bank in found if config.banks is None or bank in config.banks]


def _damaged(plan: SamplePlan, error: OneVisionError) -> ShardError:
    if isinstance(error, ShardError):
        return error
    return ShardError(plan.shard.path, f"sample {plan.entry.key!r} ({plan.entry.facts['id']}) is damaged: {error}")


def image_tokens(rgb_HW3: NDArray[np.uint8], patch: int, name: str, provenance: dict[str, Any]) -> PatchTokens:
    """All patches of a picture whose sides are multiples of ``patch``, at time 0."""
    patches = patchify(rgb_HW3[None], patch)
    grid = (rgb_HW3.shape[0] // patch, rgb_HW3.shape[1] // patch)
    positions = np.stack(np.unravel_index(np.arange(len(patches)), (1, *grid)), axis=1).astype(np.int32)
    pts = np.zeros(1)
    clip = ClipInfo(
        name=name,
        patch=patch,
        grid=grid,
        frame_index_T=np.zeros(1, np.int64),
        pts_seconds_T=pts,
        model_time_T=model_time(pts),
        provenance=provenance,
    )
    return PatchTokens(
        patches_ND=patches,
        positions_N3=positions,
        model_positions_N3=model_positions(positions, clip.model_time_T, grid=grid),
        score_N=np.zeros(len(patches), np.float32),
        kind_N=np.full(len(patches), Kind.FILL, np.uint8),
        cu_seqlens=np.array([0, len(patches)], np.int32),
        clips=(clip,),
    )


K = TypeVar("K")
V = TypeVar("V")


class _Cache(Generic[K, V]):
    """The last few values that ``make`` gave, for several threads."""

    def __init__(self, make: Callable[[K], V]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._kept: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V:
        with self._lock:
            if key not in self._kept:
                self._kept[key] = self._make(key)
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]
