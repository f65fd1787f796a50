"""Options that every verb with a language model has: the model, and how media are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class SpeakingOptions:
    """Which model speaks, and what it sees."""

    model: str
    """Folder that save_pretrained wrote (model and processor), or a hub id."""
    budget: str | None = None
    """Tokens of the language model for each video, exact, or a share such as 12.5%. Unset: as the processor says."""
    request_budget: int | None = None
    """Tokens for all media of a question."""
    video_backend: Literal["codec", "frames", "tiled"] | None = None
    """Which patches of a video are read. Unset: as the processor says."""
    num_frames: int | None = None
    """Frames considered of each video."""
    short: Literal["error", "cap"] | None = None
    """A video of fewer patches than its budget: error, or cap, which takes those it has. Unset: error."""
    timestamps: bool = False
    """Put the time before the tokens of each frame group."""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda, ..."""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """Of the weights; auto is as saved."""

    @property
    def reading(self) -> dict[str, Any]:
        """Options of the processor's call that were given."""
        given = {
            "budget": int(self.budget) if self.budget and self.budget.isdecimal() else self.budget,
            "request_budget": self.request_budget,
            "video_backend": self.video_backend,
            "num_frames": self.num_frames,
            "short": self.short,
            "timestamps": self.timestamps or None,
        }
        return {name: value for name, value in given.items() if value is not None}

    def load(self) -> tuple[Any, Any]:
        """Model and processor."""
        from onevision_encoder.lmm.loading import load_language_model

        return load_language_model(self.model, device=self.device, dtype=self.dtype)
