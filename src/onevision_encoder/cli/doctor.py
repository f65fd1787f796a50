"""`ove doctor`: what is installed here, what it can read and run on, and a self-test with known answers."""

from __future__ import annotations

import importlib
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from onevision_encoder import __version__
from onevision_encoder.cli.selftest import Check, Outcome, run_checks

_LIBRARIES = ("av", "numpy", "PIL", "torch", "transformers", "safetensors", "huggingface_hub", "tyro")


@dataclass(frozen=True, kw_only=True)
class Doctor:
    """Say what is installed here and whether it works: versions, codecs, devices, and a self-test with known answers.

    Exits with 1 if anything that the default options need does not work. Sends nothing anywhere.
    """

    json: bool = False
    """Print the result as JSON."""

    def run(self) -> int:
        facts = {name: _asked(about) for name, about in _FACTS.items()}
        if not self.json:
            print("\n".join(_text(facts)), flush=True)
        outcomes = []
        for outcome in run_checks(all_checks()):
            outcomes.append(outcome)
            if not self.json:
                print(_line(outcome), flush=True)
        broken = [outcome.name for outcome in outcomes if outcome.needed and outcome.status != "ok"]
        if self.json:
            print(json.dumps({"ok": not broken, **facts, "checks": [asdict(o) for o in outcomes]}, indent=2))
        else:
            print(_verdict(outcomes, broken))
        return 1 if broken else 0


def all_checks() -> list[Check]:
    """In the order in which one builds on the other."""
    from onevision_encoder.cli.selftest_path import installed_check, path_checks
    from onevision_encoder.cli.selftest_signals import signal_checks

    return [installed_check(), *signal_checks(), *path_checks()]


def _versions() -> dict[str, str]:
    found = {"onevision_encoder": __version__, "python": platform.python_version(), "platform": platform.platform()}
    for name in _LIBRARIES:
        try:
            found[name] = str(getattr(importlib.import_module(name), "__version__", "unknown"))
        except Exception as error:  # a library that cannot be imported is what a doctor is called for
            found[name] = f"cannot be imported ({type(error).__name__}: {error})"
    return found


def _ffmpeg() -> dict[str, str]:
    from onevision_encoder.video.decoders import ffmpeg_versions

    return ffmpeg_versions()


def _decoders() -> dict[str, str | None]:
    from onevision_encoder.video.decoders import available_decoders

    return available_decoders()


def _encoders() -> dict[str, bool]:
    from onevision_encoder.video.decoders import available_encoders

    return available_encoders()


def _providers() -> dict[str, str]:
    from onevision_encoder.codec.availability import provider_states

    return provider_states()


def _cpu() -> dict[str, Any]:
    from onevision_encoder.model.machine import cpu_features

    return cpu_features()


def _devices() -> dict[str, Any]:
    from onevision_encoder.model.machine import devices

    return devices()


def _attention() -> dict[str, bool]:
    from onevision_encoder.model.machine import attention_implementations

    return attention_implementations()


_FACTS: Mapping[str, Callable[[], Mapping[str, Any]]] = {
    "versions": _versions,
    "ffmpeg": _ffmpeg,
    "decoders": _decoders,
    "encoders": _encoders,
    "providers": _providers,
    "cpu": _cpu,
    "devices": _devices,
    "attention": _attention,
}


def _asked(about: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """The facts, or why they cannot be had; the self-test goes into it."""
    try:
        return dict(about())
    except Exception as error:
        return {"unknown": f"{type(error).__name__}: {error}"}


def _text(facts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for name, values in facts.items():
        if name in ("versions", "providers", "devices"):
            width = max(map(len, values))
            rows = [f"{key:<{width}}  {_words(value)}" for key, value in values.items()]
        else:
            rows = [", ".join(f"{key} {_words(value)}" for key, value in values.items())]
        lines += [f"{name if i == 0 else '':<11}{row}" for i, row in enumerate(rows)]
    return lines


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{value['name']}: {value['dtype']} ({value['reason']})"
    return {True: "yes", False: "no", None: "none"}[value] if value is None or isinstance(value, bool) else str(value)


def _line(outcome: Outcome) -> str:
    state = outcome.status if outcome.status == "ok" or outcome.needed else f"{outcome.status} (optional)"
    line = f"{state:<19}{outcome.name:<32}{outcome.seconds:6.2f} s  {outcome.detail}"
    return line if outcome.remedy is None else f"{line}\n{'':<19}to do: {outcome.remedy}"


def _verdict(outcomes: list[Outcome], broken: list[str]) -> str:
    absent = [o.name for o in outcomes if not o.needed and o.status != "ok"]
    also = f"; optional and not usable here: {', '.join(absent)}" if absent else ""
    total = sum(o.seconds for o in outcomes)
    if broken:
        return f"NOT WELL after {total:.1f} s: {', '.join(broken)}{also}"
    return f"all well: {len(outcomes) - len(absent)} checks in {total:.1f} s{also}"
