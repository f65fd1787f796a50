"""Files of conversations: every form that is read, and every line that cannot be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conversation_files import ROWS, write_rows

from onevision_encoder.errors import ConversationFileError, MediaNotFoundError
from onevision_encoder.lmm import read_samples


def parts(sample: Any, turn: int) -> list[tuple[str, ...]]:
    return [tuple(str(value) for value in part.values()) for part in sample.messages[turn]["content"]]


def test_every_form_is_read(tmp_path: Path) -> None:
    samples = read_samples(write_rows(tmp_path / "x.jsonl", [*ROWS[:2], "", *ROWS[2:]]), "/media")
    assert [sample.line for sample in samples] == [1, 2, 4, 5]
    assert samples[0].id == "two turns"
    assert parts(samples[0], 0) == [("video", str(Path("/media/0.mp4"))), ("text", "\nwhat is this")]
    assert [message["role"] for message in samples[0].messages] == ["user", "assistant"] * 2
    image, words, video, more = parts(samples[1], 1)
    assert image == ("image", str(Path("/media/a.png")))
    assert (words, more) == (("text", " and "), ("text", " what"))
    assert video == ("video", str(Path("/media/1.mp4")), "3")
    assert parts(samples[3], 0)[0][0] == "video", "<image> of a line with videos alone is a video"


def test_parts_and_lists_are_read(tmp_path: Path) -> None:
    content = [{"type": "image"}, {"type": "video", "path": "b.mp4", "num_frames": 4}, {"type": "text", "text": "a"}]
    row = {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": "b"}], "image": "a.png"}
    (tmp_path / "x.json").write_text(json.dumps([row, row]))
    first, second = read_samples(tmp_path / "x.json")
    assert (first.line, second.line) == (1, 2)
    assert parts(first, 0) == [
        ("image", str(tmp_path / "a.png")),
        ("video", str(tmp_path / "b.mp4"), "4"),
        ("text", "a"),
    ]


def talk(question: Any = "a", answer: Any = "b", **more: Any) -> dict[str, Any]:
    return {"conversations": [{"from": "human", "value": question}, {"from": "gpt", "value": answer}], **more}


MALFORMED: list[tuple[Any, str]] = [
    ("{not json", "not JSON"),
    ("[1]", "an object is wanted"),
    ({"image": "a.png"}, "conversations or messages is wanted"),
    ({"conversations": []}, "a list of messages"),
    ({"conversations": [{"from": "human"}]}, "'from' and 'value'"),
    ({"conversations": [{"from": "narrator", "value": "a"}]}, "narrator"),
    ({"conversations": [{"from": "human", "value": "a"}]}, "end with an answer"),
    ({"conversations": [{"from": "gpt", "value": "a"}, {"from": "human", "value": "a"}]}, "take turns"),
    (talk("<video>a"), "no video is named"),
    (talk("a", video="0.mp4"), "1 of 1 videos have no <video>"),
    (talk("<image><video>a", videos=["0.mp4", "1.mp4"]), "no image is named"),
    (talk("<video>a", video="https://example.org/a.mp4"), "a file is wanted"),
    (talk("<video>a", video=3), "a path is wanted"),
    (talk("<video>a", video="a.mp4", videos=["b.mp4"]), "one of them is wanted"),
    (talk("a", "<video>b", video="a.mp4"), "in the words of the assistant"),
    (talk("a", " "), "the assistant says nothing"),
    (talk("<|video_pad|>a"), "<|video_pad|>"),
    (talk(7), "words or a list of parts"),
    (talk([{"type": "audio"}]), "text, image or video is wanted"),
]


def test_every_malformed_line_is_reported(tmp_path: Path) -> None:
    rows = [row for bad, _ in MALFORMED for row in (ROWS[2], bad)]
    with pytest.raises(ConversationFileError) as caught:
        read_samples(write_rows(tmp_path / "x.jsonl", rows))
    assert [line for line, _ in caught.value.problems] == [2 * i + 2 for i in range(len(MALFORMED))]
    for (line, cause), (_, words) in zip(caught.value.problems, MALFORMED, strict=True):
        assert words in cause
        assert f"line {line}: {cause}" in str(caught.value)


def test_files_that_are_no_files_of_conversations(tmp_path: Path) -> None:
    with pytest.raises(MediaNotFoundError, match="absent"):
        read_samples(tmp_path / "absent.jsonl")
    with pytest.raises(ConversationFileError, match="no conversation"):
        read_samples(write_rows(tmp_path / "x.jsonl", []))
    for words in ("{", "{}"):
        (tmp_path / "x.json").write_text(words)
        with pytest.raises(ConversationFileError, match="line 1"):
            read_samples(tmp_path / "x.json")
