"""A probe's result in files: report.json and report.md (what was found), run.json (how it went), predictions.jsonl."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onevision_encoder.checks import counted
from onevision_encoder.evaluate.probe_report import ProbeResult
from onevision_encoder.evaluate.tuning_config import USUAL_STEPS
from onevision_encoder.tokens.files import write_atomically

NAMES = {"top1": "top-1 accuracy", "top5": "top-5 accuracy", "mean_class": "mean class accuracy", "map": "mAP"}


def write_report(folder: Path, result: ProbeResult) -> list[Path]:
    """Write the four files, each whole or not at all; returns their paths. Raises WriteError."""
    rows = (
        {**row, "logits": [[round(float(x), 6) for x in logits] for logits in row["logits"]]}
        for row in result.predictions
    )
    texts = {
        "report.json": json.dumps(result.report, indent=2, sort_keys=True) + "\n",
        "report.md": as_markdown(result.report),
        "run.json": json.dumps(result.run, indent=2, sort_keys=True) + "\n",
        "predictions.jsonl": "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows),
    }
    for name, text in texts.items():
        write_atomically(folder / name, text.encode())
    return [folder / name for name in texts]


def as_markdown(report: Mapping[str, Any]) -> str:
    """The report for people: figures first, then what they rest on, then what was wrong."""
    data, backbone, probe, test = (report[key] for key in ("data", "backbone", "probe", "test"))
    checked, chance = data["verification"], test["chance_of_largest_class"]
    selection = report["reading"]["selection"]
    lines = [
        f"# {_what(report)} on {data['name']}",
        "",
        f"| metric | mean of {probe['seeds']} seeds | sd | 95 % interval |",
        "|---|---|---|---|",
        *(
            f"| {NAMES[name]} | {_percent(r['mean'])} | {_percent(r['sd'])} "
            f"| {_percent(r['interval95'][0])} to {_percent(r['interval95'][1])} |"
            for name, r in report["results"].items()
        ),
        "",
        *_meaning(backbone),
        f"- test: {test['videos']} videos of {checked['classes']} classes, looked at {max(test['looks'])} time"
        + (f" each in {len(test['looks'])} folds" if len(test["looks"]) > 1 else ""),
        *([] if chance is None else [f"- always the most frequent class: {_percent(chance)}"]),
        f"- interval: percentile bootstrap over test videos, {probe['resamples']} resamples, of the mean over seeds",
        f"- training: {_training(probe)}",
        f"- tokens: policy {selection['policy']}, budget {selection['budget']}",
        "",
        "## Chosen on held-out training videos",
        "",
        "| seed | fold | trained on | held out | cell |",
        "|---|---|---|---|---|",
        *(
            f"| {of['seed']} | {i} | {fold['train']} | {fold['held_out']} | {_cell(fold['chosen'])} |"
            for of in report["seeds"]
            for i, fold in enumerate(of["folds"])
        ),
        "",
        "## Problems",
        "",
        *_problems(report, checked),
    ]
    return "\n".join(lines) + "\n"


def _meaning(backbone: Mapping[str, Any]) -> list[str]:
    if backbone.get("pretrained", True):
        return []
    return [f"- **the backbone's weights are {backbone.get('weights')}: these figures say nothing about the method**"]


def _what(report: Mapping[str, Any]) -> str:
    name = report["backbone"]["name"]
    if report["kind"] == "probe":
        return f"{report['probe']['head']} probe of {name}"
    return f"{name} {'from scratch' if report['probe']['tuning']['init'] == 'scratch' else 'fine-tuned'}"


def _training(probe: Mapping[str, Any]) -> str:
    recipe = probe["recipe"]
    if "tuning" in probe:
        tuning = probe["tuning"]
        length = f"{recipe['epochs']} epochs" if recipe["epochs"] else f"{tuning['steps'] or USUAL_STEPS} steps"
        more = f", {' and '.join(tuning['augment'])}" if tuning["augment"] else ""
        return (
            f"all weights, {length}, batch {recipe['batch_size']}, {counted(len(recipe['cells']), 'cell')}, AdamW, "
            f"warm-up {100 * tuning['warmup_share']:g} %, cosine, label smoothing {recipe['label_smoothing']:g}, "
            f"{tuning['precision']}{more}; the classifier reads: {tuning['pool']}"
        )
    if probe["head"] == "knn":
        return "none, cosine neighbours"
    return (
        f"{recipe['epochs']} epochs, batch {recipe['batch_size']}, {len(recipe['cells'])} cells, AdamW, "
        f"{recipe['schedule']} to {recipe['final_lr']:g}, label smoothing {recipe['label_smoothing']:g}"
    )


def _cell(cell: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in cell.items())


def _problems(report: Mapping[str, Any], checked: Mapping[str, Any]) -> list[str]:
    expected = checked["expected_classes"]
    lines = [f"- {kind}: {number}" for kind, number in checked["counts"].items()]
    if expected not in (None, checked["classes"]):
        lines.append(f"- classes: {checked['classes']} of the {expected} of the complete set")
    lines += [f"  - {p['kind']}: {p['id']} ({p['detail']})" for p in checked["problems"]]
    lines += [f"- cannot be read: {len(report['broken'])}"] if report["broken"] else []
    lines += [f"  - {b['id']}: {b['cause']}" for b in report["broken"]]
    return lines or ["None: every file is there, every label is a class, every clip was read."]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"
