"""What the processor returns: inputs of the model, and the path that each image and video took.

Axes: B batch, L tokens of a text, N patches, S media, M visual tokens, D = 3*p*p.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onevision_encoder.hub.features import EncoderInputs, Modality
from onevision_encoder.types import ClipInfo


@dataclass(frozen=True, kw_only=True, eq=False)
class MediumRecord:
    """One image or video of the inputs.

    Attributes:
        sample: item of the batch. path: how its patches were chosen (``codec``, ``frames``, ``tiled``, ``image``, the
            name of another policy, or ``imported canvases``, ``imported mosaics``, ``given tokens (codec)``, ...).
        patches: that the encoder reads. tokens: that the language model reads.
        seconds: what each frame group that got tokens is called in the text; None without timestamps.
        clip: name, grid, frame indices, times, and the whole provenance.
    """

    sample: int
    modality: Modality
    path: str
    patches: int
    tokens: int
    seconds: tuple[float, ...] | None
    clip: ClipInfo

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, without the arrays of the clip. ``frames_lost``, ``frames_corrupt``: None where not known."""
        source = self.clip.provenance.get("source") or {}
        return {
            "sample": self.sample,
            "modality": self.modality,
            "name": self.clip.name,
            "path": self.path,
            "frames": len(self.clip.frame_index_T),
            **{name: source.get(name) for name in ("frames_lost", "frames_corrupt")},
            "grid": list(self.clip.grid),
            "patches": self.patches,
            "tokens": self.tokens,
            "seconds": None if self.seconds is None else list(self.seconds),
            "provenance": dict(self.clip.provenance),
        }


class VLInputs(EncoderInputs):
    """``model(**inputs)`` and ``model.generate(**inputs)`` take all of it.

    Always: ``input_ids`` and ``attention_mask`` int64 [B, L]. Where there are media: ``pixel_values`` float32 [N, D],
    ``patch_positions`` float32 [N, 3], ``cu_seqlens`` int32 [S + 1]; ``unit_cu_seqlens`` int32 [M + 1] with merger
    ``attention``; ``image_grid_thw``, ``video_grid_thw`` int64 [n, 3] where all media of the kind are whole frames.

    Attributes:
        media: a :class:`MediumRecord` for each, in the order of the pack. No input of the model.
    """

    def __init__(
        self,
        data: Mapping[str, Any] | None = None,
        tensor_type: Any = None,
        metadata: Any = None,
        media: Sequence[MediumRecord] = (),
    ) -> None:
        self.media = tuple(media)
        super().__init__(data, tensor_type, metadata)

    @property
    def provenance(self) -> list[dict[str, Any]]:
        """What each medium is and how it was read, JSON-ready."""
        return [record.as_dict() for record in self.media]

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "media": self.media}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.media = state["media"]
