"""`ove preview FILE --out x.png|gif|mp4`: a picture of what was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from onevision_encoder.cli.batch import Input, finish, run_batch
from onevision_encoder.cli.options import ReadingOptions
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.tokens.pipeline import read_clip


@dataclass(frozen=True, kw_only=True)
class Preview(ReadingOptions):
    """Draw which patches of a video or image were chosen: contact sheet (png) or side by side (gif, mp4)."""

    file: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """Video, image or URL."""
    out: Path
    """Picture to write: .png, .gif or .mp4."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        from onevision_encoder.view.preview import SUFFIXES

        if self.out.suffix.lower() not in SUFFIXES:
            raise InvalidArgumentError("out", str(self.out), f"a file name that ends in {', '.join(SUFFIXES)}")
        item = Input(path=self.file, name=Path(self.file).name)
        report = run_batch([item], self._one, label="preview", quiet=self.json)
        return finish(report, as_json=self.json, line=_line, extra={})

    def _one(self, item: Input) -> Mapping[str, Any]:
        from onevision_encoder.view import write_preview

        reading = read_clip(item.path, self.how)
        write_preview(self.out, reading.frames, reading.selection, reading.signals)
        available = reading.selection.provenance["available"]
        return {"tokens": len(reading.selection), "of": available, "file": str(self.out)}


def _line(item: Mapping[str, Any]) -> str:
    return f"{item['name']}: {item['tokens']} of {item['of']} patches -> {item['file']}"
