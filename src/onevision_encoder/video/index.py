"""The packet table: what a stream holds, frame by frame, found by demuxing alone.

Axes: N frames in presentation order. A *packet number* counts the packets of the video stream in the order of the
file, which is decode order.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.errors import UnreadableMediaError
from onevision_encoder.types import SourceInfo
from onevision_encoder.video.bitstream import is_restart, shows_nothing
from onevision_encoder.video.config import Source
from onevision_encoder.video.source import OpenedSource

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

_FALLBACK_FPS = Fraction(25)
# Containers whose header counts frames that are there; elsewhere it is an estimate.
_COUNTED = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "gif"})
_NO_TIMESTAMPS = 0x80
"""AVFMT_NOTIMESTAMPS."""
NONE = -(1 << 63)
"""No timestamp (FFmpeg's AV_NOPTS_VALUE)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MediaFacts:
    """What a container says about its video stream, frame by frame in presentation order; nothing is decoded.

    Where the stream carries no timestamps (``source.timestamps == "frame_rate"``) the order is that of the file, which
    differs from presentation order inside groups with B-frames.

    Attributes:
        source: facts of the stream. container: FFmpeg's name of the format.
        pts_seconds_N: float64, strictly increasing, 0 = first frame.
        size_bytes_N: int64, bytes of the frame's packet. keyframe_N: bool.
    """

    source: SourceInfo
    container: str
    pts_seconds_N: NDArray[np.float64]
    size_bytes_N: NDArray[np.int64]
    keyframe_N: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class PacketTable:
    """How frames and packets belong together. Axes: P packets in file order.

    Attributes:
        timed: the container has timestamps, and presentation order follows from them.
        pts_N: int64 ticks of ``time_base`` in presentation order; empty where not ``timed``.
        packet_N: int64, packet number of each frame. rank_P: int64, frame of each packet, -1 = shows nothing.
        restart_P: bool, see :func:`onevision_encoder.video.bitstream.is_restart`.
        dts_P: int64 ticks, NONE = unknown. pos_P: int64, byte position in the file, -1 = unknown.
        promised: frames that the header counts and the file does not hold (0 where headers are no promise).
        has_extra: some packets carry no pts although others do (second fields, say).
        spread: frames shared a pts and were given times of their own.
        notes: choices that were made for this stream, for a reader of the result.
    """

    facts: MediaFacts
    timed: bool
    time_base: Fraction
    pts_N: NDArray[np.int64]
    packet_N: NDArray[np.int64]
    rank_P: NDArray[np.int64]
    dts_P: NDArray[np.int64]
    restart_P: NDArray[np.bool_]
    pos_P: NDArray[np.int64]
    sample_aspect: Fraction | None
    promised: int = 0
    has_extra: bool = False
    spread: bool = False
    notes: Mapping[str, Any] = field(default_factory=dict)
    demux_error: str | None = None

    def number_of(self, pts: int | None) -> int | None:
        """Packet number of the frame at ``pts``, None where there is none or it is not the only one."""
        if pts is None or self.spread:
            return None
        rank = int(np.searchsorted(self.pts_N, pts))
        return int(self.packet_N[rank]) if rank < len(self.pts_N) and self.pts_N[rank] == pts else None

    def reordered(self, packet_N: NDArray[np.int64]) -> PacketTable:
        """The same packets with another presentation order."""
        rank_P = np.full_like(self.rank_P, -1)
        rank_P[packet_N] = np.arange(len(packet_N))
        old = self.rank_P[packet_N]
        facts = replace(self.facts, size_bytes_N=self.facts.size_bytes_N[old], keyframe_N=self.facts.keyframe_N[old])
        return replace(self, facts=facts, packet_N=packet_N, rank_P=rank_P)


class _Packets:
    """Columns of the table while it is read; compact, for hours of video."""

    def __init__(self) -> None:
        self.pts, self.dts, self.size, self.pos = (array("q") for _ in range(4))
        self.key, self.restart, self.shown = (bytearray() for _ in range(3))
        self.empty = 0
        self.error: str | None = None


def read_table(opened: OpenedSource) -> PacketTable:
    """Demux the whole stream once.

    Raises:
        UnreadableMediaError: the stream holds no packet. And what opening raises.
    """
    with opened.open() as (container, stream):
        digest = hashlib.blake2b(digest_size=16)
        context = stream.codec_context
        digest.update(f"{context.name} {stream.time_base}".encode() + (context.extradata or b""))
        columns = _demux(container, stream, digest)
        if not any(columns.shown):
            cause = columns.error or "the header promises a video stream, but the file holds not one of its frames"
            raise UnreadableMediaError(opened.name, cause)
        return _tabulate(opened, container, stream, columns, "blake2b:" + digest.hexdigest())


def _demux(container: InputContainer, stream: VideoStream, digest: hashlib.blake2b) -> _Packets:
    import av

    columns, codec, extradata = _Packets(), stream.codec_context.name, stream.codec_context.extradata
    try:
        for packet in container.demux(stream):
            if not packet.size:  # a frame that repeats the one before (AVI), or the end of the stream
                columns.empty += packet.dts is not None
                continue
            data = memoryview(packet)
            digest.update(f"{packet.pts} ".encode())
            digest.update(data)
            columns.pts.append(NONE if packet.pts is None else packet.pts)
            columns.dts.append(NONE if packet.dts is None else packet.dts)
            columns.size.append(packet.size)
            columns.key.append(packet.is_keyframe)
            columns.restart.append(packet.is_keyframe and is_restart(codec, data, extradata))
            columns.shown.append(not packet.is_discard and not shows_nothing(codec, data))
            columns.pos.append(-1 if packet.pos is None else packet.pos)
    except (av.FFmpegError, OSError, IndexError) as error:  # IndexError: PyAV, of a stream that turns up half-way
        columns.error = f"reading stops after {len(columns.pts)} packets: {getattr(error, 'strerror', None) or error}"
    return columns


def _tabulate(
    opened: OpenedSource, container: InputContainer, stream: VideoStream, columns: _Packets, fingerprint: str
) -> PacketTable:
    time_base = stream.time_base or Fraction(1, 1000)
    shown = np.flatnonzero(np.frombuffer(columns.shown, np.bool_))
    pts_P = np.array(columns.pts, np.int64)
    timed = shown[pts_P[shown] != NONE]
    has_pts = len(timed) > 0
    packet_N = timed[np.argsort(pts_P[timed], kind="stable")] if has_pts else shown
    pts_N = pts_P[packet_N] if has_pts else np.empty(0, np.int64)
    timed_by_file = has_pts and not _makes_times_up(container)
    rate, rate_note = (stream.average_rate or stream.guessed_rate, None) if timed_by_file else _frame_rate(stream)
    if timed_by_file:
        seconds, spread = _seconds(pts_N, time_base, rate or _FALLBACK_FPS)
    else:
        seconds, spread = np.arange(len(packet_N)) / float(rate or _FALLBACK_FPS), False
    rank_P = np.full(len(pts_P), -1, np.int64)
    rank_P[packet_N] = np.arange(len(packet_N))
    source = _source_info(opened, stream, fingerprint, seconds, "container" if timed_by_file else "frame_rate", rate)
    facts = MediaFacts(
        source=source,
        container=container.format.name,
        pts_seconds_N=seconds,
        size_bytes_N=np.array(columns.size, np.int64)[packet_N],
        keyframe_N=np.frombuffer(columns.key, np.bool_)[packet_N],
    )
    return PacketTable(
        facts=facts,
        timed=has_pts,
        time_base=time_base,
        pts_N=pts_N,
        packet_N=packet_N,
        rank_P=rank_P,
        dts_P=np.array(columns.dts, np.int64),
        restart_P=np.frombuffer(columns.restart, np.bool_),
        pos_P=np.array(columns.pos, np.int64),
        sample_aspect=stream.sample_aspect_ratio or None,
        promised=_promised(container, stream, len(pts_P) + columns.empty),
        has_extra=has_pts and bool((pts_P == NONE).any()),
        spread=spread,
        notes=_notes(opened, container, stream, spread, rate_note if len(packet_N) > 1 else None),
        demux_error=columns.error,
    )


def _promised(container: InputContainer, stream: VideoStream, found: int) -> int:
    """Frames that an MP4's tables or a GIF's blocks list and that do not come out: cut short, or tables are wrong."""
    return max(0, stream.frames - found) if container.format.name in _COUNTED else 0


def _seconds(pts_N: NDArray[np.int64], time_base: Fraction, rate: Fraction) -> tuple[NDArray[np.float64], bool]:
    """Times from 0, strictly increasing; (seconds_N, whether equal ones were spread)."""
    exact = (pts_N - pts_N[0]).astype(np.float64) * time_base.numerator / time_base.denominator
    distinct, first, repeats = np.unique(pts_N, return_index=True, return_counts=True)
    if len(distinct) == len(pts_N):
        return exact, False
    # Frames that share a tick are spread evenly up to the next tick, so that each keeps a time of its own.
    gap = np.append(np.diff(exact[first]), float(1 / rate))
    within = np.arange(len(pts_N)) - np.repeat(first, repeats)
    return exact + within * np.repeat(gap / repeats, repeats), True


def _makes_times_up(container: InputContainer) -> bool:
    """Raw streams and pictures end to end: what timestamps there are come from the demuxer's default rate."""
    return bool(container.format.flags & _NO_TIMESTAMPS) or container.format.name.endswith("_pipe")


def _frame_rate(stream: VideoStream) -> tuple[Fraction, str | None]:
    """Rate of a stream without timestamps: its own headers' (VUI, say), else the demuxer's guess, which is noted."""
    stated = stream.codec_context.framerate
    if stated:
        return stated, None
    rate = stream.guessed_rate or stream.average_rate or stream.base_rate or _FALLBACK_FPS
    return rate, f"nothing in the stream states a frame rate: {float(rate):g} a second are assumed"


def _notes(
    opened: OpenedSource, container: InputContainer, stream: VideoStream, spread: bool, rate_note: str | None
) -> dict[str, Any]:
    notes: dict[str, Any] = {}
    times = ["frames that shared a timestamp were spread evenly up to the next one"] if spread else []
    times += [rate_note] if rate_note else []
    times += [opened.gif_note] if opened.gif_note else []
    if times:
        notes["timestamps"] = "; ".join(times)
    videos = opened.video_streams(container)
    if len(videos) > 1:
        notes["video_stream"] = {"read": stream.index, "of": [other.index for other in videos]}
    return notes


def _source_info(
    opened: OpenedSource,
    stream: VideoStream,
    fingerprint: str,
    seconds: NDArray[np.float64],
    timestamps: Literal["container", "frame_rate"],
    rate: Fraction | None,
) -> SourceInfo:
    from onevision_encoder.video.geometry import display_size

    context, count = stream.codec_context, len(seconds)
    height, width = display_size(context.height, context.width, sample_aspect=stream.sample_aspect_ratio or None)
    step = float(seconds[-1]) / (count - 1) if count > 1 else 0.0
    fps = 1 / step if step else (float(rate) if rate else None)
    return SourceInfo(
        name=opened.name,
        fingerprint=fingerprint,
        codec=context.name,
        width=width,
        height=height,
        num_frames=count,
        fps=fps,
        duration_seconds=float(seconds[-1]) + (1 / fps if fps else 0.0),
        pixel_format=context.pix_fmt,
        timestamps=timestamps,
    )


def probe(source: Source) -> MediaFacts:
    """Facts of a video without decoding it: one pass over its packets.

    ``width``, ``height`` and the colour fields are the header's; rotation is known once a frame is decoded.

    Raises:
        MediaNotFoundError, UnreadableMediaError, NoVideoStreamError, UnsupportedCodecError: the source cannot be used.
        InvalidArgumentError: not a source.
    """
    return read_table(OpenedSource(source)).facts
