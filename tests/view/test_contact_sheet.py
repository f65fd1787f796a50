"""The contact sheet, read back from its pixels."""

from __future__ import annotations

import numpy as np
import pytest

from onevision_encoder.errors import InvalidArgumentError, ShapeError, SignalUnavailableError
from onevision_encoder.selection import SelectionConfig, select
from onevision_encoder.types import Kind
from onevision_encoder.view import DARK, LIGHT, contact_sheet
from onevision_encoder.view.canvas import Canvas
from onevision_encoder.view.chart import Box, bars_of, clock, draw_bars, level_ticks, time_ticks
from onevision_encoder.view.grid import caption_width, choose_grid, plan_layout, tallest_cell
from onevision_encoder.view.header import duration_seconds, headline
from onevision_encoder.view.heat import colors, heat_of, render_heat
from onevision_encoder.view.sheet import frames_to_show

from drawn import chosen, clip, sampled, selection_of, signals_of  # isort: skip

COUNTS = [0, 5, 1, 47, 12, 0, 3, 9]


def columns_of_color(pixels, color):
    """Runs of columns that hold a colour: (first, last, rows of it in the first column)."""
    held = (pixels == color).all(-1)
    found = np.flatnonzero(held.any(0))
    runs = np.split(found, np.flatnonzero(np.diff(found) > 1) + 1) if len(found) else []
    return [(int(run[0]), int(run[-1]), int(held[:, run[0]].sum())) for run in runs]


def test_bars_are_proportional_to_tokens():
    selection = chosen(COUNTS, anchors=(2,))
    canvas = Canvas(480, 800, DARK.background)
    draw_bars(canvas, bars_of(selection, 400), Box(x=0, y=0, width=800, height=480), DARK)
    blue, orange = (columns_of_color(canvas.pixels_HW3, c) for c in (DARK.codec, DARK.anchor))
    # 48 patches is the top: 10 rows a token
    assert [rows for *_, rows in blue] == [10 * n for i, n in enumerate(COUNTS) if n and i != 2]
    assert [rows for *_, rows in orange] == [480]
    assert 200 <= orange[0][0] <= orange[0][1] < 300  # the third of eight


def test_bars_of_one_frame_stack_its_kinds():
    kinds = np.full((2, 6, 8), -1)
    kinds[1, 0, :6], kinds[1, 1, :4] = Kind.ANCHOR, Kind.CODEC
    canvas = Canvas(100, 40, DARK.background)
    draw_bars(canvas, bars_of(selection_of(kinds), 20), Box(x=0, y=0, width=40, height=100), DARK)
    column = canvas.pixels_HW3[:, 30]
    assert (column[:40] == DARK.codec).all()
    assert (column[40:] == DARK.anchor).all()


def test_more_frames_than_room_become_means():
    bars = bars_of(chosen([4, 2, 0, 6, 1], anchors=()), 3)
    assert bars.frames_per_bar == 2
    assert bars.counts_B3[:, Kind.CODEC].tolist() == [3, 3, 1]


def test_the_sheets_own_chart_has_a_bar_for_each_frame_with_tokens():
    frames, selection = clip(), chosen(COUNTS)
    sheet = contact_sheet(frames, selection)
    chart = sheet[-24 * 11 :]
    rows = [rows for *_, rows in columns_of_color(chart, DARK.codec)]
    counts = [n for n in COUNTS[1:] if n]
    assert len(rows) == len(counts)
    (_, _, top) = columns_of_color(chart, DARK.anchor)[0]
    np.testing.assert_allclose(rows, np.array(counts) * top / 48, atol=1)


@pytest.mark.parametrize("style", [DARK, LIGHT])
@pytest.mark.parametrize(("frames", "grid"), [(8, (6, 8)), (16, (16, 9)), (3, (4, 9)), (2, (1, 1)), (40, (2, 3))])
def test_frames_lie_on_the_sheet_as_planned(frames, grid, style):
    made = clip(frames, grid)
    whole = selection_of(np.full((frames, *grid), int(Kind.FILL)))
    sheet = contact_sheet(made, whole, style=style)
    count, columns = choose_grid(frames, 16, grid[1] / grid[0])
    shown = frames_to_show(whole, count)
    plan = plan_layout(made, count, columns, 1600, small_panels=False)
    assert sheet.shape[1] == 1600
    assert plan.rows * plan.columns >= len(shown)
    for i, t in enumerate(shown):
        row, column = divmod(i, plan.columns)
        y, x = plan.header + row * plan.pitch[0], plan.left + column * plan.pitch[1]
        cell = sheet[y : y + plan.cell[0], x : x + plan.cell[1]].astype(float)
        assert abs(cell.mean() - made.rgb_THW3[t].mean()) < 3  # the frame itself, resized
        assert x >= plan.pad
        assert x + plan.cell[1] <= 1600 - plan.pad


