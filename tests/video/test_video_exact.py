"""What the reader leaves out (frames nobody refers to, whole groups, bytes it seeks over) must not change a pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import write_video
from video_reference import numbered, plain_frames, read_number, sized_like_the_reader

from onevision_encoder.video import Sampling, decode, read_video, reader
from onevision_encoder.video.decode import decode_runs, plan_runs
from onevision_encoder.video.index import read_table
from onevision_encoder.video.source import OpenedSource

X264 = {"preset": "veryfast", "g": "24", "bf": "3", "threads": "1"}
PYRAMID = {**X264, "x264-params": "b-pyramid=normal:scenecut=0:ref=4"}
OPEN_GOP = {**X264, "x264-params": "open-gop=1:bframes=3:scenecut=0:keyint=24:b-adapt=0:ref=4"}
REFRESH = {**X264, "bf": "0", "x264-params": "intra-refresh=1:keyint=24"}
X265 = {"preset": "ultrafast", "x265-params": "log-level=none:keyint=24:bframes=3:pools=none:frame-threads=1"}
X265_OPEN = {**X265, "x265-params": X265["x265-params"] + ":open-gop=1:b-pyramid=1"}
X265_LAYERS = {**X265, "x265-params": X265["x265-params"] + ":temporal-layers=3"}
VP8 = {"deadline": "realtime", "cpu-used": "8", "g": "24", "auto-alt-ref": "1", "lag-in-frames": "8", "b": "200k"}
VP9 = {**VP8, "row-mt": "0"}
STREAMS = {
    "h264.mp4": ("libx264", X264),
    "pyramid.mp4": ("libx264", PYRAMID),
    "open_gop.mp4": ("libx264", OPEN_GOP),
    "open_gop.mkv": ("libx264", OPEN_GOP),
    "refresh.mp4": ("libx264", REFRESH),
    "h264.mkv": ("libx264", PYRAMID),
    "h264.ts": ("libx264", PYRAMID),
    "h264.avi": ("libx264", {**X264, "bf": "0"}),
    "h264.flv": ("libx264", PYRAMID),
    "raw.h264": ("libx264", PYRAMID),
    "hevc.mp4": ("libx265", X265),
    "hevc_open.mp4": ("libx265", X265_OPEN),
    "hevc_layers.mkv": ("libx265", X265_LAYERS),
    "raw.hevc": ("libx265", X265),
    "mpeg4.mp4": ("mpeg4", {"g": "24", "bf": "2"}),
    "mpeg4.avi": ("mpeg4", {"g": "24", "bf": "2"}),
    "mpeg4.mkv": ("mpeg4", {"g": "24", "bf": "2"}),
    "mpeg2.ts": ("mpeg2video", {"g": "24", "bf": "2"}),
    "mpeg2.mkv": ("mpeg2video", {"g": "24", "bf": "2"}),
    "mpeg2.mpg": ("mpeg2video", {"g": "24", "bf": "2"}),
    "vp8.webm": ("libvpx", VP8),
    "vp8.ivf": ("libvpx", VP8),
    "vp9.webm": ("libvpx-vp9", VP9),
    "av1.mp4": ("libsvtav1", {"preset": "12", "g": "24", "svtav1-params": "lp=1"}),
    "ffv1.mkv": ("ffv1", {}),
}
SAMPLINGS = [Sampling(num_frames=5), Sampling(num_frames=40), Sampling(start_seconds=2.1, end_seconds=2.2)]
COUNT = 97


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, clip = tmp_path_factory.mktemp("streams"), numbered(COUNT)
    made = {}
    for name, (codec, options) in STREAMS.items():
        pix_fmt = "yuv444p" if codec == "ffv1" else "yuv420p"
        made[name] = write_video(folder / name, clip, codec=codec, options=options, pix_fmt=pix_fmt)
    return made


def watch_passes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which decoding passes the reader makes: fast, or careful (the one after damage)."""
    passes: list[str] = []

    def watched(*arguments: Any, one_thread: bool = False, **options: Any) -> Any:
        passes.append("careful" if one_thread else "fast")
        return decode_runs(*arguments, one_thread=one_thread, **options)

    monkeypatch.setattr(reader, "decode_runs", watched)
    return passes


