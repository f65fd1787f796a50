"""Small JSON files beside a corpus, each with the version of its schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from onevision_encoder.errors import CorpusError, ShardError


def read_versioned_json(
    path: Path,
    schema: int,
    of: str,
    *,
    error: type[CorpusError] | type[ShardError],
    missing: Callable[[], str],
    broken: Callable[[Exception], str],
) -> dict[str, Any]:
    """The object in a file.

    Args:
        of: whose schema it is, in words. error: what is raised. missing, broken: what is said where there is no file,
            and where it cannot be read.
    """
    try:
        told = json.loads(path.read_bytes())
    except FileNotFoundError as cause:
        raise error(path, missing()) from cause
    except (OSError, ValueError) as cause:
        raise error(path, broken(cause)) from cause
    found = told.get("schema") if isinstance(told, dict) else None
    if not isinstance(told, dict) or found != schema:
        raise error(path, f"schema {found!r}; this version reads schema {schema} of {of}")
    return told