def test_nothing_touches_the_sheets_edges():
    long = clip(8, (6, 8), name="a very long name " * 20 + ".mp4")
    for frames in (clip(), long):
        sheet = contact_sheet(frames, chosen(COUNTS), signals_of(frames))
        for edge in (sheet[:8], sheet[-4:], sheet[:, :8], sheet[:, -8:]):
            assert (edge == DARK.background).all()


def test_shown_frames_include_anchors_where_they_are_few():
    selection = chosen([1] * 100, anchors=(0, 37, 73))
    shown = frames_to_show(selection, 16)
    assert len(shown) == 16
    assert {0, 37, 73} <= set(shown)
    assert shown == sorted(set(shown))
    assert max(np.diff(shown)) <= 14  # still spread over the clip
    many = chosen([1] * 100, anchors=tuple(range(0, 100, 4)))
    assert frames_to_show(many, 16) == [round(i) for i in np.linspace(0, 99, 16)]
    assert frames_to_show(chosen([1, 1, 1]), 16) == [0, 1, 2]
    assert frames_to_show(chosen([1] * 9, anchors=(4,)), 1) == [4]


def test_frames_with_tokens_are_shown_first_where_they_are_few():
    few = [0] * 64
    for t in (1, 9, 17, 25, 33, 41, 49, 62):
        few[t] = 5
    shown = frames_to_show(chosen(few, anchors=()), 16)
    assert len(shown) == 16
    assert {t for t, n in enumerate(few) if n} <= set(shown)
    assert max(np.diff([-1, *shown, 64])) <= 9  # still spread over the clip
    crowd = [1 if 30 <= t < 62 else 0 for t in range(64)]
    shown = frames_to_show(chosen(crowd, anchors=(47,)), 8)
    assert (len(shown), shown[0], shown[-1]) == (8, 30, 61)
    assert 47 in shown
    assert max(np.diff(shown)) <= 8
    assert frames_to_show(chosen([0] * 9 + [3], anchors=()), 1) == [9]
    most = [1] * 33 + [0] * 31
    assert frames_to_show(chosen(most, anchors=()), 16) == [round(i) for i in np.linspace(0, 63, 16)]


def test_grid_shows_all_frames_or_fills_its_rows():
    for aspect in (9 / 16, 3 / 4, 1, 4 / 3, 16 / 9, 21 / 9):
        for available in range(1, 17):
            assert choose_grid(available, 16, aspect)[0] == available
        for panels in (False, True):
            count, columns = choose_grid(64, 16, aspect, panels=panels)
            assert 12 <= count <= 16
            assert count % columns == 0
    assert choose_grid(64, 16, 16 / 9) == (16, 4)
    assert choose_grid(64, 16, 9 / 16) == (16, 8)


def test_columns_can_be_chosen():
    frames, selection = clip(), chosen(COUNTS)
    heights = [contact_sheet(frames, selection, columns=n).shape[0] for n in (2, 4, 8)]
    assert heights == sorted(heights, reverse=True)
    assert len(set(heights)) == 3


def test_headline_tells_the_numbers_and_how():
    frames = clip(8)
    kinds = np.full((8, 6, 8), -1)
    kinds[:, 0, :6] = Kind.CODEC
    told = selection_of(kinds, config={"policy": "codec", "score": "fused"}, signals="x264proxy")
    strong, quiet = headline(frames, told)
    assert strong == "48 of 384 patches = 12.5 %"
    assert quiet == "8 frames, 0.8 s · policy codec · score fused · provider x264proxy"
    content = np.ones((6, 8), bool)
    content[0] = False
    kinds = np.where(kinds >= 0, Kind.FILL, -1)[:, ::-1]
    strong, quiet = headline(clip(8, content_hw=content), selection_of(kinds, policy="random", score="fused"))
    assert strong == "48 of 320 patches = 15 %"  # letterbox is not counted
    assert quiet == "8 frames, 0.8 s · policy random"  # no score was looked at


