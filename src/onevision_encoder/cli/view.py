"""`ove view FILES... --out page.html`: one page that shows what was chosen and why."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import tyro

from onevision_encoder.checks import counted
from onevision_encoder.cli.batch import FAILED, Input, expand, finish, run_batch
from onevision_encoder.cli.options import ReadingOptions
from onevision_encoder.cli.results import prepare
from onevision_encoder.codec import ProviderName
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.video.damage import damage_words


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
    also: str = ""
    """Further providers whose signals the page can switch to, with commas between, such as native,x264proxy."""
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
        also = _providers(self.also)
        prepare(self.out.parent)
        clips: list[dict[str, Any]] = []

        def one(item: Input) -> Mapping[str, Any]:
            from onevision_encoder.view.page import read_for_page

            clip = read_for_page(item.path, self.how, also, printable(item.name), strict=False)
            clips.append(clip)
            return {
                "frames": clip["frames"],
                "tokens": clip["start"]["budget"],
                "frames_lost": clip["framesLost"],
                "frames_corrupt": clip["framesCorrupt"],
                "refused": clip["refused"],
                "file": str(self.out),
            }

        report = run_batch(expand(self.files), one, label="view", quiet=self.json)
        if clips and not report.interrupted:
            failures = [(failed["name"], failed["message"]) for failed in report.failed]
            Page(clips=clips, failures=failures).save(self.out)
        code = finish(report, as_json=self.json, line=_line, extra={})
        refusals = [(item["source"], why) for item in report.done for why in item["refused"].values()]
        for source, why in refusals:
            print(f"ove: {'' if source in why else f'{source}: '}{why}; the page does without", file=sys.stderr)
        return code or (FAILED if refusals else 0)


def _providers(listed: str) -> list[ProviderName]:
    """The names of a comma list, none of an empty one. Raises InvalidArgumentError for what is no provider."""
    known: tuple[ProviderName, ...] = get_args(ProviderName)
    by_name = {str(name): name for name in known}
    words = [word.strip() for word in listed.split(",")] if listed else []
    for word in words:
        if word not in by_name:
            raise InvalidArgumentError("also", listed, f"a comma list of {', '.join(known)}")
    return [by_name[word] for word in words]


def _line(item: Mapping[str, Any]) -> str:
    damage = damage_words(item["frames_lost"], item["frames_corrupt"])
    refused = [f"without signals by {name}" for name in item["refused"]]
    facts = [f"{counted(item['tokens'], 'patch', 'patches')} of {counted(item['frames'], 'frame')}", *damage, *refused]
    return f"{item['name']}: {', '.join(facts)} -> {item['file']}"
