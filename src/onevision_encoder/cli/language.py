"""`ove lmm VERB`: the encoder inside a language model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def lmm_verbs() -> dict[str, Callable[..., Any]]:
    """Verb -> its options."""
    from onevision_encoder.cli.lmm_benchmarks import Benchmarks
    from onevision_encoder.cli.lmm_chat import Chat
    from onevision_encoder.cli.lmm_eval import Judge
    from onevision_encoder.cli.lmm_extract import ExtractEncoder
    from onevision_encoder.cli.lmm_make import Make
    from onevision_encoder.cli.lmm_merge import Merge
    from onevision_encoder.cli.lmm_serve import Serve
    from onevision_encoder.cli.lmm_train import Train

    return {
        "make": Make,
        "train": Train,
        "merge": Merge,
        "extract-encoder": ExtractEncoder,
        "chat": Chat,
        "serve": Serve,
        "eval": Judge,
        "benchmarks": Benchmarks,
    }


@dataclass(frozen=True, kw_only=True)
class Lmm:
    """Videos inside a language model: make, train, merge, extract-encoder, chat, serve, eval, benchmarks."""

    def run(self) -> int:
        raise AssertionError("words after lmm are parsed by the verbs of lmm_verbs()")
