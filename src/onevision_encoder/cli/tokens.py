"""`ove tokens FILES...`: exactly the tokens asked for, one safetensors file per input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from onevision_encoder.cli.batch import TOKEN_SUFFIX, Input, expand, finish, run_batch
from onevision_encoder.errors import OneVisionError
from onevision_encoder.tokens.pipeline import TokenizeConfig, read_clip
from onevision_encoder.tokens.store import load_tokens, save_tokens
from onevision_encoder.types import PatchTokens
from onevision_encoder.video import fingerprint


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """Turn videos and images into an exact number of patch tokens, one safetensors file each.

    Run again, it keeps the files whose source and options have not changed.
    """

    files: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Videos, images, URLs, or folders of them."""
    out: Path = Path("tokens")
    """Folder for NAME.tokens.safetensors and index.jsonl."""
    how: TokenizeConfig = field(default_factory=TokenizeConfig)
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        report = run_batch(expand(self.files), self._one, label="tokens", quiet=self.json)
        write_index(self.out / "index.jsonl", report.done)
        return finish(report, as_json=self.json, line=_line, extra={"out": str(self.out)})

    def _one(self, item: Input) -> Mapping[str, Any]:
        target = self.out / f"{item.name}{TOKEN_SUFFIX}"
        tokens = unchanged(target, item.path, self.how)
        kept = tokens is not None
        if tokens is None:
            tokens = read_clip(item.path, self.how).tokens()
            save_tokens(target, tokens)
        return {**facts(tokens), "kept": kept, "file": target.relative_to(self.out).as_posix()}


def unchanged(target: Path, source: str, how: TokenizeConfig) -> PatchTokens | None:
    """The tokens already in ``target``, if they were made of this very source by these very options."""
    if not target.is_file():
        return None
    try:
        tokens = load_tokens(target)
    except OneVisionError:  # half-written by an older version, say: it is made anew
        return None
    made = tokens.clips[0].provenance
    same = made["request"] == json.loads(json.dumps(how.as_dict())) and made["source"]["fingerprint"] == fingerprint(
        source
    )
    return tokens if same else None


def facts(tokens: PatchTokens) -> dict[str, Any]:
    """What a line of index.jsonl says about the tokens of one clip."""
    clip = tokens.clips[0]
    source = clip.provenance["source"]
    return {
        "tokens": len(tokens),
        "of": len(clip.frame_index_T) * clip.grid[0] * clip.grid[1],
        "frames": len(clip.frame_index_T),
        "grid": list(clip.grid),
        "frames_lost": source["frames_lost"],
        "frames_corrupt": source["frames_corrupt"],
    }


def write_index(path: Path, rows: list[dict[str, Any]]) -> None:
    """One JSON line per finished input."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def describe(item: Mapping[str, Any]) -> str:
    """One input's tokens in words."""
    share = 100 * item["tokens"] / item["of"]
    frames = "1 frame" if item["frames"] == 1 else f"{item['frames']} frames"
    damage = "".join(f", {item[k]} frames {k[7:]}" for k in ("frames_lost", "frames_corrupt") if item[k])
    return f"{item['tokens']} tokens, {share:.1f} % of {frames} of {item['grid'][0]}x{item['grid'][1]} patches{damage}"


def _line(item: Mapping[str, Any]) -> str:
    return f"{item['name']}: {describe(item)} -> {item['file']}{' (kept)' if item['kept'] else ''}"
