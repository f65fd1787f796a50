"""The C core under AddressSanitizer and UndefinedBehaviorSanitizer, over random sizes and contents."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "fuzz" / "run.sh"
COMPILER = shutil.which(os.environ.get("CC", "cc"))


def fuzz(seconds: int, seed: int) -> None:
    if COMPILER is None or sys.platform == "win32":
        pytest.skip("no C compiler: the sanitizers cannot be built")
    run = subprocess.run([str(SCRIPT), str(seconds), str(seed)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-4000:]
    assert "clean" in run.stdout


@pytest.mark.slow
def test_two_minutes() -> None:
    fuzz(120, 1)


@pytest.mark.soak
def test_ten_minutes() -> None:
    fuzz(600, 10_000_000)
