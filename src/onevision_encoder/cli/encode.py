"""`ove encode FILES|FOLDER ...`: pooled and per-token embeddings, one safetensors file per input."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from onevision_encoder.cli.batch import MEDIA_SUFFIXES, TOKEN_SUFFIX, Input, expand, finish, run_batch
from onevision_encoder.cli.tokens import describe, facts, write_index
from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.tokens.pipeline import TokenizeConfig, read_clip
from onevision_encoder.tokens.store import load_tokens

if TYPE_CHECKING:
    from onevision_encoder.model import LoadedEncoder


@dataclass(frozen=True, kw_only=True)
class Encode:
    """Embed videos, images and token files; one safetensors file each with ids and provenance."""

    files: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Videos, images, URLs, *.tokens.safetensors files, or folders of them."""
    model: str
    """A checkpoint folder, a hub id, or a preset with random weights: tiny, small, base, large, huge."""
    out: Path = Path("embeddings")
    """Folder for NAME.embedding.safetensors and index.jsonl."""
    output: Literal["pooled", "tokens", "both"] = "pooled"
    """One vector per input, one per token, or both."""
    device: str = "auto"
    """auto, cpu, cuda, mps, ..."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """auto: the fastest that keeps the features (said in the provenance)."""
    how: TokenizeConfig = field(default_factory=TokenizeConfig)
    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        from onevision_encoder.model import load_encoder

        inputs = expand(self.files, f"{MEDIA_SUFFIXES} {TOKEN_SUFFIX}")
        encoder = load_encoder(self.model, dtype=self.dtype, device=self.device)
        if encoder.model.head is None and self.output != "tokens":
            raise InvalidArgumentError("output", self.output, "'tokens': this model has no pooling head")
        if not encoder.pretrained:
            print(f"ove: the weights are {encoder.weights}: these embeddings mean nothing yet", file=sys.stderr)
        report = run_batch(inputs, lambda item: self._one(item, encoder), label="encode", quiet=self.json)
        write_index(self.out / "index.jsonl", report.done)
        extra = {"out": str(self.out), "encoder": dict(encoder.provenance)}
        return finish(report, as_json=self.json, line=_line, extra=extra)

    def _one(self, item: Input, encoder: LoadedEncoder) -> Mapping[str, Any]:
        from onevision_encoder.model import embed_tokens, save_embeddings

        if item.path.endswith(TOKEN_SUFFIX):
            tokens = load_tokens(item.path)
        else:
            tokens = read_clip(item.path, self.how).tokens()
        embeddings = embed_tokens(encoder, tokens, return_tokens=self.output != "pooled")
        target = self.out / f"{item.name}.embedding.safetensors"
        save_embeddings(target, tokens, embeddings, output=self.output)
        width = encoder.model.config.hidden_size
        return {**facts(tokens), "width": width, "file": target.relative_to(self.out).as_posix()}


def _line(item: Mapping[str, Any]) -> str:
    return f"{item['name']}: {describe(item)} -> {item['width']} wide, {item['file']}"