@pytest.mark.parametrize("name", STREAMS)
def test_pixels_and_indices_equal_plain_decoding(
    streams: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_SEEK_BYTES", 0)  # seek wherever that is allowed at all
    passes = watch_passes(monkeypatch)
    plain = sized_like_the_reader(plain_frames(streams[name]))
    assert len(plain) == COUNT
    for sampling in SAMPLINGS:
        frames = read_video(streams[name], sampling=sampling)
        assert frames.source.num_frames == COUNT
        assert frames.source.frames_lost == frames.source.frames_corrupt == 0
        np.testing.assert_array_equal(frames.rgb_THW3, plain[frames.frame_index_T])
        assert [read_number(rgb) for rgb in frames.rgb_THW3] == frames.frame_index_T.tolist()
        if sampling.start_seconds is None:
            wanted = np.linspace(0, COUNT - 1, sampling.num_frames or 0).astype(int)
            np.testing.assert_array_equal(frames.frame_index_T, wanted)
    assert "unidentified_frames" not in frames.provenance
    assert passes == ["fast"] * len(SAMPLINGS)  # right at once, not by reading again with nothing left out


@pytest.mark.parametrize("name", [name for name in STREAMS if name.endswith(("mp4", "mkv", "webm"))])
def test_runs_start_at_clean_restarts(streams: dict[str, Path], name: str) -> None:
    table = read_table(OpenedSource(streams[name]))
    for frame in range(COUNT):
        (run,) = plan_runs(table, [frame])
        assert run.start <= run.end == table.packet_N[frame]
        assert run.start == 0 or table.restart_P[run.start]
        assert table.rank_P[run.start] <= frame  # leading frames of an open group belong to the group before


@pytest.mark.parametrize(("name", "fewer"), [("h264.mp4", True), ("open_gop.mkv", False), ("vp9.webm", True)])
def test_groups_without_wanted_frames_are_left_out(streams: dict[str, Path], name: str, fewer: bool) -> None:
    table = read_table(OpenedSource(streams[name]))
    runs = plan_runs(table, [0, 95])
    assert (len(runs) == 2 and runs[1].start > 24) == fewer  # x264's open groups start at no IDR
    assert {index for run in runs for index in run.wanted} == {0, 95}


@pytest.mark.parametrize("name", ["mpeg4.avi", "h264.ts", "raw.h264", "mpeg2.mpg", "h264.flv", "vp8.ivf"])
def test_streams_with_inexact_seeking_are_read_through(
    streams: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_SEEK_BYTES", 0)
    monkeypatch.setattr(decode._PacketReader, "_seek_to", lambda *_: pytest.fail("sought in a stream that cannot"))
    assert read_video(streams[name], sampling=Sampling(num_frames=3)).num_frames == 3


@pytest.mark.parametrize("name", ["h264.mp4", "vp9.webm", "hevc.mp4"])
def test_a_missed_seek_starts_again_from_the_front(
    streams: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "_SEEK_BYTES", 0)
    expected = read_video(streams[name], sampling=Sampling(num_frames=4))
    calls = []

    def miss(self: decode._PacketReader, start: int) -> bool:
        calls.append(start)
        self._container.seek(0, stream=self._stream)  # the position is anywhere
        return False

    monkeypatch.setattr(decode._PacketReader, "_seek_to", miss)
    frames = read_video(streams[name], sampling=Sampling(num_frames=4))
    assert calls
    np.testing.assert_array_equal(frames.rgb_THW3, expected.rgb_THW3)


def test_seeks_happen_and_land_where_they_should(streams: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_SEEK_BYTES", 0)
    seek, landed = decode._PacketReader._seek_to, []

    def watched(self: decode._PacketReader, start: int) -> bool:
        landed.append(seek(self, start))
        return landed[-1]

    monkeypatch.setattr(decode._PacketReader, "_seek_to", watched)
    for name in ("h264.mp4", "h264.mkv", "hevc.mp4", "vp8.webm", "mpeg4.mp4"):
        landed.clear()
        read_video(streams[name], sampling=Sampling(num_frames=3))
        assert landed, name
        assert all(landed), name


def test_bytes_and_file_objects_read_the_same(streams: dict[str, Path]) -> None:
    path = streams["pyramid.mp4"]
    expected = read_video(path)
    for source in (str(path), path.read_bytes(), bytearray(path.read_bytes())):
        np.testing.assert_array_equal(read_video(source).rgb_THW3, expected.rgb_THW3)
    with path.open("rb") as file:
        file.seek(100)  # wherever it stands
        frames = read_video(file)
    np.testing.assert_array_equal(frames.rgb_THW3, expected.rgb_THW3)
    assert frames.source.fingerprint == expected.source.fingerprint


def test_two_reads_agree_in_every_field(streams: dict[str, Path]) -> None:
    one, two = (read_video(streams["hevc_open.mp4"]) for _ in range(2))
    assert one.source == two.source
    assert one.provenance == two.provenance
    for name in ("rgb_THW3", "luma_THW", "frame_index_T", "pts_seconds_T", "keyframe_T"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
