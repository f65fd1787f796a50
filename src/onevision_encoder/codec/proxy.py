"""``x264proxy``: what a video encoder finds in the sampled frames themselves, whatever file they came from.

The sampled luma is coded again by libx264 and decoded at once: one frame in, one frame out, memory for two. Every frame
is a P frame on the one before (no B frames, one reference, no deblocking, no weighting), so there are no periodic
keyframes whose cost would say where the texture is instead of where something happened. The quantiser is constant:
no frame's signals depend on a rate control that remembers others. Motion is what the encoder wrote (quarter pixels,
blocks >= 8 x 8); residual is the *coded* one, decoded frame minus H.264's own prediction from the decoded frame before.
It is exactly 0 where the encoder found the prediction good enough, which keeps faint noise from counting.

Axes: T frames, H W pixels, y x cells of 8 x 8 pixels, 2 = (dx, dy).
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from onevision_encoder.codec.cells import cell_deviation, cell_difference, cell_grid, luma_of, pad_to
from onevision_encoder.codec.cuts import CUT_RULE, is_cut
from onevision_encoder.codec.interpolate import compensate
from onevision_encoder.codec.sampled import SampledLumaProvider
from onevision_encoder.codec.vectors import VectorField, exported_vectors, plane_samples, vector_field
from onevision_encoder.errors import SignalUnavailableError
from onevision_encoder.types import CodecSignals

if TYPE_CHECKING:
    import av


NAME = "x264proxy"
QUANTISER = 22
"""H.264 QP: a step of 8 grey levels. Finer codes sensor noise as signal, coarser drops real detail."""

_MACROBLOCK = 16
_X264 = {
    "keyint": "infinite",
    "scenecut": "0",
    "bframes": "0",
    "ref": "1",
    "no-deblock": "1",
    "weightp": "0",
    "mbtree": "0",
    "rc-lookahead": "0",
    "sync-lookahead": "0",
    "aq-mode": "0",
    "me": "hex",
    "subme": "2",
    "cabac": "0",  # entropy coding is lossless: the faster one gives the same signals
    "threads": "1",
}
_PRESET, _TUNE = "veryfast", "zerolatency"


class ProxyCodec:
    """Encoder and decoder back to back for luma of one size.

    Args:
        height, width: of the frames, any size >= 1. Inside, borders are replicated to multiples of 16.
        quantiser: H.264 QP. x264: further ``x264-params``, over the provider's own.
    Raises:
        SignalUnavailableError: this build of PyAV has no libx264.
    """

    def __init__(
        self, height: int, width: int, *, quantiser: int = QUANTISER, x264: Mapping[str, str] | None = None
    ) -> None:
        import av

        self._count = 0
        self._height, self._width = -(-height // _MACROBLOCK) * _MACROBLOCK, -(-width // _MACROBLOCK) * _MACROBLOCK
        try:
            encoder = av.CodecContext.create("libx264", "w")
        except (av.FFmpegError, ValueError) as error:  # av.codec.codec.UnknownCodecError is a ValueError
            cause = f"this build of PyAV ({av.__version__}) has no libx264 encoder"
            alternatives = ["provider='native' (H.264 and MPEG-1/2/4 files)", "a PyAV wheel from PyPI"]
            raise SignalUnavailableError(NAME, "any signal", cause, alternatives) from error
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width, encoder.height, encoder.pix_fmt = self._width, self._height, "yuv420p"
        encoder.time_base, encoder.framerate, encoder.thread_count = Fraction(1, 25), Fraction(25), 1
        parameters = ":".join(f"{k}={v}" for k, v in (_X264 | dict(x264 or {})).items())
        encoder.options = {"preset": _PRESET, "tune": _TUNE, "qp": str(quantiser), "x264-params": parameters}
        decoder = av.CodecContext.create("h264", "r")
        assert isinstance(decoder, av.VideoCodecContext)
        decoder.thread_count = 1  # the frame-threaded export of vectors is racy
        decoder.options = {"flags2": "+export_mvs"}
        self._encoder, self._decoder = encoder, decoder

    def code(self, luma_HW: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], VectorField]:
        """One frame through the codec: (decoded luma, its vectors), both of the size padded to multiples of 16."""
        packets = self._encoder.encode(self._frame(pad_to(luma_HW, _MACROBLOCK)))
        frames = [frame for packet in packets for frame in self._decoder.decode(packet)]
        if len(frames) != 1:
            raise SignalUnavailableError(
                NAME, f"frame {self._count}", f"libx264 and its decoder gave {len(frames)} frames for one", ["native"]
            )
        self._count += 1
        decoded_HW = plane_samples(frames[0].planes[0])[: self._height, : self._width].astype(np.uint8)
        return decoded_HW, vector_field(exported_vectors(frames[0]), self._height, self._width)

    def _frame(self, luma_HW: NDArray[np.uint8]) -> av.VideoFrame:
        import av

        frame = av.VideoFrame(self._width, self._height, "yuv420p")
        for i, plane in enumerate(frame.planes):
            rows = np.full((plane.height, plane.line_size), 128, np.uint8)
            if i == 0:
                rows[:, : self._width] = luma_HW
            plane.update(rows.tobytes())
        frame.pts, frame.time_base = self._count, Fraction(1, 25)
        return frame


def proxy_signals(
    luma_THW: NDArray[np.uint8], *, quantiser: int = QUANTISER, x264: Mapping[str, str] | None = None
) -> CodecSignals:
    """Motion and residual of luma frames since the frame before each, by re-encoding them.

    Args:
        luma_THW: uint8 [T, H, W], any T >= 1 and any size.
        quantiser, x264: settings other than the provider's, for experiments; see :class:`ProxyCodec`.
    Returns:
        :class:`CodecSignals`, ``interval="sample"``. Intra cells are those the encoder could not predict, and all cells
        of frame 0 and of cuts (rule: :mod:`onevision_encoder.codec.cuts`). Their residual is the deviation from the
        cell's own mean.
    Raises:
        ShapeError: not uint8 [T, H, W]. SignalUnavailableError: PyAV without libx264.
    """
    luma_of(luma_THW)
    T, H, W = luma_THW.shape
    y, x = cell_grid(H, W)
    residual_Tyx = np.zeros((T, y, x), np.float32)
    motion_Tyx2 = np.zeros((T, y, x, 2), np.float32)
    intra_Tyx = np.ones((T, y, x), np.bool_)
    cut_T = np.zeros(T, np.bool_)
    codec = ProxyCodec(H, W, quantiser=quantiser, x264=x264)
    before_HW = decoded_before_HW = None
    for t in range(T):
        luma_HW = pad_to(luma_THW[t], _MACROBLOCK)
        decoded_HW, field = codec.code(luma_HW)
        residual_yx, inter_yx = cell_deviation(luma_HW), field.from_past_yx
        cut_T[t] = True
        if before_HW is not None and decoded_before_HW is not None:
            predicted_HW = compensate(decoded_before_HW, field.past_yx2)
            cut_T[t] = is_cut(before_HW, luma_HW, predicted_HW, inter_yx, residual_yx)
            if not cut_T[t]:
                residual_yx = np.where(inter_yx, cell_difference(decoded_HW, predicted_HW), residual_yx)
                motion_Tyx2[t], intra_Tyx[t] = field.past_yx2[:y, :x], ~inter_yx[:y, :x]
        residual_Tyx[t] = residual_yx[:y, :x]
        before_HW, decoded_before_HW = luma_HW, decoded_HW
    return CodecSignals(
        residual_Tyx=residual_Tyx,
        motion_Tyx2=motion_Tyx2,
        intra_Tyx=intra_Tyx,
        valid_T=np.ones(T, np.bool_),
        cut_T=cut_T,
        interval="sample",
        frame_size=(H, W),
        provenance=_provenance(quantiser, x264),
    )


def _provenance(quantiser: int, x264: Mapping[str, str] | None) -> Mapping[str, Any]:
    import av

    return {
        "provider": NAME,
        "motion": "vectors of a libx264 re-encode of the sampled luma, since the sampled frame before",
        "residual": "decoded minus predicted (coded residual); intra cells: mean deviation from the cell's mean",
        "cut": CUT_RULE,
        "x264": {"preset": _PRESET, "tune": _TUNE, "qp": quantiser, **_X264, **(x264 or {})},
        "av": av.__version__,
        "libavcodec": ".".join(map(str, av.library_versions["libavcodec"])),
    }


class X264Proxy(SampledLumaProvider):
    """The provider ``x264proxy``; see :func:`proxy_signals`."""

    name = NAME

    def of_luma(self, luma_THW: NDArray[np.uint8]) -> CodecSignals:
        return proxy_signals(luma_THW)
