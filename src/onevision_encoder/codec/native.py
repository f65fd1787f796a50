"""``native``: what the file itself says: the motion vectors that its encoder wrote.

H.264, MPEG-1, MPEG-2, MPEG-4 and the MSMPEG4, WMV1, WMV2 and Sorenson (FLV1) relatives, read with one decoding thread
from FFmpeg's export. Vectors are mapped from decoded pixels to the sized frame (rotation, resize, crop).
Not in the export, hence assumed: which reference a vector means (see :mod:`onevision_encoder.codec.trace`). Vectors of
interlaced field pictures are taken as they come. FFmpeg exports nothing for the frame that its MPEG-1/2/4 decoders hold
back until the end of the stream: there ``interval="frame"`` is not ``valid_T``. The export has no coded residual: it is
measured on pixels.

Axes: T frames, H W pixels of the sized frame, y x cells of it, j i cells of the decoded picture, 2 = (dx, dy).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.codec.cells import cell_deviation, cell_difference, cell_grid, luma_of, pad_to
from onevision_encoder.codec.cuts import CUT_RULE, is_cut
from onevision_encoder.codec.interpolate import compensate
from onevision_encoder.codec.observer import SampledMotion, VectorObserver
from onevision_encoder.codec.regrid import Regrid
from onevision_encoder.codec.trace import Step
from onevision_encoder.errors import SignalUnavailableError
from onevision_encoder.types import CELL, CodecSignals, FrameSequence, Interval

if TYPE_CHECKING:
    from onevision_encoder.video import FrameObserver, FramesBefore, Source

NAME = "native"
CODECS = frozenset(
    {"h264", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "msmpeg4"}
    | {"wmv1", "wmv2", "flv", "flv1"}
)
"""FFmpeg's names of the codecs whose vectors it exports."""
CODEC_NAMES = "H.264, MPEG-1, MPEG-2, MPEG-4, MSMPEG4, WMV1, WMV2 and FLV1"


class Native:
    """The provider ``native``: needs the decoding pass, through its observer."""

    name = NAME

    def check(self, interval: Interval) -> None:
        """Both intervals are given."""

    def check_file(self, source: Source) -> None:
        """Raises SignalUnavailableError for a video whose codec exports no vectors. Looks at the header alone."""
        from onevision_encoder.video import is_still_image
        from onevision_encoder.video.source import OpenedSource

        if is_still_image(source):
            return
        opened = OpenedSource(source)
        with opened.open() as (_, stream):
            _check_codec(opened.name, stream.codec_context.name)

    def observer(self, *, interval: Interval) -> FrameObserver | None:
        return VectorObserver(interval=interval)

    def signals(
        self,
        source: FrameSequence | NDArray[np.uint8],
        *,
        interval: Interval,
        observer: FrameObserver | FramesBefore | None = None,
    ) -> CodecSignals:
        """Signals of the frames that ``observer`` saw sampled.

        Motion: vectors followed back to the sampled frame before (``sample``) or of the frame alone, as displacement
        of one frame (``frame``). Residual: |luma - compensated luma| between sampled frames at model resolution
        (``sample``), or between the decoded frame and the one before it in the source (``frame``).
        Intra: no vector says where most of the cell came from. Its residual is the deviation from the cell's own mean.
        A single frame needs no observer: all of it is intra.

        Raises:
            ShapeError: luma is not uint8 [T, H, W].
            SignalUnavailableError: frames in memory, or a codec that exports no vectors.
        """
        luma_THW = luma_of(source)
        if len(luma_THW) == 1:
            return _assemble(luma_THW, (), (), interval, source)
        if not isinstance(observer, VectorObserver) or not isinstance(source, FrameSequence):
            cause = "vectors are only there while a file is decoded, and these frames are decoded already"
            alternatives = ["read_with_signals(path, ...)", "provider='x264proxy'"]
            raise SignalUnavailableError(NAME, "signals of frames in memory", cause, alternatives)
        _check_codec(source.source.name, source.source.codec)
        samples = observer.samples()
        if observer.frame_index != source.frame_index_T.tolist():
            cause = f"its observer saw frames {observer.frame_index}, the clip has {source.frame_index_T.tolist()}"
            raise SignalUnavailableError(NAME, f"signals of {source.source.name}", cause, ["provider='x264proxy'"])
        regrids = [Regrid(sample.height, sample.width, frames=source) for sample in samples]
        return _assemble(luma_THW, samples, regrids, interval, source)


