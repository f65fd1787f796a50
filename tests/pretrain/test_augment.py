"""Augmentation against formulas written another way, and against the pixels themselves."""

from __future__ import annotations

import numpy as np
import pytest
from clips import moving_square, textured
from PIL import Image

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.pretrain.augment import AugmentConfig, augment, crop_box, crop_image, jitter, mirror
from onevision_encoder.pretrain.sample_reading import image_tokens
from onevision_encoder.tokens import tokenize
from onevision_encoder.types import PatchTokens

SIZES = [(200, 200), (640, 360), (28, 28), (50, 400), (1, 7)]


def equal(one: PatchTokens, other: PatchTokens) -> None:
    for name in ("patches_ND", "positions_N3", "model_positions_N3"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_crops_lie_inside_and_are_of_the_recipe(width: int, height: int) -> None:
    boxes = np.array([crop_box(width, height, AugmentConfig(), 0, n) for n in range(300)])
    left, top, right, bottom = boxes.T
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert (right <= width).all()
    assert (bottom <= height).all()
    w, h = right - left, bottom - top
    assert (w > 0).all()
    assert (h > 0).all()
    if width == height == 200:  # elsewhere not every aspect fits
        area, aspect = w * h / (width * height), w / h
        assert 0.68 < area.min() < 0.72
        assert area.max() > 0.95
        assert 0.78 < aspect.min() < 0.82
        assert aspect.max() < 1.27
        assert len({tuple(box) for box in boxes.tolist()}) > 250
        assert abs((left / (width - w + 1e-9))[w < width - 2].mean() - 0.5) < 0.1


def test_the_centre_is_the_largest_square() -> None:
    assert crop_box(100, 60, AugmentConfig(crop="center"), 0, 5) == (20, 0, 80, 60)
    picture = textured(60, 100, 3)
    got = crop_image(picture, (20, 0, 80, 60), 28)
    wanted = Image.fromarray(np.ascontiguousarray(picture[:, 20:80])).resize((28, 28), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(got, np.asarray(wanted))


@pytest.mark.parametrize("options", [{}, {"merge": 2, "order": "block2"}], ids=["raster", "blocks"])
@pytest.mark.parametrize("policy", ["dense", "tiled"])
def test_a_mirrored_clip_is_the_clip_of_mirrored_frames(policy: str, options: dict[str, object]) -> None:
    frames = moving_square(4, 56, 112, side=14)
    budget = {"budget": 64} if policy == "tiled" else {}
    tokens = tokenize(frames, policy=policy, **budget, **options)
    wanted = tokenize(np.ascontiguousarray(frames[:, :, ::-1]), policy=policy, **budget, **options)
    equal(mirror(tokens), wanted)
    equal(mirror(mirror(tokens)), tokens)


def test_a_mirrored_selection_keeps_its_patches_and_scores() -> None:
    tokens = tokenize(moving_square(8, 56, 112, side=14), budget=50)
    back = {tuple(p): (q.tobytes(), s) for p, q, s in _rows(tokens)}
    for (t, h, w), patch, score in _rows(mirror(tokens)):
        pixels = patch.reshape(3, 14, 14)[:, :, ::-1].tobytes()
        assert back[(t, h, 7 - w)] == (pixels, score)


def _rows(tokens: PatchTokens) -> list[tuple[tuple[int, int, int], np.ndarray, float]]:  # type: ignore[type-arg]
    rows = zip(tokens.positions_N3.tolist(), tokens.patches_ND, tokens.score_N.tolist(), strict=True)
    return [((t, h, w), patch, score) for (t, h, w), patch, score in rows]


def test_light_and_colour_by_the_textbook() -> None:
    patches = image_tokens(textured(28, 42, 1), 14, "p", {}).patches_ND
    got = jitter(patches, 1.1, 0.8, 0.6)
    pixels = patches.reshape(-1, 3, 196).transpose(0, 2, 1).reshape(-1, 3).astype(np.float64) * 1.1
    weights = np.array([0.299, 0.587, 0.114])
    mean = (pixels @ weights).mean()
    pixels = mean + 0.8 * (pixels - mean)
    grey = (pixels @ weights)[:, None]
    pixels = grey + 0.6 * (pixels - grey)
    wanted = pixels.round().clip(0, 255).reshape(-1, 196, 3).transpose(0, 2, 1).reshape(patches.shape)
    assert np.abs(got - wanted).max() <= 1  # halves round either way in float32
    assert (got != wanted).mean() < 1e-3
    np.testing.assert_array_equal(jitter(patches, 1, 1, 1), patches)


def test_dropping_keeps_the_exact_share_and_whole_blocks() -> None:
    tokens = tokenize(moving_square(8, 56, 112, side=14), budget=100)
    config = AugmentConfig(drop=0.3)
    kept = augment(tokens, config, seed=1, position=2, flip=0)
    assert len(kept) == config.kept(100) == 70
    all_rows = {tuple(p): q.tobytes() for p, q in zip(tokens.positions_N3.tolist(), tokens.patches_ND, strict=True)}
    for position, patch in zip(kept.positions_N3.tolist(), kept.patches_ND, strict=True):
        assert all_rows[tuple(position)] == patch.tobytes()
    blocks = tokenize(moving_square(8, 56, 112, side=14), budget=100, merge=2, order="block2")
    kept = augment(blocks, config, seed=1, position=2, flip=0)
    assert len(kept) == config.kept(100, 4) == 72
    assert (np.diff((kept.positions_N3 // [1, 2, 2]).reshape(-1, 4, 3), axis=1) == 0).all()
    assert AugmentConfig(drop=0.99).kept(3) == 1


def test_dropping_in_the_tall_picture_moves_nothing() -> None:
    tokens = tokenize(moving_square(4, 56, 56, side=14), policy="tiled", budget=32)
    places = {
        tuple(p): tuple(m)
        for p, m in zip(tokens.positions_N3.tolist(), tokens.model_positions_N3.tolist(), strict=True)
    }
    kept = augment(tokens, AugmentConfig(drop=0.9), seed=3, position=0, flip=0)
    for position, model in zip(kept.positions_N3.tolist(), kept.model_positions_N3.tolist(), strict=True):
        assert places[tuple(position)] == tuple(model)


def test_choices_are_by_position_and_by_chance() -> None:
    tokens = image_tokens(textured(28, 28, 1), 14, "p", {})
    config = AugmentConfig(brightness=0.4, contrast=0.4, saturation=0.4)
    one = augment(tokens, config, seed=0, position=5, flip=0.5)
    equal(one, augment(tokens, config, seed=0, position=5, flip=0.5))
    mirrored = mirror(tokens).patches_ND
    plain = AugmentConfig()
    flips = sum(
        np.array_equal(augment(tokens, plain, seed=0, position=n, flip=0.5).patches_ND, mirrored) for n in range(400)
    )
    assert abs(flips - 200) < 4 * 10
    for flip, wanted in ((0.0, tokens.patches_ND), (1.0, mirrored)):
        np.testing.assert_array_equal(augment(tokens, plain, seed=0, position=9, flip=flip).patches_ND, wanted)


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop": "whole"},
        {"min_area": 0},
        {"max_area": 1.1},
        {"min_aspect": 2},
        {"flip_images": 1.5},
        {"drop": 1},
        {"contrast": -1},
    ],
)
def test_values_outside_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidArgumentError):
        AugmentConfig(**wrong)  # type: ignore[arg-type]
