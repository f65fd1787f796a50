"""`ove view FILES... --out page.html`: one page that shows what was chosen and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from onevision_encoder.cli.batch import Input, expand, finish, run_batch
from onevision_encoder.cli.options import ReadingOptions
from onevision_encoder.cli.results import prepare
from onevision_encoder.codec import ProviderName
from onevision_encoder.errors import InvalidArgumentError


@dataclass(frozen=True, kw_only=True)
class View(ReadingOptions):
    """Write one self-contained HTML page of what was chosen and why; several files make a gallery.

    The page re-selects when its budget, policy or score is changed, so options of any of its policies are accepted.
    It opens from disk and loads nothing.
    """

    files: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILES")]
    """Videos, images, URLs, or folders of them."""
    out: Path = Path("page.html")
    """Page to write."""
    also: tuple[ProviderName, ...] = ()
    """Further providers whose signals the page can switch to, such as x264proxy native."""
    json: bool = False
    """Print the result as JSON."""

    def __post_init__(self) -> None:
        """Options of other policies than the first are welcome: the controls of the page read them."""

    def run(self) -> int:
        from onevision_encoder.view.page import Page
        from onevision_encoder.view.page_data import check_policy, printable

        if self.out.suffix.lower() not in (".html", ".htm"):
            raise InvalidArgumentError("out", str(self.out), "a file name that ends in .html")
        check_policy(self.how)
        prepare(self.out.parent)
        clips: list[dict[str, Any]] = []

        def one(item: Input) -> Mapping[str, Any]:
            from onevision_encoder.view.page import read_for_page

            clips.append(read_for_page(item.path, self.how, self.also, printable(item.name)))
            return {"frames": clips[-1]["frames"], "tokens": clips[-1]["start"]["budget"], "file": str(self.out)}

        report = run_batch(expand(self.files), one, label="view", quiet=self.json)
        if clips and not report.interrupted:
            failures = [(failed["name"], failed["message"]) for failed in report.failed]
            Page(clips=clips, failures=failures).save(self.out)
        return finish(report, as_json=self.json, line=_line, extra={})


def _line(item: Mapping[str, Any]) -> str:
    return f"{item['name']}: {item['tokens']} patches of {item['frames']} frames -> {item['file']}"
