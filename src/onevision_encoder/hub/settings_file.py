"""How processors write their settings: one JSON file, and the image processor's beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers.utils import IMAGE_PROCESSOR_NAME


class SettingsFile:
    """For a ProcessorMixin whose ``image_processor`` has a file of its own, whatever the version of transformers."""

    image_processor: Any

    def to_dict(self, **_: Any) -> dict[str, Any]:
        """JSON-ready settings."""
        raise NotImplementedError

    def to_json_string(self, **_: Any) -> str:
        return json.dumps(self.to_dict(), indent=2, sort_keys=True) + "\n"

    def to_json_file(self, json_file_path: Any, **_: Any) -> None:
        """Write the file and, beside it, ``preprocessor_config.json``, whose place depends on transformers' version."""
        path = Path(json_file_path)
        path.write_text(self.to_json_string(), encoding="utf-8")
        self.image_processor.to_json_file(path.with_name(IMAGE_PROCESSOR_NAME))
