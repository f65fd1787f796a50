"""Shared fixtures. Real media live outside the project; tests that want them skip, saying so, where they are absent."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def shared(name: str) -> Path:
    folder = SHARED / name
    if not folder.is_dir():
        pytest.skip(f"real material is absent: {folder} does not exist")
    return folder


@pytest.fixture(scope="session")
def media() -> Path:
    """Folder of real clips, conformance streams and damaged files."""
    return shared("media")


@pytest.fixture(scope="session")
def signals_truth() -> Path:
    """Folder of what a real x265 encoder found in real clips, and ``score.py``."""
    return shared("signals")


@pytest.fixture(scope="session")
def parity() -> Path:
    """Folder of random-weight checkpoints of the original with inputs and outputs."""
    return shared("parity")
