"""`ove lmm VERB`: the verbs of the encoder inside a language model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def lmm_verbs() -> dict[str, Callable[..., Any]]:
    """Verb -> its options."""
    from onevision_encoder.cli.lmm_benchmarks import Benchmarks
    from onevision_encoder.cli.lmm_chat import Chat
    from onevision_encoder.cli.lmm_eval import Judge
    from onevision_encoder.cli.lmm_serve import Serve

    return {"chat": Chat, "serve": Serve, "eval": Judge, "benchmarks": Benchmarks}


@dataclass(frozen=True, kw_only=True)
class Lmm:
    """Talk about videos with a language model: chat, serve, eval, benchmarks (see ove lmm --help)."""

    def run(self) -> int:
        raise AssertionError("words after lmm are parsed by the verbs of lmm_verbs()")
