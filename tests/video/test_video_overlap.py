"""Frames converted in another thread while decoding goes on: nothing may come out otherwise than one by one."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from clips import moving_square, write_video

from onevision_encoder.video import Sampling, overlap, read_video, reader
from onevision_encoder.video.overlap import AHEAD, for_each_frame


def in_turn(decoded, work) -> None:
    for index, frame in decoded:
        work(index, frame)


@pytest.mark.parametrize("name", ["a.mp4", "b.mkv"])
def test_the_result_is_that_of_one_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    codec = "libx264" if name.endswith("mp4") else "ffv1"
    pix_fmt = "yuv420p" if codec == "libx264" else "yuv444p"
    path = write_video(tmp_path / name, moving_square(frames=70, height=180, width=322), codec=codec, pix_fmt=pix_fmt)
    for sampling in (Sampling(), Sampling(num_frames=5), Sampling(num_frames=None)):
        overlapped = read_video(path, sampling=sampling)
        with monkeypatch.context() as patch:
            patch.setattr(reader, "for_each_frame", in_turn)
            plain = read_video(path, sampling=sampling)
        for field in ("rgb_THW3", "luma_THW", "frame_index_T", "pts_seconds_T", "keyframe_T", "slot_T"):
            np.testing.assert_array_equal(getattr(overlapped, field), getattr(plain, field))
        assert overlapped.source == plain.source
        assert overlapped.provenance == plain.provenance


def test_in_order_in_one_other_thread_and_never_far_behind() -> None:
    done: list[int] = []
    threads: set[int] = set()
    behind: list[int] = []

    def decoded():
        for i in range(30):
            behind.append(i - len(done))
            yield i, str(i)

    def work(index: int, frame: str) -> None:
        time.sleep(0.001)
        assert frame == str(index)
        threads.add(threading.get_ident())
        done.append(index)

    for_each_frame(decoded(), work)
    assert done == list(range(30))
    assert len(threads) == 1
    assert threads != {threading.get_ident()}
    assert 1 <= max(behind) <= AHEAD + 1


def test_what_the_work_raises_is_raised_and_ends_the_decoding() -> None:
    taken: list[int] = []
    done: list[int] = []

    def decoded():
        for i in range(100):
            taken.append(i)
            yield i, i

    def work(index: int, frame: int) -> None:
        if index == 3:
            raise KeyError("three")
        done.append(index)

    with pytest.raises(KeyError, match="three"):
        for_each_frame(decoded(), work)
    assert len(taken) <= 4 + AHEAD + 1
    assert done[:3] == [0, 1, 2]


def test_what_the_decoder_raises_is_raised_and_no_thread_stays() -> None:
    def decoded():
        yield 0, 0
        raise ValueError("damaged")

    done: list[int] = []
    with pytest.raises(ValueError, match="damaged"):
        for_each_frame(decoded(), lambda index, frame: done.append(index))
    assert not [t for t in threading.enumerate() if t.name.startswith("onevision-frames")]


def test_frames_that_wait_when_the_decoder_fails_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frame 0 is being worked on and frame 1 waits when the decoder raises: 1 is never begun."""
    begun, go_on = threading.Event(), threading.Event()

    class Watched(overlap.ThreadPoolExecutor):
        def __exit__(self, *raised):
            go_on.set()  # only now, when what waits has been called off
            return super().__exit__(*raised)

    monkeypatch.setattr(overlap, "ThreadPoolExecutor", Watched)
    worked_on: list[int] = []

    def decoded():
        yield 0, 0
        yield 1, 1
        assert begun.wait(10)
        raise ValueError("damaged")

    def work(index: int, frame: int) -> None:
        worked_on.append(index)
        begun.set()
        assert go_on.wait(10)

    with pytest.raises(ValueError, match="damaged"):
        for_each_frame(decoded(), work)
    assert worked_on == [0]
