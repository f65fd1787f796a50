"""A folder of small media and conversations about them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clips import write_video
from PIL import Image
from tiny_parts import clip, still

ROWS: tuple[dict[str, Any], ...] = (
    {
        "id": "two turns",
        "conversations": [
            {"from": "human", "value": "<video>\nwhat is this"},
            {"from": "gpt", "value": "left"},
            {"from": "human", "value": "which way does the object move"},
            {"from": "gpt", "value": "up down"},
        ],
        "video": "0.mp4",
    },
    {
        "messages": [
            {"role": "system", "content": "compare"},
            {"role": "user", "content": "<image> and <video> what"},
            {"role": "assistant", "content": "red"},
        ],
        "images": ["a.png"],
        "videos": [{"path": "1.mp4", "budget": 3}],
    },
    {"messages": [{"role": "user", "content": "what"}, {"role": "assistant", "content": "yes"}]},
    {
        "conversations": [{"from": "human", "value": "<image>what"}, {"from": "gpt", "value": "still"}],
        "video": "1.mp4",
    },
)


def media_folder(folder: Path) -> Path:
    for i in range(2):
        write_video(folder / f"{i}.mp4", clip(8, i))
    Image.fromarray(still()).save(folder / "a.png")
    return folder


def write_rows(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path
