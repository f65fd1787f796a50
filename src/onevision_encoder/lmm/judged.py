"""What a judged benchmark says: score, by group, tokens to the language model, times, paths, and what was left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from onevision_encoder.lmm.benchmarks import Benchmark
from onevision_encoder.video.damage import damage_words

Line = Mapping[str, Any]


def summary(lines: Sequence[Line], benchmark: Benchmark) -> dict[str, Any]:
    """The report of all lines of a benchmark, JSON-ready.

    ``score`` is over the questions that could be asked, ``score_broken_wrong`` counts the others as wrong; both are in
    ``scale``, and None where nothing was asked. ``score_by_likelihood``: where every answer was written and its
    likelihood found as well.
    """
    rows = [line for line in lines if not line.get("left_out")]
    asked = [line for line in rows if line["error"] is None]
    broken = [line for line in rows if line["error"] is not None]
    both = bool(asked) and all(line.get("likelihood") and line["answer_tokens"] for line in asked)
    likeliest = [{**line, "score": line["likelihood"]["score"]} for line in asked] if both else []
    choices = [line for line in asked if line["metric"] == "letter"]
    return {
        "benchmark": benchmark.name,
        "average": benchmark.average,
        "scale": benchmark.scale,
        "score": _score(asked, benchmark),
        "score_broken_wrong": _score(rows, benchmark),
        "score_by_likelihood": _score(likeliest, benchmark),
        "score_by_likelihood_broken_wrong": _score([*likeliest, *broken], benchmark) if both else None,
        "groups": _groups(asked, benchmark.scale),
        "questions": len(rows),
        "asked": len(asked),
        "counted_as": len(_together(asked)),
        "no_letter": sum(line["letter"] is None for line in choices),
        "broken": [{"id": line["id"], **line["error"]} for line in broken],
        "left_out": dict(Counter(f"{line['group']}: {line['left_out']}" for line in lines if line.get("left_out"))),
        "tokens": {name: _spread([line[name] for line in asked]) for name in _TOKENS},
        "seconds": {name: _spread([line[name] for line in asked]) for name in _SECONDS},
        "paths": dict(Counter(medium["path"] for line in asked for medium in line["media"])),
        "samples_by_path": _by_path(asked),
        "damaged": _damaged(asked),
    }


_TOKENS = ("prompt_tokens", "visual_tokens", "answer_tokens")
_SECONDS = ("seconds_reading", "seconds_to_first", "seconds")


def _score(lines: Sequence[Line], benchmark: Benchmark) -> float | None:
    if not lines:
        return None
    if benchmark.average == "groups":
        return fmean(group["score"] for group in _groups(lines, benchmark.scale).values())
    return benchmark.scale * fmean(_together(lines))


def _together(lines: Sequence[Line]) -> list[float]:
    """Scores, of questions that count as one the least."""
    found: dict[Any, float] = {}
    for i, line in enumerate(lines):
        key = i if line.get("together") is None else line["together"]
        found[key] = min(found.get(key, 1.0), line["score"] or 0.0)
    return list(found.values())


def _groups(lines: Sequence[Line], scale: int) -> dict[str, dict[str, float]]:
    by: dict[str, list[Line]] = {}
    for line in lines:
        by.setdefault(line["group"], []).append(line)
    scores = {name: _together(some) for name, some in sorted(by.items())}
    return {name: {"score": scale * fmean(some), "counted_as": len(some)} for name, some in scores.items()}


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    return {"mean": fmean(values), "median": median(values), "least": min(values), "most": max(values)}


def _by_path(lines: Sequence[Line]) -> dict[str, list[str]]:
    """Path, or paths, of a sample -> the ids that took it."""
    by: dict[str, list[str]] = {}
    for line in lines:
        path = " + ".join(sorted({medium["path"] for medium in line["media"]})) or "text alone"
        by.setdefault(path, []).append(line["id"])
    return by


def _damaged(lines: Sequence[Line]) -> dict[str, list[str]]:
    """Samples that were asked of what is left of their media -> what is missing."""
    found = {
        line["id"]: [
            f"{medium['name']}: {', '.join(words)}"
            for medium in line["media"]
            if (words := damage_words(medium.get("frames_lost"), medium.get("frames_corrupt")))
        ]
        for line in lines
    }
    return {key: words for key, words in found.items() if words}


def in_words(report: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    of = f" of {report['scale']}"
    lines = [f"# {report['benchmark']}", ""]
    score = report["score"]
    lines.append(
        "No question could be asked." if score is None else f"**{score:.1f}**{of} (mean of {report['average']})"
    )
    likeliest = report["score_by_likelihood"]
    if likeliest is not None:
        lines.append(f"By the likelihood of letters: {likeliest:.1f}{of}")
    if report["broken"] and score is not None:
        wrong = f"With broken ones counted as wrong: {report['score_broken_wrong']:.1f}{of}"
        if likeliest is not None:
            wrong += f"; by the likelihood {report['score_by_likelihood_broken_wrong']:.1f}{of}"
        lines.append(wrong)
    lines += ["", f"{report['asked']} of {report['questions']} questions asked, counted as {report['counted_as']}."]
    if report["no_letter"]:
        lines.append(f"{report['no_letter']} answers named no letter: wrong.")
    lines += ["", "| | mean | median | least | most |", "|---|---|---|---|---|"]
    for name, spread in {**report["tokens"], **report["seconds"]}.items():
        if spread:
            form = ".3f" if name.startswith("seconds") else ".1f"
            cells = " | ".join(format(spread[part], form) for part in ("mean", "median", "least", "most"))
            lines.append(f"| {_NAMES.get(name, name.replace('_', ' '))} | {cells} |")
    if any(report["groups"]):
        lines += ["", "| group | score | counted as |", "|---|---|---|"]
        lines += [
            f"| {name} | {group['score']:.1f} | {group['counted_as']} |" for name, group in report["groups"].items()
        ]
    lines += ["", "Media by path: " + (", ".join(f"{n} {path}" for path, n in report["paths"].items()) or "none")]
    for key, found in report["damaged"].items():
        lines.append(f"Damaged: {key}: {'; '.join(found)}")
    for cause, number in report["left_out"].items():
        lines.append(f"Left out: {number} of {cause}")
    lines += [f"Broken: {one['id']}: {one['cause']}" for one in report["broken"]]
    return "\n".join(lines) + "\n"


_NAMES = {"seconds_to_first": "seconds to first token (TTFT)", "visual_tokens": "visual tokens to the language model"}
