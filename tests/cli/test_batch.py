from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from onevision_encoder.cli.batch import Input, expand, finish, run_batch
from onevision_encoder.errors import InvalidArgumentError, MediaError


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def test_folders_are_searched_and_other_files_left_out(tmp_path: Path) -> None:
    touch(tmp_path / "b.MP4", tmp_path / "deep" / "a.mkv", tmp_path / "notes.txt")
    assert [i.name for i in expand([str(tmp_path)])] == ["b.MP4", "deep/a.mkv"]


def test_named_files_are_tried_whatever_their_suffix(tmp_path: Path) -> None:
    touch(tmp_path / "notes.txt")
    assert [i.name for i in expand([str(tmp_path / "notes.txt"), str(tmp_path / "absent.mp4")])] == [
        "notes.txt",
        "absent.mp4",
    ]


def test_equal_names_are_told_apart_and_stay_so(tmp_path: Path) -> None:
    touch(tmp_path / "x" / "a.mp4", tmp_path / "y" / "a.mp4")
    given = [str(tmp_path / "x"), str(tmp_path / "y" / "a.mp4"), "https://example.org/v/a.mp4"]
    assert [i.name for i in expand(given)] == ["a.mp4", "a~2.mp4", "a~3.mp4"]
    assert expand(given)[2].path == "https://example.org/v/a.mp4"


def test_a_video_and_its_tokens_do_not_overwrite_each_other(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4", tmp_path / "a.mp4.tokens.safetensors", tmp_path / "a.mp4.embedding.safetensors")
    names = [i.name for i in expand([str(tmp_path)], ".mp4 .tokens.safetensors")]
    assert names == ["a.mp4", "a~2.mp4"]


def test_nothing_to_do_is_an_error() -> None:
    with pytest.raises(InvalidArgumentError, match="at least one file"):
        expand([])


def test_what_holds_no_media_is_left_for_the_reader_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert expand([str(tmp_path / "empty")]) == [Input(path=str(tmp_path / "empty"), name="empty")]


def test_a_file_named_twice_is_done_once(tmp_path: Path) -> None:
    touch(tmp_path / "a.mp4")
    assert len(expand([str(tmp_path / "a.mp4"), str(tmp_path / "a.mp4")])) == 1


def test_an_interrupt_ends_the_batch_with_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    def work(item: Input) -> Mapping[str, Any]:
        if item.name == "two":
            raise KeyboardInterrupt
        return {}

    report = run_batch([Input(path=n, name=n) for n in ("one", "two", "three")], work, label="test", quiet=True)
    assert [d["name"] for d in report.done] == ["one"]
    assert finish(report, as_json=False, line=lambda d: d["name"], extra={}) == 130
    assert "goes on where" in capsys.readouterr().err


def test_a_batch_goes_on_past_a_failure_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    def work(item: Input) -> Mapping[str, Any]:
        if item.name == "bad":
            raise MediaError(item.path, "is broken")
        return {"value": len(item.name)}

    inputs = [Input(path=f"/{n}", name=n) for n in ("one", "bad", "three")]
    report = run_batch(inputs, work, label="test", quiet=True)
    assert [d["name"] for d in report.done] == ["one", "three"]
    assert report.failed == [{"name": "bad", "source": "/bad", "error": "MediaError", "message": "/bad: is broken"}]
    assert finish(report, as_json=False, line=lambda d: d["name"], extra={}) == 1
    out, err = capsys.readouterr()
    assert out.split() == ["one", "three"]
    assert "ove: /bad: is broken (MediaError)" in err
    assert "1 of 3 inputs failed" in err


def test_other_errors_are_not_swallowed() -> None:
    def work(item: Input) -> Mapping[str, Any]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_batch([Input(path="a", name="a")], work, label="test", quiet=True)
