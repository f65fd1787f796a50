"""Work on frames in a thread of its own while the decoder goes on.

FFmpeg's decoders and swscale both run without the GIL, so that converting one frame costs the decoding of the next no
time where a core is free. The work is the same, on the same frames, in the same order: so is the result.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Frame = TypeVar("Frame")

AHEAD = 2
"""Decoded frames that may wait: they are whole pictures, and memory is bounded."""


def for_each_frame(decoded: Iterable[tuple[int, Frame]], work: Callable[[int, Frame], None]) -> None:
    """Call ``work(index, frame)`` for each frame, one after the other in one other thread, while ``decoded`` goes on.

    Returns when all is done. What ``work`` raises is raised here, and ends the decoding.
    """
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="onevision-frames") as worker:
        try:
            for index, frame in decoded:
                waiting.append(worker.submit(work, index, frame))
                if len(waiting) > AHEAD:
                    waiting.popleft().result()
            while waiting:
                waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
