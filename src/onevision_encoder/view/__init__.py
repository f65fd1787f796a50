"""view/: pictures of what was chosen: RGB arrays, contact sheets, PNG, GIF and MP4 files, and HTML pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from onevision_encoder.lazy import lazy_names

if TYPE_CHECKING:
    from onevision_encoder.view.animation import animation_frames as animation_frames
    from onevision_encoder.view.page import Page as Page
    from onevision_encoder.view.page import make_page as make_page
    from onevision_encoder.view.preview import write_preview as write_preview
    from onevision_encoder.view.render import render_frames as render_frames
    from onevision_encoder.view.sheet import contact_sheet as contact_sheet
    from onevision_encoder.view.style import DARK as DARK
    from onevision_encoder.view.style import LIGHT as LIGHT
    from onevision_encoder.view.style import Style as Style

_HOME = {
    "animation_frames": "animation",
    "Page": "page",
    "contact_sheet": "sheet",
    "make_page": "page",
    "render_frames": "render",
    "write_preview": "preview",
    "DARK": "style",
    "LIGHT": "style",
    "Style": "style",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, _HOME)
