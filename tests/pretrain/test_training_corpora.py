"""Runs on corpora as they lie on disk: they go on to the bit, pictures grow, and nothing that changed is used."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_corpus import picture_corpus, small_config, write_pictures
from small_runs import SHAPE, weights_of
from small_runs import small_config as small_run
from stopping import StoppedError, stop_after

sys.path.append(str(Path(__file__).resolve().parents[1] / "cli"))
from calling import call

from onevision_encoder.errors import CorpusError, ShardError, WriteError
from onevision_encoder.model import load_encoder
from onevision_encoder.pretrain import (
    AttachedLabels,
    Corpus,
    PretrainConfig,
    Vocabulary,
    attach_labels,
    build_corpus,
    pretrain,
)
from onevision_encoder.pretrain.attached_labels import LabelFileError
from onevision_encoder.pretrain.config import CheckpointConfig, DataConfig, EncoderConfig, SourceConfig
from onevision_encoder.pretrain.failures import ResumeError
from onevision_encoder.pretrain.run_log import RunLog
from onevision_encoder.pretrain.train_state import first_encoder


def labelled(folder: Path, seed: int = 0) -> Path:
    corpus = Corpus(folder)
    ids = [entry.facts["id"] for _, entry in corpus.samples()]
    rows = np.random.default_rng(seed).integers(0, 13, (len(ids), 2))
    attach_labels(corpus, AttachedLabels(ids=ids, labels_NP=rows, classes=13), "object")
    return folder


def config(folder: Path, **changes: Any) -> PretrainConfig:
    data = DataConfig(
        sources=(SourceConfig(path=str(folder)),),
        batch_size=2,
        image_sizes=changes.pop("image_sizes", {"0": 16}),
        workers=changes.pop("workers", 0),
    )
    base = small_run(steps=6, data=data, checkpoint=CheckpointConfig(every=2))
    return replace(base, banks={"object": replace(base.banks["object"], sample_rate=1.0)}, **changes)


def run(out: Path, settings: PretrainConfig) -> Any:
    return pretrain(settings, out, device="cpu", quiet=True)


@pytest.mark.parametrize("sizes", [{"0": 16}, {"0": 16, "0.5": 24}], ids=["one size", "pictures grow"])
def test_a_stopped_run_goes_on_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sizes: Any) -> None:
    settings = config(labelled(picture_corpus(tmp_path)), image_sizes=sizes, workers=1)
    whole = run(tmp_path / "whole", settings)
    with monkeypatch.context() as patched:
        stop_after(patched, 5)
        with pytest.raises(StoppedError):
            run(tmp_path / "stopped", settings)
    assert run(tmp_path / "stopped", settings).first == 4
    one, other = weights_of(tmp_path / "whole"), weights_of(tmp_path / "stopped")
    assert sorted(one) == sorted(other)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    centres = whole.out / "banks/object.safetensors"
    second = replace(settings, bank_init={"object": str(centres)}, steps=1)
    assert run(tmp_path / "second", second).step == 1, "what a stage leaves is what the next one begins with"


def test_before_the_first_checkpoint_a_run_begins_anew_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = replace(config(labelled(picture_corpus(tmp_path))), checkpoint=CheckpointConfig(every=5))
    with monkeypatch.context() as patched:
        stop_after(patched, 3)
        with pytest.raises(StoppedError):
            run(tmp_path / "run", settings)
    sooner = replace(settings, checkpoint=CheckpointConfig(every=2))
    assert run(tmp_path / "run", sooner).first == 0
    assert "ended after 3 steps, before its first checkpoint" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "run/checkpoints")
    with pytest.raises(ResumeError, match="somebody removed them"):
        run(tmp_path / "run", sooner)


def test_an_encoder_with_places_is_not_taken_for_one_without(tmp_path: Path) -> None:
    shape = {**SHAPE, "place_waves": 2, "place_size": (4, 4, 4)}
    settings = config(labelled(picture_corpus(tmp_path)), encoder=EncoderConfig(preset="tiny", overrides=shape))
    made = run(tmp_path / "run", settings)
    names = [name for name, _ in load_encoder(made.encoder, device="cpu").model.named_parameters()]
    assert "embeddings.place_embedding.weight" in names
    without = EncoderConfig(preset="tiny", overrides=SHAPE, init=str(made.encoder))
    with pytest.raises(ResumeError, match="place_waves is 2, the configuration says 0"):
        first_encoder(replace(settings, encoder=without))


def test_a_full_disk_is_told_by_the_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        closed = False

        def write(self, _: str) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            self.closed = True

    begin = RunLog.__init__

    def opened(self: RunLog, *args: Any, **options: Any) -> None:
        begin(self, *args, **options)
        self._file.close()
        self._file = Full()  # type: ignore[assignment]

    monkeypatch.setattr(RunLog, "__init__", opened)
    with pytest.raises(WriteError, match=r"metrics\.jsonl.*No space left"):
        run(tmp_path / "run", config(labelled(picture_corpus(tmp_path))))


def test_words_that_were_never_read_are_missed_at_once(tmp_path: Path) -> None:
    Vocabulary(tokens=("a", "b"), counts=(1, 1), pictures=2).save(tmp_path / "v.json")
    settings = config(labelled(picture_corpus(tmp_path)))
    banks = {**settings.banks, "text": replace(settings.banks["object"], classes=2)}
    data = replace(settings.data, vocabulary=str(tmp_path / "v.json"))
    with pytest.raises(CorpusError, match="no words were read in any corpus"):
        run(tmp_path / "run", replace(settings, banks=banks, data=data))


def test_labels_of_a_shard_that_was_made_anew(tmp_path: Path) -> None:
    folder = labelled(picture_corpus(tmp_path, 12))
    last = sorted(folder.glob("*.tar"))[-1]
    last.unlink()
    last.with_suffix(".index.json").unlink()
    build_corpus([write_pictures(tmp_path / "pictures", 13)], folder, small_config())
    with pytest.raises(LabelFileError, match="before it was made anew"):
        run(tmp_path / "run", replace(config(folder), steps=20))


def test_labels_of_two_tables_in_one_corpus(tmp_path: Path) -> None:
    folder = labelled(picture_corpus(tmp_path, 12))
    kept = sorted(folder.glob("*.labels.safetensors"))[-1]
    before = kept.read_bytes()
    labelled(folder, seed=1)
    kept.write_bytes(before)  # as if attaching had been killed before its last file
    with pytest.raises(LabelFileError, match="another table"):
        run(tmp_path / "run", replace(config(folder), steps=20))


def test_a_shard_that_is_cut_is_told_when_the_corpus_is_opened(tmp_path: Path) -> None:
    shard = sorted(picture_corpus(tmp_path).glob("*.tar"))[0]
    shard.write_bytes(shard.read_bytes()[:-512])
    with pytest.raises(ShardError, match="copy it again"):
        Corpus(tmp_path / "of-pictures")


def test_from_media_to_a_labelled_corpus_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    media = write_pictures(tmp_path / "m", 6, height=28, width=28)
    shutil.copy(media / "p00.png", media / "q.png")
    code, _, err = call(capsys, "corpus", "build", media, "--out", tmp_path / "c")
    assert code == 0, err
    words = ("--model", "tiny", "--num-frames", 1, "--max-patches", 4, "--policy", "dense", "--budget", "auto")
    bank = tmp_path / "b"
    code, _, err = call(capsys, "concepts", "build", media, "--k", 3, *words, "--out", bank)
    assert code == 0, err
    assert call(capsys, "concepts", "label", bank, "--top", 2, "--duplicates", 0.9999)[0] == 0
    code, out, err = call(capsys, "corpus", "label", tmp_path / "c", "--bank", bank, "--name", "object", "--json")
    assert code == 0, err
    assert '"labelled": 7' in out
    code, out, _ = call(
        capsys, "corpus", "label", tmp_path / "c", "--bank", bank, "--name", "object", "--drop-duplicates"
    )
    assert "1 near-duplicate without a label" in out
    settings = replace(config(tmp_path / "c"), steps=1)
    run(tmp_path / "run", replace(settings, banks={"object": replace(settings.banks["object"], classes=3)}))
