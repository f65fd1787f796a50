"""From media to a probed checkpoint: small in the slow tests, the recipe itself in the soak."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from clips import moving_square, write_video

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.model import load_encoder
from onevision_encoder.pretrain import corpus_build
from onevision_encoder.pretrain.pipeline import TinyPlan, prepare_tiny, run_tiny
from onevision_encoder.pretrain.run_log import read_metrics
from onevision_encoder.pretrain.tiny_media import find_media

PLAN = TinyPlan(clips_per_class=(1, 0, 0), probe_clips=(2, 0, 1), items_per_group=4)
FEW = ("stage1.steps=4", "stage2.steps=4", "stage1.data.batch_size=4", "stage2.data.batch_size=4")


@pytest.mark.slow
def test_media_to_a_probed_checkpoint_and_again(tmp_path: Path) -> None:
    result = run_tiny(tmp_path, settings=FEW, device="cpu", quiet=True, plan=PLAN)
    assert (result.first, result.step) == (0, 4)
    report = json.loads((tmp_path / "report.json").read_text())
    assert set(report["probe"]) == {"random", "stage1", "stage2"}
    assert all(0 <= share <= 1 for share in report["probe"].values())
    assert (report["pictures"], report["clips"], report["groups"]) == (40, 20, {"object": 10, "motion": 5})
    rows = read_metrics(tmp_path / "stage2")
    assert {name.split("/")[2] for row in rows for name in row if name.startswith("loss/motion/")} <= {
        "codec",
        "frames",
        "tiled",
    }
    assert any("loss/object/image" in row for row in rows)
    one, two = (load_encoder(tmp_path / stage / "encoder", dtype=torch.float32) for stage in ("stage1", "stage2"))
    assert any(not torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))
    shards = {path: path.stat().st_mtime_ns for path in (tmp_path / "corpora").rglob("*.tar")}
    again = run_tiny(tmp_path, settings=FEW, device="cpu", quiet=True, plan=PLAN)
    assert again.first == 4, "everything is there already"
    assert {path: path.stat().st_mtime_ns for path in shards} == shards
    assert json.loads((tmp_path / "report.json").read_text()) == report
    with pytest.raises(InvalidArgumentError, match=r"stage1\.NAME"):
        run_tiny(tmp_path, settings=("steps=4",), device="cpu", quiet=True, plan=PLAN)


def test_a_clip_that_cannot_be_read_gives_no_stills(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    write_video(tmp_path / "m/a.mp4", moving_square(4, 28, 28, side=7, step=2, seed=0))
    (tmp_path / "m/b.mp4").write_bytes(b"no video")
    said: list[str] = []
    clips, pictures = find_media(tmp_path, tmp_path / "m", 2, said.append)
    assert (len(clips), len(pictures)) == (2, 2)
    assert "b.mp4" in said[-1]


def test_ctrl_c_within_a_corpus_ends_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(*_: object, **__: object) -> object:
        raise KeyboardInterrupt

    (tmp_path / "m").mkdir()
    write_video(tmp_path / "m/a.mp4", moving_square(4, 28, 28, side=7, step=2, seed=0))
    monkeypatch.setattr(corpus_build, "make_samples", torn)
    with pytest.raises(KeyboardInterrupt):
        prepare_tiny(tmp_path, tmp_path / "m", PLAN)


@pytest.mark.soak
def test_the_recipe_takes_less_than_a_quarter_of_an_hour(tmp_path: Path) -> None:
    started = time.monotonic()
    run_tiny(tmp_path, device="cpu", quiet=True)
    assert time.monotonic() - started < 15 * 60
    assert set(json.loads((tmp_path / "report.json").read_text())["probe"]) == {"random", "stage1", "stage2"}
    found = [row["accuracy/object"] for row in read_metrics(tmp_path / "stage1")]
    assert sum(found[-50:]) > 1.5 * sum(found[:50]), "the groups of the pictures are learnt"
