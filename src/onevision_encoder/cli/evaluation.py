"""`ove eval VERB`: the verbs that judge encoders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


def eval_verbs() -> dict[str, Callable[..., Any]]:
    """Verb -> its options."""
    from onevision_encoder.cli.eval_probe import Probe
    from onevision_encoder.cli.eval_suite import EvalSuite
    from onevision_encoder.cli.eval_sweep import Sweep
    from onevision_encoder.cli.eval_verify import Verify

    return {"probe": Probe, "sweep": Sweep, "verify": Verify, "suite": EvalSuite}


@dataclass(frozen=True, kw_only=True)
class Eval:
    """Judge encoders on labelled videos: probe, sweep, verify, suite (see ove eval --help)."""

    def run(self) -> int:
        raise AssertionError("words after eval are parsed by the verbs of eval_verbs()")
