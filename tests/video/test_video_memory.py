"""Long files are sampled in bounded memory and without decoding what lies between the samples."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from video_reference import numbered, read_number

from onevision_encoder.video import Sampling, decode, read_media, read_video

PEAK = """
import resource, sys
from onevision_encoder.video import Sampling, read_video
read_video(sys.argv[2])  # whatever the libraries need once
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
frames = read_video(sys.argv[1], sampling=Sampling(num_frames=int(sys.argv[3])))
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(frames.num_frames, frames.source.num_frames, (after - before) / (1024 if sys.platform == "linux" else 1 << 20))
"""


def long_clip(path: Path, count: int, height: int, width: int, *, keep: int = 250) -> Path:
    """``count`` frames a second apart: a short group of pictures, encoded once and repeated."""
    group = numbered(keep, height, width)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=1, options={"preset": "ultrafast", "g": str(keep), "threads": "1"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        packets = []
        for i, rgb in enumerate(group):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts = i
            packets += stream.encode(frame)
        packets += stream.encode()
        base = packets[0].time_base
        contents = [(bytes(packet), packet.is_keyframe) for packet in packets]
        for number in range(count):
            data, key = contents[number % keep]
            packet = av.Packet(data)
            packet.stream, packet.time_base, packet.is_keyframe = stream, base, key
            packet.pts = packet.dts = number * int(1 / base) if base < 1 else number
            container.mux(packet)
    return path


def peak_growth(path: Path, small: Path, num_frames: int) -> tuple[int, int, float]:
    arguments = [sys.executable, "-c", PEAK, str(path), str(small), str(num_frames)]
    run = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=300)
    read, held, mebibytes = run.stdout.split()
    return int(read), int(held), float(mebibytes)


@pytest.mark.skipif(sys.platform == "win32", reason="the resource module is POSIX only")
def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    """An hour at one frame a second; whole, its 3,600 decoded pictures would be 830 MiB."""
    hour = long_clip(tmp_path / "hour.mp4", 3600, 320, 480)
    small = long_clip(tmp_path / "small.mp4", 100, 320, 480, keep=100)
    read, held, mebibytes = peak_growth(hour, small, 64)
    assert (read, held) == (64, 3600)
    assert mebibytes < 40


def test_an_hour_is_sampled_by_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = long_clip(tmp_path / "hour.mkv", 3600, 64, 96, keep=25)
    fed = []
    real = decode._decode
    monkeypatch.setattr(
        decode, "_decode", lambda context, packet, log: (fed.append(packet), real(context, packet, log))[1]
    )
    frames = read_video(path, sampling=Sampling(num_frames=16))
    assert frames.frame_index_T[-1] == 3599
    assert [read_number(rgb) for rgb in frames.rgb_THW3] == (frames.frame_index_T % 25).tolist()
    assert len(fed) < 16 * 27


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="the resource module is POSIX only")
def test_many_hours(tmp_path: Path) -> None:
    """Ten hours at 25 frames a second: 900,000 packets, small ones (0.3 GB of disk)."""
    path = long_clip(tmp_path / "long.mp4", 900_000, 32, 48, keep=50)
    small = long_clip(tmp_path / "small.mp4", 100, 32, 48, keep=50)
    read, held, mebibytes = peak_growth(path, small, 64)
    assert (read, held) == (64, 900_000)
    assert mebibytes < 400  # FFmpeg's own index of the file is most of it


def test_unseekable_sources_are_spooled(tmp_path: Path) -> None:
    path = long_clip(tmp_path / "clip.mkv", 30, 64, 96, keep=30)

    class Pipe:
        name = "pipe"

        def __init__(self) -> None:
            self._file = path.open("rb")

        def read(self, size: int = -1) -> bytes:
            return self._file.read(size)

        def seekable(self) -> bool:
            return False

    for read in (read_video, read_media):
        pipe = Pipe()
        frames = read(pipe)  # type: ignore[operator]
        pipe._file.close()
        np.testing.assert_array_equal(frames.rgb_THW3, read_video(path).rgb_THW3)
        assert frames.source.name == "pipe" or read is read_media
