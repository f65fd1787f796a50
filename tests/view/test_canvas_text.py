"""Text: placed on its baseline, legible without FreeType, never tofu."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageFont

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.view import DARK, LIGHT
from onevision_encoder.view.canvas import Canvas, letters

INK = (255, 255, 255)


def rows_and_columns(canvas):
    held = canvas.pixels_HW3.any(-1)
    rows, columns = np.flatnonzero(held.any(1)), np.flatnonzero(held.any(0))
    return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])


@pytest.fixture
def no_freetype(monkeypatch):
    """Pillow as it is when built without FreeType."""
    from PIL._util import DeferredError

    letters.cache_clear()
    make = getattr(DeferredError, "new", DeferredError)  # older Pillows have the constructor alone
    monkeypatch.setattr(ImageFont, "core", make(ImportError("no FreeType")))
    yield
    letters.cache_clear()


@pytest.mark.parametrize("size", [12, 24, 40])
def test_text_stands_on_its_baseline_and_fits_its_measure(size):
    canvas = Canvas(100, 600, (0, 0, 0))
    end = canvas.text(50, 60, "HEX 120", size, INK)
    top, bottom, left, right = rows_and_columns(canvas)
    assert abs(bottom - 59) <= 1
    assert 0.6 * size < bottom - top < 0.85 * size
    assert 50 <= left <= 54
    assert right < end == 50 + canvas.measure("HEX 120", size)


def test_alignment():
    for align, at in (("left", 0), ("center", 0.5), ("right", 1)):
        canvas = Canvas(60, 600, (0, 0, 0))
        canvas.text(300, 40, "HHHH", 24, INK, align)
        *_, left, right = rows_and_columns(canvas)
        assert abs(left + at * (right - left) - 300) <= 4


def test_without_freetype(no_freetype):
    canvas = Canvas(100, 900, (0, 0, 0))
    end = canvas.text(50, 60, "HEX · 12 …", 24, INK)
    top, bottom, left, right = rows_and_columns(canvas)
    assert bottom - top >= 12
    assert abs(bottom - 60) <= 4
    assert left >= 50
    assert right < end
    with pytest.raises(InvalidArgumentError, match="font"):
        letters(24, "any.ttf")


def test_a_whole_sheet_without_freetype(no_freetype):
    from drawn import chosen, clip

    from onevision_encoder.view import contact_sheet

    sheet = contact_sheet(clip(), chosen([0, 5, 1, 47, 12, 0, 3, 9]))
    assert (sheet[:, -8:] == DARK.background).all()
    assert (sheet[:100] != DARK.background).any()


def test_characters_the_font_lacks_are_spelt_plainly():
    def picture(text):
        canvas = Canvas(60, 400, (0, 0, 0))
        canvas.text(10, 40, text, 24, INK)
        return canvas.pixels_HW3

    np.testing.assert_array_equal(picture("résumé"), picture("resume"))
    np.testing.assert_array_equal(picture("视频 x"), picture("?? x"))
    assert picture("a·b…").any()


def test_elide_keeps_both_ends_within_the_room():
    canvas = Canvas(10, 10, (0, 0, 0))
    name = "a_rather_long_name_of_a_clip_that_goes_on.mp4"
    short = canvas.elide(name, 24, 300)
    assert canvas.measure(short, 24) <= 300
    assert short.startswith("a_rath")
    assert short.endswith(".mp4")
    assert "…" in short
    assert canvas.elide(name, 24, 3000) == name


def test_text_is_clipped_to_the_canvas():
    canvas = Canvas(20, 40, (0, 0, 0))
    canvas.text(-10, 10, "HHHHHHHHHHHH", 24, INK)
    assert canvas.pixels_HW3.any()


def test_missing_font_file_is_named():
    with pytest.raises(InvalidArgumentError, match=r"nowhere\.ttf"):
        letters(20, "nowhere.ttf")


@pytest.mark.parametrize("style", [DARK, LIGHT])
def test_text_colours_stand_out_from_the_background(style):
    """WCAG 2.1 contrast of at least 4.5 to 1."""

    def luminance(color):
        share = np.asarray(color) / 255
        linear = np.where(share <= 0.03928, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
        return linear @ [0.2126, 0.7152, 0.0722]

    for color in (style.ink, style.muted, style.anchor):
        high, low = sorted((luminance(color), luminance(style.background)), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5