def test_the_duration_is_the_sources_own():
    """10.00 s, not 10.1 s: the gap between sampled frames says nothing about how long the last one lasts."""
    whole = sampled(np.linspace(0, 249, 64).astype(int), 250, fps=25)
    assert duration_seconds(whole) == whole.source.duration_seconds == 10
    window = sampled(np.arange(50, 101, 10), 250, fps=25)
    assert duration_seconds(window) == pytest.approx(51 / 25)
    memory = sampled(np.linspace(0, 99, 10).astype(int), 100, fps=None)
    assert duration_seconds(memory) == 100
    unknown = clip(4, pts=np.array([1.0, 1.1, 1.2, 1.5]))
    assert duration_seconds(unknown) == pytest.approx(0.6)


def test_counts_are_those_of_the_budget_where_there_is_letterbox():
    """In 2x2 blocks a block with any letterbox is never chosen, and does not count either."""
    content = np.ones((6, 8), bool)
    content[:1], content[5:] = False, False  # half a block above and below
    frames = clip(4, content_hw=content, merge=2)
    selection = select(frames, None, SelectionConfig(policy="random", budget="100%"))
    assert selection.provenance["available"] == len(selection) == 4 * 2 * 8
    strong, _ = headline(frames, selection)
    assert strong == "64 of 64 patches = 100 %"


@pytest.mark.parametrize("panels", [False, True])
@pytest.mark.parametrize(("frames", "grid"), [(16, (40, 1)), (3, (100, 2)), (1, (40, 1)), (5, (1, 40))])
def test_captions_lie_apart(frames, grid, panels):
    """Of very narrow pictures too: in each caption line, words and the gaps between captions alternate."""
    made = clip(frames, grid, pts=np.arange(frames) * 7.77)
    selection = chosen([30] * frames, grid, anchors=())
    sheet = contact_sheet(made, selection, signals_of(made) if panels else None)
    caption = caption_width(made, selection, 1600, DARK)
    aspect = max(grid[1] / grid[0], caption / tallest_cell(1600, 2))
    panels = panels and frames > 1
    count, columns = (2, 2) if frames == 1 else choose_grid(frames, 16, aspect, panels=panels)
    plan = plan_layout(made, count, columns, 1600, small_panels=panels, caption=caption)
    assert plan.left + plan.columns * plan.pitch[1] - plan.gap <= 1600 - plan.pad
    for place in range(count):
        row, column = divmod(place, plan.columns)
        bottom, left = plan.header + (row + 1) * plan.pitch[0], plan.left + column * plan.pitch[1]
        line = sheet[bottom - plan.caption + 4 : bottom, left : left + plan.slot]
        inked = np.flatnonzero((line != DARK.background).any((0, 2)))
        if frames > 1 or place == 1:
            assert np.diff(inked).max() >= plan.text * 7 // 8 - 3  # a letter's width between time and count
        beyond = sheet[bottom - plan.caption + 4 : bottom, left + plan.slot : left + plan.slot + plan.gap]
        assert (beyond == DARK.background).all()


def test_signals_add_two_panels_below_each_frame():
    frames, selection = clip(8, (12, 16)), chosen([3] * 8, (12, 16), anchors=())
    plain, drawn = contact_sheet(frames, selection), contact_sheet(frames, selection, signals_of(frames))
    assert drawn.shape[0] > plain.shape[0]
    plan = plan_layout(frames, *choose_grid(8, 16, 16 / 12, panels=True), 1600, small_panels=True)
    y = plan.header + plan.cell[0] + plan.gap // 3
    x = plan.left + plan.pitch[1]
    original = drawn[y : y + plan.small[0], x : x + plan.small[1]].astype(float)
    assert abs(original.mean() - frames.rgb_THW3[1].mean()) < 3
    heat = drawn[y : y + plan.small[0], x + plan.cell[1] - plan.small[1] : x + plan.cell[1]]
    hot = np.argwhere((heat == colors(np.array([1.0]))[0]).all(-1))
    middle = hot.mean(0) / plan.small * (12 * 14, 16 * 14)
    np.testing.assert_allclose(middle, (12, 20), atol=2)  # centre of the 8x8 cell at row 1, column 2


