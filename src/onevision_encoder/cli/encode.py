"""`ove encode FILES|FOLDER ...`: pooled and per-token embeddings, one safetensors file per input."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from onevision_encoder.cli.batch import MEDIA_SUFFIXES, TOKEN_SUFFIX, Input, expand, finish, run_batch
from onevision_encoder.cli.options import ReadingOptions
from onevision_encoder.cli.results import describe, described, facts, made_of, prepare, write_index
from onevision_encoder.errors import InvalidArgumentError, RandomWeightsWarning
from onevision_encoder.tokens.pipeline import read_clip
from onevision_encoder.tokens.store import load_tokens
from onevision_encoder.types import PatchTokens

if TYPE_CHECKING:
    from onevision_encoder.model import LoadedEncoder


@dataclass(frozen=True, kw_only=True)
class Encode(ReadingOptions):
    """Embed videos, images and token files; one safetensors file each with ids and provenance.

    Run again, it keeps the files whose source, options and model have not changed.
    """

    files: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILES")]
    """Videos, images, URLs, files that ove tokens made, or folders of them."""
    model: str = "default"
    """default (small weights that come along), a checkpoint folder, a hub id, or a preset with random weights: tiny,
    small, base, large, huge."""
    out: Path = Path("embeddings")
    """Folder for NAME.embedding.safetensors and index.jsonl."""
    output: Literal["pooled", "tokens", "both"] = "pooled"
    """One vector per input, one per token, or both."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, mps, ..."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: bfloat16 where the hardware multiplies it natively, else float32."""
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        from onevision_encoder.model import load_encoder

        inputs = expand(self.files, f"{MEDIA_SUFFIXES} {TOKEN_SUFFIX}")
        prepare(self.out)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RandomWeightsWarning)  # said below, in a sentence
            encoder = load_encoder(self.model, dtype=self.dtype, device=self.device)
        if encoder.model.head is None and self.output != "tokens":
            raise InvalidArgumentError("output", self.output, "'tokens': this model has no pooling head")
        if not encoder.pretrained:
            print(f"ove: the weights are {encoder.weights}: these embeddings mean nothing yet", file=sys.stderr)
        report = run_batch(inputs, lambda item: self._one(item, encoder), label="encode", quiet=self.json)
        write_index(self.out, report.done)
        extra = {"out": str(self.out), "encoder": dict(encoder.provenance)}
        return finish(report, as_json=self.json, line=_line, extra=extra)

    def _one(self, item: Input, encoder: LoadedEncoder) -> Mapping[str, Any]:
        from onevision_encoder.model import embed_tokens, save_embeddings

        target = self.out / f"{item.name}.embedding.safetensors"
        row = {"width": encoder.model.config.hidden_size, "file": target.relative_to(self.out).as_posix()}
        tokens = self._load(item.path) if item.path.endswith(TOKEN_SUFFIX) else None
        there = described(target)
        if there is not None and self._unchanged(there, item, tokens, encoder):
            frames, count = (there["shapes"][name][0] for name in ("frame_index", "positions"))
            return {**facts(there["tokens"], count, frames, there["grid"]), **row, "kept": True}
        tokens = tokens or read_clip(item.path, self.how).tokens()
        embeddings = embed_tokens(encoder, tokens, return_tokens=self.output != "pooled")
        save_embeddings(target, tokens, embeddings, output=self.output)
        clip = tokens.clips[0]
        made = facts(clip.provenance, len(tokens), len(clip.frame_index_T), clip.grid)
        return {**made, **row, "kept": False}

    def _unchanged(
        self, there: Mapping[str, Any], item: Input, tokens: PatchTokens | None, encoder: LoadedEncoder
    ) -> bool:
        """Whether the file that is there is of this source, by these options, with this model and output."""
        made = there.get("tokens") or {}
        if tokens is None:
            same = made_of(made, item.path, self.request)
        else:
            same = made == tokens.clips[0].provenance
        model = there.get("encoder") or {}
        wanted = json.loads(json.dumps(dict(encoder.provenance)))
        held = {"pooled": {"pooled"}, "tokens": {"tokens"}, "both": {"pooled", "tokens"}}[self.output]
        return (
            same
            and all(model.get(key) == value for key, value in wanted.items())
            and set(there["shapes"]) & {"pooled", "tokens"} == held
        )

    def _load(self, path: str) -> PatchTokens:
        if self.changed:
            allowed = "their defaults: a token file has been sampled and selected already"
            raise InvalidArgumentError("options", self.changed, allowed)
        return load_tokens(path)


def _line(item: Mapping[str, Any]) -> str:
    kept = " (kept)" if item["kept"] else ""
    return f"{item['name']}: {describe(item)} -> {item['width']} wide, {item['file']}{kept}"
