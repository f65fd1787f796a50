"""The motion suite as a data set that makes itself: once, in a folder named after its configuration."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import asdict
from pathlib import Path

from onevision_encoder.errors import WriteError
from onevision_encoder.evaluate.motion_suite import VERSION, MotionSuite, make_suite
from onevision_encoder.evaluate.sweep_ledger import digest_of


def motion_folder(cache: Path, suite: MotionSuite, *, workers: int = 1, quiet: bool = True) -> Path:
    """Folder of the suite below ``cache``; made if it is not there. It appears whole or not at all.

    Raises:
        WriteError, UnsupportedCodecError: see ``make_suite``.
    """
    folder = cache / f"motion-{suite.family}-{digest_of({'generator': VERSION, **asdict(suite)})[:12]}"
    if (folder / "suite.json").is_file():
        return folder
    part = cache / f".{secrets.token_hex(8)}.part"
    try:
        make_suite(part, suite, workers=workers, quiet=quiet)
        if folder.exists():
            raise WriteError(folder, "is there but holds no whole suite; remove it")
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder
