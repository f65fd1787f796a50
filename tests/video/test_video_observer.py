"""The observer sees every frame of the sampled span, in presentation order, in the reader's own pass."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from clips import write_video
from video_reference import numbered, plain_frames

from onevision_encoder.video import Sampling, read_video


class Watcher:
    def __init__(self, *, export_motion_vectors: bool) -> None:
        self.export_motion_vectors = export_motion_vectors
        self.seen: list[tuple[int, bool]] = []
        self.luma_means: list[float] = []
        self.vectors: dict[int, np.ndarray] = {}
        self.encoding_parameters = 0

    def __call__(self, frame: av.VideoFrame, *, frame_index: int, sampled: bool) -> None:
        self.seen.append((frame_index, sampled))
        self.luma_means.append(float(frame.to_ndarray()[: frame.height].mean()))
        vectors = frame.side_data.get("MOTION_VECTORS")
        if vectors is not None:
            self.vectors[frame_index] = vectors.to_ndarray()[["dst_x", "dst_y", "motion_x", "motion_y", "source"]]
        self.encoding_parameters += frame.side_data.get("VIDEO_ENC_PARAMS") is not None


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = {"preset": "veryfast", "g": "20", "bf": "2", "threads": "1"}
    return write_video(tmp_path_factory.mktemp("watched") / "clip.mp4", numbered(70), options=options)


@pytest.mark.parametrize(
    "sampling", [Sampling(num_frames=7), Sampling(num_frames=4, start_seconds=1.7, end_seconds=2.5)]
)
def test_sees_every_frame_once_and_in_order(clip: Path, sampling: Sampling) -> None:
    watcher = Watcher(export_motion_vectors=False)
    frames = read_video(clip, sampling=sampling, observer=watcher)
    first, last = int(frames.frame_index_T[0]), int(frames.frame_index_T[-1])
    assert [index for index, _ in watcher.seen] == list(range(first, last + 1))
    assert [index for index, sampled in watcher.seen if sampled] == frames.frame_index_T.tolist()
    plain = plain_frames(clip)[first : last + 1]
    assert watcher.luma_means == [float(frame.to_ndarray()[: frame.height].mean()) for frame in plain]
    assert not watcher.vectors


def test_pixels_are_those_without_an_observer(clip: Path) -> None:
    watched = read_video(clip, observer=Watcher(export_motion_vectors=True))
    np.testing.assert_array_equal(watched.rgb_THW3, read_video(clip).rgb_THW3)


def test_exports_the_decoders_vectors(clip: Path) -> None:
    watcher = Watcher(export_motion_vectors=True)
    read_video(clip, observer=watcher)
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.thread_count = "SLICE", 1
        stream.codec_context.options = {"flags2": "+export_mvs"}
        for index, frame in enumerate(container.decode(stream)):
            truth = frame.side_data.get("MOTION_VECTORS")
            assert (truth is None) == (index not in watcher.vectors)
            if truth is not None:
                for name in ("dst_x", "dst_y", "motion_x", "motion_y", "source"):
                    np.testing.assert_array_equal(watcher.vectors[index][name], truth.to_ndarray()[name])
    assert len(watcher.vectors) > 50
    assert watcher.encoding_parameters == 70


def test_frames_carry_their_container_times(clip: Path) -> None:
    times = []

    class Clock:
        export_motion_vectors = False

        def __call__(self, frame: av.VideoFrame, *, frame_index: int, sampled: bool) -> None:
            times.append(float(frame.time))

    read_video(clip, observer=Clock())
    np.testing.assert_allclose(times, [frame.time for frame in plain_frames(clip)])
