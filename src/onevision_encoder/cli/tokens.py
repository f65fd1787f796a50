"""`ove tokens FILES...`: exactly the tokens asked for, one safetensors file per input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from onevision_encoder.cli.batch import TOKEN_SUFFIX, Input, expand, finish, run_batch
from onevision_encoder.cli.options import ReadingOptions
from onevision_encoder.cli.results import describe, described, facts, made_of, prepare, write_index
from onevision_encoder.tokens.pipeline import read_clip
from onevision_encoder.tokens.store import load_tokens, save_tokens


@dataclass(frozen=True, kw_only=True)
class Tokens(ReadingOptions):
    """Turn videos and images into an exact number of patch tokens, one safetensors file each.

    Run again, it keeps the files whose source and options have not changed.
    """

    files: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILES")]
    """Videos, images, URLs, or folders of them."""
    out: Path = Path("tokens")
    """Folder for NAME.tokens.safetensors and index.jsonl."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        inputs = expand(self.files)
        prepare(self.out)
        report = run_batch(inputs, self._one, label="tokens", quiet=self.json)
        write_index(self.out, report.done)
        return finish(report, as_json=self.json, line=_line, extra={"out": str(self.out)})

    def _one(self, item: Input) -> Mapping[str, Any]:
        target = self.out / f"{item.name}{TOKEN_SUFFIX}"
        there = described(target)
        kept = there is not None and made_of(there.get("provenance") or {}, item.path, self.request)
        if kept:
            tokens = load_tokens(target)
        else:
            tokens = read_clip(item.path, self.how).tokens()
            save_tokens(target, tokens)
        clip = tokens.clips[0]
        row = facts(clip.provenance, len(tokens), len(clip.frame_index_T), clip.grid)
        return {**row, "kept": kept, "file": target.relative_to(self.out).as_posix()}


def _line(item: Mapping[str, Any]) -> str:
    return f"{item['name']}: {describe(item)} -> {item['file']}{' (kept)' if item['kept'] else ''}"
