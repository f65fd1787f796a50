"""Names, containers and streams that are easily taken for something else."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from clips import textured, write_video
from PIL import Image
from video_reference import numbered, read_number

from onevision_encoder.errors import MediaError, NoVideoStreamError, UnreadableMediaError
from onevision_encoder.video import Sampling, decode_frames, read_media, read_video

X264 = {"preset": "veryfast", "g": "12", "bf": "2", "threads": "1"}


@pytest.mark.parametrize(
    "name", ["with space.mp4", "50%d.mp4", "pr\u00e9-\u65e5\u672c.mp4", "-dash.mp4", "no_suffix", "clip.txt"]
)
def test_names_are_only_names(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = write_video(tmp_path / "made.mp4", numbered(4), options=X264)
    made.rename(tmp_path / name)
    assert read_video(tmp_path / name).num_frames == 4
    monkeypatch.chdir(tmp_path)
    assert read_video(name).num_frames == 4


@pytest.mark.skipif("sys.platform == 'win32'", reason="not a file name there")
def test_a_colon_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(Path("made.mp4"), numbered(4), options=X264).rename("pipe:0.mp4")
    assert read_video("pipe:0.mp4").num_frames == 4


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp"])
def test_a_still_image_read_as_a_video_is_one_frame(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"frame_001.{kind}"
    for number in (1, 2, 3):  # not a sequence because of its neighbours
        Image.fromarray(textured(56, 84, number)).save(tmp_path / f"frame_00{number}.{kind}")
    frames = read_video(path)
    assert frames.num_frames == frames.source.num_frames == 1
    assert np.abs(frames.rgb_THW3[0].astype(int) - read_media(path).rgb_THW3[0]).mean() < 3


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=44100)
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic.value
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 44100
        container.mux(sound.encode(silence))
        picture = av.VideoFrame.from_ndarray(textured(64, 64), format="rgb24").reformat(format="yuvj420p")
        container.mux(cover.encode(picture))
        container.mux(cover.encode())
        container.mux(sound.encode())
    with av.open(str(path)) as container:
        assert container.streams.video  # FFmpeg lists it as one
    with pytest.raises(NoVideoStreamError, match="cover picture"):
        read_video(path)


def test_a_stream_that_changes_its_size(tmp_path: Path) -> None:
    doubled = np.kron(numbered(10), np.ones((1, 2, 2, 1), np.uint8))
    small = write_video(tmp_path / "small.h264", numbered(10), options=X264)
    large = write_video(tmp_path / "large.h264", doubled, options=X264)
    path = tmp_path / "both.h264"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    assert {frame.width for _, frame in decode_frames(path)} == {96, 192}
    frames = read_video(path)
    assert frames.num_frames == 20
    assert frames.provenance["coded_sizes"] == [(96, 64), (192, 128)]
    assert [read_number(rgb) for rgb in frames.rgb_THW3] == [*range(10), *range(10)]


def test_a_playlist_opens_nothing_else(tmp_path: Path) -> None:
    """A text file that names another file is no way to read that file."""
    write_video(tmp_path / "secret.mp4", numbered(4), options=X264)
    path = tmp_path / "list.mp4"
    path.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(UnreadableMediaError, match="list of files"):
        read_video(path)


def test_an_unreachable_server_is_an_error() -> None:
    with pytest.raises(MediaError, match=r"http://127\.0\.0\.1:9/clip\.mp4"):
        read_video("http://127.0.0.1:9/clip.mp4", sampling=Sampling(num_frames=1))
