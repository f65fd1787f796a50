"""Streams of batches: resumed at the exact sample, the same for any threads, disjoint over ranks."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from small_corpus import picture_corpus, video_corpus

from onevision_encoder.errors import BudgetError, CorpusError, InvalidArgumentError, OneVisionError, ShardError
from onevision_encoder.pretrain import (
    AttachedLabels,
    AugmentConfig,
    Corpus,
    CorpusShare,
    MixedStream,
    StreamConfig,
    TextBank,
    TrainingBatch,
    Vocabulary,
    Word,
    attach_labels,
    read_texts,
)
from onevision_encoder.pretrain.attached_labels import LabelFileError, labels_path
from onevision_encoder.pretrain.planning import Planner, Position
from onevision_encoder.tokens import tokenize, unpack

ALL = AugmentConfig(flip_videos=0.3, brightness=0.2, contrast=0.2, saturation=0.2, drop=0.2)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("corpora")
    pictures, videos = picture_corpus(place), video_corpus(place)
    for number, folder in enumerate((pictures, videos)):
        corpus = Corpus(folder)
        ids = [entry.facts["id"] for _, entry in corpus.samples()]
        rows = np.arange(len(ids) * 3).reshape(-1, 3) % 50
        attach_labels(corpus, AttachedLabels(ids=ids, labels_NP=rows, classes=50), ("object", "motion")[number])
    return pictures, videos


def config(folders: tuple[Path, Path], **options: object) -> StreamConfig:
    told: dict[str, object] = {
        "corpora": tuple(CorpusShare(folder=f, weight=w) for f, w in zip(folders, (1, 2), strict=True)),
        "modes": {"codec": 2, "frames": 1, "tiled": 1},
        "batch_samples": 3,
        "budget": ("12.5%", "50%"),
        "image_size": 28,
        "augment": ALL,
        "seed": 11,
    }
    return StreamConfig(**{**told, **options})  # type: ignore[arg-type]


def same(one: TrainingBatch, other: TrainingBatch) -> None:
    assert (one.ids, one.modes, one.corpora, one.step) == (other.ids, other.modes, other.corpora, other.step)
    for name in ("patches_ND", "positions_N3", "model_positions_N3", "score_N", "kind_N", "cu_seqlens"):
        np.testing.assert_array_equal(getattr(one.tokens, name), getattr(other.tokens, name), strict=True)
    assert sorted(one.labels) == sorted(other.labels)
    for bank, rows in one.labels.items():
        np.testing.assert_array_equal(rows, other.labels[bank], strict=True)
    np.testing.assert_array_equal(one.positions, other.positions)


@pytest.mark.parametrize(
    "options",
    [{"batch_samples": 1}, pytest.param({"batch_samples": None, "batch_tokens": 40}, marks=pytest.mark.slow)],
    ids=["samples", "tokens"],
)
def test_a_hundred_batches_are_37_a_resume_and_63(folders: tuple[Path, Path], options: dict[str, object]) -> None:
    how = config(folders, **options)
    straight = [next(stream) for stream in [MixedStream(how)] for _ in range(100)]
    first = MixedStream(how)
    for wanted in straight[:37]:
        same(next(first), wanted)
    state = json.loads(json.dumps(first.state_dict()))
    with MixedStream(how, workers=2, ahead=3) as second:
        second.load_state_dict(state)
        for wanted in straight[37:]:
            same(next(second), wanted)
        assert second.state_dict()["step"] == 100
    assert len({batch.tokens.patches_ND.tobytes() for batch in straight}) == 100


def test_the_state_counts_what_was_delivered_not_what_was_prepared(folders: tuple[Path, Path]) -> None:
    plain = MixedStream(config(folders))
    with MixedStream(config(folders), workers=1, ahead=4) as threaded:
        for _ in range(3):
            next(plain), next(threaded)
            assert threaded.state_dict() == plain.state_dict()
        state = threaded.state_dict()
        wanted = next(threaded)
        next(threaded)
        threaded.load_state_dict(state)  # going back drops what was prepared
        same(next(threaded), wanted)


def by_position(batch: TrainingBatch) -> list[tuple[int, tuple[str, np.ndarray]]]:
    """Samples of a batch; shorter ones come first in it, each in the order of positions."""
    lengths = np.diff(batch.tokens.cu_seqlens)
    order = list(zip(lengths.tolist(), batch.positions.tolist(), strict=True))
    assert order == sorted(order)
    samples = zip(batch.ids, [tokens.patches_ND for tokens in unpack(batch.tokens)], strict=True)
    return list(zip(batch.positions.tolist(), samples, strict=True))


def test_ranks_share_no_sample_and_leave_none_out(folders: tuple[Path, Path]) -> None:
    alone = MixedStream(config(folders, batch_samples=12))
    ranks = [MixedStream(config(folders), rank=rank, world=4) for rank in range(4)]
    for _ in range(2):
        whole, parts = next(alone), [next(rank) for rank in ranks]
        assert len(whole) == sum(map(len, parts))
        together = {position: sample for part in parts for position, sample in by_position(part)}
        for position, (name, patches_KD) in by_position(whole):
            assert together[position][0] == name
            np.testing.assert_array_equal(together[position][1], patches_KD)
    assert len({json.dumps({**rank.state_dict(), "world": 0}) for rank in (*ranks, alone)}) == 1


@pytest.mark.parametrize("size", [{"batch_samples": 3}, {"batch_samples": None, "batch_tokens": 70}])
def test_another_world_size_goes_on_from_the_position(folders: tuple[Path, Path], size: dict[str, object]) -> None:
    ranks = [MixedStream(config(folders, **size), rank=rank, world=2) for rank in range(2)]
    seen = [position for _ in range(4) for rank in ranks for position in next(rank).positions.tolist()]
    state = ranks[0].state_dict()
    assert state == ranks[1].state_dict()
    assert state["world"] == 2
    others = [MixedStream(config(folders, **size), rank=rank, world=3) for rank in range(3)]
    for other in others:
        other.load_state_dict(state)
    seen += [position for _ in range(3) for other in others for position in next(other).positions.tolist()]
    assert sorted(seen) == list(range(len(seen)))


def test_epochs_have_every_sample_once_and_chances_are_kept(folders: tuple[Path, Path]) -> None:
    planner = Planner(config(folders), [Corpus(folder) for folder in folders])
    here, plans = Position(0, 0, (0, 0)), []
    for _ in range(200):
        more, here = planner.batch(here, 0, 1)
        plans += more
    ids = [plan.entry.facts["id"] for plan in plans]
    for folder in folders:
        names = [entry.facts["id"] for _, entry in Corpus(folder).samples()]
        mine = [i for i in ids if i in set(names)]
        for begin in range(0, len(mine) - len(names) + 1, len(names)):
            assert sorted(mine[begin : begin + len(names)]) == sorted(names)
    modes = Counter(plan.mode for plan in plans)
    assert abs(modes["image"] / 600 - 1 / 3) < 4 * (2 / 9 / 600) ** 0.5
    videos = 600 - modes["image"]
    assert abs(modes["codec"] / videos - 1 / 2) < 4 * (1 / 4 / videos) ** 0.5
    assert abs(modes["tiled"] / videos - 1 / 4) < 4 * (3 / 16 / videos) ** 0.5


def test_tokens_are_those_of_the_clip_at_the_budget_drawn(folders: tuple[Path, Path]) -> None:
    how = config(folders[1:] * 2, budget=("25%", "50%"), augment=AugmentConfig(), batch_samples=1)
    stream, videos = MixedStream(how), folders[1].parent
    budgets = set()
    for _ in range(12):
        batch = next(stream)
        for tokens, mode, name in zip(unpack(batch.tokens), batch.modes, batch.ids, strict=True):
            policy = {"codec": "codec", "frames": "uniform", "tiled": "tiled"}[mode]
            wanted = tokenize(videos / name, policy=policy, budget=len(tokens))
            np.testing.assert_array_equal(tokens.patches_ND, wanted.patches_ND)
            np.testing.assert_array_equal(tokens.model_positions_N3, wanted.model_positions_N3)
            assert tokens.clips[0].provenance["not_stored"] == 0
            assert 32 <= len(tokens) <= 64
            budgets.add((mode == "codec", len(tokens)))
    assert {size for codec, size in budgets if not codec} == {32, 64}
    assert len({size for codec, size in budgets if codec}) > 2


@pytest.mark.parametrize(("budget", "size"), [(20, 20), ("50%", 64), ((18, 25), None)])
def test_numbers_are_exact(folders: tuple[Path, Path], budget: object, size: int | None) -> None:
    stream = MixedStream(config(folders, budget=budget, modes={"codec": 1}, augment=AugmentConfig()))
    sizes: list[set[int]] = []
    for _ in range(10):
        batch = next(stream)
        lengths = np.diff(batch.tokens.cu_seqlens)
        sizes.append({int(n) for n, mode in zip(lengths, batch.modes, strict=True) if mode != "image"})
    assert all(len(one) <= 1 for one in sizes)  # one budget a batch
    found = set().union(*sizes)
    assert found == {size} if size else (len(found) > 2 and found <= set(range(18, 26)))


def test_a_number_above_what_is_stored(folders: tuple[Path, Path]) -> None:
    how = {"budget": 100, "modes": {"codec": 1}, "augment": AugmentConfig()}
    with pytest.raises(BudgetError, match=r"keeps at most 64 of its patches as codec; short='cap'"):
        next(MixedStream(config(folders, batch_samples=20, **how)))
    batch = next(MixedStream(config(folders, batch_samples=20, short="cap", **how)))
    lengths = np.diff(batch.tokens.cu_seqlens)
    assert {int(n) for n, mode in zip(lengths, batch.modes, strict=True) if mode == "codec"} == {64}


def test_an_error_of_a_later_batch_waits_for_its_turn(folders: tuple[Path, Path]) -> None:
    shares = tuple(CorpusShare(folder=folder, weight=w) for folder, w in zip(folders, (9, 1), strict=True))
    how = config(folders, corpora=shares, budget=100, modes={"codec": 1}, batch_samples=1)
    straight = MixedStream(how)
    with MixedStream(how, workers=1, ahead=4) as threaded:
        delivered = 0
        while _plans_well(straight):
            same(next(threaded), next(straight))
            delivered += 1
        assert delivered > 0
        for _ in range(2):
            with pytest.raises(BudgetError):
                next(threaded)
            assert threaded.state_dict() == straight.state_dict()


def _plans_well(stream: MixedStream) -> bool:
    try:
        _ids_of_next(stream)
    except BudgetError:
        return False
    return True


def test_batches_by_tokens_are_full_and_never_above(folders: tuple[Path, Path]) -> None:
    stream = MixedStream(config(folders, batch_samples=None, batch_tokens=90))
    batches = [next(stream) for _ in range(15)]
    assert all(len(batch.tokens) <= 90 for batch in batches)
    for batch, after in pairwise(batches):
        first = int(after.tokens.cu_seqlens[1])
        assert len(batch.tokens) + first > 90 - 52  # the next sample, at the most that another budget makes of it
    lonely = MixedStream(config(folders, batch_samples=None, batch_tokens=1))
    assert [len(next(lonely)) for _ in range(3)] == [1, 1, 1]


def test_labels_are_joined_by_key(folders: tuple[Path, Path]) -> None:
    stream, wanted = MixedStream(config(folders)), {}
    for folder in folders:
        for number, (_, entry) in enumerate(Corpus(folder).samples()):
            wanted[entry.facts["id"]] = [(3 * number + column) % 50 for column in range(3)]
    assert stream.banks == {"motion": 3, "object": 3}
    for _ in range(20):
        batch = next(stream)
        for name, mode, seen, moved in zip(
            batch.ids, batch.modes, batch.labels["object"].tolist(), batch.labels["motion"].tolist(), strict=True
        ):
            assert (seen, moved)[mode != "image"] == wanted[name]
            assert (seen, moved)[mode == "image"] == [-1, -1, -1]
    only = MixedStream(config(folders, banks=("motion",)))
    assert set(next(only).labels) == {"motion"}


def test_labels_that_lack_are_told_or_allowed(tmp_path: Path) -> None:
    folder = picture_corpus(tmp_path, 7)
    corpus = Corpus(folder)
    ids = [entry.facts["id"] for _, entry in corpus.samples()]
    table = AttachedLabels(ids=ids[:-1], labels_NP=np.zeros((6, 2), np.int64), classes=1)
    with pytest.raises(CorpusError, match="1 sample of it without labels"):
        attach_labels(corpus, table, "object")
    assert not list(folder.glob("*.labels.*"))
    assert attach_labels(corpus, table, "object", missing="none") == 6
    how = StreamConfig(corpora=(CorpusShare(folder=folder),), batch_samples=7, image_size=14)
    rows = next(MixedStream(how)).labels["object"]
    assert sorted(rows[:, 0].tolist()) == [-1, 0, 0, 0, 0, 0, 0]
    labels_path(corpus.shard(1).path, "object").unlink()
    with pytest.raises(LabelFileError, match="attach_labels"):
        next(MixedStream(how))
    allowed = StreamConfig(corpora=(CorpusShare(folder=folder),), batch_samples=7, image_size=14, missing_labels="none")
    assert (next(MixedStream(allowed)).labels["object"] == -1).sum() == 4
    with pytest.raises(InvalidArgumentError, match="attach_labels"):
        MixedStream(StreamConfig(corpora=(CorpusShare(folder=folder),), batch_samples=1, banks=("motion",)))
    for wrong in (
        {"labels_NP": np.full((6, 2), 1)},
        {"labels_NP": np.full((6, 2), -2)},
        {"labels_NP": np.zeros((5, 2), np.int64)},
        {"labels_NP": np.zeros((6, 2))},
        {"ids": ["a"] * 6},
    ):
        with pytest.raises(OneVisionError):
            AttachedLabels(**{"ids": ids[:-1], "labels_NP": np.zeros((6, 2), np.int64), "classes": 1, **wrong})  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="a-z"):
        attach_labels(corpus, table, "my.bank", missing="none")


def test_a_damaged_sample_is_told_and_the_state_stays(tmp_path: Path) -> None:
    folder = picture_corpus(tmp_path, 7)
    how = StreamConfig(corpora=(CorpusShare(folder=folder),), batch_samples=2, image_size=14)
    shard = Corpus(folder).shard(1)
    entry = shard.entries[0]
    whole = shard.path.read_bytes()
    bad = bytearray(whole)
    bad[entry.members[entry.facts["suffix"]][0] + 50] ^= 255
    shard.path.write_bytes(bad)
    for workers in (0, 2):
        with MixedStream(how, workers=workers) as stream:
            plans = MixedStream(how)
            while entry.facts["id"] not in _ids_of_next(plans):
                next(stream)
                plans.load_state_dict(stream.state_dict())
            state = stream.state_dict()
            with pytest.raises(ShardError, match=rf"{entry.key}\.{entry.facts['suffix']} is not what was written"):
                next(stream)
            assert stream.state_dict() == state
            shard.path.write_bytes(whole)  # mended, it goes on
            assert next(stream).step == state["step"]
            shard.path.write_bytes(bad)


def _ids_of_next(stream: MixedStream) -> list[str]:
    state = stream.state_dict()
    here = Position(state["step"], state["samples"], tuple(state["visits"]))
    plans, _ = Planner(stream.config, stream.corpora).batch(here, 0, 1)
    return [plan.entry.facts["id"] for plan in plans]


def test_a_state_of_another_run_is_refused(folders: tuple[Path, Path]) -> None:
    state = MixedStream(config(folders)).state_dict()
    for options, named in (
        ({"seed": 12}, "seed"),
        ({"budget": "25%"}, "budget"),
        ({"augment": AugmentConfig()}, "augment"),
        ({"corpora": (CorpusShare(folder=folders[0]),)}, "corpora"),
    ):
        with pytest.raises(InvalidArgumentError, match=named):
            MixedStream(config(folders, **options)).load_state_dict(state)
    with pytest.raises(InvalidArgumentError, match="schema"):
        MixedStream(config(folders)).load_state_dict({})
    MixedStream(config(folders, batch_samples=7, image_size=56)).load_state_dict(state)


def test_text_labels_go_with_the_crop_and_are_never_mirrored(tmp_path: Path) -> None:
    folder = picture_corpus(tmp_path, 6)

    class Grid:
        """Says that every second picture holds a hundred small words, t0 ... t99, on a grid."""

        name = "grid"

        def __call__(self, rgb_HW3: np.ndarray) -> list[Word]:  # type: ignore[type-arg]
            if rgb_HW3.shape[0] % 4:
                return []
            return [
                Word(text=f"t{10 * y + x}", box=(x / 10, y / 10, (x + 1) / 10, (y + 1) / 10))
                for y in range(10)
                for x in range(10)
            ]

    read_texts(Corpus(folder), Grid())
    Vocabulary(tokens=tuple(f"t{n}" for n in range(100)), counts=(1,) * 100, pictures=6).save(tmp_path / "v.json")
    how = StreamConfig(
        corpora=(CorpusShare(folder=folder),),
        batch_samples=6,
        image_size=28,
        text=TextBank(vocabulary=tmp_path / "v.json"),
        augment=AugmentConfig(flip_images=1.0),
    )
    stream = MixedStream(how)
    still = MixedStream(StreamConfig(**{**vars(how), "augment": AugmentConfig(flip_images=0.0)}))
    crops = set()
    for _ in range(4):
        batch, unflipped = next(stream), next(still)
        parts = zip(unpack(batch.tokens), unpack(unflipped.tokens), batch.labels["text"], strict=True)
        for tokens, plain, row in parts:
            facts = tokens.clips[0].provenance
            (width, height), (left, top, right, bottom) = facts["size"], facts["crop"]
            shown = [
                10 * y + x
                for y in range(10)
                for x in range(10)
                if left <= x / 10 * width + 1e-9
                and (x + 1) / 10 * width <= right + 1e-9
                and top <= y / 10 * height + 1e-9
                and (y + 1) / 10 * height <= bottom + 1e-9
            ]
            shown = shown if height % 4 == 0 else []
            assert row[row >= 0].tolist() == shown
            assert np.array_equal(tokens.patches_ND, plain.patches_ND) == bool(shown)
            crops.add(len(shown))
    assert len(crops) > 3


def test_what_a_stream_cannot_be_made_of(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for wrong in (
        {"corpora": ()},
        {"modes": {"image": 1}},
        {"modes": {}},
        {"batch_samples": 0},
        {"batch_tokens": 5},
        {"batch_samples": None},
        {"budget": ("50%", "25%")},
        {"budget": ("25%", 5)},
        {"budget": "all"},
        {"image_size": 30},
        {"short": "maybe"},
        {"missing_labels": "skip"},
        {"seed": -1},
    ):
        with pytest.raises(InvalidArgumentError):
            config(folders, **wrong)
    with pytest.raises(InvalidArgumentError, match="rank"):
        MixedStream(config(folders), rank=2, world=2)
    with pytest.raises(InvalidArgumentError, match="probabilities"):
        MixedStream(config(folders, modes={"codec": 0.0}))
    with pytest.raises(CorpusError, match="no such corpus"):
        MixedStream(config((tmp_path, folders[1])))


def test_a_mode_that_was_not_stored_is_told(tmp_path: Path) -> None:
    from small_corpus import small_config, write_videos

    from onevision_encoder.pretrain import build_corpus

    build_corpus([write_videos(tmp_path / "v", 1)], tmp_path / "c", small_config(modes=("codec",)))
    how = StreamConfig(corpora=(CorpusShare(folder=tmp_path / "c"),), modes={"frames": 1}, batch_samples=1)
    with pytest.raises(CorpusError, match=r"stored as codec, and mode 'frames' was drawn: .*--modes frames"):
        next(MixedStream(how))