def _check_codec(name: str, codec: str) -> None:
    if codec not in CODECS:
        cause = f"{name}: FFmpeg exports no motion vectors for {codec}; it does for {CODEC_NAMES}"
        raise SignalUnavailableError(NAME, "motion vectors", cause, ["provider='x264proxy'"])


def _assemble(
    luma_THW: NDArray[np.uint8],
    samples: Sequence[SampledMotion],
    regrids: Sequence[Regrid],
    interval: Interval,
    source: object,
) -> CodecSignals:
    T, H, W = luma_THW.shape
    y, x = cell_grid(H, W)
    residual_Tyx = np.stack([cell_deviation(pad_to(luma_HW, CELL)) for luma_HW in luma_THW])
    motion_Tyx2 = np.zeros((T, y, x, 2), np.float32)
    intra_Tyx = np.ones((T, y, x), np.bool_)
    valid_T, cut_T = np.ones(T, np.bool_), np.arange(T) == 0
    for t in range(1, T):
        sample, regrid = samples[t], regrids[t]
        before_HW, luma_HW = pad_to(luma_THW[t - 1], CELL), pad_to(luma_THW[t], CELL)
        moved_yx2, known_yx = _sized(sample.since_sample, regrid)
        predicted_HW = compensate(before_HW, moved_yx2)
        difference_yx = cell_difference(luma_HW, predicted_HW)
        valid_T[t], cut_T[t] = sample.vectors, is_cut(before_HW, luma_HW, predicted_HW, known_yx, residual_Tyx[t])
        if cut_T[t]:
            continue
        if interval == "frame":
            moved_yx2, known_yx = _sized(None if sample.intra else sample.since_frame, regrid)
            if sample.residual_yx is not None:
                difference_yx = regrid.average(sample.residual_yx)
        residual_Tyx[t] = np.where(known_yx, difference_yx, residual_Tyx[t])
        motion_Tyx2[t], intra_Tyx[t] = moved_yx2, ~known_yx
    return CodecSignals(
        residual_Tyx=residual_Tyx,
        motion_Tyx2=motion_Tyx2,
        intra_Tyx=intra_Tyx,
        valid_T=valid_T,
        cut_T=cut_T,
        interval=interval,
        frame_size=(H, W),
        provenance=_provenance(interval, source),
    )


def _sized(step: Step | None, regrid: Regrid) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(motion in pixels of the sized frame, known) per cell of the sized frame; content is unknown without a step."""
    if step is None:
        return np.zeros((*regrid.cells, 2), np.float32), ~regrid.content_yx
    return regrid.motion(*step.motion())


def _provenance(interval: Interval, source: object) -> Mapping[str, Any]:
    import av

    residual = {
        "sample": "pixels: |sampled luma - luma of the sampled frame before, moved by the file's vectors|",
        "frame": "pixels: |decoded luma - luma of the frame before, moved by the file's vectors|, full-range levels",
    }
    return {
        "provider": NAME,
        "codec": source.source.codec if isinstance(source, FrameSequence) else None,
        "motion": "vectors of the file, one decoding thread; "
        + ("followed back to the sampled frame before" if interval == "sample" else "of the frame, per frame step"),
        "assumed": "P refers to the I or P shown before it, B to the I or P around it; motion is even between",
        "residual": residual[interval] + "; intra cells: mean absolute deviation from the cell's mean",
        "cut": CUT_RULE,
        "av": av.__version__,
        "libavcodec": ".".join(map(str, av.library_versions["libavcodec"])),
    }
