"""Previews as files, read back with the readers of other libraries."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from onevision_encoder.errors import InvalidArgumentError, ShapeError, UnsupportedCodecError, WriteError
from onevision_encoder.view import DARK, animation_frames, contact_sheet, write_preview
from onevision_encoder.view.animation import fixed_colors

from drawn import chosen, clip, sampled, signals_of  # isort: skip

COUNTS = [0, 5, 1, 47, 12, 0, 3, 9]
VARIABLE = np.array([0.0, 0.04, 0.5, 0.54, 1.2, 1.25, 2.0, 2.04])


def gif_frames(path):
    with Image.open(path) as image:
        return [(np.asarray(f.convert("RGB")), f.info["duration"]) for f in ImageSequence.Iterator(image)]


def mp4_frames(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        shown = [(frame.to_ndarray(format="rgb24"), float(frame.time)) for frame in container.decode(stream)]
        return shown, float(stream.duration * stream.time_base), stream


def test_png_is_the_contact_sheet(tmp_path):
    frames, selection = clip(), chosen(COUNTS)
    path = write_preview(tmp_path / "a.PNG", frames, selection, signals_of(frames), max_frames=4, title="x")
    assert path == tmp_path / "a.PNG"
    expected = contact_sheet(frames, selection, signals_of(frames), max_frames=4, title="x")
    with Image.open(path) as image:
        assert image.mode == "RGB"  # opaque
        np.testing.assert_array_equal(np.asarray(image), expected)


@pytest.mark.parametrize("pts", [None, VARIABLE], ids=["constant", "variable"])
def test_gif_has_every_frame_and_the_clips_duration(tmp_path, pts):
    frames, selection = clip(pts=pts), chosen(COUNTS)
    made = gif_frames(write_preview(tmp_path / "a.gif", frames, selection))
    assert len(made) == 8
    starts = np.cumsum([0, *(duration for _, duration in made)]) / 1000
    np.testing.assert_allclose(starts[:-1], frames.pts_seconds_T, atol=0.006)
    expected = list(animation_frames(frames, selection, panel=288))
    for (seen, _), drawn in zip(made, expected, strict=True):
        assert seen.shape == drawn.shape
        assert np.abs(seen.astype(int) - drawn).mean() < 8


def test_gif_leaves_no_ghosts_of_what_went_away(tmp_path):
    frames, selection = clip(), chosen([0, 5, 0, 47, 12, 0, 3, 9])  # captions of different lengths follow each other
    made = gif_frames(write_preview(tmp_path / "a.gif", frames, selection))
    for (seen, _), drawn in zip(made, animation_frames(frames, selection, panel=288), strict=True):
        for color in fixed_colors(DARK):
            flat = (drawn == color).all(-1)
            assert (seen[flat] == color).all()


@pytest.mark.parametrize("pts", [None, VARIABLE, VARIABLE + 3.7], ids=["constant", "variable", "late start"])
def test_mp4_has_every_frame_at_its_time_and_even_sizes(tmp_path, pts):
    frames, selection = clip(8, (5, 9), pts=pts), chosen(COUNTS, (5, 9))
    shown, duration, stream = mp4_frames(write_preview(tmp_path / "a.mp4", frames, selection, panel=131))
    times = frames.pts_seconds_T - frames.pts_seconds_T[0]
    np.testing.assert_allclose([t for _, t in shown], times, atol=1e-4)
    assert duration == pytest.approx(times[-1] + np.median(np.diff(times)), abs=2e-3)
    assert stream.codec_context.name == "h264"
    assert stream.codec_context.pix_fmt == "yuv420p"
    expected = list(animation_frames(frames, selection, panel=131))
    for (seen, _), drawn in zip(shown, expected, strict=True):
        assert seen.shape == drawn.shape
        assert seen.shape[0] % 2 == 0
        assert seen.shape[1] % 2 == 0
        assert np.abs(seen.astype(float) - drawn).mean() < 12  # it is that picture


def test_mp4_holds_and_states_bt709(tmp_path):
    """Samples against the formula of BT.709, limited range; no library's own conversion in between."""
    frames = clip(2, (6, 8))
    colors = np.zeros_like(frames.rgb_THW3)
    colors[:, :, :56], colors[:, :, 56:] = (200, 40, 60), (30, 170, 90)
    flat = dataclasses.replace(frames, rgb_THW3=colors)
    path = write_preview(tmp_path / "a.mp4", flat, chosen([0, 0]), panel=112)
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        assert int(frame.colorspace) == 1
        assert int(frame.color_range) == 1
        planes = frame.to_ndarray(format="yuv420p")
    drawn = next(iter(animation_frames(flat, chosen([0, 0]), panel=112)))
    height, width, _ = drawn.shape
    y = planes[:height]
    u, v = (p.reshape(height // 2, width // 2) for p in np.split(planes[height:].reshape(-1), 2))
    for color in ((200, 40, 60), (30, 170, 90), DARK.background):
        r, g, b = np.asarray(color) / 255
        luma = 0.2126 * r + 0.7152 * g + 0.0722 * b
        wanted = (16 + 219 * luma, 128 + 224 * (b - luma) / 1.8556, 128 + 224 * (r - luma) / 1.5748)
        inside = (drawn == color).all(-1)
        quad = inside[::2, ::2] & inside[1::2, ::2] & inside[::2, 1::2] & inside[1::2, 1::2]
        found = (np.median(y[inside]), np.median(u[quad]), np.median(v[quad]))
        np.testing.assert_allclose(found, wanted, atol=2)


@pytest.mark.parametrize(("fps", "most"), [(120, 64), (60, 43), (50, 64), (30, 64), (1000, 64)])
def test_gif_of_a_fast_clip_keeps_its_time(tmp_path, fps, most):
    """Delays are hundredths of a second, at least two: pictures in between are left out, the clock stays right."""
    frames, selection = clip(64, (2, 3), pts=np.arange(64) / fps), chosen([2] * 64, (2, 3), anchors=())
    made = gif_frames(write_preview(tmp_path / "a.gif", frames, selection, panel=64))
    delays = np.array([duration for _, duration in made])
    assert (delays >= 20).all()
    assert delays.sum() / 1000 == pytest.approx(64 / fps, abs=0.02)
    assert len(made) <= most
    assert len(made) >= min(64, 64 / fps * 50 * 0.7)
    starts = np.cumsum([0, *delays[:-1]]) / 1000
    drawn = list(animation_frames(frames, selection, panel=64))
    for (seen, _), start in zip(made, starts, strict=True):  # the picture of that moment, to a hundredth and a frame
        near = range(max(0, int((start - 0.011) * fps)), min(64, int((start + 0.011) * fps) + 2))
        assert min(np.abs(seen.astype(int) - drawn[t]).mean() for t in near) < 8


def test_mp4_of_any_timestamps(tmp_path):
    """Microsecond ticks, whose denominators do not fit a frame rate; frames closer than a tick of the file."""
    rng = np.random.default_rng(0)
    ticks = np.cumsum(rng.integers(9_000, 60_000, 40)) / 1e6
    near = np.array([0, 1, 2, 3, 500_000, 500_001]) / 1e6
    for pts in (ticks, near, np.arange(5) * 1e-6, np.arange(3) * 3600.0):
        T = len(pts)
        frames, selection = clip(T, (2, 3), pts=pts), chosen([2] * T, (2, 3), anchors=())
        shown, duration, _ = mp4_frames(write_preview(tmp_path / "a.mp4", frames, selection, panel=64))
        assert len(shown) == T
        times = pts - pts[0]
        np.testing.assert_allclose([t for _, t in shown], times, atol=T / 90_000)
        assert duration == pytest.approx(times[-1] + np.median(np.diff(times)), abs=2e-3)


def test_animations_end_where_the_clip_does(tmp_path):
    """Eleven of 101 frames of ten seconds: the last lasts as long as the source's frames do, not as the gaps."""
    frames = sampled(np.linspace(0, 100, 11).astype(int), 101, fps=10)
    selection = chosen([2] * 11, (2, 3), anchors=())
    made = gif_frames(write_preview(tmp_path / "a.gif", frames, selection, panel=64))
    assert sum(duration for _, duration in made) == 10_100
    _, duration, _ = mp4_frames(write_preview(tmp_path / "a.mp4", frames, selection, panel=64))
    assert duration == pytest.approx(10.1, abs=2e-3)


@pytest.mark.parametrize("grid", [(40, 1), (1, 40)])
def test_captions_of_narrow_animations_lie_apart(grid):
    frames = clip(3, grid, pts=np.array([0.0, 50.0, 119.5]))
    made = list(animation_frames(frames, chosen([5, 7, 39], grid, anchors=()), panel=288))
    for pixels in made:
        assert pixels.shape[1] >= 154
        assert (pixels[:, [0, -1]] == DARK.background).all()  # nothing is cut off
        heading = (pixels[:18] != DARK.background).any((0, 2))
        gaps = np.diff(np.flatnonzero(heading))
        assert gaps.max() > 8  # between the two headings


def test_fps_overrides_the_clips_own_times(tmp_path):
    frames, selection = clip(pts=VARIABLE), chosen(COUNTS)
    made = gif_frames(write_preview(tmp_path / "a.gif", frames, selection, fps=5))
    assert [duration for _, duration in made] == [200] * 8
    shown, duration, _ = mp4_frames(write_preview(tmp_path / "a.mp4", frames, selection, fps=29.97))
    np.testing.assert_allclose([t for _, t in shown], np.arange(8) / 29.97, atol=1e-4)
    assert duration == pytest.approx(8 / 29.97, abs=2e-3)


@pytest.mark.parametrize("grid", [(9, 16), (16, 9), (3, 1)])
@pytest.mark.parametrize("suffix", [".png", ".gif", ".mp4"])
def test_images(tmp_path, suffix, grid):
    path = write_preview(tmp_path / f"a{suffix}", clip(1, grid), chosen([2], grid, anchors=()))
    if suffix == ".gif":
        assert len(gif_frames(path)) == 1
    if suffix == ".mp4":
        shown, duration, _ = mp4_frames(path)
        assert len(shown) == 1
        assert duration == pytest.approx(1)


def test_animation_marks_time_and_pixels():
    frames, selection = clip(8, (6, 8)), chosen(COUNTS)
    made = list(animation_frames(frames, selection, panel=448))  # whole factor 4
    assert len(made) == 8
    white = [np.flatnonzero((f[-40:] == DARK.ink).all(-1).any(0)) for f in made]
    heads = [columns.mean() for columns in white]
    assert (np.diff(heads) > 0).all()
    np.testing.assert_allclose(np.diff(heads), np.diff(heads).mean(), atol=2)
    only = list(animation_frames(frames, selection, panel=448, rows=[5]))
    np.testing.assert_array_equal(only[0], made[5])


@pytest.mark.parametrize("suffix", [".png", ".gif", ".mp4"])
def test_same_input_same_bytes(tmp_path, suffix):
    frames, selection = clip(), chosen(COUNTS)
    one = write_preview(tmp_path / f"a{suffix}", frames, selection, signals_of(frames)).read_bytes()
    two = write_preview(tmp_path / f"b{suffix}", frames, selection, signals_of(frames)).read_bytes()
    assert one == two
    assert len(one) > 1000


def test_unknown_suffix_names_the_allowed_ones(tmp_path):
    for name in ("a.webm", "a", "a.png.txt"):
        with pytest.raises(InvalidArgumentError, match=r"\.png, \.gif, \.mp4"):
            write_preview(tmp_path / name, clip(2), chosen([0, 5]))
    assert not list(tmp_path.iterdir())


def test_missing_folders_are_made_and_impossible_ones_named(tmp_path):
    assert write_preview(tmp_path / "new" / "er" / "a.png", clip(2), chosen([0, 5])).is_file()
    (tmp_path / "file").write_text("x")
    with pytest.raises(WriteError, match="written"):
        write_preview(tmp_path / "file" / "a.png", clip(2), chosen([0, 5]))
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(WriteError, match="folder"):
        write_preview(tmp_path / "folder.png", clip(2), chosen([0, 5]))


def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    monkeypatch.setattr(av, "codecs_available", {"h264"})
    with pytest.raises(UnsupportedCodecError, match=r"a\.mp4.*libx264"):
        write_preview(path, clip(2), chosen([0, 5]))
    with pytest.raises(ShapeError):
        write_preview(path, clip(3), chosen([0, 5]))
    with pytest.raises(InvalidArgumentError, match="fps"):
        write_preview(path, clip(2), chosen([0, 5]), fps=0)
    with pytest.raises(InvalidArgumentError, match="panel"):
        write_preview(path, clip(2), chosen([0, 5]), panel=10)
    assert [p.name for p in tmp_path.iterdir()] == ["a.mp4"]
    assert path.read_bytes() == b"old"


def test_import_is_light():
    code = (
        "import sys, onevision_encoder.view as v; assert 'write_preview' in dir(v);"
        "print([m for m in ('av', 'torch', 'PIL') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd())
    assert out.stdout.strip() == "[]"
