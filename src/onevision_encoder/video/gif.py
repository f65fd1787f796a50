"""GIFs whose frames carry no delay: what FFmpeg needs to tell their frames apart.

FFmpeg cuts a GIF into frames at its graphic control extensions, so that all the images of a file without any come out
as one. The GIF89a specification (section 23) makes the extension optional; an empty one says nothing and cuts.
"""

from __future__ import annotations

_IMAGE, _EXTENSION, _CONTROL = 0x2C, 0x21, 0xF9
_EMPTY_CONTROL = bytes((_EXTENSION, _CONTROL, 4, 0, 0, 0, 0, 0))
_SHORTEST = 2
"""Hundredths of a second; FFmpeg, like browsers, shows a frame with a shorter delay for 0.1 s."""


def with_controls(data: bytes) -> tuple[bytes, int, int]:
    """(the GIF with an empty control extension before every image that has none, how many were added, images without
    a usable delay). What follows the first damage stays as it is."""
    out, start, added, undelayed = bytearray(), 0, 0, 0
    delay: int | None = None
    at = 13 + _table_bytes(data, 10)
    while at < len(data):
        kind = data[at]
        if kind == _EXTENSION:
            if data[at + 1 : at + 3] == bytes((_CONTROL, 4)):
                delay = int.from_bytes(data[at + 4 : at + 6], "little")
            at = _after_blocks(data, at + 2)
        elif kind == _IMAGE:
            if delay is None:
                out += data[start:at] + _EMPTY_CONTROL
                start, added = at, added + 1
            undelayed += delay is None or delay < _SHORTEST
            delay = None
            at = _after_blocks(data, at + 10 + _table_bytes(data, at + 9) + 1)
        else:  # the trailer, or damage
            break
    return bytes(out + data[start:]), added, undelayed


def _table_bytes(data: bytes, at: int) -> int:
    """Size of the colour table that the packed byte at ``at`` announces."""
    packed = data[at] if at < len(data) else 0
    return 3 << (packed & 7) + 1 if packed & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    """Where the chain of sub-blocks that starts at ``at`` ends."""
    while at < len(data) and data[at]:
        at += data[at] + 1
    return at + 1
