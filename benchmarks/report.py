"""How results of a benchmark are kept: a JSON beside a Markdown table, with what is needed to run it again."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

Row = Mapping[str, object]


def kept(file: Path | None, key: str, make: Callable[[], list[Row]]) -> list[Row]:
    """Rows that an earlier call of the same benchmark left in ``file`` under this key; else made, and left there."""
    found: dict[str, list[Row]] = json.loads(file.read_text(encoding="utf-8")) if file and file.is_file() else {}
    if key not in found:
        print(key, file=sys.stderr, flush=True)
        found[key] = make()
        if file:
            file.write_text(json.dumps(found), encoding="utf-8")
    return found[key]


def git(*words: str, check: bool = False) -> str:
    """What git says of the project; "" where it fails, unless ``check`` raises CalledProcessError."""
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=check)
    return done.stdout.strip()


def environment() -> dict[str, object]:
    """Hardware, versions, command and commit of this run."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "command": " ".join(["python", *(Path(a).name if Path(a).is_absolute() else a for a in sys.argv)]),
        "commit": git("rev-parse", "--short", "HEAD") + ("+changes" if git("status", "--porcelain", "src") else ""),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: version(name) for name in ("torch", "numpy", "av", "transformers")},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    wide = [f for f in ("avx2", "avx512_bf16", "amx_bf16") if f in flags]
    return f"{names[0] if names else platform.processor()} ({', '.join(wide)})"


def table(rows: Sequence[Row]) -> str:
    """A Markdown table; the first row's keys are the columns."""
    columns = list(rows[0])
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(row[c]) for c in columns) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def write(out: Path, name: str, title: str, parts: Mapping[str, Sequence[Row]], notes: Sequence[str] = ()) -> None:
    """Print the tables, and write ``out/name.md`` and ``out/name.json``."""
    facts = environment()
    packages = facts["packages"]
    assert isinstance(packages, dict)
    text = [f"# {title}", "", f"`{facts['command']}`", ""]
    text += [f"{facts['date']}, commit {facts['commit']}, {facts['processor']}, {facts['cores']} cores,"]
    text += [f"{facts['system']}, Python {facts['python']}, " + ", ".join(f"{k} {v}" for k, v in packages.items()), ""]
    for heading, rows in parts.items():
        text += [f"## {heading}", "", table(rows), ""]
    text += [*(f"- {note}" for note in notes), ""] if notes else []
    print("\n".join(text))
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.md").write_text("\n".join(text), encoding="utf-8")
    record: dict[str, Any] = {"title": title, "environment": facts, "notes": list(notes), "tables": dict(parts)}
    (out / f"{name}.json").write_text(json.dumps(record, indent=2, default=float) + "\n", encoding="utf-8")
