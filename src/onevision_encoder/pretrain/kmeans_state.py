"""Where a clustering stands, on disk, so that it goes on after a kill. Every file is whole or not there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from onevision_encoder.errors import InvalidArgumentError
from onevision_encoder.evaluate.distributed import Team
from onevision_encoder.pretrain.feature_store import write_tensors

Stage = tuple[dict[str, NDArray[Any]], dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A folder of the stages that are done. The first rank writes; all read, so it must be on a disk that all see.

    Attributes:
        folder: None = nothing is kept. key: JSON-able; what the stages belong to.
    """

    folder: Path | None
    key: Mapping[str, Any]
    team: Team

    def load(self, stage: str) -> Stage | None:
        """Arrays and metadata of a stage, None where it is not there; the same on every rank.

        Raises:
            InvalidArgumentError: the folder holds the progress of another run, or a damaged file.
        """
        if self.folder is None:
            return None
        path = self.folder / f"{stage}.safetensors"
        if not self.team.send_from(0, path.is_file() if self.team.leads else None):
            return None
        try:
            with safe_open(str(path), framework="numpy") as file:
                described = json.loads((file.metadata() or {})["onevision_encoder"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise InvalidArgumentError("work", str(path), f"a file that can be read ({error}); or remove it") from error
        if described["key"] != json.loads(json.dumps(self.key)):
            allowed = "a folder without progress of other features or options; name another or remove it"
            raise InvalidArgumentError("work", str(self.folder), allowed)
        return arrays, described["facts"]

    def save(self, stage: str, arrays: Mapping[str, NDArray[Any]], **facts: Any) -> None:
        """Raises WriteError."""
        if self.folder is not None and self.team.leads:
            write_tensors(self.folder / f"{stage}.safetensors", arrays, {"key": dict(self.key), "facts": facts})

    def drop(self, *stages: str) -> None:
        """Remove stages that a later one has made needless."""
        if self.folder is not None and self.team.leads:
            for stage in stages:
                (self.folder / f"{stage}.safetensors").unlink(missing_ok=True)
