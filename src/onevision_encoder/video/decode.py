"""The decode path: packets in file order to frames with their place in presentation order.

Every packet is stamped with its packet number before it is decoded, and the decoder hands that number on to the frame
that comes out. So a frame is known by its packet, whatever the container's timestamps are worth, and the packet table
turns packet numbers into presentation order.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from onevision_encoder.video.config import Source
from onevision_encoder.video.index import NONE, PacketTable, read_table
from onevision_encoder.video.source import OpenedSource

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

# Containers whose keyframe flags and seeking are exact enough to leave packets out.
_EXACT_CONTAINERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
# Decoders where "not a reference" means that no other frame looks at it, so that leaving it out changes nothing else.
# HEVC is not among them: its sub-layer non-reference pictures may serve higher temporal layers.
_EXACT_NONREF = frozenset({"h264", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4", "msmpeg4v2", "vp8"})
# Crop exactly, also where the left edge is not aligned in memory (otherwise FFmpeg keeps columns that are to be cut).
_UNALIGNED = 1
_SEEK_BYTES = 4 << 20
"""Gaps smaller than this are read through: it costs less than a seek."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Packets ``start`` to ``end`` (inclusive) fed to a clean decoder, for the frames ``wanted``."""

    start: int
    end: int
    wanted: frozenset[int]


@dataclass(kw_only=True)
class DecodeLog:
    """What went wrong while decoding."""

    errors: int = 0
    first_error: str | None = None
    corrupt: int = 0
    unidentified: int = 0
    delivered: set[int] = field(default_factory=set)
    attempted: set[int] = field(default_factory=set)

    @property
    def lost(self) -> int:
        return len(self.attempted - self.delivered)

    @property
    def clean(self) -> bool:
        return not (self.errors or self.corrupt or self.unidentified or self.lost)

    def error(self, error: Exception) -> None:
        self.errors += 1
        self.first_error = self.first_error or getattr(error, "strerror", None) or str(error)


def plan_runs(table: PacketTable, wanted: Sequence[int]) -> list[Run]:
    """The packets needed for the frames ``wanted``, in file order, everything between them left out.

    A run starts at the last clean restart that comes neither after the frame's packet in the file nor after the frame
    in presentation (leading frames of an open group belong to the group before).
    """
    if table.facts.container not in _EXACT_CONTAINERS or not table.timed or table.has_extra:
        return [plain_run(table, wanted)]
    restarts = np.flatnonzero(table.restart_P & (table.rank_P >= 0))
    ranks = table.rank_P[restarts]
    if len(ranks):  # one that is shown after a later one is left out, so that both columns are sorted
        ordered = ranks == np.minimum.accumulate(ranks[::-1])[::-1]
        restarts, ranks = restarts[ordered], ranks[ordered]
    frames_T = np.asarray(wanted, np.int64)
    packet_T = table.packet_N[frames_T]
    usable_T = np.minimum(np.searchsorted(restarts, packet_T, "right"), np.searchsorted(ranks, frames_T, "right"))
    start_T = np.concatenate([[0], restarts])[usable_T]
    spans = zip(start_T.tolist(), packet_T.tolist(), frames_T.tolist(), strict=True)
    runs: list[tuple[int, int, set[int]]] = []
    for start, packet, frame in sorted(spans):
        if runs and start <= runs[-1][1]:
            first, last, frames = runs[-1]
            runs[-1] = (first, max(last, packet), frames | {frame})
        else:
            runs.append((start, packet, {frame}))
    return [Run(start=start, end=end, wanted=frozenset(frames)) for start, end, frames in runs]


def plain_run(table: PacketTable, wanted: Sequence[int], *, whole: bool = False) -> Run:
    """One run from the first packet on: to the end of the stream, or until every frame up to the last wanted is in."""
    end = len(table.rank_P) - 1 if whole else int(table.packet_N[: max(wanted) + 1].max())
    while end + 1 < len(table.rank_P) and table.rank_P[end + 1] < 0:  # second fields, hidden frames
        end += 1
    return Run(start=0, end=end, wanted=frozenset(wanted))


def observed_run(table: PacketTable, wanted: Sequence[int]) -> Run:
    """One run that holds every frame from the first to the last wanted."""
    first, last = min(wanted), max(wanted)
    start = plan_runs(table, [first])[0].start
    end = plain_run(table, range(last + 1)).end
    return Run(start=start, end=end, wanted=frozenset(range(first, last + 1)))


def decode_runs(
    opened: OpenedSource,
    table: PacketTable,
    runs: Sequence[Run],
    log: DecodeLog,
    *,
    skip: bool = True,
    one_thread: bool = False,
    codec_options: dict[str, str] | None = None,
) -> Iterator[tuple[int, av.VideoFrame]]:
    """Yield (frame_index, frame) of every frame decoded, in the decoder's output order.

    Args:
        skip: frames that are not wanted and that nothing refers to are not decoded.
        one_thread: one decoding thread (exported side data is racy with frame threads, damage is repeatable without).
    """
    with ExitStack() as stack:
        container, stream = stack.enter_context(opened.open())
        context = stream.codec_context
        context.thread_type, context.thread_count = ("SLICE", 1) if one_thread else ("AUTO", 0)
        context.flags |= _UNALIGNED
        if codec_options:
            context.options = codec_options
        skip = skip and context.name in _EXACT_NONREF and table.timed and not table.has_extra
        reader = _PacketReader(opened, container, stream, table, stack)
        for run in runs:
            wanted_packets = {int(table.packet_N[index]) for index in run.wanted}
            for number, packet in reader.read(run, log):
                if skip:
                    context.skip_frame = "DEFAULT" if number in wanted_packets else "NONREF"
                packet.pts, packet.dts = number, None
                yield from _identify(_decode(context, packet, log), table, log)
            yield from _identify(_decode(context, None, log), table, log)
            log.attempted |= run.wanted
            context.flush_buffers()


