"""Chosen patches carry the source's pixels, everything else is faded, and nothing is painted over what was chosen."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from onevision_encoder.errors import InvalidArgumentError, ShapeError
from onevision_encoder.types import Kind
from onevision_encoder.view import DARK, LIGHT, Style, render_frames
from onevision_encoder.view.render import drawn_size, fade, kind_map

from drawn import PATCH, chosen, clip, selection_of  # isort: skip


def mask_of(selection, scale=1):
    """Independent of the renderer: one block of ones for each row of the selection."""
    T, h, w = selection.shape
    side = PATCH * scale
    mask = np.zeros((T, h * side, w * side), bool)
    for t, y, x in selection.positions_K3:
        mask[t, y * side : (y + 1) * side, x * side : (x + 1) * side] = True
    return mask


@pytest.mark.parametrize("style", [DARK, LIGHT])
def test_chosen_pixels_equal_the_source(style):
    frames, selection = clip(), chosen([0, 5, 1, 47, 12, 0, 3, 9])
    out = render_frames(frames, selection, style, scale=1, margin=0)
    mask = mask_of(selection)
    assert out.shape == frames.rgb_THW3.shape
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out[mask], frames.rgb_THW3[mask])


def test_chosen_pixels_of_an_enlarged_frame_equal_the_enlarged_source():
    frames, selection = clip(3), chosen([0, 5, 20])
    out = render_frames(frames, selection, scale=3, margin=0)
    mask = mask_of(selection, 3)
    for t in range(3):
        big = Image.fromarray(frames.rgb_THW3[t]).resize((out.shape[2], out.shape[1]), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(out[t][mask[t]], np.asarray(big)[mask[t]])


def test_other_pixels_are_grey_flat_and_still_recognisable():
    frames, selection = clip(), chosen([0, 5, 1, 20, 12, 0, 3, 9])
    out = render_frames(frames, selection, Style(outline=0), scale=1, margin=0)
    mask = mask_of(selection)
    before, after = frames.rgb_THW3[~mask].astype(float), out[~mask].astype(float)
    tint = after - np.asarray(DARK.tone)
    assert np.abs(tint - tint.mean(1, keepdims=True)).max() < 45 * DARK.keep  # one tint, no colour of its own
    luma = before @ [0.299, 0.587, 0.114]
    assert after.std() < 0.5 * before.std()
    assert np.corrcoef(luma, after.mean(1))[0, 1] > 0.99  # the picture is still there


def test_fade_maps_black_and_white_to_the_ends_of_the_ramp():
    style = Style(tone=(100, 100, 100), keep=0.5)
    out = fade(np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8), style)
    assert out.tolist() == [[[50, 50, 50], [178, 178, 178]]]  # 0.5 x + 50


def test_outline_runs_round_regions_not_round_patches():
    kinds = np.full((1, 6, 8), -1)
    kinds[0, 2, 2:4] = Kind.CODEC  # one region of two patches
    kinds[0, 4, 6] = Kind.FILL
    out = render_frames(clip(1), selection_of(kinds), scale=1, margin=0)[0]
    line = (out == DARK.codec).all(-1)
    top, left, right = 2 * PATCH, 2 * PATCH, 4 * PATCH
    expected = np.zeros_like(line)
    expected[top - 1 : top + PATCH + 1, left - 1 : right + 1] = True
    expected[top : top + PATCH, left:right] = False
    np.testing.assert_array_equal(line, expected)
    assert (out == DARK.fill).all(-1).sum() == 4 * PATCH + 4


def test_anchors_are_marked_in_the_margin():
    frames, selection = clip(3), chosen([0, 5, 0], anchors=(0,))
    out = render_frames(frames, selection, scale=2, margin=4)
    assert out.shape == (3, 2 * 84 + 8, 2 * 112 + 8, 3)
    rim = np.ones(out.shape[1:3], bool)
    rim[4:-4, 4:-4] = False
    assert (out[0][rim] == DARK.anchor).all()
    assert (out[1][rim] == DARK.background).all()
    assert (out[2][rim] == DARK.background).all()


def test_letterbox_is_background():
    content = np.ones((6, 8), bool)
    content[[0, 5]] = False
    out = render_frames(clip(2, content_hw=content), chosen([0, 3], anchors=()), Style(outline=0), scale=1, margin=0)
    # frame 0: nothing chosen
    assert (out[0, :PATCH] == DARK.background).all()
    assert (out[0, -PATCH:] == DARK.background).all()
    assert not (out[0, PATCH:-PATCH] == DARK.background).all(-1).any()


@pytest.mark.parametrize("grid", [(1, 1), (16, 9), (7, 17), (1, 24)])
def test_any_shape_and_a_single_patch(grid):
    frames = clip(1, grid)
    kinds = np.full((1, *grid), -1)
    kinds[0, -1, -1] = Kind.CODEC
    selection = selection_of(kinds)
    out = render_frames(frames, selection, margin=0)[0]
    height, width = drawn_size(frames)
    assert out.shape == (height, width, 3)
    assert max(height, width) >= 448
    scale = height // (grid[0] * PATCH)
    big = Image.fromarray(frames.rgb_THW3[0]).resize((width, height), Image.Resampling.LANCZOS)
    side = PATCH * scale
    np.testing.assert_array_equal(out[-side:, -side:], np.asarray(big)[-side:, -side:])


def test_rows_and_kind_map():
    frames, selection = clip(), chosen([0, 5, 1, 47, 12, 0, 3, 9])
    whole = render_frames(frames, selection)
    np.testing.assert_array_equal(render_frames(frames, selection, rows=[7, 2]), whole[[7, 2]])
    kinds = kind_map(selection)
    assert [(kinds[t] >= 0).sum() for t in range(8)] == selection.tokens_per_frame_T.tolist()
    assert (kinds[0] == Kind.ANCHOR).all()
    assert not (kinds[1:] == Kind.ANCHOR).any()


def test_wrong_arguments_name_the_value():
    frames, selection = clip(2), chosen([0, 5])
    with pytest.raises(ShapeError, match=r"selection\.shape"):
        render_frames(clip(3), selection)
    with pytest.raises(InvalidArgumentError, match=r"scale=0"):
        render_frames(frames, selection, scale=0)
    with pytest.raises(InvalidArgumentError, match=r"rows=\[2\].*0 to 1"):
        render_frames(frames, selection, rows=[2])
    with pytest.raises(InvalidArgumentError, match="margin"):
        render_frames(frames, selection, margin=-1)
    with pytest.raises(InvalidArgumentError, match="keep"):
        Style(keep=1.5)
