"""Side data of decoded frames, whatever else lies beside it.

PyAV reads all side data of a frame at once and knows the types of one FFmpeg release by number: a single newer one
(EXIF, say) makes the whole lookup fail. FFmpeg's own ``sidedata`` filter takes such an entry away, without a copy of
the picture.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import av

_UNKNOWN_TYPE = re.compile(r"^(\d+) is not a valid Type$")
_MOST_UNKNOWN = 16


def side_data(frame: av.VideoFrame, name: str) -> Any | None:
    """The side data ``name`` of a frame (PyAV's object), None where it has none or its side data cannot be read.

    Args:
        name: as in ``av.sidedata.sidedata.Type``, ``"DISPLAYMATRIX"`` or ``"MOTION_VECTORS"`` say.
    """
    for _ in range(_MOST_UNKNOWN):
        try:
            return frame.side_data.get(name)
        except ValueError as error:
            unknown = _UNKNOWN_TYPE.match(str(error))
            stripped = None if unknown is None else _without(frame, int(unknown[1]))
        if stripped is None:
            return None
        frame = stripped
    return None


def _without(frame: av.VideoFrame, number: int) -> av.VideoFrame | None:
    """The same picture without its side data of type ``number``; None where this FFmpeg cannot do so."""
    import av
    from av.filter import Graph

    try:
        graph = Graph()
        base = frame.time_base or Fraction(1, 1000)
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=base)
        drop, sink = graph.add("sidedata", f"mode=delete:type={number}"), graph.add("buffersink")
        source.link_to(drop)
        drop.link_to(sink)
        graph.configure()
        graph.push(frame)
        pulled = graph.pull()
    except (av.FFmpegError, ValueError):
        return None
    return pulled if isinstance(pulled, av.VideoFrame) else None
