"""Configurations there and back, single settings, and what is said about wrong ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_runs import small_config

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.pretrain.config import DataConfig, PretrainConfig, ProbeConfig, SourceConfig
from onevision_encoder.pretrain.settings import differences, from_json, read_config, to_json, with_setting


def rich_config() -> PretrainConfig:
    sources = (SourceConfig(path="a", weight=2.0, kind="video"), SourceConfig(path="b"))
    data = DataConfig(sources=sources, budget=("3.1%", "25%"), image_sizes={"0": 224, "0.5": 448})
    return small_config(data=data, probe=ProbeConfig(data="labelled"))


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    for config in (small_config(), rich_config()):
        path = tmp_path / "config.json"
        path.write_text(json.dumps(to_json(config)))
        assert read_config(path) == config


def test_single_settings() -> None:
    config = rich_config()
    changed = with_setting(with_setting(config, "optimizer.lr=1e-4"), "banks.object.sample_rate=1")
    assert changed.optimizer.lr == 1e-4
    assert changed.banks["object"].sample_rate == 1.0
    assert with_setting(config, "schedule.decay=linear").schedule.decay == "linear"
    assert with_setting(config, "data.budget=6.25%").data.budget == "6.25%"
    assert with_setting(config, "data.budget=512").data.budget == 512
    assert with_setting(config, "data.budget=[256, 512]").data.budget == (256, 512)
    without = with_setting(config, "probe=null")
    assert without.probe is None
    assert with_setting(without, "probe.data=suite").probe.data == "suite"
    found = list(differences(to_json(config), to_json(changed)))
    assert found == [("banks.object.sample_rate", 0.5, 1.0), ("optimizer.lr", 0.003, 0.0001)]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("optimizer.learning=1", "optimizer.learning"),
        ("optimiser.lr=1", "optimiser"),
        ("optimizer.lr=fast", "optimizer.lr='fast'.*a number"),
        ("steps=2.5", "steps=2.5.*whole"),
        ("steps=0", "steps=0"),
        ("data.budget=0.5", "budget"),
        ("data.modes.collage=1", "codec, frames, tiled"),
        ("data.image_sizes={}", "image_sizes"),
        ("encoder.overrides.hiden_size=3", "hiden_size"),
        ("encoder.overrides.use_head=false", "use_head"),
        ("encoder.preset=gigantic", "gigantic"),
        ("banks={}", "at least one bank"),
        ("banks.text.classes=5", "banks.text"),
        ("data.sources=[{}]", r"data.sources\[0\].path"),
        ("data.vocabulary=words.json", "text"),
        ("data.augment.drop=2", "drop"),
        ("parallel.precision=float8", "float8"),
        ("lr", "NAME=VALUE"),
    ],
)
def test_wrong_settings_are_named(setting: str, words: str) -> None:
    with pytest.raises(InvalidArgumentError, match=words):
        with_setting(small_config(), setting)


def test_wrong_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    for path in (tmp_path / "bad.json", tmp_path / "absent.json"):
        with pytest.raises(InvalidArgumentError, match=path.name):
            read_config(path)
    wrong: Any = ["list"]
    with pytest.raises(InvalidArgumentError, match="config"):
        from_json(PretrainConfig, wrong)


def test_pictures_grow_at_the_share_that_was_said() -> None:
    data = DataConfig(image_sizes={"0.5": 448, "0": 224})
    assert [data.image_size(step, 4) for step in range(4)] == [224, 224, 448, 448]
    assert [data.image_size(step, 3) for step in range(3)] == [224, 224, 448]
