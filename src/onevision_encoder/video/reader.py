"""Video files to :class:`FrameSequence`: sample, decode what is needed, size, account for damage.

Axes: T sampled frames, N frames of the stream, H W pixels of the sized frame, 3 = RGB.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.checks import counted
from onevision_encoder.errors import DecodeError
from onevision_encoder.types import FrameSequence
from onevision_encoder.video.before import FramesBefore
from onevision_encoder.video.color import RgbConverter, color_tags, luma_from_rgb, orientation
from onevision_encoder.video.config import FrameObserver, OnDamage, Sampling, Sizing, Source, check_on_damage
from onevision_encoder.video.decode import (
    DecodeLog,
    Run,
    decode_runs,
    observed_run,
    plain_run,
    plan_runs,
    presentation_order,
)
from onevision_encoder.video.geometry import SizePlan, content_mask, display_size, plan_size
from onevision_encoder.video.index import PacketTable, read_table
from onevision_encoder.video.overlap import for_each_frame
from onevision_encoder.video.sampling import choose_frames, frame_slots
from onevision_encoder.video.sidedata import side_data
from onevision_encoder.video.source import OpenedSource
from onevision_encoder.video.versions import library_versions

if TYPE_CHECKING:
    import av

_EXPORT = {"flags2": "+export_mvs", "export_side_data": "mvs+venc_params"}


@dataclass(kw_only=True)
class _Collector:
    """Sized frames as they come, and what the first of them says about the stream."""

    table: PacketTable
    sizing: Sizing
    converter: RgbConverter = field(default_factory=RgbConverter)
    rgb: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    key: dict[int, bool] = field(default_factory=dict)
    plan: SizePlan | None = None
    turns: int = 0
    mirror: bool = False
    mirror_known: bool = True
    display: tuple[int, int] = (0, 0)
    tags: tuple[str, str] = ("", "")
    pixel_format: str = ""
    alpha: bool = False
    coded_sizes: set[tuple[int, int]] = field(default_factory=set)
    before: FramesBefore | None = None
    held: tuple[int, av.VideoFrame] | None = None

    def __post_init__(self) -> None:
        if self.before is not None:
            self.before.clear()  # of an earlier source, or of a first try at this one

    def add(self, index: int, frame: av.VideoFrame) -> None:
        if self.plan is None:
            self._look(frame)
        assert self.plan is not None
        self.coded_sizes.add((frame.width, frame.height))
        self.rgb[index] = self.converter.sized(frame, self.plan, self.turns, self.mirror)
        self.key[index] = bool(frame.key_frame)
        if self.before is not None and self.held is not None and self.held[0] == index - 1:
            self.before.keep(index - 1, self.converter.sized(self.held[1], self.plan, self.turns, self.mirror))
        self.held = None

    def hold(self, index: int, frame: av.VideoFrame) -> None:
        """A frame that comes just before a sampled one, which decides how both are sized."""
        self.held = None if frame.is_corrupt else (index, frame)

    def _look(self, frame: av.VideoFrame) -> None:
        matrix = side_data(frame, "DISPLAYMATRIX")
        self.turns, self.mirror = orientation(None if matrix is None else bytes(matrix))
        if matrix is None and frame.rotation:
            self.turns, self.mirror_known = round(frame.rotation / 90) % 4, False
        aspect = self.table.sample_aspect
        self.display = display_size(frame.height, frame.width, sample_aspect=aspect, quarter_turns=self.turns)
        self.plan = plan_size(*self.display, self.sizing)
        self.tags = color_tags(frame)
        self.pixel_format = frame.format.name
        self.alpha = any(component.is_alpha for component in frame.format.components)


def read_video(
    source: Source,
    *,
    sampling: Sampling | None = None,
    sizing: Sizing | None = None,
    observer: FrameObserver | FramesBefore | None = None,
    on_damage: OnDamage = "partial",
) -> FrameSequence:
    """Sampled frames of a video at model resolution.

    One pass over the packets finds every frame's place in time, one pass decodes no more than the sampled frames need
    and keeps nothing but sized frames. With an ``observer``, every frame from the first to the last sampled one is
    decoded by one thread and shown to it on the way. With a :class:`FramesBefore` it is as without, but for the
    frames that go into it, which are needed too.

    A frame that does not decode is never replaced by another: the result holds the others, ``source.frames_lost``
    counts what was lost among the frames that had to be decoded, and ``provenance["missing_frame_index"]`` lists the
    sampled ones.

    Args:
        source: path, URL, bytes or binary file object.
        sampling: which frames (default: 64, uniform). sizing: at what size (default: native, <= 256 patches of 14).
        on_damage: ``partial`` = as above; ``error`` = any lost, corrupt or missing frame raises.
    Returns:
        FrameSequence, ``rgb_THW3`` uint8 full range, upright, square pixels.
    Raises:
        MediaNotFoundError, UnreadableMediaError, NoVideoStreamError, UnsupportedCodecError: the source cannot be used.
        DecodeError: not one sampled frame decodes, or damage with ``on_damage="error"``.
        InvalidArgumentError: an argument out of range, or a time window without frames.
    """
    check_on_damage(on_damage)
    sampling, sizing = sampling or Sampling(), sizing or Sizing()
    opened = OpenedSource(source)
    table = presentation_order(opened, read_table(opened))
    wanted = [int(index) for index in choose_frames(table.facts.pts_seconds_N, sampling)]
    if observer is None or isinstance(observer, FramesBefore):
        frames, log = _read(opened, table, wanted, sizing, observer)
    else:
        frames, log = _read_observed(opened, table, wanted, sizing, observer)
    missing = [index for index in wanted if index not in frames.rgb]
    lost = log.lost + table.promised
    damage = _damage(table, log, missing, lost)
    if not frames.rgb:
        raise DecodeError(opened.name, f"not one of the {len(wanted)} sampled frames can be decoded: {damage}")
    if damage and on_damage == "error":
        raise DecodeError(opened.name, f"is damaged: {damage}")
    provenance = {
        "sampling": asdict(sampling),
        "sizing": asdict(sizing),
        "missing_frame_index": missing,
        **_how(frames, table, log),
    }
    sequence = _sequence(frames, table, log, lost, provenance)
    return replace(sequence, slot_T=frame_slots(table.facts.pts_seconds_N, sampling, sequence.frame_index_T))


def _read(
    opened: OpenedSource, table: PacketTable, wanted: Sequence[int], sizing: Sizing, before: FramesBefore | None
) -> tuple[_Collector, DecodeLog]:
    """Only what is needed; at the first sign of damage again from the front, in one thread, with nothing left out."""
    preceding = [] if before is None else before.of(wanted)
    frames, log = _Collector(table=table, sizing=sizing, before=before), DecodeLog()
    runs = plan_runs(table, sorted({*wanted, *preceding}))
    _collect(frames, wanted, preceding, decode_runs(opened, table, runs, log))
    if log.clean:
        return frames, log
    frames, log = _Collector(table=table, sizing=sizing, before=before), DecodeLog()
    end = plain_run(table, wanted).end
    run = Run(start=0, end=end, wanted=frozenset(int(rank) for rank in table.rank_P[: end + 1] if rank >= 0))
    _collect(frames, wanted, preceding, decode_runs(opened, table, [run], log, skip=False, one_thread=True))
    return frames, log


def _collect(frames: _Collector, wanted: Sequence[int], preceding: Sequence[int], decoded: Any) -> None:
    chosen, needed = frozenset(wanted), frozenset([*wanted, *preceding])

    def keep(index: int, frame: av.VideoFrame) -> None:
        if index in chosen:
            frames.add(index, frame)
        else:
            frames.hold(index, frame)

    for_each_frame(((index, frame) for index, frame in decoded if index in needed), keep)


def _read_observed(
    opened: OpenedSource, table: PacketTable, wanted: Sequence[int], sizing: Sizing, observer: FrameObserver
) -> tuple[_Collector, DecodeLog]:
    frames, log, chosen = _Collector(table=table, sizing=sizing), DecodeLog(), frozenset(wanted)
    run = observed_run(table, wanted)
    options = _EXPORT if observer.export_motion_vectors else None
    for index, frame in decode_runs(opened, table, [run], log, skip=False, one_thread=True, codec_options=options):
        if wanted[0] <= index <= wanted[-1]:
            observer(frame, frame_index=index, sampled=index in chosen)
        if index in chosen:
            frames.add(index, frame)
    return frames, log


def _damage(table: PacketTable, log: DecodeLog, missing: Sequence[int], lost: int) -> str:
    """Damage in words, empty where there is none."""
    parts = [f"{counted(lost, 'frame')} lost"] if lost else []
    parts += [f"{log.corrupt} flagged corrupt"] if log.corrupt else []
    parts += [f"{len(missing)} of the sampled frames missing"] if missing else []
    parts += [f"{counted(log.errors, 'decoding error')} ({log.first_error})"] if log.errors else []
    parts += [table.demux_error] if table.demux_error else []
    return ", ".join(parts)


def _how(frames: _Collector, table: PacketTable, log: DecodeLog) -> dict[str, Any]:
    """What a reader of the result needs to know to make it again."""
    assert frames.plan is not None
    notes: dict[str, Any] = {
        "resize": ", ".join(sorted(frames.converter.ran)),
        "resized_hw": frames.plan.resized,
        "offset_tl": frames.plan.offset,
        "mirrored": frames.mirror if frames.mirror_known else "mirroring unknown (only the rotation can be read)",
        "sample_aspect": str(table.sample_aspect) if table.sample_aspect else None,
        "container": table.facts.container,
        "versions": library_versions(),
    }
    if len(frames.coded_sizes) > 1:
        notes["coded_sizes"] = sorted(frames.coded_sizes)
    if frames.alpha:
        notes["alpha"] = "dropped"
    notes |= table.notes
    counts = {"decode_errors": log.errors, "unidentified_frames": log.unidentified}
    notes |= {name: count for name, count in counts.items() if count}
    if log.first_error or table.demux_error:
        notes["first_error"] = log.first_error or table.demux_error
    return notes


def _sequence(
    frames: _Collector, table: PacketTable, log: DecodeLog, lost: int, provenance: Mapping[str, Any]
) -> FrameSequence:
    index_T = np.array(sorted(frames.rgb), np.int64)
    rgb_THW3 = np.stack([frames.rgb.pop(int(index)) for index in index_T])
    source = replace(
        table.facts.source,
        width=frames.display[1],
        height=frames.display[0],
        pixel_format=frames.pixel_format,
        color_space=frames.tags[0],
        color_range=frames.tags[1],
        rotation=frames.turns * 90,
        frames_lost=lost,
        frames_corrupt=log.corrupt,
    )
    assert frames.plan is not None
    return FrameSequence(
        rgb_THW3=rgb_THW3,
        luma_THW=luma_from_rgb(rgb_THW3),
        frame_index_T=index_T,
        pts_seconds_T=table.facts.pts_seconds_N[index_T],
        keyframe_T=np.array([frames.key[int(index)] for index in index_T], np.bool_),
        patch=frames.sizing.patch,
        merge=frames.sizing.merge,
        content_hw=content_mask(frames.plan, frames.sizing.patch),
        source=source,
        provenance=provenance,
    )
