"""The motion suite as questions and answers: what only motion tells, asked of a language model.

Every class gives the questions below; each answer is one word, and no picture by itself says which.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onevision_encoder.evaluate.motion_families import FAMILIES, FamilyName
from onevision_encoder.tokens.files import write_atomically


@dataclass(frozen=True, kw_only=True)
class MotionQuestion:
    """A question about one clip. ``chance`` is 1 / the number of ``choices``, which are about equally frequent."""

    kind: str
    text: str
    answer: str
    choices: tuple[str, ...]

    @property
    def chance(self) -> float:
        return 1 / len(self.choices)


def motion_questions(label: str, family: FamilyName = "development") -> list[MotionQuestion]:
    """Of a class of the suite; none of the class ``static``."""
    about = FAMILIES[family]
    ways = tuple(direction.replace("_", "") for direction in about.directions)
    kind, _, rest = label.partition("_")
    if kind == "move":
        direction, _, speed = rest.rpartition("_")
        return [
            _ask("direction", "which way does the object move", direction.replace("_", ""), ways),
            _ask("speed", "how fast does the object move", speed, ("slow", "fast")),
        ]
    asked: dict[str, tuple[str, str, tuple[str, ...]]] = {
        "rotate": ("which way does the object turn", rest, ("clockwise", "anticlockwise")),
        "zoom": ("which way does the picture zoom", rest, ("in", "out")),
        "order": ("which came first", rest.partition("_")[0], about.events),
        "jumps": ("how many jumps", rest, tuple(map(str, about.jumps))),
        "which": ("which object moves", rest, ("large", "small")),
    }
    return [_ask(kind, *asked[kind])] if kind in asked else []


def _ask(kind: str, text: str, answer: str, choices: tuple[str, ...]) -> MotionQuestion:
    return MotionQuestion(kind=kind, text=text, answer=answer, choices=choices)


def write_questions(suite: str | Path, split: str, out: str | Path) -> Path:
    """Conversations about a split of a written suite (see ``make_suite``), as ``ove lmm train`` reads them.

    Each row also has ``question`` (its kind) and ``choices``. ``out`` must lie where paths relative to ``suite`` are
    found: give ``suite`` as the media root.
    """
    rows: list[Mapping[str, Any]] = []
    for line in (Path(suite) / "labels.jsonl").read_text(encoding="utf-8").splitlines():
        clip = json.loads(line)
        if clip["split"] != split:
            continue
        for asked in motion_questions(clip["label"], clip["family"]):
            words = [{"from": "human", "value": f"<video>{asked.text}"}, {"from": "gpt", "value": asked.answer}]
            about = {"question": asked.kind, "choices": asked.choices}
            rows.append({"id": clip["id"], "video": clip["file"], "conversations": words, **about})
    write_atomically(out, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return Path(out)
