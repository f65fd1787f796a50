"""One self-contained HTML page of one clip or of a gallery: opens from disk in any browser, loads nothing.

The page selects again, by the library's own rules, when its budget or policy is changed (``web/select.js``).
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from onevision_encoder import __version__
from onevision_encoder.checks import counted
from onevision_encoder.codec import ProviderName
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.tokens.files import write_atomically
from onevision_encoder.tokens.pipeline import TokenizeConfig, read_clip
from onevision_encoder.view.page_data import check_policy, clip_data, printable, thumbnail

SCRIPTS = ("select.js", "data.js", "draw.js", "chart.js", "app.js")
_NOTEBOOK_HEIGHT = 900
_NAMED = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Page:
    """Clips, ready to be looked at. In a notebook it shows itself.

    Attributes:
        clips: what :func:`~onevision_encoder.view.page_data.clip_data` gives, at least one.
        failures: (name, why) of sources that could not be read; the gallery lists them.
        title: of the document; None = the clip's name.
    Raises:
        InvalidArgumentError: no clip.
    """

    clips: Sequence[Mapping[str, Any]]
    failures: Sequence[tuple[str, str]] = field(default=())
    title: str | None = None

    def __post_init__(self) -> None:
        if not self.clips:
            raise InvalidArgumentError("clips", 0, "at least one clip that could be read")

    @property
    def html(self) -> str:
        """The whole document."""
        web = resources.files(__package__) / "web"
        entries: list[dict[str, str]] = []
        blocks = []
        for number, clip in enumerate(self.clips):
            entries.append({"id": f"clip-{number}", "name": clip["name"], "thumbnail": thumbnail(clip)})
            blocks.append(_json_block(f"clip-{number}", clip))
        entries += [{"name": printable(name), "error": printable(why)} for name, why in self.failures]
        title = self.title or (self.clips[0]["name"] if len(self.clips) == 1 else f"{len(self.clips)} clips")
        parts = {
            "VERSION": __version__,
            "TITLE": html.escape(f"{title} - what was chosen"),
            "STYLE": (web / "page.css").read_text(encoding="utf-8"),
            "DATA": "\n".join([_json_block("entries", entries), *blocks]),
            "SCRIPT": "\n".join((web / name).read_text(encoding="utf-8") for name in SCRIPTS),
        }
        document = (web / "page.html").read_text(encoding="utf-8")
        pieces = document.split("@")  # the template holds no other @
        return "".join(parts.get(piece, piece) if i % 2 else piece for i, piece in enumerate(pieces))

    def __repr__(self) -> str:
        named = [f"{clip['name']}: {counted(clip['frames'], 'frame')}" for clip in self.clips[:_NAMED]]
        more = [f"{len(self.clips) - _NAMED} more"] if len(self.clips) > _NAMED else []
        failed = [f"{len(self.failures)} failed"] if self.failures else []
        return f"Page({', '.join(named + more + failed)})"

    def save(self, path: str | Path) -> Path:
        """Write the page, whole or not at all. Raises WriteError."""
        write_atomically(path, self.html.encode("utf-8"))
        return Path(path)

    def _repr_html_(self) -> str:
        style = f"width:100%;height:{_NOTEBOOK_HEIGHT}px;border:0"
        return f'<iframe srcdoc="{html.escape(self.html)}" style="{style}" title="chosen patches"></iframe>'


def _json_block(name: str, value: Any) -> str:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    # "</script>" and "<!--" in a file's name must not end the block
    return f'<script type="application/json" id="{name}">{text.replace("<", chr(92) + "u003c")}</script>'


def make_page(
    *sources: Any,
    config: TokenizeConfig | None = None,
    providers: Sequence[ProviderName] = (),
    title: str | None = None,
    **options: Any,
) -> Page:
    """A page of one source, or a gallery of several.

    page = make_page("clip.mp4", budget=2048); page.save("clip.html"), or just ``page`` in a notebook.

    Args:
        sources: each whatever :func:`onevision_encoder.tokenize` takes.
        config: or flat ``options`` as in :func:`onevision_encoder.tokenize`: what the page shows first, and what its
            controls start from. The policy is codec, uniform or random.
        providers: whose signals the page can switch to, besides the configured one's.
    Raises:
        InvalidArgumentError: no source, a policy that a page cannot choose by. And what reading raises.
    """
    if config is not None and options:
        raise InvalidArgumentError("options", sorted(options), "none beside config")
    config = config or TokenizeConfig.of(**options)
    return Page(clips=[read_for_page(source, config, providers) for source in sources], title=title)


def read_for_page(
    source: Any,
    config: TokenizeConfig,
    providers: Sequence[ProviderName] = (),
    name: str | None = None,
    *,
    strict: bool = True,
) -> dict[str, Any]:
    """One source read for a page; arguments as of :func:`~onevision_encoder.view.page_data.clip_data`.

    Raises what :func:`onevision_encoder.read_clip` raises, and see make_page.
    """
    check_policy(config)
    # the controls of the page read what the policy that it opens with does not
    reading = replace(read_clip(source, config.as_read()), config=config)
    return clip_data(source, reading, providers, name, strict=strict)
