"""Rows of the seven video benchmarks, as their authors publish them and as lmms-lab's tables have them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from onevision_encoder.lmm.benchmark_rows import Row, video
from onevision_encoder.lmm.questions import LeftOut, Question, lettered, worded

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
# The same folders in the revision of it that lmms-eval reads: parts cut out, or the videos coded anew.
_MVBENCH_CUT = {
    "star/Charades_v1_480": "star/Charades_segment",
    "sta/sta_video": "sta/sta_video_segment",
    "tvqa/video_fps3_hq": "tvqa/video_fps3_hq_segment",
}
_MVBENCH_ANEW = {"ssv2_video": "ssv2_video_mp4", "nturgbd": "nturgbd_convert"}
# MLVU's tasks whose answers are texts.
_MLVU_WRITTEN = ("sub_scene", "summary")


def _choice(key: str, text: str, options: Sequence[str], letter: str, medium: dict[str, Any], group: str) -> Question:
    return Question(
        id=key, text=text.strip(), options=tuple(options), answers=(letter,), media=(medium,), group=str(group)
    )


def videomme(root: Path, _: Path, row: Row) -> Iterator[Question]:
    """Options stand as ``A. words``."""
    options = [re.sub(r"^[A-D][.)]\s*", "", str(one)) for one in row["options"]]
    name = str(row["videoID"])
    medium = video(root, [f"data/{name}", f"videos/{name}", name])
    letter = str(row["answer"]).strip()
    yield _choice(str(row["question_id"]), row["question"], options, letter, medium, row["duration"])


def mvbench(root: Path, path: Path, row: Row) -> Iterator[Question]:
    """A file a task; ``answer`` is an option's text. The videos that its authors give as folders of frames
    (episodic_reasoning) are wanted as files under tvqa/video_fps3_hq."""
    key = f"{path.stem}/{row['video']}/{row['question']}/{row.get('start', '')}/{'|'.join(row['candidates'])}"
    letter = worded(list(row["candidates"]), row["answer"])
    yield _choice(key, row["question"], row["candidates"], letter, _of_mvbench(root, path.stem, row), path.stem)


def _of_mvbench(root: Path, task: str, row: Row) -> dict[str, Any]:
    """The video of a row, with the part asked about, or that part where it has been cut out already."""
    place, part = _MVBENCH[task]
    name = str(row["video"])
    if not part:
        return video(root, [*_in_mvbench(place, name), *_in_mvbench(_MVBENCH_ANEW.get(place, place), name)])
    whole_too = "start" in row
    cut = f"{Path(name).stem}_{row['start']}_{row['end']}" if whole_too else name
    medium = video(root, [*_in_mvbench(_MVBENCH_CUT[place], name), *_in_mvbench(_MVBENCH_CUT[place], cut)])
    if Path(medium["path"]).is_file() or not whole_too:
        return medium
    return video(root, _in_mvbench(place, name), start_seconds=row["start"], end_seconds=row["end"])


def _in_mvbench(place: str, name: str) -> list[str]:
    """Its authors' later archive, data0613, holds what the others lack, in folders of the same names."""
    return [f"{top}{place}/{name}" for top in ("video/", "", "video/data0613/", "data0613/")]


def nextqa(root: Path, path: Path, row: Row) -> Iterator[Question]:
    """Question kinds: C (causal), T (temporal), D (descriptive), by the first letter of ``type``."""
    name = str(row["video"])
    medium = video(root, [f"NExTVideo/{name}", f"videos/{name}", *_mapped(root, name)])
    key = f"{name}_{row['qid']}"
    options = [str(row[f"a{i}"]).strip() for i in range(5)]
    yield _choice(key, row["question"], options, lettered(options, int(row["answer"])), medium, str(row["type"])[:1])


def _mapped(root: Path, name: str) -> list[str]:
    """Its authors keep videos in folders of VidOR, as <folder>/<name>."""
    return [str(found.relative_to(root)) for found in sorted((root / "NExTVideo").glob(f"*/{name}.mp4"))]


def mlvu(root: Path, path: Path, row: Row) -> Iterator[Question | LeftOut]:
    """A file a task, ``4_count.json``, with the videos under video/4_count and an option's text as ``answer``; or a
    table with ``video_name``. Two of the nine files ask for texts, which a language model judges: they are left out."""
    if "video_name" in row:
        yield _of_mlvu_table(root, row)
        return
    name, task = str(row["video"]), re.sub(r"^\d+_", "", path.stem)
    key = f"{task}/{name}/{row['question']}"
    if task in _MLVU_WRITTEN:
        yield LeftOut(id=key, group=task, cause="its answers are texts that a language model judges")
        return
    medium = video(root, [f"video/{path.stem}/{name}", f"{path.stem}/{name}"])
    options = list(row["candidates"])
    yield _choice(key, row["question"], options, worded(options, row["answer"]), medium, task)


def _of_mlvu_table(root: Path, row: Row) -> Question:
    """``answer`` is a letter. Questions hold their options as lines ``(A) words``; else ``candidates`` are shown."""
    name, task, text = str(row["video_name"]), str(row["task_type"]), str(row["question"])
    letters = tuple(re.findall(r"(?m)^\(?([A-F])[).]", text))
    return Question(
        id=f"{task}/{name}/{text}",
        text=text,
        media=(video(root, [name, f"video/{name}", f"videos/{name}"]),),
        options=() if letters else tuple(row["candidates"]),
        letters=letters,
        answers=(str(row["answer"]).strip(),),
        group=task,
    )


def longvideobench(root: Path, _: Path, row: Row) -> Iterator[Question]:
    """``correct_choice`` counts from 0, in ``candidates``, or in the table ``option0`` to ``option4`` ("N/A" is none).
    Groups: length in seconds."""
    medium = video(root, [f"videos/{row['video_path']}", str(row["video_path"])])
    five = [row.get(f"option{i}", "N/A") for i in range(5)]
    options = list(row["candidates"]) if "candidates" in row else [one for one in five if one != "N/A"]
    letter = lettered(options, int(row["correct_choice"]))
    yield _choice(str(row["id"]), row["question"], options, letter, medium, str(row["duration_group"]))


def tomato(root: Path, path: Path, row: Row) -> Iterator[Question]:
    """A file a kind of reasoning, a dict of rows; or a table with ``video_path``. ``answer`` counts from 0."""
    kind = str(row.get("reason_type") or path.stem)
    place = row.get("video_path") or f"{row['demonstration_type']}/{row['key']}"
    medium = video(root, [f"videos/{place}", str(place)])
    key = f"{kind}/{row.get('id', '')}/{place}/{row['question']}"
    options = list(row["options"])
    yield _choice(key, row["question"], options, lettered(options, int(row["answer"])), medium, kind)


def perception(root: Path, _: Path, row: Row) -> Iterator[Question]:
    """A table with a row a question; or the authors' JSON with a row a video, its questions under ``mc_question``."""
    if "mc_question" not in row:
        name = str(row["video_name"])
        medium = video(root, [f"videos/{name}", name])
        yield _of_perception(f"{name}_{row['question_id']}", row, medium)
        return
    name = str(row.get("key") or row["metadata"]["video_id"])
    medium = video(root, [f"videos/{name}", name])
    for one in row["mc_question"]:
        yield _of_perception(f"{name}_{one['id']}", one, medium)


def _of_perception(key: str, asked: Row, medium: dict[str, Any]) -> Question:
    letter = lettered(asked["options"], int(asked["answer_id"]))
    return _choice(key, asked["question"], asked["options"], letter, medium, str(asked.get("area", "")))
