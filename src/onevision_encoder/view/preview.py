"""A preview as a file: PNG (contact sheet), GIF or MP4 (original beside chosen, at the clip's own pace)."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.selection.cover import end_to_end
from onevision_encoder.tokens.files import atomic_path
from onevision_encoder.types import CodecSignals, FrameSequence, Selection
from onevision_encoder.view.animation import animation_frames, fixed_colors, frame_times
from onevision_encoder.view.encode import gif_delays, write_gif, write_mp4
from onevision_encoder.view.heat import HeatName
from onevision_encoder.view.render import check_fit
from onevision_encoder.view.sheet import contact_sheet
from onevision_encoder.view.style import DARK, Style

SUFFIXES = (".png", ".gif", ".mp4")
_GIF_PANEL, _MP4_PANEL = 288, 560
_PALETTE_FRAMES = 12


def write_preview(
    path: str | Path,
    frames: FrameSequence,
    selection: Selection,
    signals: CodecSignals | None = None,
    *,
    fps: float | None = None,
    panel: int | None = None,
    columns: int | None = None,
    max_frames: int = 16,
    title: str | None = None,
    heat: HeatName | None = None,
    style: Style = DARK,
) -> Path:
    """Write ``path``: .png is a contact sheet, .gif and .mp4 play original beside chosen. Same input, same bytes.

    The file appears whole or not at all; missing folders are made.

    Args:
        signals: drawn in the contact sheet (the animations do not show them).
        fps: frames a second of an animation; None plays the clip in its real duration. A GIF shows at most 50 frames a
            second and leaves out those in between.
        panel: pixels of the longer side of each picture of an animation; None = 288 in a GIF, 560 in an MP4.
        columns, max_frames, title, heat: of the contact sheet, see :func:`contact_sheet`.
    Returns:
        The path written.
    Raises:
        InvalidArgumentError: a suffix other than those three, fps, panel ... WriteError: ``path`` cannot be written.
        ShapeError: frames, selection and signals do not fit.
        UnsupportedCodecError: .mp4, and this build of FFmpeg has no libx264 encoder.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidArgumentError("path", str(path), f"a name that ends in {', '.join(SUFFIXES)}")
    check_fit(frames, selection, signals)
    times = frame_times(frames, fps)
    with atomic_path(path) as part:
        if suffix == ".png":
            sheet = contact_sheet(
                frames, selection, signals, columns=columns, max_frames=max_frames, title=title, heat=heat, style=style
            )
            Image.fromarray(sheet).save(part, format="PNG")
        elif suffix == ".gif":
            size = _GIF_PANEL if panel is None else panel
            rows, delays = gif_delays(times)
            some = [rows[i] for i in end_to_end(min(_PALETTE_FRAMES, len(rows)), len(rows)).tolist()]
            write_gif(
                part,
                animation_frames(frames, selection, style, panel=size, rows=rows),
                delays,
                palette_from=animation_frames(frames, selection, style, panel=size, rows=some),
                keep_colors=fixed_colors(style),
            )
        else:
            size = _MP4_PANEL if panel is None else panel
            write_mp4(part, animation_frames(frames, selection, style, panel=size), times, name=path)
    return path
