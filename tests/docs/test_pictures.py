"""The pictures of the documentation: their script runs on any video, and each picture is made, shown and small."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clips import write_video
from PIL import Image
from scenes import moving_object, noisy, to_rgb

DOCS = Path(__file__).resolve().parents[2] / "docs"
OF_THE_README = "view.png"
SHOWN = set(re.findall(r"\]\(pictures/([^)]+)\)", (DOCS / "block-coder.md").read_text(encoding="utf-8")))
MOST_BYTES = 600_000


def run(*words: object) -> subprocess.CompletedProcess[str]:
    script = DOCS / "pictures" / "make_pictures.py"
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-W", "error", str(script), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An object that moves in front of a still background, with noise; at frame 4 another scene begins."""
    scenes = [moving_object((5, 3), 4, 128, 160, side=48, start=(20, 20), seed=seed)[0] for seed in (0, 50)]
    file = tmp_path_factory.mktemp("video") / "clip.mp4"
    return write_video(file, to_rgb(noisy(np.concatenate(scenes), 2.0)))


def test_script_draws_every_picture_of_the_page_from_any_video(video: Path, tmp_path: Path) -> None:
    done = run(video, "--frame", 3, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert {file.name for file in tmp_path.iterdir()} == SHOWN
    for file in tmp_path.iterdir():
        with Image.open(file) as picture:
            assert picture.width == 880
            assert len(set(picture.convert("L").resize((88, picture.height // 10)).tobytes())) > 20, "next to blank"


@pytest.mark.parametrize(
    ("frame", "message"), [(4, "a scene starts here"), (0, "1 to 7 for this video"), (8, "1 to 7 for this video")]
)
def test_script_says_which_frames_it_cannot_draw(video: Path, tmp_path: Path, frame: int, message: str) -> None:
    done = run(video, "--frame", frame, "--out", tmp_path)
    assert done.returncode == 1
    assert message in done.stderr
    assert not list(tmp_path.iterdir())


def test_pictures_of_the_page_are_there_and_small() -> None:
    files = {
        file.name: file.stat().st_size
        for file in (DOCS / "pictures").iterdir()
        if file.suffix in (".jpg", ".png") and file.name != OF_THE_README
    }
    assert set(files) == SHOWN
    assert sum(files.values()) < MOST_BYTES


def test_the_script_of_the_clip_explains_itself_and_writes_nothing(tmp_path: Path) -> None:
    script = DOCS.parent / "examples" / "make_clip.py"
    command = [sys.executable, "-W", "error", str(script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "street.mp4" in done.stdout
    assert not list(tmp_path.iterdir())