def test_heat_of_raw_signals():
    frames = clip(4, (8, 8))
    signals = signals_of(frames)
    selection = chosen([1] * 4, (8, 8))
    motion = heat_of(frames, selection, signals, "motion")
    assert motion.values_Tyx[1, 3, 4] == 5
    assert not motion.known_Tyx[0].any()
    assert motion.known_Tyx[1:].all()
    picture = render_heat(motion, 1, (112, 112), (112, 112))
    assert (picture[24:32, 32:40] == colors(np.array([1.0]))[0]).all()
    assert (picture[:24] == colors(np.array([0.0]))[0]).all()
    unknown = render_heat(motion, 0, (112, 112), (112, 112))
    assert {tuple(c) for c in unknown.reshape(-1, 3)} == {DARK.surface, DARK.rule}
    with pytest.raises(SignalUnavailableError, match="bits"):
        heat_of(frames, selection, signals, "bits")
    with pytest.raises(InvalidArgumentError, match="saliency"):
        heat_of(frames, selection, signals, "saliency")
    with pytest.raises(InvalidArgumentError, match=r"heat='energy'"):
        contact_sheet(frames, selection, signals, heat="energy")


def test_a_still_clip_is_cold():
    frames = clip(3, (8, 8))
    base = signals_of(frames)
    noise = np.full_like(base.residual_Tyx, 0.2)
    still = signals_of(frames).__class__(**{**vars(base), "residual_Tyx": noise})
    heat = heat_of(frames, chosen([1] * 3, (8, 8)), still, "residual")
    assert render_heat(heat, 1, (112, 112), (56, 56)).max() < 40


def test_saliency_heat_is_what_ranked_the_patches():
    frames = clip(8, (6, 8))
    selection = select(frames, None, SelectionConfig(score="frame_difference", budget=40, anchors=0))
    heat = heat_of(frames, selection, signals_of(frames), "saliency")
    rows = selection.positions_K3[(selection.kind_K == Kind.CODEC) & (selection.score_K > 0)]
    np.testing.assert_allclose(
        heat.values_Tyx[tuple(rows.T)], selection.score_K[(selection.kind_K == Kind.CODEC) & (selection.score_K > 0)]
    )
    assert heat.cell == 14
    assert len(rows) > 10
    contact_sheet(frames, selection, signals_of(frames))


def test_image_shows_the_original_beside_what_was_chosen():
    frames = clip(1, (9, 16))
    kinds = np.full((1, 9, 16), -1)
    kinds[0, 4, 4:8] = Kind.FILL
    sheet = contact_sheet(frames, selection_of(kinds), signals_of(frames))
    plan = plan_layout(frames, 2, 2, 1600, small_panels=False)
    left = sheet[plan.header : plan.header + plan.cell[0], plan.left : plan.left + plan.cell[1]]
    right = sheet[plan.header : plan.header + plan.cell[0], plan.left + plan.pitch[1] :][:, : plan.cell[1]]
    same = (left == right).all(-1).mean()
    assert 0.9 * 4 / 144 < same < 1.6 * 4 / 144  # only what was chosen is alike
    assert left.std() > 1.5 * right.std()


def test_labels():
    assert [clock(s) for s in (0, 0.25, 3, 119.5, 125, 3725)] == ["0 s", "0.25 s", "3 s", "119.5 s", "2:05", "1:02:05"]
    assert clock(3.2, 2) == "3.20 s"
    assert time_ticks(0, 10, 10) == list(range(11))
    assert time_ticks(0.2, 0.9, 4) == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert level_ticks(252) == [100, 200]
    assert level_ticks(1) == [1]
    assert level_ticks(0.5) == pytest.approx([0.2, 0.4])


def test_wrong_arguments_name_the_value():
    frames, selection = clip(), chosen(COUNTS)
    for name in ("columns", "max_frames", "width"):
        with pytest.raises(InvalidArgumentError, match=f"{name}=0"):
            contact_sheet(frames, selection, **{name: 0})
    with pytest.raises(ShapeError, match="signals"):
        contact_sheet(frames, selection, signals_of(clip(8, (6, 9))))
