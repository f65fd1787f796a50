"""Every command and code block of the README and of docs/ runs, in a folder that holds a clip called clip.mp4."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from clips import moving_square, write_video

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.M | re.S)
RUN_BY_CI = re.compile(r"^(make \w+|pip install \.)", re.M)
"""Commands that set up environments of their own: .ci/run runs them, see below."""

HAS_EXPORT = all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime"))
NEEDS_EXPORT = pytest.mark.skipif(not HAS_EXPORT, reason='needs the extra: pip install "onevision-encoder[export]"')

SLOW = ("coming-from", "concepts", "convert", "corpus", "evaluation", "export", "hugging-face", "language-models")
MARKS = {f"{page}.md": [pytest.mark.slow] for page in (*SLOW, "pretrain")}
MARKS["export.md"].append(NEEDS_EXPORT)


def _marks(page: str, text: str) -> list[pytest.MarkDecorator]:
    """Blocks that load a language model for each command take their time on any page."""
    return MARKS.get(page, [pytest.mark.slow] if "ove lmm" in text else [])


BLOCKS = [
    pytest.param(language, text, id=f"{page.name}-{i}", marks=_marks(page.name, text))
    for page in PAGES
    for i, (language, text) in enumerate(BLOCK.findall(page.read_text(encoding="utf-8")))
    if language in ("bash", "python") and not RUN_BY_CI.search(text)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all blocks of a module, as a reader would work."""
    place = tmp_path_factory.mktemp("reader")
    write_video(place / "clip.mp4", moving_square(frames=40))
    return place


@pytest.mark.parametrize(("language", "text"), BLOCKS)
def test_block_runs(language: str, text: str, folder: Path) -> None:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    strict = [sys.executable, "-W", "error", "-W", "default:the weights are random"]
    command = ["bash", "-euc", text] if language == "bash" else [*strict, "-c", text]
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_set_up_commands_are_run_by_ci() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in ("make demo", "make test"):
        assert re.search(rf"^{command}\b", readme, re.M), f"the README does not name {command}"
        assert re.search(rf"^{command}$", script, re.M), f".ci/run does not run {command}"
    assert "pip install ." in readme
    assert re.search(r"pip install .* \.$", script, re.M)


def test_first_result_is_on_the_first_screen() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert next(i for i, line in enumerate(lines) if "make demo" in line) < 15
    assert next(i for i, line in enumerate(lines) if "pooled_SC" in line) < 36


def test_relative_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
