"""A sweep end to end on a handful of tiny clips: it learns what is plain, goes on where it stopped, names what is
broken."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from labelled import folder_of_classes

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.evaluate import DataSet, ProbeConfig, TuneConfig, load_dataset
from onevision_encoder.evaluate import sweep as sweeping
from onevision_encoder.evaluate.sweep import CELLS, SweepResult, run_sweep
from onevision_encoder.evaluate.sweep_config import SweepConfig
from onevision_encoder.evaluate.sweep_ledger import Ledger
from onevision_encoder.evaluate.sweep_report import as_report, write_sweep
from onevision_encoder.tokens import TokenizeConfig

TUNE = TuneConfig(steps=30, width=32, layers=1, heads=1, batch_size=8)
CONFIG = SweepConfig(
    policies=("codec:bits", "uniform"),
    budgets=("4",),
    seeds=2,
    interventions=("none", "shuffled"),
    resamples=50,
    tune=TUNE,
    reading=TokenizeConfig.of(num_frames=3, max_patches=4),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    return load_dataset(folder_of_classes(tmp_path_factory.mktemp("tones"), clips=4))


@pytest.fixture(scope="module")
def found(data: DataSet, tmp_path_factory: pytest.TempPathFactory) -> tuple[SweepResult, Path]:
    out = tmp_path_factory.mktemp("sweep")
    return run_sweep(data, CONFIG, out), out


def test_what_is_plain_is_learnt_and_every_cell_is_there(found: tuple[SweepResult, Path]) -> None:
    result, out = found
    report = write_sweep(out, result)
    assert result.complete
    assert [(r["policy"], r["seed"], r["intervention"]) for r in report["rows"]] == [
        (policy, seed, kind) for policy in CONFIG.policies for seed in (0, 1) for kind in ("none", "shuffled")
    ]
    assert all(row["accuracy"] == row["train_accuracy"] == 1.0 for row in report["rows"]), "dark or bright"
    assert all((row["tokens"], row["steps"]) == (4, 30) for row in report["rows"])
    codec = report["rows"][0]
    assert (codec["score"], codec["provider"], codec["refused"]) == ("bits", "blockcoder", None)
    assert len({row["digest"] for row in report["rows"]}) == 8
    assert report["chance"] == 0.5
    against = report["summary"][0]
    assert against["against"] == {"policy": "uniform", "budget": 4, "variant": "mite", "intervention": "none"}
    assert (against["difference"], against["difference95"], against["videos_in_common"]) == (0.0, [0.0, 0.0], 4)
    assert "| codec:bits | 100.0 +- 0.0 (100.0 to 100.0) |" in (out / "sweep.md").read_text()
    assert (out / "sweep.svg").read_text().startswith("<svg ")
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_goes_on_where_it_stopped_and_ends_in_the_same_report(
    found: tuple[SweepResult, Path], data: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result, _ = found
    done: list[str] = []
    run_job = sweeping.run_job

    def interrupted(shop, job, missing):  # type: ignore[no-untyped-def]
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(f"{job.plan.name} {job.seed}")
        return run_job(shop, job, missing)

    monkeypatch.setattr(sweeping, "run_job", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(data, CONFIG, tmp_path)
    file = tmp_path / CELLS
    assert len([line for line in file.read_text().splitlines() if '"policy"' in line]) == 4
    file.write_bytes(file.read_bytes()[:-9])  # as if the machine had gone down while the last row was written
    done.clear()
    monkeypatch.setattr(sweeping, "run_job", lambda shop, job, missing: done.append(job) or run_job(shop, job, missing))
    again = run_sweep(data, CONFIG, tmp_path)
    assert len(done) == 3, "of four jobs one was finished"
    assert again.run["dropped"] == 1
    assert as_report(again) == as_report(result)
    done.clear()
    run_sweep(data, replace(CONFIG, reference="codec:bits"), tmp_path)
    assert not done, "what is compared does not change what was found"
    run_sweep(data, replace(CONFIG, seeds=3), tmp_path)
    assert [job.seed for job in done] == [2, 2]  # type: ignore[attr-defined]


def test_what_cannot_be_is_refused_by_name_and_the_rest_goes_on(data: DataSet, tmp_path: Path) -> None:
    words = ("codec:bits", "codec:bits@x264proxy", "uniform_lowres")
    config = replace(CONFIG, policies=words, budgets=("4", "12", "13"), seeds=1, interventions=("none", "non_motion"))
    result = run_sweep(data, config, tmp_path)
    why = {(r["policy"], r["budget"], r["intervention"]): r["refused"] for r in result.rows}
    assert why["codec:bits", 4, "none"] is why["codec:bits", 4, "non_motion"] is None
    assert why["codec:bits", 12, "none"] is None
    assert why["codec:bits", 12, "non_motion"].startswith("BudgetError: budget=12")
    assert why["codec:bits", 13, "none"].startswith("BudgetError: budget=13")
    assert why["codec:bits@x264proxy", 4, "none"].startswith("SignalUnavailableError")
    assert all(row["accuracy"] is None and row["tokens"] is None for row in result.rows if row["refused"])
    assert not result.complete
    text = json.dumps(write_sweep(tmp_path, result))
    assert "budget=13" in text
    assert "refused: codec:bits at 13 tokens, 2 cells: BudgetError" in (tmp_path / "sweep.md").read_text()


def test_folds_test_every_video_once(data: DataSet, tmp_path: Path) -> None:
    config = replace(CONFIG, policies=("uniform",), seeds=1, folds=3, interventions=("none",))
    result = run_sweep(data, config, tmp_path)
    assert [row["fold"] for row in result.rows] == [0, 1, 2]
    tested = [name for row in result.rows for name in result.videos[row["videos"]]]
    assert sorted(tested) == sorted(e.video for e in data.examples)
    entry = as_report(result)["summary"][0]
    right = sum(row["correct"].count("1") for row in result.rows)
    assert entry["videos"] == len(tested) == 12
    assert entry["accuracy"] == right / 12


@pytest.mark.slow  # processes that import torch
def test_two_processes_find_what_one_finds(found: tuple[SweepResult, Path], data: DataSet, tmp_path: Path) -> None:
    assert as_report(run_sweep(data, CONFIG, tmp_path, jobs=2)) == as_report(found[0])


def test_configurations_that_make_no_sense_are_refused(data: DataSet, tmp_path: Path) -> None:
    for change in (
        {"policies": ("uniform", "uniform")},
        {"policies": ()},
        {"mode": "guess"},
        {"seeds": 0},
        {"folds": 1},
        {"reference": "random"},
        {"encoders": ("tiny,depth=3",)},
        {"tune": TuneConfig(preset="small")},
        {"mode": "probe"},
    ):
        with pytest.raises(InvalidArgumentError):
            replace(CONFIG, **change)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="one class a clip"):
        run_sweep(replace(data, multi_label=True), CONFIG, tmp_path)


def test_the_ledger_drops_what_was_cut_short(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "rows.jsonl")
    ledger.add({"digest": "a", "x": 1})
    ledger.add({"digest": "a", "x": 2})
    ledger.path.write_text(ledger.path.read_text() + '{"digest": "b", "x"')
    again = Ledger.open(ledger.path)
    again.add({"digest": "c", "x": 3})
    last = Ledger.open(ledger.path)
    assert {name: row["x"] for name, row in last.rows.items()} == {"a": 1, "c": 3}
    assert last.dropped == 1


def test_statistics_against_counting_by_hand() -> None:
    from onevision_encoder.evaluate.sweep_statistics import mean_interval, summary_of

    videos = {"v": [f"clip{i}" for i in range(6)]}
    words = {("a", 0): "110010", ("a", 1): "100011", ("uniform", 0): "100000", ("uniform", 1): "110000"}
    rows = [
        {"policy": p, "budget": 8, "variant": "t", "intervention": "none", "seed": s, "correct": w, "videos": "v"}
        | {"accuracy": w.count("1") / 6, "score": None, "provider": None}
        | dict.fromkeys(("train_accuracy", "train_loss", "val_accuracy"))
        for (p, s), w in words.items()
    ]
    one, reference = summary_of(rows, videos, reference="uniform", resamples=4000)
    assert one["accuracy"] == pytest.approx(0.5)
    assert one["sd"] == pytest.approx(0.0)
    assert reference["sd"] == pytest.approx(np.std([1 / 6, 2 / 6], ddof=1))
    assert one["difference"] == pytest.approx(3 / 12)
    gain = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 0.5])
    drawn = np.random.default_rng(9).choice(gain, (20000, 6)).mean(1)
    assert one["difference95"] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.09)
    assert mean_interval(gain, 500) == mean_interval(gain, 500)


def test_frozen_encoders_are_probed_and_go_on_too(data: DataSet, tmp_path: Path) -> None:
    head = ProbeConfig(head="linear", epochs=20, lrs=(0.1,), weight_decays=(0.0,))
    config = replace(CONFIG, mode="probe", encoders=("tiny",), interventions=("none",), policies=("uniform",))
    config = replace(config, probe=head)
    result = run_sweep(data, config, tmp_path)
    assert [(row["seed"], row["accuracy"], row["steps"]) for row in result.rows] == [(0, 1.0, 20), (1, 1.0, 20)]
    again = run_sweep(data, replace(config, budgets=("4", "13")), tmp_path)
    assert again.run["found"] == 2
    assert "BudgetError: budget=13" in again.rows[-1]["refused"]
