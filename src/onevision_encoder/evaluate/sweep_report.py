"""A sweep in files: sweep.json and sweep.md, sweep.svg and sweep.png."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from onevision_encoder import __version__
from onevision_encoder.evaluate.sweep import SweepResult
from onevision_encoder.evaluate.sweep_plot import Dot, Series, draw
from onevision_encoder.evaluate.sweep_statistics import summary_of
from onevision_encoder.tokens.files import write_atomically

Entry = Mapping[str, Any]
COLUMNS = (
    *("data", "policy", "score", "provider", "budget", "seed", "fold", "variant", "intervention", "accuracy", "tokens"),
    *("decode_ms", "select_ms", "encode_ms", "peak_mb", "val_accuracy", "train_accuracy", "train_loss", "steps"),
    *("parameters", "refused", "digest"),
)
"""Of a row of sweep.json: a cell."""
COSTS = ("decode_ms", "select_ms", "encode_ms", "peak_mb")


def as_report(result: SweepResult) -> dict[str, Any]:
    """JSON-able; the same for the same rows and costs."""
    config, costs = result.config, {_place(cost): cost for cost in result.costs}
    rows = [{**row, **{name: costs.get(_place(row), {}).get(name) for name in COSTS}} for row in result.rows]
    return {
        "schema": 1,
        "kind": "sweep",
        "version": __version__,
        "data": {
            "name": result.data.name,
            "classes": len(result.data.classes),
            "examples": result.data.counts(),
            "verification": result.checked.as_dict(),
        },
        "config": asdict(config),
        "reference": config.compared_with,
        "chance": chance_of(result),
        "rows": [{name: row.get(name) for name in COLUMNS} for row in rows],
        "summary": summary_of(result.rows, result.videos, reference=config.compared_with, resamples=config.resamples),
        "costs": [{k: v for k, v in cost.items() if k != "digest"} for cost in result.costs],
        "broken": result.broken,
        "unfinished": result.unfinished,
    }


def chance_of(result: SweepResult) -> float:
    """Accuracy of always naming the most frequent class of what is tested."""
    tested = result.data.of("test") if not result.config.folds else list(result.data.examples)
    labels = {e.video: e.classes[0] for e in tested}
    counts = [list(labels.values()).count(label) for label in set(labels.values())]
    return max(counts, default=0) / max(1, len(labels))


def _place(row: Entry) -> tuple[Any, ...]:
    return row["policy"], row["budget"], row["variant"]


def write_sweep(out: Path, result: SweepResult, title: str | None = None) -> dict[str, Any]:
    """Write the four files (no picture where nothing has an accuracy); returns the report. Raises WriteError."""
    report = as_report(result)
    write_atomically(out / "sweep.json", (json.dumps(report, indent=1, sort_keys=True) + "\n").encode())
    write_atomically(out / "sweep.md", as_markdown(report).encode())
    series = series_of(report)
    if series:
        drawing = draw(title or _title(report), series, chance=report["chance"])
        write_atomically(out / "sweep.svg", drawing.svg().encode())
        write_atomically(out / "sweep.png", drawing.png())
    return report


def _title(report: Entry) -> str:
    data, config = report["data"], report["config"]
    seeds = f"{config['seeds']} seed{'s' if config['seeds'] > 1 else ''}"
    folds = f", {config['folds']} folds" if config["folds"] else ""
    return f"{data['name']}, {data['classes']} classes, {seeds}{folds}"


def series_of(report: Entry) -> list[Series]:
    """The undisturbed groups of the first encoder, a line for each policy."""
    costs = {(c["policy"], c["budget"], c["variant"]): c for c in report["costs"]}
    plain = [s for s in report["summary"] if s["intervention"] == "none"]
    first = plain[0]["variant"] if plain else None
    lines: dict[str, list[Dot]] = {}
    for s in plain:
        if s["variant"] != first:
            continue
        cost = costs.get((s["policy"], s["budget"], s["variant"]))
        low, high = s["interval95"]
        dot = Dot(tokens=s["budget"], accuracy=s["accuracy"], low=low, high=high, milliseconds=_total_ms(cost))
        lines.setdefault(s["policy"], []).append(dot)
    return [Series(name=name, dots=tuple(sorted(dots, key=lambda d: d.tokens))) for name, dots in lines.items()]


def _total_ms(cost: Entry | None) -> float | None:
    parts: list[Any] = [None if cost is None else cost[name] for name in ("decode_ms", "select_ms", "encode_ms")]
    return None if None in parts else float(sum(parts))


def as_markdown(report: Entry) -> str:
    """The report for people."""
    config, data = report["config"], report["data"]
    lines = [f"# Sweep: {_title(report)}", ""]
    for variant in dict.fromkeys(row["variant"] for row in report["rows"]):
        lines += _accuracy(report, variant)
    lines += _interventions(report) + _variants(report) + _costs(report)
    lines += ["## What it rests on", "", f"- mode {config['mode']}, {config['seeds']} seeds; data {data['examples']}"]
    lines += [
        "- accuracy: top-1 of test videos, mean over seeds +- their standard deviation; interval: 95 %, percentile "
        f"bootstrap over test videos ({config['resamples']} resamples) of the mean over seeds",
        "- difference: points against the reference over the same test videos and seeds, with its paired 95 % interval",
        f"- always naming the most frequent class: {_percent(report['chance'])}",
        *_problems(report),
    ]
    return "\n".join(lines) + "\n"


def _accuracy(report: Entry, variant: str) -> list[str]:
    found = [s for s in report["summary"] if s["variant"] == variant and s["intervention"] == "none"]
    asked = [r for r in report["rows"] if r["variant"] == variant and r["intervention"] == "none"]
    budgets = sorted({row["budget"] for row in asked})
    policies = list(dict.fromkeys(row["policy"] for row in asked))
    at = {(s["policy"], s["budget"]): s for s in found}
    head = "| policy | " + " | ".join(f"{b} tokens" for b in budgets) + " |"
    rule = "|---" * (len(budgets) + 1) + "|"
    lines = [f"## Accuracy, encoder {variant}", "", head, rule]
    lines += [_row(p, [_spread(at.get((p, b))) for b in budgets]) for p in policies]
    lines += ["", "Training accuracy (apart from policies that see too little, low ones mean too few steps):", "", head]
    lines += [
        rule,
        *(_row(p, [_percent((at.get((p, b)) or {}).get("train_accuracy")) for b in budgets]) for p in policies),
    ]
    others = [policy for policy in policies if policy != report["reference"]]
    if others:
        lines += ["", f"Difference to {report['reference']}, points:", "", head, rule]
        lines += [_row(p, [_difference(at.get((p, b))) for b in budgets]) for p in others]
    return [*lines, ""]


def _interventions(report: Entry) -> list[str]:
    found = [s for s in report["summary"] if s["intervention"] != "none"]
    if not found:
        return []
    lines = [
        "## Interventions",
        "",
        "| policy | tokens | encoder | intervention | accuracy | change, points |",
        "|---" * 6 + "|",
    ]
    lines += [
        f"| {s['policy']} | {s['budget']} | {s['variant']} | {s['intervention']} | {_spread(s)} | {_difference(s)} |"
        for s in found
    ]
    return [*lines, ""]


def _variants(report: Entry) -> list[str]:
    found = [s for s in report["summary"] if s["intervention"] == "none"]
    first = found[0]["variant"] if found else ""
    others = [s for s in found if s["variant"] != first]
    if not others:
        return []
    lines = [
        f"## Encoders against {first}, points",
        "",
        "| policy | tokens | encoder | accuracy | difference |",
        "|---" * 5 + "|",
    ]
    lines += [f"| {s['policy']} | {s['budget']} | {s['variant']} | {_spread(s)} | {_difference(s)} |" for s in others]
    return [*lines, ""]


def _costs(report: Entry) -> list[str]:
    if not report["costs"]:
        return []
    names = ("decode ms", "select ms", "encode ms", "peak MB")
    lines = ["## Costs of a clip", "", "| policy | tokens | encoder | " + " | ".join(names) + " |", "|---" * 7 + "|"]
    for cost in report["costs"]:
        figures = ["refused" if cost["refused"] else "-" if cost[n] is None else f"{cost[n]:.3g}" for n in COSTS]
        lines.append(f"| {cost['policy']} | {cost['budget']} | {cost['variant']} | " + " | ".join(figures) + " |")
    device = report["costs"][0]["device"]
    return [*lines, "", f"CPU time on one thread, encoding on {device}; memory above that of the bare process.", ""]


def _problems(report: Entry) -> list[str]:
    checked = report["data"]["verification"]
    lines = [f"- {kind}: {number}" for kind, number in checked["counts"].items()]
    lines += [f"  - {p['kind']}: {p['id']} ({p['detail']})" for p in checked["problems"]]
    lines += _refused(report)
    lines += [f"- not computed yet: {report['unfinished']} cells"] if report["unfinished"] else []
    lines += [f"- cannot be read: {len(report['broken'])} clips"] if report["broken"] else []
    for id, causes in report["broken"].items():
        where = "" if len(set(causes.values())) == 1 else f" ({len(causes)} of the policies and budgets)"
        lines.append(f"  - {id}: {next(iter(causes.values()))}{where}")
    none = "- problems: none; every file is there, every label is a class, every clip was read, no cell was refused"
    return ["", "## Problems", "", *(lines or [none])]


def _refused(report: Entry) -> list[str]:
    """Cells of one policy, budget and cause together."""
    groups: dict[tuple[str, int, str], list[Entry]] = {}
    for row in report["rows"]:
        if row["refused"]:
            groups.setdefault((row["policy"], row["budget"], row["refused"]), []).append(row)
    lines = []
    for (policy, budget, cause), rows in groups.items():
        kinds = [kind for kind in dict.fromkeys(row["intervention"] for row in rows) if kind != "none"]
        which = f" ({', '.join(kinds)})" if kinds and len(kinds) == len({row["intervention"] for row in rows}) else ""
        lines.append(f"- refused: {policy} at {budget} tokens{which}, {len(rows)} cells: {cause}")
    return lines


def _row(name: str, cells: Sequence[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def _spread(s: Entry | None) -> str:
    if s is None:
        return "refused"
    sd = "" if s["sd"] is None else f" +- {100 * s['sd']:.1f}"
    low, high = (100 * v for v in s["interval95"])
    return f"{100 * s['accuracy']:.1f}{sd} ({low:.1f} to {high:.1f})"


def _difference(s: Entry | None) -> str:
    if s is None or s["difference"] is None:
        return "-"
    low, high = (100 * v for v in s["difference95"])
    return f"{100 * s['difference']:+.1f} ({low:+.1f} to {high:+.1f})"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
