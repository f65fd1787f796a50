"""Raw patch scores, and what they find of a real encoder's signals. Axes: T frames, y x cells, h w patches."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from clips import write_video
from scenes import moving_object, pan, still, to_rgb

import onevision_encoder
from onevision_encoder.codec import compute_signals, frame_difference, fuse, patch_scores, raw_scores
from onevision_encoder.errors import InvalidArgumentError, ShapeError, SignalUnavailableError
from onevision_encoder.types import CodecSignals
from onevision_encoder.video import Sampling, Sizing, read_video


def signals(motion_Tyx2: np.ndarray, residual_Tyx: np.ndarray, **more: object) -> CodecSignals:
    T, y, x = residual_Tyx.shape
    defaults: dict[str, object] = {
        "intra_Tyx": np.broadcast_to((np.arange(T) == 0)[:, None, None], (T, y, x)),
        "valid_T": np.ones(T, np.bool_),
        "cut_T": np.arange(T) == 0,
        "interval": "sample",
        "frame_size": (y * 8, x * 8),
    }
    return CodecSignals(motion_Tyx2=motion_Tyx2, residual_Tyx=residual_Tyx, **(defaults | more))


def random_signals(**more: object) -> CodecSignals:
    rng = np.random.default_rng(0)
    return signals(
        rng.normal(0, 3, (3, 7, 7, 2)).astype(np.float32), rng.gamma(1, 4, (3, 7, 7)).astype(np.float32), **more
    )


def test_fused_is_the_originals_recipe_step_by_step() -> None:
    given = random_signals()
    scores = raw_scores(given, patch=8, score="fused")
    for t in range(3):
        length = np.sqrt((given.motion_Tyx2[t].astype(float) ** 2).sum(-1))
        a = np.minimum(length / max(np.percentile(length, 95), 1e-6), 1)
        b = np.minimum(given.residual_Tyx[t] / max(np.percentile(given.residual_Tyx[t], 95), 1.0), 1)
        np.testing.assert_allclose(scores[t], 0.5 * a + 0.5 * b, atol=1e-6)


def test_fused_floors_keep_a_quiet_frame_quiet() -> None:
    motion, residual = np.zeros((1, 7, 7, 2), np.float32), np.full((1, 7, 7), 0.5, np.float32)
    np.testing.assert_allclose(fuse(motion, residual), 0.25)  # 0.5 level over the floor of 1, halved
    assert not fuse(motion, residual * 0).any()


def test_motion_residual_and_bits_are_means_in_their_own_units() -> None:
    bits = np.random.default_rng(1).random((3, 7, 7), np.float32)
    given = random_signals(bits_Tyx=bits)
    np.testing.assert_allclose(raw_scores(given, patch=8, score="residual"), given.residual_Tyx, rtol=1e-6)
    np.testing.assert_allclose(
        raw_scores(given, patch=8, score="motion"), np.hypot(*np.moveaxis(given.motion_Tyx2, -1, 0)), rtol=1e-6
    )
    np.testing.assert_allclose(raw_scores(given, patch=56, score="bits")[:, 0, 0], bits.mean((1, 2)), rtol=1e-5)


def test_frames_without_validity_score_nothing() -> None:
    scores = raw_scores(random_signals(valid_T=np.array([True, False, True])), patch=14)
    assert scores[[0, 2]].any()
    assert not scores[1].any()


def test_frame_difference_is_the_mean_difference_of_pixels() -> None:
    luma_THW = pan((3.0, 0.0), 3, 28, 42)
    scores = frame_difference(luma_THW, patch=14)
    assert scores.shape == (3, 2, 3)
    assert not scores[0].any()
    difference = np.abs(luma_THW[2].astype(float) - luma_THW[1])
    assert scores[2, 1, 2] == pytest.approx(difference[14:, 28:].mean(), rel=1e-6)
    np.testing.assert_array_equal(patch_scores(luma_THW, score="frame_difference"), scores)


@pytest.mark.parametrize("patch", [14, 300])
def test_frame_difference_is_exact_for_units_of_any_size(patch: int) -> None:
    luma_THW = np.zeros((2, patch, 2 * patch), np.uint8)
    luma_THW[1, :, patch:] = 255
    assert frame_difference(luma_THW, patch=patch)[1].tolist() == [[0, 255]]


def test_every_way_in_gives_the_same_scores(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", to_rgb(moving_object(frames=8)[0]))
    frames = read_video(path, sampling=Sampling(num_frames=4), sizing=Sizing())
    for score in ("fused", "residual", "frame_difference"):
        from_file = patch_scores(path, sampling=Sampling(num_frames=4), score=score)
        assert from_file.shape == (4, 8, 8)
        assert from_file.dtype == np.float32
        np.testing.assert_array_equal(from_file, patch_scores(frames, score=score))
        np.testing.assert_array_equal(from_file, patch_scores(frames.luma_THW, score=score))
    assert onevision_encoder.patch_scores is patch_scores
    assert patch_scores(path, patch=16, score="motion").shape == (8, 7, 7)


def test_what_cannot_be_given_is_refused_by_name(tmp_path: Path) -> None:
    luma_THW = still(2, 28, 42)
    with pytest.raises(SignalUnavailableError, match=r"'x264proxy' cannot give bits.*fused"):
        patch_scores(luma_THW, score="bits", provider="x264proxy")
    with pytest.raises(SignalUnavailableError, match="pixels"):
        raw_scores(compute_signals(luma_THW), patch=14, score="frame_difference")
    with pytest.raises(InvalidArgumentError, match=r"score='flow'.*fused, bits"):
        patch_scores(luma_THW, score="flow")
    for patch in (16, 0, -14, 28):
        with pytest.raises(InvalidArgumentError, match=r"patch=.*28 x 42"):
            patch_scores(luma_THW, patch=patch)
    with pytest.raises(ShapeError, match="uint8"):
        patch_scores(luma_THW.astype(np.float32))
    with pytest.raises(InvalidArgumentError, match="sampling"):
        patch_scores(luma_THW, sampling=Sampling(num_frames=2))
    path = write_video(tmp_path / "clip.mp4", to_rgb(luma_THW))
    with pytest.raises(InvalidArgumentError, match="patch=16"):
        patch_scores(path, patch=16, sizing=Sizing(patch=14))


@pytest.fixture(scope="module")
def judge(signals_truth: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("score", signals_truth / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_finds_what_x265_found(judge: ModuleType, signals_truth: Path) -> None:
    """Share of the true fused energy in our best eighth of the patches, keyframes left out; random gets 0.35."""
    captured = []
    for name in ("bbb_224", "bikes_224", "vtest_224"):
        truth, keep = judge.truths(str(signals_truth / f"{name}.npz"), 14)
        luma_THW = np.load(signals_truth / f"{name}.npz")["luma_THW"]
        scores = patch_scores(luma_THW, provider="x264proxy", score="fused")
        captured.append(judge.compare(scores[keep], truth["fused"])["capture@0.125"])
    assert np.mean(captured) >= 0.85, captured
    assert np.mean(captured) >= 0.90, f"{captured}: fell from 0.908"


def test_finds_the_scene_cuts_of_real_clips(signals_truth: Path) -> None:
    """Looked up by eye: two films with hard cuts, fades, fast action; a static camera with none."""
    cuts = {"bbb_224": [0, 25, 34, 49], "bikes_224": [0, 8, 20, 35, 48, 62], "vtest_224": [0]}
    for name, expected in cuts.items():
        luma_THW = np.load(signals_truth / f"{name}.npz")["luma_THW"]
        assert np.flatnonzero(compute_signals(luma_THW).cut_T).tolist() == expected, name
