"""Damage of a source in words."""

from __future__ import annotations

from onevision_encoder.checks import counted


def damage_words(lost: int | None, corrupt: int | None) -> list[str]:
    """['2 frames lost', '1 frame corrupt'], without what there is none of; None = not known, counts as none."""
    counts = ((lost, "lost"), (corrupt, "corrupt"))
    return [f"{counted(number, 'frame')} {what}" for number, what in counts if number]
