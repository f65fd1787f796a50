"""Bad input: every source ends in a typed error that names it, or in a partial result that counts what was lost."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from clips import write_video
from video_reference import numbered, read_number

from onevision_encoder.errors import (
    DecodeError,
    InvalidArgumentError,
    MediaError,
    MediaNotFoundError,
    NoVideoStreamError,
    UnreadableMediaError,
    UnsupportedCodecError,
)
from onevision_encoder.video import Sampling, probe, read_media, read_video

REFUSED = {
    "mp4parse_bipbop_nonfragment_header.mp4": (UnreadableMediaError, "not one of its frames"),
    "mp4parse_chunk_out_of_range.mp4": (UnreadableMediaError, "cannot open"),
    "mp4parse_invalid_userdata.mp4": (UnreadableMediaError, "not one of its frames"),
    "mp4parse_zero_empty_stsc.mp4": (DecodeError, "1040 frames lost"),
    "wpt_invalid-codec.mp4": (UnsupportedCodecError, "no decoder"),
    "wpt_invalid-codec.webm": (UnsupportedCodecError, "no decoder"),
}
# name: frames in the container, frames lost, flagged corrupt, sampled frames that are missing
PARTIAL = {
    "decord_corrupted.mp4": (50, 1, 1, 1),
    "mp4parse_no_timescale.mp4": (182, 12, 28, 4),
    "oh264_BA_MW_D_IDR_LOST.264": (97, 27, 0, 18),
    "oh264_Error_I_P.264": (6, 0, 5, 0),
}
# The lost picture left no trace in the stream that FFmpeg reports: what is there decodes, by concealment.
WHOLE = {"oh264_BA_MW_D_P_LOST.264": 99}


def test_every_bad_file_is_spoken_for(media: Path) -> None:
    assert {path.name for path in (media / "bad").iterdir()} == {*REFUSED, *PARTIAL, *WHOLE}


@pytest.mark.parametrize("name", REFUSED)
def test_bad_files_are_refused_by_name(media: Path, name: str) -> None:
    kind, cause = REFUSED[name]
    with pytest.raises(kind, match=cause) as caught:
        read_media(media / "bad" / name)
    assert type(caught.value) is kind
    assert name in str(caught.value)


def test_one_lost_frame_is_written_as_one(media: Path) -> None:
    with pytest.raises(DecodeError, match=r"is damaged: 1 frame lost, 1 flagged corrupt"):
        read_video(media / "bad" / "decord_corrupted.mp4", on_damage="error")


@pytest.mark.parametrize("name", PARTIAL)
def test_damaged_files_are_partial_and_counted(media: Path, name: str) -> None:
    count, lost, corrupt, missing = PARTIAL[name]
    frames = read_video(media / "bad" / name)
    source, gone = frames.source, frames.provenance["missing_frame_index"]
    assert (source.num_frames, source.frames_lost, source.frames_corrupt, len(gone)) == (count, lost, corrupt, missing)
    wanted = np.linspace(0, count - 1, min(64, count)).astype(int).tolist()
    assert sorted([*frames.frame_index_T.tolist(), *gone]) == wanted
    with pytest.raises(DecodeError, match=name):
        read_video(media / "bad" / name, on_damage="error")
    again = read_video(media / "bad" / name)
    np.testing.assert_array_equal(again.rgb_THW3, frames.rgb_THW3)


@pytest.mark.parametrize("name", WHOLE)
def test_files_whose_loss_leaves_no_trace(media: Path, name: str) -> None:
    frames = read_video(media / "bad" / name)
    assert (frames.source.num_frames, frames.source.frames_lost) == (WHOLE[name], 0)


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("This is no video.\n" * 200)
    (tmp_path / "text.txt").write_text("This is no video.\n" * 200)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(50_000))
    (tmp_path / "folder.mp4").mkdir()
    with av.open(str(tmp_path / "audio.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44100
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    return {path.name: path for path in tmp_path.iterdir()} | {"missing.mp4": tmp_path / "missing.mp4"}


@pytest.mark.parametrize(
    ("name", "kind", "cause"),
    [
        ("empty.mp4", UnreadableMediaError, "is empty"),
        ("text.mp4", UnreadableMediaError, "cannot open"),
        ("text.txt", UnreadableMediaError, "text file|cannot open"),
        ("noise.mp4", UnreadableMediaError, "cannot open"),
        ("folder.mp4", UnreadableMediaError, "is a folder"),
        ("audio.mp4", NoVideoStreamError, "only audio"),
        ("missing.mp4", MediaNotFoundError, "does not exist"),
    ],
)
def test_what_is_no_video(sources: dict[str, Path], name: str, kind: type[MediaError], cause: str) -> None:
    for read in (read_video, read_media, probe):
        with pytest.raises(kind, match=cause) as caught:
            read(sources[name])
        assert str(sources[name]) in str(caught.value)
    if kind is MediaNotFoundError:
        with pytest.raises(FileNotFoundError):
            read_video(sources[name])
        return
    if sources[name].is_file():
        with pytest.raises(MediaError):
            read_media(sources[name].read_bytes())


@pytest.mark.parametrize("source", [None, 7, io.StringIO("text"), ["a.mp4"]])
def test_what_is_no_source(source: object) -> None:
    with pytest.raises(InvalidArgumentError, match="source"):
        read_video(source)  # type: ignore[arg-type]


def test_empty_bytes_and_unreachable_url() -> None:
    with pytest.raises(UnreadableMediaError, match="0 bytes"):
        read_video(b"")
    with pytest.raises(MediaError, match=r"nosuchprotocol://x"):
        read_video("nosuchprotocol://x")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, options = tmp_path_factory.mktemp("damage"), {"preset": "veryfast", "g": "10", "bf": "2", "threads": "1"}
    path = write_video(folder / "clip.mp4", numbered(60), options=options)
    moved = folder / "index_first.mp4"  # so that a file that is cut short keeps its index
    with av.open(str(path)) as old, av.open(str(moved), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return moved


def cut_packets(clip: Path, tmp_path: Path, spoil: set[int]) -> Path:
    """The clip with the payload of some packets (in file order) overwritten by zeros."""
    data = bytearray(clip.read_bytes())
    with av.open(str(clip)) as container:
        for number, packet in enumerate(p for p in container.demux(video=0) if p.size):
            if number in spoil and packet.pos is not None:
                data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    path = tmp_path / "spoiled.mp4"
    path.write_bytes(data)
    return path


def test_no_neighbour_stands_in_for_a_lost_frame(clip: Path, tmp_path: Path) -> None:
    path = cut_packets(clip, tmp_path, {0, 1, 2, 3, 25})
    frames = read_video(path)
    gone = frames.provenance["missing_frame_index"]
    assert gone
    assert frames.source.frames_lost >= len(gone)
    assert sorted([*gone, *frames.frame_index_T.tolist()]) == list(range(60))
    far = [i for i, index in enumerate(frames.frame_index_T) if 10 <= index < 20 or index >= 30]
    assert [read_number(frames.rgb_THW3[i]) for i in far] == frames.frame_index_T[far].tolist()


def test_all_wanted_frames_lost_is_an_error(clip: Path, tmp_path: Path) -> None:
    path = cut_packets(clip, tmp_path, set(range(10)))
    with pytest.raises(DecodeError, match=r"not one of the 1 sampled frames"):
        read_video(path, sampling=Sampling(num_frames=1))


def test_a_file_cut_short_counts_what_its_header_promised(clip: Path, tmp_path: Path) -> None:
    data = clip.read_bytes()
    path = tmp_path / "short.mp4"
    path.write_bytes(data[: len(data) * 6 // 10])
    frames = read_video(path)
    assert frames.source.num_frames < 60
    assert frames.source.frames_lost >= 60 - frames.source.num_frames > 0
    assert frames.source.num_frames + frames.source.frames_lost >= 60
    with pytest.raises(DecodeError, match="lost"):
        read_video(path, on_damage="error")


def test_nothing_is_written_to_stderr(media: Path) -> None:
    code = (
        "import pathlib, sys\n"
        "from onevision_encoder.errors import MediaError\n"
        "from onevision_encoder.video import read_media\n"
        "for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):\n"
        "    try:\n        read_media(path)\n"
        "    except MediaError:\n        pass\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(media / "bad")], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


@pytest.mark.parametrize("seed", range(20))
def test_random_damage_never_crashes_or_invents(clip: Path, seed: int) -> None:
    rng, data = np.random.default_rng(seed), bytearray(clip.read_bytes())
    for at in rng.integers(32, len(data), 20):
        data[at] = rng.integers(256)
    try:
        frames = read_video(bytes(data))
    except MediaError:
        return
    assert len(set(frames.frame_index_T.tolist()) & set(frames.provenance["missing_frame_index"])) == 0
    assert frames.num_frames + len(frames.provenance["missing_frame_index"]) == min(64, frames.source.num_frames)
