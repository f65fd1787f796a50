"""The `ove eval sweep` that computes the cells of a part of an experiment, read back before it is believed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

from onevision_encoder.cli import verb_of
from onevision_encoder.evaluate import MotionSuite
from onevision_encoder.evaluate.sweep_config import SweepConfig

SUITE = ("family", "final", "clips_per_class")
"""Fields of the motion suite that the command calls the same; it puts suite_ before the others."""


def sweep_command(config: SweepConfig, suite: MotionSuite | None, data: str) -> str:
    """The command line. ``suite`` None: ``data`` is a folder of labelled videos.

    Raises:
        ValueError: the command cannot say what was asked for.
    """
    words = ["eval", "sweep", "--data", "motion" if suite else data]
    usual = SweepConfig()
    words += _options(config, usual, leave=("tune", "probe", "reading"))
    words += _options(config.tune, usual.tune)
    for part in ("sampling", "sizing", "signals", "times"):
        words += _options(getattr(config.reading, part), getattr(usual.reading, part))
    if suite:
        words += _options(suite, MotionSuite(), prefixed="suite_")
    parsed = verb_of(words)
    unread = replace(parsed.config, probe=config.probe)  # nothing is probed in mode scratch
    if (unread, parsed.suite, config.mode) != (config, suite, "scratch"):
        raise ValueError(f"ove {shlex.join(words)} would be another experiment")
    return "ove " + shlex.join(words)


def _options(found: Any, usual: Any, leave: tuple[str, ...] = (), prefixed: str = "") -> Iterator[str]:
    for f in fields(found):
        value = getattr(found, f.name)
        if f.name in leave or value == getattr(usual, f.name):
            continue
        yield "--" + ((prefixed if f.name not in SUITE else "") + f.name).replace("_", "-")
        if value is not True:
            yield from (str(v) for v in (value if isinstance(value, tuple) else (value,)))
