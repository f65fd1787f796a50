"""`ove preview FILE --out x.png|gif|mp4`: a picture of what was chosen."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from onevision_encoder.tokens.pipeline import TokenizeConfig, read_clip


@dataclass(frozen=True, kw_only=True)
class Preview:
    """Draw which patches of a video or image were chosen: contact sheet (png) or side by side (gif, mp4)."""

    file: Annotated[str, tyro.conf.Positional]
    """Video, image or URL."""
    out: Path
    """Picture to write: .png, .gif or .mp4."""
    how: TokenizeConfig = field(default_factory=TokenizeConfig)
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        from onevision_encoder.view import write_preview

        reading = read_clip(self.file, self.how)
        write_preview(self.out, reading.frames, reading.selection, reading.signals)
        chosen, total = len(reading.selection), reading.frames.num_patches
        if self.json:
            print(json.dumps({"source": self.file, "tokens": chosen, "of": total, "out": str(self.out)}, indent=2))
        else:
            print(f"{self.file}: {chosen} of {total} patches -> {self.out}")
        return 0