def decode_frames(source: Source) -> Iterator[tuple[int, av.VideoFrame]]:
    """Plain full decode: (frame_index, frame) of every frame that the stream shows, in presentation order.

    The frame is as decoded: no rotation, no resizing. Damaged frames that do not decode are left out.

    Raises:
        What opening raises (see :func:`onevision_encoder.video.probe`).
    """
    opened = OpenedSource(source)
    table = presentation_order(opened, read_table(opened))
    run = plain_run(table, range(len(table.packet_N)), whole=True)
    yield from decode_runs(opened, table, [run], DecodeLog(), skip=False)


def presentation_order(opened: OpenedSource, table: PacketTable) -> PacketTable:
    """The table itself where the container has timestamps; otherwise presentation order found by decoding once.

    Streams without timestamps (raw H.264 and HEVC, say) are thereby decoded twice. A packet whose frame never comes
    out keeps its place after the packet before it.
    """
    if table.timed:
        return table
    run = Run(start=0, end=len(table.rank_P) - 1, wanted=frozenset(range(len(table.packet_N))))
    out = [int(table.packet_N[index]) for index, _ in decode_runs(opened, table, [run], DecodeLog(), skip=False)]
    shown = [int(p) for p in table.packet_N]
    follower: dict[int, list[int]] = {}
    came_out, anchor = set(out), -1
    for number in shown:
        if number in came_out:
            anchor = number
        else:
            follower.setdefault(anchor, []).append(number)
    order = list(follower.get(-1, []))
    for number in out:
        order += [number, *follower.get(number, [])]
    return table.reordered(np.array(order, np.int64))


def _decode(context: VideoCodecContext, packet: av.Packet[VideoStream] | None, log: DecodeLog) -> list[av.VideoFrame]:
    """Frames that come out for a packet (None: all that are still inside); an error is logged, not raised."""
    import av

    try:
        return context.decode(packet)
    except av.EOFError:
        return []
    except av.FFmpegError as error:
        log.error(error)
        return []


def _identify(frames: list[av.VideoFrame], table: PacketTable, log: DecodeLog) -> Iterator[tuple[int, av.VideoFrame]]:
    """Frames with their rank; a frame that no packet of the table stands for, or a second one, is counted and left."""
    for frame in frames:
        number = frame.pts
        index = int(table.rank_P[number]) if number is not None and 0 <= number < len(table.rank_P) else -1
        if index < 0 or index in log.delivered:
            log.unidentified += 1
            continue
        log.delivered.add(index)
        log.corrupt += frame.is_corrupt
        frame.pts = int(table.pts_N[index]) if table.timed else None
        frame.time_base = table.time_base
        yield index, frame


class _PacketReader:
    """Packets of runs, numbered, from one pass through the file that seeks over large gaps."""

    def __init__(
        self, opened: OpenedSource, container: InputContainer, stream: VideoStream, table: PacketTable, stack: ExitStack
    ) -> None:
        self._opened, self._table, self._stack = opened, table, stack
        self._container, self._stream = container, stream
        self._next = 0
        self._packets = container.demux(stream)

    def read(self, run: Run, log: DecodeLog) -> Iterator[tuple[int, av.Packet[VideoStream]]]:
        import av

        if run.start > self._next and self._worth_a_seek(run.start) and not self._seek_to(run.start):
            self._reopen()
        while self._next <= run.end:
            try:
                packet = next((p for p in self._packets if p.size), None)
            except (av.FFmpegError, OSError, IndexError) as error:  # IndexError: see index.py
                log.error(error)
                return
            if packet is None:
                return
            self._next += 1
            if self._next > run.start:
                yield self._next - 1, packet

    def _worth_a_seek(self, start: int) -> bool:
        here, there = int(self._table.pos_P[self._next]), int(self._table.pos_P[start])
        return here >= 0 and there - here >= _SEEK_BYTES

    def _seek_to(self, start: int) -> bool:
        """Go to the restart ``start`` or before it; False where that cannot be proven."""
        import av

        table = self._table
        # What the demuxer's index holds: decoding times in MP4, presentation times in Matroska.
        in_mp4 = "mp4" in table.facts.container
        ticks = int(table.dts_P[start] if in_mp4 else table.pts_N[table.rank_P[start]])
        if ticks == NONE:
            return False
        try:
            self._container.seek(ticks, stream=self._stream, backward=True)
            packets = self._container.demux(self._stream)
            landed = next((p for p in packets if p.size), None)
        except (av.FFmpegError, OSError, IndexError):
            return False
        number = None if landed is None else table.number_of(landed.pts)
        if landed is None or number is None or not self._next <= number <= start:
            return False
        self._next, self._packets = number, itertools.chain([landed], packets)
        return True

    def _reopen(self) -> None:
        """A seek missed: read again from the first packet, in a container of its own."""
        self._container, self._stream = self._stack.enter_context(self._opened.open())
        self._packets, self._next = self._container.demux(self._stream), 0
