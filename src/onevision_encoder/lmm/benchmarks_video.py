"""Rows of the seven video benchmarks, as their authors publish them and as lmms-lab's tables have them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from onevision_encoder.lmm.benchmark_rows import Row, video
from onevision_encoder.lmm.questions import Question, lettered

# MVBench: where the videos of a task lie, and whether its questions are about a part of them.
_MVBENCH = {
    "action_sequence": ("star/Charades_v1_480", True),
    "action_prediction": ("star/Charades_v1_480", True),
    "action_antonym": ("ssv2_video", False),
    "fine_grained_action": ("Moments_in_Time_Raw/videos", False),
    "unexpected_action": ("FunQA_test/test", False),
    "object_existence": ("clevrer/video_validation", False),
    "object_interaction": ("star/Charades_v1_480", True),
    "object_shuffle": ("perception/videos", False),
    "moving_direction": ("clevrer/video_validation", False),
    "action_localization": ("sta/sta_video", True),
    "scene_transition": ("scene_qa/video", False),
    "action_count": ("perception/videos", False),
    "moving_count": ("clevrer/video_validation", False),
    "moving_attribute": ("clevrer/video_validation", False),
    "state_change": ("perception/videos", False),
    "fine_grained_pose": ("nturgbd", False),
    "character_order": ("perception/videos", False),
    "egocentric_navigation": ("vlnqa", False),
    "episodic_reasoning": ("tvqa/video_fps3_hq", True),
    "counterfactual_inference": ("clevrer/video_validation", False),
}


def _choice(key: str, text: str, options: Sequence[str], answer: Any, medium: dict[str, Any], group: str) -> Question:
    letter = lettered(list(options), answer)
    return Question(
        id=key, text=text.strip(), options=tuple(options), answers=(letter,), media=(medium,), group=str(group)
    )


def videomme(root: Path, _: Path, row: Row) -> Iterator[Question]:
    """Options stand as ``A. words``."""
    options = [re.sub(r"^[A-D][.)]\s*", "", str(one)) for one in row["options"]]
    name = str(row["videoID"])
    medium = video(root, [f"data/{name}", f"videos/{name}", name])
    yield _choice(str(row["question_id"]), row["question"], options, row["answer"], medium, row["duration"])


def mvbench(root: Path, path: Path, row: Row) -> Iterator[Question]:
    """A file a task. The videos that its authors give as folders of frames (episodic_reasoning) are wanted as files
    under tvqa/video_fps3_hq."""
    place, part = _MVBENCH[path.stem]
    name = str(row["video"])
    span = {"start_seconds": row["start"], "end_seconds": row["end"]} if part else {}
    medium = video(root, [f"video/{place}/{name}", f"{place}/{name}"], **span)
    key = f"{path.stem}/{name}/{row['question']}/{row.get('start', '')}/{'|'.join(row['candidates'])}"
    yield _choice(key, row["question"], row["candidates"], row["answer"], medium, path.stem)


def nextqa(root: Path, path: Path, row: Row) -> Iterator[Question]:
    """Question kinds: C (causal), T (temporal), D (descriptive), by the first letter of ``type``."""
    name = str(row["video"])
    medium = video(root, [f"NExTVideo/{name}", f"videos/{name}", *_mapped(root, name)])
    key = f"{name}_{row['qid']}"
    options = [str(row[f"a{i}"]).strip() for i in range(5)]
    yield _choice(key, row["question"], options, int(row["answer"]), medium, str(row["type"])[:1])


def _mapped(root: Path, name: str) -> list[str]:
    """Its authors keep videos in folders of VidOR, as <folder>/<name>."""
    return [str(found.relative_to(root)) for found in sorted((root / "NExTVideo").glob(f"*/{name}.mp4"))]


def mlvu(root: Path, path: Path, row: Row) -> Iterator[Question]:
    """A file a task, ``4_count.json``, with the videos under video/4_count; or a table with ``video_name``, whose
    questions hold their options as lines ``(A) words``."""
    if "candidates" in row:
        name = str(row["video"])
        medium = video(root, [f"video/{path.stem}/{name}", f"{path.stem}/{name}"])
        task = re.sub(r"^\d+_", "", path.stem)
        key = f"{task}/{name}/{row['question']}"
        yield _choice(key, row["question"], row["candidates"], row["answer"], medium, task)
        return
    name, task = str(row["video_name"]), str(row["task_type"])
    letters = tuple(re.findall(r"(?m)^\(?([A-F])[).]", str(row["question"])))
    yield Question(
        id=f"{task}/{name}/{row['question']}",
        text=str(row["question"]),
        media=(video(root, [name, f"video/{name}", f"videos/{name}"]),),
        letters=letters,
        answers=(str(row["answer"]),),
        group=task,
    )


def longvideobench(root: Path, _: Path, row: Row) -> Iterator[Question]:
    """``correct_choice`` counts from 0. Groups: length in seconds."""
    medium = video(root, [f"videos/{row['video_path']}", str(row["video_path"])])
    group = str(row["duration_group"])
    yield _choice(str(row["id"]), row["question"], row["candidates"], int(row["correct_choice"]), medium, group)


def tomato(root: Path, path: Path, row: Row) -> Iterator[Question]:
    """A file a kind of reasoning, a dict of rows; or a table with ``video_path``. ``answer`` counts from 0."""
    kind = str(row.get("reason_type") or path.stem)
    place = row.get("video_path") or f"{row['demonstration_type']}/{row['key']}"
    medium = video(root, [f"videos/{place}", str(place)])
    key = f"{kind}/{row.get('id', '')}/{place}/{row['question']}"
    yield _choice(key, row["question"], list(row["options"]), int(row["answer"]), medium, kind)


def perception(root: Path, _: Path, row: Row) -> Iterator[Question]:
    """A table with a row a question; or the authors' JSON with a row a video, its questions under ``mc_question``."""
    if "mc_question" not in row:
        name = str(row["video_name"])
        medium = video(root, [f"videos/{name}", name])
        key = f"{name}_{row['question_id']}"
        yield _choice(key, row["question"], row["options"], int(row["answer_id"]), medium, str(row.get("area", "")))
        return
    name = str(row.get("key") or row["metadata"]["video_id"])
    medium = video(root, [f"videos/{name}", name])
    for one in row["mc_question"]:
        key, area = f"{name}_{one['id']}", str(one.get("area", ""))
        yield _choice(key, one["question"], one["options"], int(one["answer_id"]), medium, area)
